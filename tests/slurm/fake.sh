# Sourced by the programs of fake/ and by fake-control: a cluster without nodes, whose jobs are processes of this machine.
#
# Whatever is known lies in $FAKE_SLURM_DIR, and is read and written under one lock:
#   calls/NUMBER-PROGRAM/   argv (words end in NUL), script: what a program was called with
#   batches/ID/             script, env, cwd, and the options of one sbatch
#   jobs/ID, jobs/ID_INDEX/ base index batch id state reason, and node start pid restarts once it has them; held, changed
#                           and forgotten by a test; old-PID is a process of an earlier time
#   fail-WHAT               how often (or `always`), exit code, stderr; WHAT is a program, or `sbatch-test-only` or
#                           `sbatch-reply` (the job is accepted, and the call fails all the same)
#   hold                    new jobs stay PENDING for the reason in it
#   slots                   how many jobs may run at once
#   ended                   the test is over: nothing may start
set -u
root=${FAKE_SLURM_DIR:?}
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
NODES=4

lock() { exec 9>>"$root/lock" && flock 9; }
unlock() { exec 9>&-; }

# get VARIABLE FILE [DEFAULT]: the first line of a file. Without a process, as it is called hundreds of times.
get() {
  if ! { IFS= read -r "$1" <"$2"; } 2>/dev/null; then printf -v "$1" %s "${3-}"; fi
}
put() { printf '%s\n' "$2" >"$1"; }

now() { printf -v "$1" '%(%Y-%m-%dT%H:%M:%S)T' "${2:--1}"; }

# Jobs in the order in which they came.
job_names() {
  (cd "$root/jobs" && ls -v)
}

next_id() {
  local next
  get next "$root/next-id" 1
  put "$root/next-id" $((next + 1))
  printf -v "$1" %s "$next"
}

# record PROGRAM SCRIPT ARGUMENT...: SCRIPT is a file or empty. Sees to delays, too. What the test itself asks is not noted.
record() {
  if [ -n "${FAKE_SLURM_UNSEEN-}" ]; then return; fi
  local program=$1 script=$2 number place seconds
  shift 2
  lock
  get number "$root/next-call" 0
  put "$root/next-call" $((number + 1))
  printf -v place '%s/calls/%06d-%s' "$root" "$number" "$program"
  mkdir "$place.part"
  if [ $# -gt 0 ]; then printf '%s\0' "$@" >"$place.part/argv"; else : >"$place.part/argv"; fi
  if [ -n "$script" ]; then cp "$script" "$place.part/script"; fi
  mv "$place.part" "$place" # whole at once: a test may look at any time
  unlock
  get seconds "$root/delay-$program"
  if [ -n "$seconds" ]; then sleep "$seconds"; fi
}

# Fails the call if a test has asked for it.
maybe_fail() {
  local file=$root/fail-$1 times code
  if [ -n "${FAKE_SLURM_UNSEEN-}" ]; then return; fi
  lock
  if [ ! -e "$file" ]; then
    unlock
    return
  fi
  { read -r times && read -r code && cat >&2; } <"$file"
  if [ "$times" != always ]; then
    if [ "$times" -le 1 ]; then rm "$file"; else sed -i "1s/.*/$((times - 1))/" "$file"; fi
  fi
  exit "$code"
}

# expand LIST: 0-2,5 or 1-7:3 as lines.
expand() {
  local part
  for part in ${1//,/ }; do
    if [[ $part =~ ^([0-9]+)$ ]]; then
      echo "$part"
    elif [[ $part =~ ^([0-9]+)-([0-9]+)(:([0-9]+))?$ ]] && ((BASH_REMATCH[1] <= BASH_REMATCH[2])); then
      seq "${BASH_REMATCH[1]}" "${BASH_REMATCH[4]:-1}" "${BASH_REMATCH[2]}"
    else
      return 1
    fi
  done
}

# find_jobs ID: names of the jobs that a word of scancel, squeue -j or scontrol means: ID of a batch or of a job,
# ID_INDEX, ID_[LIST].
find_jobs() {
  local word=$1 name id base index
  if [[ $word =~ ^([0-9]+)_\[?([0-9,:-]+)\]?$ ]]; then
    for index in $(expand "${BASH_REMATCH[2]}"); do
      if [ -d "$root/jobs/${BASH_REMATCH[1]}_$index" ]; then echo "${BASH_REMATCH[1]}_$index"; fi
    done
    return
  fi
  for name in $(job_names); do
    get base "$root/jobs/$name/base"
    get id "$root/jobs/$name/id"
    if [ "$word" = "$base" ] || [ "$word" = "$id" ]; then echo "$name"; fi
  done
}

# Starts what may start. Called under the lock.
schedule() {
  local name state base batch limit slots running=0 held node count id
  if [ -e "$root/ended" ]; then return; fi
  get slots "$root/slots" 1000000
  local -A per_array=() waiting=()
  for name in $(job_names); do
    get state "$root/jobs/$name/state"
    get base "$root/jobs/$name/base"
    case $state in
      RUNNING | COMPLETING)
        running=$((running + 1))
        per_array[$base]=$((${per_array[$base]:-0} + 1))
        ;;
      PENDING) waiting[$base]=$((${waiting[$base]:-0} + 1)) ;;
    esac
  done
  for name in $(job_names); do
    local job=$root/jobs/$name
    get state "$job/state"
    if [ "$state" != PENDING ]; then continue; fi
    get base "$job/base"
    get held "$job/held"
    get batch "$job/batch"
    get limit "$root/batches/$batch/limit" 1000000
    if [ -n "$held" ]; then
      put "$job/reason" "$held"
    elif [ "${per_array[$base]:-0}" -ge "$limit" ]; then
      put "$job/reason" JobArrayTaskLimit
    elif [ "$running" -ge "$slots" ]; then
      put "$job/reason" Resources
    else
      running=$((running + 1))
      per_array[$base]=$((${per_array[$base]:-0} + 1))
      waiting[$base]=$((waiting[$base] - 1))
      # As in Slurm, a task of an array gets a number of its own when it starts, and the last one the array's.
      if [ ! -s "$job/own" ]; then
        if [ "${waiting[$base]}" -gt 0 ]; then next_id id; else id=$base; fi
        put "$job/id" "$id"
        put "$job/own" 1
      fi
      get count "$root/launches" 0
      put "$root/launches" $((count + 1))
      put "$job/node" "node$((count % NODES + 1))"
      now node
      put "$job/start" "$node"
      put "$job/state" RUNNING
      put "$job/reason" None
      rm -f "$job/pid"
      # Apart from the program that called, which may end at any time and whose output someone waits for.
      setsid "$here/fake-control" run "$name" </dev/null >/dev/null 2>&1 9>&- &
    fi
  done
}

# stop_job NAME: SIGTERM to its processes, and SIGKILL a second later. Called under the lock.
stop_job() {
  local job=$root/jobs/$1 pid
  get pid "$job/pid"
  if [ -z "$pid" ]; then return; fi # its monitor has not started it, and will not
  kill -CONT -- "-$pid" 2>/dev/null
  kill -TERM -- "-$pid" 2>/dev/null
  setsid "$here/fake-control" kill-later "$1" "$pid" </dev/null >/dev/null 2>&1 9>&- &
}

die() {
  echo "$1" >&2
  exit "${2:-1}"
}
