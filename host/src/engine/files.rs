//! Files in place: the hot path of every task.
//!
//! wasmtime-wasi serves most file calls on the caller's own thread when told to
//! (`allow_blocking_current_thread`), but moves each read and write of a stream
//! to a thread pool, at five to ten times the cost of a small file. These
//! functions shadow the ones that matter and work in place. They also
//! - count what an attempt writes, and stop it at its limit;
//! - notice a full disk, which is not the task's fault;
//! - open the inputs that WASI cannot name (see [`Alias`](super::Alias));
//! - count the files that are open: each takes one of the process's own;
//! - open no pipe or device, on which a thread would wait for ever;
//! - keep every guest out of the host's own workspace.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use rustix::fs::{Mode, OFlags};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance, Resource};
use wasmtime_wasi::filesystem::{Descriptor, File as WasiFile, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, Host as _, HostDescriptor,
    MetadataHashValue, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, FsResult, InputStream, OutputStream, Pollable, StreamError,
    StreamResult,
};
use wasmtime_wasi::{FsPerms, OpenMode, async_trait};

use super::guest::{GUEST_INPUT, GUEST_OUTPUT, Guest, Meter};
use super::instance::Sandbox;
use crate::workspace::DIRECTORY;
use crate::workspace::intake::open_input;

/// The interface whose functions are shadowed, in the version that this
/// wasmtime links. Components built for older ones resolve to it.
const INTERFACE: &str = "wasi:filesystem/types@0.2.12";

/// Most bytes of one read. A guest that asks for more gets a part, as POSIX
/// allows.
const READ_LIMIT: usize = 1 << 20;

/// Most bytes of one write that a stream takes.
const WRITE_LIMIT: usize = 1 << 20;

type Fs<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;
type Store<'a> = StoreContextMut<'a, Guest>;

/// Puts the functions in place of wasmtime-wasi's.
pub(super) fn shadow(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut instance = linker.instance(INTERFACE)?;
    streams(&mut instance)?;
    whole(&mut instance)?;
    paths(&mut instance)?;
    makers(&mut instance)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Remembers which handles are the input and the output directory, to tell them
/// from others.
pub(super) fn note_directories(guest: &mut Guest, sandbox: &Sandbox) -> wasmtime::Result<()> {
    guest.granted_writing = sandbox.directories.iter().any(|directory| directory.writable);
    for (handle, path) in guest.filesystem().get_directories()? {
        let Descriptor::Dir(dir) = guest.table.delete(handle)? else { continue };
        match path.as_str() {
            GUEST_INPUT => guest.input_dir = Some(dir.dir),
            GUEST_OUTPUT => guest.output_dir = Some(dir.dir),
            _ if dir.perms.write_not_permitted() => guest.read_only.push((path, dir.dir)),
            _ => {}
        }
    }
    guest.notices = Arc::clone(&sandbox.notices);
    if sandbox.workspace_visible
        && let Some(staging) = &guest.output_dir
    {
        guest.own_staging = Some(real_path(staging)?);
        let input = guest.input_dir.as_ref().map(|input| real_path(input)).transpose()?;
        guest.own_input = input.filter(|real| leads_into_workspace(&real.to_string_lossy()));
    }
    Ok(())
}

/// Where an open file really lies, whatever links led to it.
fn real_path(file: &File) -> std::io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Files as streams.
fn streams(instance: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    instance.func_wrap(
        "[method]descriptor.read-via-stream",
        |mut store: Store<'_>,
         (fd, offset): (Resource<Descriptor>, u64)|
         -> Fs<Resource<DynInputStream>> {
            let guest = store.data_mut();
            let file = match guest.table.get(&fd)? {
                Descriptor::File(file) => Arc::clone(&file.file),
                Descriptor::Dir(_) => return Ok((Err(ErrorCode::IsDirectory),)),
            };
            let stream: DynInputStream = Box::new(Reader { file, offset });
            Ok((Ok(guest.table.push(stream)?),))
        },
    )?;
    instance.func_wrap(
        "[method]descriptor.write-via-stream",
        |mut store: Store<'_>, (fd, offset): (Resource<Descriptor>, u64)| {
            writer(store.data_mut(), &fd, Position::At(offset))
        },
    )?;
    instance.func_wrap(
        "[method]descriptor.append-via-stream",
        |mut store: Store<'_>, (fd,): (Resource<Descriptor>,)| {
            writer(store.data_mut(), &fd, Position::End)
        },
    )
}

