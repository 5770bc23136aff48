//! Runs of the host under valgrind.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{Scenario, baseline::MadeWith};
use crate::{process, repo, toolchain::Toolchain};

/// The fastest of valgrind's tools that tell a sum. Where the instructions were would be told to a file.
const INSTRUCTIONS: [&str; 2] = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
/// A line for each system call. Apart from the other: writing them changes how threads wake each other.
const SYSTEM_CALLS: [&str; 2] = ["--tool=none", "--trace-syscalls=yes"];

/// How threads wait for each other and wake, which is different each time, and the time, which takes no call outside
/// valgrind. Files are read and written with `pread` and `pwrite`.
const NOT_COUNTED: [&str; 5] =
    ["sys_clock_gettime", "sys_epoll_wait", "sys_futex", "sys_read", "sys_write"];

const FILE_SIZE: usize = 1024;

/// Counts what the host does in a folder of its own on a tmpfs, removed at the end.
pub struct Counter {
    valgrind: PathBuf,
    folder: PathBuf,
    /// A copy: another build does not matter.
    host: PathBuf,
}

impl Counter {
    pub fn new(valgrind: PathBuf) -> Result<Self> {
        // As long each time: long paths cost more.
        let folder = format!("/dev/shm/tigerflow-count-{:010}", std::process::id());
        let counter =
            Self { valgrind, host: Path::new(&folder).join("host"), folder: folder.into() };
        fs::create_dir_all(&counter.folder)
            .and_then(|()| fs::copy(repo::host_binary(), &counter.host))
            .with_context(|| {
                format!(
                    "the counts need a tmpfs at /dev/shm with 200 MB free; could not fill {}",
                    counter.folder.display()
                )
            })?;
        Ok(counter)
    }

    /// What changes counts without a change in the project.
    pub fn made_with(&self, toolchain: &Toolchain) -> Result<MadeWith> {
        let line = |command: &mut Command| Ok(process::output(command)?.trim().to_owned());
        let mut valgrind = process::command(&self.valgrind);
        let about = process::output(valgrind.args(["-v", "--log-fd=1", "--tool=none", "true"]))?;
        let entries: [(&str, Result<String>); 5] = [
            // The host's own code and the libraries' look at it, and choose.
            ("CPU under valgrind", Ok(cpu(&about).unwrap_or("unknown").to_owned())),
            ("libc", line(process::command("getconf").arg("GNU_LIBC_VERSION"))),
            ("rustc", line(process::command("rustc").arg("-V"))),
            ("rustc of the guests", line(toolchain.command("rustc").arg("-V"))),
            ("valgrind", line(process::command(&self.valgrind).arg("--version"))),
        ];
        entries.into_iter().map(|(name, version)| Ok((name.to_owned(), version?))).collect()
    }

    /// Instructions and system calls, both a file where start-up is left out.
    pub fn count(&self, scenario: &Scenario) -> Result<(f64, f64)> {
        // The first run compiles the component, for the CPU that valgrind shows.
        self.run(scenario, 1, &["--tool=none"])?;
        let each = |options: &[&str], sum: fn(&str) -> Option<u64>| {
            let total = |files: usize| {
                if files == 0 {
                    return Ok(0.0);
                }
                let log = self.run(scenario, files, options)?;
                let sum = sum(&log).context("valgrind told no count")?;
                anyhow::Ok(sum as f64)
            };
            let files = (scenario.files - scenario.without) as f64;
            anyhow::Ok((total(scenario.files)? - total(scenario.without)?) / files)
        };
        let instructions = each(&INSTRUCTIONS, instructions)?.round();
        let calls = (100.0 * each(&SYSTEM_CALLS, system_calls)?).round() / 100.0;
        Ok((instructions, calls))
    }

