//! Tries what its input says, a line each, and writes what came of it:
//! `read /etc/passwd` becomes `read /etc/passwd: denied (…)` or
//! `read /etc/passwd: reached …`.

use std::ffi::{CString, c_char};
use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result as Io, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::{Duration, SystemTime};

use tigerflow_task::prelude::*;

struct Reach;

impl Task for Reach {
    type Params = ();

    fn about() -> About {
        About::new().name("reach")
    }

    fn setup(_: ()) -> Result<Self> {
        Ok(Reach)
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let mut report = String::new();
        for line in input.read_to_string()?.lines() {
            report.push_str(&match attempt(line) {
                Ok(what) => format!("{line}: reached {what:?}\n"),
                Err(error) => format!("{line}: denied ({error})\n"),
            });
        }
        output.write(report)
    }
}

export_task!(Reach);

fn attempt(line: &str) -> Io<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let nothing = |()| String::new();
    match words[..] {
        ["read", path] => fs::read_to_string(path),
        ["list", path] => {
            let mut names = Vec::new();
            for entry in fs::read_dir(path)? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            Ok(names.join(" "))
        }
        ["stat", path] => fs::metadata(path).map(|meta| meta.len().to_string()),
        ["readlink", path] => Ok(fs::read_link(path)?.display().to_string()),
        ["create", path] => {
            let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
            file.write_all(b"intruder").map(nothing)
        }
        ["overwrite", path] => fs::write(path, "intruder").map(nothing),
        ["append", path] => {
            let mut file = OpenOptions::new().append(true).open(path)?;
            file.write_all(b"intruder").map(nothing)
        }
        ["truncate", path] => {
            OpenOptions::new().write(true).truncate(true).open(path)?.set_len(0).map(nothing)
        }
        // Through a handle that was opened for reading.
        ["cut", path] => File::open(path)?.set_len(0).map(nothing),
        ["scribble", path] => File::open(path)?.write_all(b"intruder").map(nothing),
        ["touch", path] => File::open(path)?.set_modified(SystemTime::UNIX_EPOCH).map(nothing),
        ["remove", path] => fs::remove_file(path).map(nothing),
        ["rename", from, to] => fs::rename(from, to).map(nothing),
        ["mkdir", path] => fs::create_dir(path).map(nothing),
        ["rmdir", path] => fs::remove_dir(path).map(nothing),
        ["hardlink", from, to] => fs::hard_link(from, to).map(nothing),
        ["symlink", target, link] => symlink(target, link).map(nothing),
        ["env", name] => {
            std::env::var(name).map_err(|error| Error::new(ErrorKind::NotFound, error))
        }
        ["env-length", name] => std::env::var(name)
            .map(|value| value.len().to_string())
            .map_err(|error| Error::new(ErrorKind::NotFound, error)),
        ["env-all"] => some(std::env::vars().map(|(name, _)| name).collect()),
        ["args"] => some(std::env::args().collect()),
        ["stdin"] => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            some(text.lines().map(String::from).collect())
        }
        ["tcp", address] => TcpStream::connect(address)?.write_all(b"intruder").map(nothing),
        ["listen", address] => TcpListener::bind(address).map(|l| format!("{l:?}")),
        ["udp", address] => {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.send_to(b"intruder", address).map(|sent| sent.to_string())
        }
        ["dns", name] => {
            (name, 80).to_socket_addrs().map(|all| format!("{:?}", all.collect::<Vec<_>>()))
        }
        ["spawn", program] => std::process::Command::new(program).output().map(|_| String::new()),
        // Without the checks of a language's library.
        ["raw-read", granted, path] => raw::read(granted, path),
        ["raw-write", granted, path] => raw::write(granted, path).map(nothing),
        ["raw-stat", granted, path] => raw::stat(granted, path),
        ["await", path] => {
            while fs::metadata(path).is_err() {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(String::new())
        }
        _ => Err(Error::other("no such attempt")),
    }
}

/// Something, or an error where there is nothing.
fn some(all: Vec<String>) -> Io<String> {
    if all.is_empty() { Err(ErrorKind::NotFound.into()) } else { Ok(all.join(" ")) }
}

/// `std` has no symbolic links for WASI yet.
fn symlink(target: &str, link: &str) -> Io<()> {
    unsafe extern "C" {
        fn symlink(target: *const c_char, link: *const c_char) -> i32;
    }
    let (target, link) = (CString::new(target)?, CString::new(link)?);
    // SAFETY: both are C strings that live as long as the call.
    match unsafe { symlink(target.as_ptr(), link.as_ptr()) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

#[cfg(target_family = "wasm")]
mod raw {
    use std::io::{Error, Result as Io};

    use wasip2::filesystem::preopens::get_directories;
    use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

    fn granted(name: &str) -> Io<Descriptor> {
        let mut all = get_directories().into_iter();
        let found = all.find(|(_, path)| path == name);
        found.map(|(directory, _)| directory).ok_or_else(|| Error::other("not granted"))
    }

    fn error(code: ErrorCode) -> Error {
        Error::other(code.name())
    }

    pub fn read(name: &str, path: &str) -> Io<String> {
        let follow = PathFlags::SYMLINK_FOLLOW;
        let (open, access) = (OpenFlags::empty(), DescriptorFlags::READ);
        let file = granted(name)?.open_at(follow, path, open, access).map_err(error)?;
        let (bytes, _) = file.read(1 << 20, 0).map_err(error)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub fn write(name: &str, path: &str) -> Io<()> {
        let access = DescriptorFlags::WRITE | DescriptorFlags::READ;
        let (follow, open) = (PathFlags::SYMLINK_FOLLOW, OpenFlags::CREATE);
        let file = granted(name)?.open_at(follow, path, open, access).map_err(error)?;
        file.write(b"intruder", 0).map(|_| ()).map_err(error)
    }

    pub fn stat(name: &str, path: &str) -> Io<String> {
        let directory = granted(name)?;
        let stat = directory.stat_at(PathFlags::SYMLINK_FOLLOW, path).map_err(error)?;
        Ok(stat.size.to_string())
    }
}

#[cfg(not(target_family = "wasm"))]
mod raw {
    use std::io::{ErrorKind, Result as Io};

    pub fn read(_: &str, _: &str) -> Io<String> {
        Err(ErrorKind::Unsupported.into())
    }

    pub fn write(_: &str, _: &str) -> Io<()> {
        Err(ErrorKind::Unsupported.into())
    }

    pub fn stat(_: &str, _: &str) -> Io<String> {
        Err(ErrorKind::Unsupported.into())
    }
}