fn writer(
    guest: &mut Guest,
    fd: &Resource<Descriptor>,
    position: Position,
) -> Fs<Resource<DynOutputStream>> {
    let file = match writable(guest, fd)? {
        Ok(file) => Arc::clone(&file.file),
        Err(code) => return Ok((Err(code),)),
    };
    let meter = Arc::clone(&guest.attempt().meter);
    let stream: DynOutputStream = Box::new(Writer { file, position, meter, closed: false });
    Ok((Ok(guest.table.push(stream)?),))
}

fn writable<'a>(
    guest: &'a Guest,
    fd: &Resource<Descriptor>,
) -> wasmtime::Result<Result<&'a WasiFile, ErrorCode>> {
    Ok(match guest.table.get(fd)? {
        Descriptor::File(file) if file.perms.write_not_permitted() => Err(ErrorCode::NotPermitted),
        Descriptor::File(file) => Ok(file),
        Descriptor::Dir(_) => Err(ErrorCode::BadDescriptor),
    })
}

/// Reading and writing without a stream.
fn whole(instance: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    instance.func_wrap(
        "[method]descriptor.read",
        |mut store: Store<'_>,
         (fd, length, offset): (Resource<Descriptor>, u64, u64)|
         -> Fs<(Vec<u8>, bool)> {
            let file = match store.data_mut().table.get(&fd)? {
                Descriptor::File(file) => &file.file,
                Descriptor::Dir(_) => return Ok((Err(ErrorCode::IsDirectory),)),
            };
            let length = usize::try_from(length).unwrap_or(READ_LIMIT).min(READ_LIMIT);
            Ok((match read_at(file, length, offset) {
                Ok(bytes) => {
                    let end = is_end(file, bytes.len(), length, offset);
                    Ok((bytes, end))
                }
                Err(error) => Err(ErrorCode::from(&error)),
            },))
        },
    )?;
    instance.func_wrap(
        "[method]descriptor.write",
        |mut store: Store<'_>,
         (fd, bytes, offset): (Resource<Descriptor>, Vec<u8>, u64)|
         -> Fs<u64> {
            let guest = store.data_mut();
            let meter = Arc::clone(&guest.attempt().meter);
            let file = match writable(guest, &fd)? {
                Ok(file) => file,
                Err(code) => return Ok((Err(code),)),
            };
            meter.add(bytes.len() as u64)?;
            Ok((match file.file.write_at(&bytes, offset) {
                Ok(written) => Ok(written as u64),
                Err(error) => {
                    meter.note(&error);
                    Err(ErrorCode::from(&error))
                }
            },))
        },
    )?;
    instance.func_wrap(
        "[method]descriptor.set-size",
        |mut store: Store<'_>, (fd, size): (Resource<Descriptor>, u64)| -> Fs<()> {
            let guest = store.data_mut();
            let meter = Arc::clone(&guest.attempt().meter);
            let file = match writable(guest, &fd)? {
                Ok(file) => file,
                Err(code) => return Ok((Err(code),)),
            };
            meter.check(size)?;
            Ok((match file.file.set_len(size) {
                Ok(()) => Ok(()),
                Err(error) => {
                    meter.note(&error);
                    Err(ErrorCode::from(&error))
                }
            },))
        },
    )
}