    /// One run over so many files. Returns valgrind's log.
    fn run(&self, scenario: &Scenario, files: usize, options: &[&str]) -> Result<String> {
        let (input, output) = (self.folder.join("in"), self.folder.join("out"));
        for folder in [&input, &output] {
            repo::remove_dir(folder)?;
            fs::create_dir(folder)?;
        }
        for file in 0..files {
            let name = format!("{file:07}.txt");
            fs::write(input.join(&name), [b'a'; FILE_SIZE])?;
            if scenario.done {
                fs::write(output.join(&name), "")?;
            }
        }
        let log = self.folder.join("log");
        let guest = repo::test_components().join(scenario.guest).with_extension("wasm");
        let component = self.folder.join("task.wasm");
        fs::copy(&guest, &component)
            .with_context(|| format!("could not copy {}", guest.display()))?;

        let mut command = process::command(&self.valgrind);
        // Nothing of the caller's environment: it has another size and other contents each time.
        command.env_clear().env("HOME", &self.folder).env("PATH", "/usr/bin:/bin");
        command.env("TIGERFLOW_CACHE_DIR", self.folder.join("cache")).current_dir(&self.folder);
        command.arg(format!("--log-file={}", log.display())).args(options);
        command.arg(&self.host).arg("run").arg(&component);
        command.arg("--input-dir").arg(&input).args(["--input-ext", ".txt"]);
        command.arg("--output-dir").arg(&output).args(["--output-ext", ".txt"]);
        command.args(["--once", "-q"]).args(scenario.options);
        process::quietly(&mut command)?;
        fs::read_to_string(&log).with_context(|| format!("could not read {}", log.display()))
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The sum in callgrind's `==PID== Collected : 141574146`
fn instructions(log: &str) -> Option<u64> {
    let sum = log.lines().find_map(|line| line.split_once("Collected : ")?.1.split(' ').next());
    sum?.parse().ok()
}

/// How many lines `SYSCALL[PID,THREAD](NUMBER) NAME (…` there are. A call that may wait has a second one, whose name is
/// `...`.
fn system_calls(log: &str) -> Option<u64> {
    let name = |line: &str| {
        let rest = line.strip_prefix("SYSCALL[")?.split_once(") ")?.1;
        Some(rest.trim_start().split([' ', '(']).next()?.to_owned())
    };
    let counted = |name: &String| name != "..." && !NOT_COUNTED.contains(&name.as_str());
    let count = log.lines().filter_map(name).filter(counted).count() as u64;
    (count > 0).then_some(count)
}

/// The features in `--PID-- Arch and hwcaps: AMD64, LittleEndian, amd64-cx16-avx2`
fn cpu(about: &str) -> Option<&str> {
    about.lines().find_map(|line| Some(line.split_once("Arch and hwcaps: ")?.1.trim()))
}

#[cfg(test)]
mod tests {
    use super::{cpu, instructions, system_calls};

    #[test]
    fn callgrinds_sum_is_found() {
        let log = "==7== Events    : Ir\n==7== Collected : 141574146\n==7== \n==7== I   refs:      141,574,146\n";
        assert_eq!(instructions(log), Some(141_574_146));
        assert_eq!(instructions("==7== Command: ./host\n"), None);
    }

    #[test]
    fn system_calls_are_counted_once_and_without_waiting() {
        let log = "\
==7== Command: ./host\n\
SYSCALL[7,3](228) sys_clock_gettime( 1, 0x4f6f040 )[sync] --> Success(0x0) \n\
SYSCALL[7,3](257) sys_openat ( 20, 0x5177120(0000035.txt), 690176 ) --> [async] ... \n\
SYSCALL[7,3](257) ... [async] --> Success(0x16) \n\
SYSCALL[7,3](  5) sys_newfstat ( 22, 0x51774c0 )[sync] --> Success(0x0) \n\
SYSCALL[7,1](202) sys_futex ( 0x57, 128, 1 ) --> [async] ... \n\
SYSCALL[7,1](334) unimplemented (by the kernel) syscall: 334! (ni_syscall)\n";
        assert_eq!(system_calls(log), Some(3));
        assert_eq!(system_calls("==7== Command: ./host\n"), None);
    }

    #[test]
    fn the_cpu_is_named() {
        let about =
            "--7-- Arch and hwcaps: AMD64, LittleEndian, amd64-cx16-avx2\n--7-- Page sizes: 4096\n";
        assert_eq!(cpu(about), Some("AMD64, LittleEndian, amd64-cx16-avx2"));
        assert_eq!(cpu(""), None);
    }
}
