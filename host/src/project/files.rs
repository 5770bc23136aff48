//! The SDKs and templates that are in this binary.

use std::path::Path;

use rust_embed::Embed;

use super::{Language, ProjectError, temporary_directory};

/// `guest-sdk/`, without what is built or tested there.
#[derive(Embed)]
#[folder = "../guest-sdk"]
#[exclude = "*/examples/*"]
#[exclude = "rust/tests/*"]
#[exclude = "python/tests/*"]
#[exclude = "js/tests/*"]
#[exclude = "*/node_modules/*"]
#[exclude = "*/__pycache__/*"]
#[exclude = "*/target/*"]
#[exclude = "*.wasm"]
struct Sdks;

const TEMPLATE: &str = "template/";

/// The files of an SDK: their paths in it, and what they hold.
pub fn sdk(language: Language) -> impl Iterator<Item = (String, Vec<u8>)> {
    under(language).filter(|(path, _)| !path.starts_with(TEMPLATE))
}

/// The files of a new project, with placeholders in them.
pub fn template(language: Language) -> impl Iterator<Item = (String, Vec<u8>)> {
    under(language)
        .filter_map(|(path, bytes)| Some((path.strip_prefix(TEMPLATE)?.to_owned(), bytes)))
}

fn under(language: Language) -> impl Iterator<Item = (String, Vec<u8>)> {
    let folder = format!("{}/", language.folder());
    Sdks::iter().filter_map(move |path| {
        let rest = path.strip_prefix(&folder)?.to_owned();
        Some((rest, Sdks::get(&path)?.data.into_owned()))
    })
}

/// Writes files into a directory, which need not be there.
pub fn write(
    files: impl Iterator<Item = (String, Vec<u8>)>,
    directory: &Path,
) -> Result<(), ProjectError> {
    for (path, bytes) in files {
        let place = directory.join(path);
        let folder = place.parent().unwrap_or(directory);
        std::fs::create_dir_all(folder).map_err(ProjectError::file("create", folder))?;
        std::fs::write(&place, bytes).map_err(ProjectError::file("write", &place))?;
    }
    Ok(())
}

/// The SDK of a language on the disk, for tools that read it: the one in the
/// project, or this binary's, in a directory that goes with what is returned.
pub fn sdk_directory(
    language: Language,
    project: Option<&Path>,
) -> Result<SdkDirectory, ProjectError> {
    if let Some(own) = project.map(|project| project.join("sdk")).filter(|sdk| sdk.is_dir()) {
        return Ok(SdkDirectory::Own(own));
    }
    let temporary = temporary_directory()?;
    write(sdk(language), temporary.path())?;
    Ok(SdkDirectory::Temporary(temporary))
}

/// Where an SDK is.
pub enum SdkDirectory {
    Own(std::path::PathBuf),
    Temporary(tempfile::TempDir),
}

impl SdkDirectory {
    pub fn path(&self) -> &Path {
        match self {
            SdkDirectory::Own(path) => path,
            SdkDirectory::Temporary(directory) => directory.path(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_built_is_in_an_sdk() {
        for path in Sdks::iter() {
            let bad = ["/target/", "/node_modules/", "__pycache__", ".wasm", "/examples/"];
            assert!(!bad.iter().any(|part| path.contains(part)), "{path}");
        }
    }

    #[test]
    fn a_template_has_a_task_a_sample_and_words_on_both() {
        use clap::ValueEnum;
        for language in Language::value_variants() {
            let paths: Vec<String> = template(*language).map(|(path, _)| path).collect();
            for path in ["README.md", ".gitignore", "samples/world.txt"] {
                assert!(paths.iter().any(|p| p == path), "{language:?}: {path}");
            }
        }
    }

    #[test]
    fn the_interface_comes_with_each_sdk_that_builds_from_it() {
        assert!(sdk(Language::Rust).any(|(path, _)| path == "wit/task.wit"));
    }
}