/// Opening and looking up paths.
fn paths(instance: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Open = (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags);
    instance.func_wrap(
        "[method]descriptor.open-at",
        |mut store: Store<'_>,
         (fd, path_flags, path, open_flags, flags): Open|
         -> Fs<Resource<Descriptor>> {
            let guest = store.data_mut();
            if leads_into_workspace(&path) {
                return Ok((Err(ErrorCode::NotPermitted),));
            }
            let place = place(guest, &fd)?;
            if place == Place::Input && is_named(guest, &path) {
                let writes = DescriptorFlags::WRITE | DescriptorFlags::MUTATE_DIRECTORY;
                if open_flags != OpenFlags::empty() || flags.intersects(writes) {
                    return Ok((Err(ErrorCode::NotPermitted),));
                }
                return open_alias(guest);
            }
            // The input was seen to be a file, and what lies in the staging
            // place the guest made itself.
            if let Some(file) = open_own(guest, &fd, place, &path, open_flags, flags)? {
                guest.opened.add(&file.file)?;
                return Ok((Ok(guest.table.push(Descriptor::File(file))?),));
            }
            guest.made_more |= open_flags.contains(OpenFlags::CREATE);
            let known = match place {
                Place::Input => path == guest.attempt().input_name,
                // Unless it moved a pipe there from a granted directory.
                Place::Output => !guest.granted_writing,
                Place::Elsewhere => false,
            };
            if !known && would_block(guest, Resource::new_borrow(fd.rep()), path_flags, &path) {
                return Ok((Err(ErrorCode::Unsupported),));
            }
            let writes = flags.contains(DescriptorFlags::WRITE)
                || open_flags.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE);
            if writes {
                tell_read_only(guest, &fd)?;
            }
            let result =
                in_place(guest.filesystem().open_at(fd, path_flags, path, open_flags, flags));
            if let Err(error) = &result
                && let Some(ErrorCode::InsufficientSpace | ErrorCode::Quota) = error.downcast_ref()
            {
                guest.attempt().meter.note(&rustix::io::Errno::NOSPC.into());
            }
            if let Ok(fd) = &result {
                let file = match guest.table.get(fd)? {
                    Descriptor::File(file) => &file.file,
                    Descriptor::Dir(dir) => &dir.dir,
                };
                // A link may lead where the path does not say.
                if let Some(own) = &guest.own_staging {
                    let real = real_path(file)?;
                    let is_own = |own: &PathBuf| real.starts_with(own);
                    if leads_into_workspace(&real.to_string_lossy())
                        && !is_own(own)
                        && !guest.own_input.as_ref().is_some_and(is_own)
                    {
                        guest.table.delete(Resource::<Descriptor>::new_own(fd.rep()))?;
                        return Ok((Err(ErrorCode::NotPermitted),));
                    }
                }
                guest.opened.add(file)?;
            }
            convert(guest, result)
        },
    )?;
    instance.func_wrap(
        "[method]descriptor.stat-at",
        |mut store: Store<'_>,
         (fd, path_flags, path): (Resource<Descriptor>, PathFlags, String)|
         -> Fs<DescriptorStat> {
            let guest = store.data_mut();
            if leads_into_workspace(&path) {
                return Ok((Err(ErrorCode::NotPermitted),));
            }
            if is_alias(guest, &fd, &path)? {
                return with_alias(guest, |guest, fd| in_place(guest.filesystem().stat(fd)));
            }
            let result = in_place(guest.filesystem().stat_at(fd, path_flags, path));
            convert(guest, result)
        },
    )?;
    instance.func_wrap(
        "[method]descriptor.metadata-hash-at",
        |mut store: Store<'_>,
         (fd, path_flags, path): (Resource<Descriptor>, PathFlags, String)|
         -> Fs<MetadataHashValue> {
            let guest = store.data_mut();
            if leads_into_workspace(&path) {
                return Ok((Err(ErrorCode::NotPermitted),));
            }
            if is_alias(guest, &fd, &path)? {
                return with_alias(guest, |guest, fd| {
                    in_place(guest.filesystem().metadata_hash(fd))
                });
            }
            let result = in_place(guest.filesystem().metadata_hash_at(fd, path_flags, path));
            convert(guest, result)
        },
    )
}

