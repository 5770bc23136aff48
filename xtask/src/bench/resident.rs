//! Where a running process's memory is, and what CPU time it takes.
//!
//! Guests' linear memories are told apart by how wasmtime maps them: it reserves 4 GiB of address space and more for
//! each, without access, and makes the beginning of that writable as far as the guest's memory has grown. So a
//! linear memory is a stretch of writable mappings with an inaccessible one right behind it, both together 4 GiB at
//! least. Nothing else in the host reserves as much.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};

/// What a 32-bit guest can address.
const RESERVATION: u64 = 4 << 30;
/// A fiber's stack, as the host configures it, and the largest guard below one.
const STACK: u64 = 2 << 20;
const GUARD: u64 = 64 << 10;

/// Resident memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resident {
    /// Guests' linear memories.
    pub guests: u64,
    /// Mappings of the size of a fiber's stack, above a guard.
    pub stacks: u64,
    /// All other memory of its own: the heap above all.
    pub heap: u64,
    /// Pages of files: its code, and components' code.
    pub files: u64,
    /// The kernel's page tables for it; not part of what is resident.
    pub page_tables: u64,
}

impl Resident {
    /// As it is now.
    pub fn of(process: u32) -> Result<Self> {
        let folder = PathBuf::from(format!("/proc/{process}"));
        let maps = fs::read_to_string(folder.join("smaps"))
            .with_context(|| format!("could not read {}/smaps", folder.display()))?;
        let status = fs::read_to_string(folder.join("status"))?;
        Ok(Self { page_tables: kib(&status, "VmPTE:"), ..sorted(&mappings(&maps)) })
    }

    /// What is the host's: all but the guests' linear memories.
    pub fn host(&self) -> u64 {
        self.stacks + self.heap + self.files
    }
}

/// CPU time so far of all threads of a process that live now.
pub fn cpu(process: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // One that ended meanwhile has used next to nothing since.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let first = text.split_whitespace().next().context("an empty schedstat")?;
        nanoseconds += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

#[derive(Debug)]
struct Mapping {
    start: u64,
    end: u64,
    writable: bool,
    accessible: bool,
    of_file: bool,
    resident: u64,
}

impl Mapping {
    fn size(&self) -> u64 {
        self.end - self.start
    }
}

/// The mappings of a process from its `smaps`, in the order of their addresses.
fn mappings(text: &str) -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = vec![];
    for line in text.lines() {
        if let Some(mapping) = mapping(line) {
            mappings.push(mapping);
        } else if let Some(last) = mappings.last_mut()
            && line.starts_with("Rss:")
        {
            last.resident = kib(line, "Rss:");
        }
    }
    mappings
}

/// `7f3c00000000-7f3c00021000 rw-p 00000000 00:00 0    [name]`
fn mapping(line: &str) -> Option<Mapping> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let access = words.next()?;
    let inode = words.nth(2)?;
    Some(Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        writable: access.starts_with("rw"),
        accessible: !access.starts_with("---"),
        of_file: inode != "0",
        resident: 0,
    })
}

/// A line's value in KiB, in bytes; 0 where there is none.
fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    value.unwrap_or(0) * 1024
}

fn sorted(mappings: &[Mapping]) -> Resident {
    let mut sum = Resident::default();
    // A stretch of writable mappings without a gap: where it begins in the list, and whether a guard is below.
    let mut stretch: Option<usize> = None;
    for (index, mapping) in mappings.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| &mappings[before]);
        let joined = before.is_some_and(|before| before.end == mapping.start);
        if !joined {
            stretch = None;
        }
        if mapping.writable {
            stretch = stretch.or(Some(index));
            let guard = before.filter(|before| joined && !before.accessible);
            match mapping.of_file {
                true => sum.files += mapping.resident,
                false
                    if guard.is_some_and(|guard| guard.size() <= GUARD)
                        && mapping.size() == STACK =>
                {
                    sum.stacks += mapping.resident;
                }
                false => sum.heap += mapping.resident,
            }
            continue;
        }
        match mapping.of_file {
            true => sum.files += mapping.resident,
            false => sum.heap += mapping.resident,
        }
        if let Some(first) = stretch.take()
            && !mapping.accessible
            && mapping.end - mappings[first].start >= RESERVATION
        {
            for memory in &mappings[first..index] {
                sum.guests += memory.resident;
                match memory.of_file {
                    true => sum.files -= memory.resident,
                    false => sum.heap -= memory.resident,
                }
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::{mappings, sorted};

    #[test]
    fn linear_memories_and_stacks_are_told_apart() {
        let text = "\
55d000000000-55d000100000 r-xp 00000000 fe:00 42                         /host
Rss:                 100 kB
55d000200000-55d000300000 rw-p 00000000 00:00 0                          [heap]
Rss:                  50 kB
7f0000000000-7f0000001000 ---p 00000000 00:00 0 
Rss:                   0 kB
7f0000001000-7f0000201000 rw-p 00000000 00:00 0 
Rss:                   8 kB
7f0000201000-7f0002201000 ---p 00000000 00:00 0 
Rss:                   0 kB
7f0002201000-7f0002211000 rw-p 00000000 00:01 7                          /memfd:image (deleted)
Rss:                   4 kB
7f0002211000-7f0002321000 rw-p 00000000 00:00 0 
Rss:                  16 kB
7f0002321000-7f0104201000 ---p 00000000 00:00 0 
Rss:                   0 kB
7f0200000000-7f0200021000 rw-p 00000000 00:00 0 
Rss:                  30 kB
7f0200021000-7f0204000000 ---p 00000000 00:00 0 
Rss:                   0 kB
";
        let sum = sorted(&mappings(text));
        assert_eq!(sum.guests, 20 << 10);
        assert_eq!(sum.stacks, 8 << 10);
        assert_eq!(sum.heap, 80 << 10);
        assert_eq!(sum.files, 100 << 10);
    }
}
