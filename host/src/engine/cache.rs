//! Compiled components, kept on disk.
//!
//! Compiling takes from 50 ms to seconds; a file that was compiled before is
//! mapped into memory in well under a millisecond. Such a file is machine code:
//! loading it is as trusting as running a program. So the cache is a directory
//! that nobody but the user may write to, and a file that the user hands over
//! must bear a mark of this host and a sound checksum.

// Loading machine code from a file is the one thing that wasmtime cannot check.
#![allow(unsafe_code)]

use std::fs::{self, File, Permissions};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::component::LoadError;
use super::digest;

/// Where the cache lies, if not in the user's cache directory.
pub const CACHE_VARIABLE: &str = "TIGERFLOW_CACHE_DIR";

/// Most bytes that the cache keeps; what was unused for longest goes first. A
/// Python component takes about 60 MB.
const CACHE_LIMIT: u64 = 2 << 30;

/// The end of a precompiled file: `[machine code][note][length of note][MARK]`.
/// At the end, so that the file still begins as wasmtime's own tools expect.
const MARK: &[u8; 8] = b"TFHOST01";

/// What a precompiled file says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// The host that made it.
    host_version: String,
    /// The engine's settings and the CPU that it was made for.
    compatibility: String,
    /// SHA-256 of the component.
    component: String,
    /// SHA-256 of the machine code.
    code: String,
    /// Whether it was made for asynchronous functions.
    #[serde(default)]
    asynchronous: bool,
}