/// What makes something in a directory, and is done by wasmtime-wasi.
fn makers(instance: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Two = (Resource<Descriptor>, String, Resource<Descriptor>, String);
    type Link = (Resource<Descriptor>, PathFlags, String, Resource<Descriptor>, String);
    instance.func_wrap(
        "[method]descriptor.create-directory-at",
        |mut store: Store<'_>, (fd, path): (Resource<Descriptor>, String)| -> Fs<()> {
            let guest = maker(store.data_mut());
            let result = in_place(guest.filesystem().create_directory_at(fd, path));
            convert(guest, result)
        },
    )?;
    instance.func_wrap(
        "[method]descriptor.rename-at",
        |mut store: Store<'_>, (fd, path, to, new): Two| -> Fs<()> {
            let guest = maker(store.data_mut());
            let result = in_place(guest.filesystem().rename_at(fd, path, to, new));
            convert(guest, result)
        },
    )?;
    instance.func_wrap(
        "[method]descriptor.link-at",
        |mut store: Store<'_>, (fd, flags, path, to, new): Link| -> Fs<()> {
            let guest = maker(store.data_mut());
            let result = in_place(guest.filesystem().link_at(fd, flags, path, to, new));
            convert(guest, result)
        },
    )?;
    instance.func_wrap(
        "[method]descriptor.symlink-at",
        |mut store: Store<'_>, (fd, path, new): (Resource<Descriptor>, String, String)| -> Fs<()> {
            let guest = maker(store.data_mut());
            let result = in_place(guest.filesystem().symlink_at(fd, path, new));
            convert(guest, result)
        },
    )
}

fn maker(guest: &mut Guest) -> &mut Guest {
    guest.made_more = true;
    guest
}

/// Opens the attempt's own input or output, where that is a plain file under its
/// plain name: in one system call. `None`: that is for wasmtime-wasi to do, or to
/// refuse.
fn open_own(
    guest: &mut Guest,
    fd: &Resource<Descriptor>,
    place: Place,
    path: &str,
    open_flags: OpenFlags,
    flags: DescriptorFlags,
) -> wasmtime::Result<Option<WasiFile>> {
    let (read, write) = (DescriptorFlags::READ, DescriptorFlags::WRITE);
    let attempt = guest.attempt();
    let (name, may) = match place {
        Place::Input => (&attempt.input_name, read),
        // C's library asks for the latter wherever it writes.
        Place::Output => (&attempt.output_name, read | write | DescriptorFlags::MUTATE_DIRECTORY),
        Place::Elsewhere => return Ok(None),
    };
    let is_own = path == name && !path.contains('/') && !matches!(path, "" | "." | "..");
    let is_plain = may.contains(flags) && !open_flags.contains(OpenFlags::DIRECTORY);
    let is_safe = match place {
        Place::Input => open_flags == OpenFlags::empty(),
        // What is there the guest has made itself, and it knows no pipes.
        _ => flags.contains(write) && !guest.granted_writing,
    };
    if !(is_own && is_plain && is_safe) || guest.own_staging.is_some() {
        return Ok(None);
    }
    let Descriptor::Dir(dir) = guest.table.get(fd)? else { return Ok(None) };
    let (mut how, mode) = match (flags.contains(read), flags.contains(write)) {
        (true, true) => (OFlags::RDWR, OpenMode::READ | OpenMode::WRITE),
        (false, true) => (OFlags::WRONLY, OpenMode::WRITE),
        _ => (OFlags::RDONLY, OpenMode::READ),
    };
    for (flag, own) in [
        (OpenFlags::CREATE, OFlags::CREATE),
        (OpenFlags::EXCLUSIVE, OFlags::EXCL),
        (OpenFlags::TRUNCATE, OFlags::TRUNC),
    ] {
        how.set(own, open_flags.contains(flag));
    }
    // The input was a file when it was seen. If it is a pipe by now, nobody waits.
    how |= OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let Ok(file) = rustix::fs::openat(&dir.dir, path, how, Mode::from_raw_mode(0o666)) else {
        return Ok(None);
    };
    let perms = if place == Place::Input { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
    Ok(Some(WasiFile::new(file.into(), perms, mode, true)))
}

/// Whether a path names the host's workspace, or something in it. The input
/// directory may be, or hold, the output directory.
fn leads_into_workspace(path: &str) -> bool {
    // Some file systems take upper and lower case for the same.
    path.split('/').any(|part| part.eq_ignore_ascii_case(DIRECTORY))
}

/// Says which option would let the guest write where it is about to try, and may
/// read only.
fn tell_read_only(guest: &Guest, fd: &Resource<Descriptor>) -> wasmtime::Result<()> {
    let Descriptor::Dir(dir) = guest.table.get(fd)? else { return Ok(()) };
    if !dir.perms.write_not_permitted() {
        return Ok(());
    }
    let known = guest.read_only.iter().find(|(_, known)| Arc::ptr_eq(known, &dir.dir));
    match known {
        Some((path, _)) => guest.notices.tell(
            path,
            &format!(
                "The task tried to write in `{path}`, which is granted read-only: `:rw` at the \
                 end of its --dir would let it"
            ),
        ),
        None if place(guest, fd)? == Place::Input => guest.notices.tell(
            GUEST_INPUT,
            "The task tried to write in /input, which it may only read: it writes at the output \
             path that `run` is given",
        ),
        None => {}
    }
    Ok(())
}

/// Which directory a handle is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Input,
    Output,
    Elsewhere,
}

