//! Where things lie in this checkout.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use anyhow::{Context, Result};

static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    // Cargo sets it anew at each `cargo run`; the one from compile time would be stale in a checkout that was moved.
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest).parent().expect("xtask lies in the checkout").to_path_buf()
});

/// The checkout.
pub fn root() -> &'static Path {
    &ROOT
}

/// `PATH` in the checkout.
pub fn path(path: impl AsRef<Path>) -> PathBuf {
    root().join(path)
}

/// What `cargo xtask setup` installs, all of it; git ignores it.
pub fn tools() -> PathBuf {
    path(".tools")
}

/// Cargo's target directory for the host, whatever `CARGO_TARGET_DIR` says: tests and people look for the binary here.
pub fn target() -> PathBuf {
    path("target")
}

/// Cargo's target directory for every guest: apart from the host's, so that neither waits for the other's lock.
pub fn guest_target() -> PathBuf {
    target().join("guests")
}

/// Finished plugins, as `NAME.wasm`.
pub fn components() -> PathBuf {
    target().join("components")
}

/// Finished test guests, as `NAME.wasm`.
pub fn test_components() -> PathBuf {
    components().join("guests")
}

/// The host's binary.
pub fn host_binary() -> PathBuf {
    target().join("release").join("tigerflow-host")
}

/// `path` as a person in the checkout would type it.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Copies `from` to `to` unless both have the same content: a component's digest and time of change stay what they were.
pub fn copy_if_changed(from: &Path, to: &Path) -> Result<bool> {
    let new = fs::read(from).with_context(|| format!("could not read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(false);
    }
    let folder = to.parent().expect("a file has a folder");
    fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    // By rename: a host that runs this component goes on with the file it opened.
    let partial = to.with_extension("partial");
    fs::write(&partial, new)
        .and_then(|()| fs::rename(&partial, to))
        .with_context(|| format!("could not write {}", to.display()))?;
    Ok(true)
}

/// Removes a folder and all in it; nothing there is fine.
pub fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("could not remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The files in `folder` whose names end in `.EXTENSION`, sorted.
pub fn files_with_extension(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("could not list {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension() == Some(OsStr::new(extension)))
        .collect();
    files.sort();
    Ok(files)
}