/// What an engine's code depends on, beside the component: wasmtime's version,
/// its settings, the CPU.
fn compatibility(engine: &Engine) -> String {
    // The standard hasher with its fixed keys: stable within one binary, which
    // is all that is asked, as the binary's version is part of the key too.
    #[expect(deprecated, reason = "the only hasher of std with fixed keys")]
    let mut hasher = std::hash::SipHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Compiles a component, or takes it from the cache. Where the cache does not
/// work, also says why.
pub(super) fn load(
    engine: &Engine,
    path: &Path,
    bytes: &[u8],
    digest: &str,
) -> Result<(Component, Option<String>), LoadError> {
    let directory = match directory() {
        Ok(directory) => directory,
        Err(error) => {
            let warning = format!("The task is compiled anew each time: {error:#}");
            return Ok((compile(engine, path, bytes)?, Some(warning)));
        }
    };
    let cached = directory.join(format!("{digest}-{}.cwasm", compatibility(engine)));
    if let Some(component) = open(engine, &cached) {
        return Ok((component, None));
    }
    let component = compile(engine, path, bytes)?;
    if let Err(error) = store(&directory, &cached, &component) {
        let warning = format!(
            "The task is compiled anew each time: failed to keep it as `{}`: {error}",
            cached.display()
        );
        return Ok((component, Some(warning)));
    }
    trim(&directory, CACHE_LIMIT);
    // The mapped file shares its memory with other processes; what was just
    // compiled does not.
    match open(engine, &cached) {
        Some(component) => Ok((component, None)),
        None => {
            let shown = cached.display();
            let warning = format!("The task is compiled anew each time: `{shown}` is in the way");
            Ok((component, Some(warning)))
        }
    }
}

/// Compiles a component.
pub(super) fn compile(engine: &Engine, path: &Path, bytes: &[u8]) -> Result<Component, LoadError> {
    Component::from_binary(engine, bytes)
        .map_err(|error| LoadError::Compile { path: path.into(), reason: format!("{error:#}") })
}

/// The cache's directory, made if need be, and trusted by nobody but the user.
fn directory() -> anyhow::Result<PathBuf> {
    use anyhow::Context;
    let from = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let directory = from(CACHE_VARIABLE)
        .or_else(|| from("XDG_CACHE_HOME").map(|d| d.join("tigerflow-host")))
        .or_else(|| from("HOME").map(|d| d.join(".cache/tigerflow-host")))
        .with_context(|| format!("no cache directory is known (set {CACHE_VARIABLE})"))?;
    make_private(&directory)?;
    Ok(directory)
}

/// Makes a directory, if need be, that nobody but the user can write to.
fn make_private(directory: &Path) -> anyhow::Result<()> {
    use anyhow::Context;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("failed to create `{}`", directory.display()))?;
    let meta = fs::metadata(directory)?;
    if meta.uid() != rustix::process::geteuid().as_raw() {
        anyhow::bail!("`{}` belongs to another user (set {CACHE_VARIABLE})", directory.display());
    }
    if meta.mode() & 0o077 != 0 {
        // It was made by hand, say. What others could have put in goes.
        fs::set_permissions(directory, Permissions::from_mode(0o700))
            .with_context(|| format!("failed to make `{}` private", directory.display()))?;
        for entry in fs::read_dir(directory)?.flatten() {
            if entry.path().extension().is_some_and(|e| e == "cwasm") {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// Puts a compiled component into another cache, for processes that will use
/// that.
pub(super) fn seed(directory: &Path, component: &Component, digest: &str) -> anyhow::Result<()> {
    make_private(directory)?;
    let name = format!("{digest}-{}.cwasm", compatibility(component.engine()));
    let cached = directory.join(name);
    if !cached.exists() {
        store(directory, &cached, component)?;
        trim(directory, CACHE_LIMIT);
    }
    Ok(())
}

fn open(engine: &Engine, cached: &Path) -> Option<Component> {
    let file = File::open(cached).ok()?;
    // SAFETY: the file lies in a directory of mode 0700 that belongs to this
    // user (checked by `directory`), and was put there by `store` alone: it is
    // what this engine compiled. It is replaced by rename, never written to, so
    // a mapping of it does not change.
    let component = unsafe { Component::deserialize_file(engine, cached) };
    match component {
        Ok(component) => {
            // Its age decides what goes first when the cache is full.
            let _ = file.set_modified(SystemTime::now());
            Some(component)
        }
        Err(error) => {
            tracing::debug!("`{}` is compiled again: {error:#}", cached.display());
            let _ = fs::remove_file(cached);
            None
        }
    }
}

fn store(directory: &Path, cached: &Path, component: &Component) -> io::Result<()> {
    let code = component.serialize().map_err(io::Error::other)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(&code)?;
    // A power loss must not leave a name without its content.
    file.as_file().sync_data()?;
    match file.persist_noclobber(cached) {
        // Another process was faster, and may have mapped its file already.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

/// Removes what was unused for longest until the cache is within its limit.
/// Another process may do the same at the same time: a file that is gone is
/// gone, and one that is mapped stays until it is unmapped.
fn trim(directory: &Path, limit: u64) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
        .flatten()
        .filter_map(|e| {
            let meta = e.metadata().ok().filter(|m| m.is_file())?;
            Some((meta.modified().ok()?, meta.len(), e.path()))
        })
        .collect();
    files.sort();
    let mut total: u64 = files.iter().map(|f| f.1).sum();
    for (_, size, path) in files {
        if total <= limit {
            break;
        }
        if fs::remove_file(path).is_ok() {
            total -= size;
        }
    }
}

/// Writes a compiled component to a file of its own. `bytes`: what it was
/// compiled from.
pub(super) fn write_precompiled(
    component: &Component,
    bytes: &[u8],
    asynchronous: bool,
    to: &Path,
) -> Result<(), LoadError> {
    let unfit = |problem: String| LoadError::Unfit { path: to.into(), problem };
    let engine = component.engine();
    let code =
        component.serialize().map_err(|error| unfit(format!("cannot be made: {error:#}")))?;
    let note = Note {
        host_version: env!("CARGO_PKG_VERSION").into(),
        compatibility: compatibility(engine),
        component: digest(bytes),
        code: digest(&code),
        asynchronous,
    };
    let note = serde_json::to_vec(&note).expect("a note is plain data");
    let directory = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.is_dir() {
        let directory = directory.display();
        return Err(unfit(format!("has no directory to lie in: `mkdir -p {directory}` first")));
    }
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory)?;
        file.write_all(&code)?;
        file.write_all(&note)?;
        file.write_all(&(note.len() as u64).to_le_bytes())?;
        file.write_all(MARK)?;
        file.persist(to)?;
        Ok(())
    };
    write().map_err(|cause| unfit(format!("cannot be written: {cause}")))
}

/// Whether these are the bytes of a precompiled file, of this host or of
/// wasmtime's own tools.
pub(super) fn is_precompiled(bytes: &[u8]) -> bool {
    bytes.ends_with(MARK) || Engine::detect_precompiled(bytes).is_some()
}

/// Whether a precompiled file was made for asynchronous functions.
pub(super) fn is_asynchronous(bytes: &[u8]) -> bool {
    split(bytes).is_some_and(|(_, note)| note.asynchronous)
}

/// Loads a precompiled file that the user handed over. Returns the component
/// and the digest of what it was made from.
pub(super) fn load_precompiled(
    engine: &Engine,
    path: &Path,
    bytes: &[u8],
) -> Result<(Component, String), LoadError> {
    let unfit = |problem: String| LoadError::Precompiled { path: path.into(), problem };
    let (code, note) = split(bytes)
        .ok_or_else(|| unfit("is precompiled, but not by `tigerflow-host compile`".into()))?;
    if note.host_version != env!("CARGO_PKG_VERSION") {
        return Err(unfit(format!(
            "was precompiled by tigerflow-host {}, and this is {}",
            note.host_version,
            env!("CARGO_PKG_VERSION")
        )));
    }
    if note.compatibility != compatibility(engine) {
        return Err(unfit("was precompiled for another kind of CPU".into()));
    }
    if note.code != digest(code) {
        return Err(unfit("is damaged".into()));
    }
    // SAFETY: the user runs this file as one runs a program: `--help` says so.
    // That it is whole, and was made by this version of this host with the same
    // settings for this CPU, was checked just now on these very bytes.
    let component = unsafe { Component::deserialize(engine, code) }
        .map_err(|error| unfit(format!("cannot be loaded: {error:#}")))?;
    Ok((component, note.component))
}

fn split(bytes: &[u8]) -> Option<(&[u8], Note)> {
    let rest = bytes.strip_suffix(MARK)?;
    let (rest, length) = rest.split_last_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (code, note) = rest.split_at_checked(rest.len().checked_sub(length)?)?;
    Some((code, serde_json::from_slice(note).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_was_unused_for_longest_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        for (name, age) in [("old", 300), ("new", 100), ("middle", 200)] {
            let file = File::create(directory.path().join(name)).unwrap();
            file.set_len(10).unwrap();
            file.set_modified(now - Duration::from_secs(age)).unwrap();
        }
        let left = || {
            let entries = fs::read_dir(directory.path()).unwrap();
            let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        trim(directory.path(), 30);
        assert_eq!(left().len(), 3);
        trim(directory.path(), 29);
        assert_eq!(left(), ["middle", "new"]);
        trim(directory.path(), 5);
        assert!(left().is_empty());
    }
}