fn place(guest: &Guest, fd: &Resource<Descriptor>) -> wasmtime::Result<Place> {
    let Descriptor::Dir(dir) = guest.table.get(fd)? else { return Ok(Place::Elsewhere) };
    let is = |known: &Option<Arc<File>>| known.as_ref().is_some_and(|k| Arc::ptr_eq(k, &dir.dir));
    Ok(match () {
        () if is(&guest.input_dir) => Place::Input,
        () if is(&guest.output_dir) => Place::Output,
        () => Place::Elsewhere,
    })
}

fn is_alias(guest: &mut Guest, fd: &Resource<Descriptor>, path: &str) -> wasmtime::Result<bool> {
    Ok(is_named(guest, path) && place(guest, fd)? == Place::Input)
}

/// Whether the attempt's input is one that the host opens for it, under this
/// name.
fn is_named(guest: &mut Guest, path: &str) -> bool {
    guest.attempt().alias.as_ref().is_some_and(|alias| alias.guest_name == path)
}

/// Whether opening this path could hold the worker's thread until somebody
/// writes to the other end: a named pipe, or a device.
fn would_block(
    guest: &mut Guest,
    fd: Resource<Descriptor>,
    path_flags: PathFlags,
    path: &str,
) -> bool {
    match in_place(guest.filesystem().stat_at(fd, path_flags, path.into())) {
        Ok(stat) => !matches!(
            stat.type_,
            DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink
        ),
        Err(_) => false,
    }
}

fn open_alias(guest: &mut Guest) -> Fs<Resource<Descriptor>> {
    let alias = guest.attempt().alias.as_ref().expect("asked for just now");
    match open_input(&alias.path, &alias.within, alias.follow_links) {
        Ok(file) => {
            let file = WasiFile::new(file, FsPerms::ReadOnly, OpenMode::READ, true);
            guest.opened.add(&file.file)?;
            Ok((Ok(guest.table.push(Descriptor::File(file))?),))
        }
        Err(error) => Ok((Err(ErrorCode::from(&error)),)),
    }
}

fn with_alias<T>(
    guest: &mut Guest,
    look: impl FnOnce(&mut Guest, Resource<Descriptor>) -> FsResult<T>,
) -> Fs<T> {
    match open_alias(guest)?.0 {
        Ok(fd) => {
            let borrowed = Resource::new_borrow(fd.rep());
            let result = look(guest, borrowed);
            guest.table.delete(fd)?;
            convert(guest, result)
        }
        Err(code) => Ok((Err(code),)),
    }
}

fn convert<T>(guest: &mut Guest, result: FsResult<T>) -> Fs<T> {
    Ok((match result {
        Ok(value) => Ok(value),
        Err(error) => Err(guest.filesystem().convert_error_code(error)?),
    },))
}

/// Runs a file call of wasmtime-wasi, which works in place here and so is ready
/// at its first poll.
fn in_place<T>(call: impl Future<Output = FsResult<T>>) -> FsResult<T> {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorCode::WouldBlock.into()),
    }
}

/// Whether a read reached the end of its file, as far as one can tell: a short
/// read alone may be an error in the middle, or a file system that gives less
/// than was asked for.
fn is_end(file: &File, read: usize, asked: usize, offset: u64) -> bool {
    if read == 0 {
        return asked > 0;
    }
    let size = || rustix::fs::fstat(file).map_or(0, |stat| stat.st_size as u64);
    read < asked && offset + read as u64 == size()
}

/// Reads without filling the buffer with zeroes first.
fn read_at(file: &File, length: usize, offset: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length.min(READ_LIMIT));
    loop {
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), offset) {
            Err(rustix::io::Errno::INTR) => {}
            result => {
                result?;
                bytes.truncate(length);
                return Ok(bytes);
            }
        }
    }
}

struct Reader {
    file: Arc<File>,
    offset: u64,
}

#[async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {}
}

#[async_trait]
impl InputStream for Reader {
    fn read(&mut self, length: usize) -> StreamResult<Bytes> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        match read_at(&self.file, length, self.offset) {
            Ok(bytes) if bytes.is_empty() => Err(StreamError::Closed),
            Ok(bytes) => {
                self.offset += bytes.len() as u64;
                Ok(bytes.into())
            }
            Err(error) => Err(StreamError::LastOperationFailed(error.into())),
        }
    }
}

/// Writes to the end of a file, wherever that is by then: another instance may
/// append to the same.
fn append(file: &File, mut bytes: &[u8]) -> std::io::Result<()> {
    use rustix::io::{Errno, ReadWriteFlags, pwritev2};
    while !bytes.is_empty() {
        match pwritev2(file, &[IoSlice::new(bytes)], 0, ReadWriteFlags::APPEND) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // A kernel or a file system without it.
            Err(Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => {
                return file.write_all_at(bytes, file.metadata()?.len());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Position {
    At(u64),
    End,
}

struct Writer {
    file: Arc<File>,
    position: Position,
    meter: Arc<Meter>,
    closed: bool,
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.closed {
            return Err(StreamError::Closed);
        }
        let length = bytes.len() as u64;
        self.meter.add(length).map_err(|over| StreamError::Trap(over.into()))?;
        let result = match &mut self.position {
            Position::At(offset) => {
                self.file.write_all_at(&bytes, *offset).map(|()| *offset += length)
            }
            Position::End => append(&self.file, &bytes),
        };
        result.map_err(|error| {
            self.closed = true;
            self.meter.note(&error);
            StreamError::LastOperationFailed(error.into())
        })
    }

    fn flush(&mut self) -> StreamResult<()> {
        if self.closed { Err(StreamError::Closed) } else { Ok(()) }
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.closed { Err(StreamError::Closed) } else { Ok(WRITE_LIMIT) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_out_of_reach_by_name() {
        for path in [".tigerflow", "a/.tigerflow/x", "./.tigerflow", "a/../.tigerflow/"] {
            assert!(leads_into_workspace(path), "{path}");
        }
        assert!(!leads_into_workspace("a/.tigerflow.txt"));
    }
}
