//! How input, output and `.err` files are paired: by **stem**, the input's name
//! less the input extension.
//!
//! Names are bytes, as the file system has them. They become text in two places
//! only: [`shown`] for people, [`guest_name`] for the task.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::str::FromStr;

use crate::text::one_line;

/// The extension of the files that say why an input failed.
pub const ERROR_EXTENSION: &str = ".err";

/// The longest file name that Linux's file systems take, in bytes.
pub const NAME_MAX: usize = 255;

/// A file extension with its dots: `.txt`, `.tar.gz`.
///
/// One or more groups of a dot and letters, digits or `_`. Compared byte by
/// byte, so `.TXT` is not `.txt`. `.err` is reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension(String);

/// Why a text is no [`Extension`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExtensionError {
    /// The leading dot is missing.
    #[error("an extension begins with a dot: write `.{0}`")]
    NoDot(String),
    /// A character that no extension has, or an empty group.
    #[error("an extension is dots and letters, digits or `_`, as `.txt` or `.tar.gz`")]
    Malformed,
    /// `.err` says why a file failed, so it can be neither input nor output.
    #[error("`.err` is reserved for the files that say why an input failed")]
    Reserved,
}

impl FromStr for Extension {
    type Err = ExtensionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |group: &str| {
            !group.is_empty() && group.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        match text.strip_prefix('.') {
            None if text.split('.').all(word) => Err(ExtensionError::NoDot(text.into())),
            None => Err(ExtensionError::Malformed),
            Some(rest) if !rest.split('.').all(word) => Err(ExtensionError::Malformed),
            Some(_) if text.ends_with(ERROR_EXTENSION) => Err(ExtensionError::Reserved),
            Some(_) => Ok(Extension(text.into())),
        }
    }
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Extension {
    /// The extension with its dots.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The input and the output extension of a run, and the names that follow.
#[derive(Clone, Debug)]
pub struct Pairing {
    /// What an input's name ends in.
    pub input: Extension,
    /// What its output's name ends in.
    pub output: Extension,
}

impl Pairing {
    /// The stem of an input's name; `None` for a name that is no input: one
    /// that does not end in the extension, or that is nothing but it.
    pub fn stem<'a>(&self, input: &'a OsStr) -> Option<&'a OsStr> {
        strip(input, self.input.as_str())
    }

    /// The stem of an output's name.
    pub fn stem_of_output<'a>(&self, output: &'a OsStr) -> Option<&'a OsStr> {
        strip(output, self.output.as_str())
    }

    /// The stem of an `.err` file's name.
    pub fn stem_of_error<'a>(&self, error: &'a OsStr) -> Option<&'a OsStr> {
        strip(error, ERROR_EXTENSION)
    }

    /// The input's name for this stem.
    pub fn input_name(&self, stem: &OsStr) -> OsString {
        join(stem, self.input.as_str())
    }

    /// The output's name for this stem.
    pub fn output_name(&self, stem: &OsStr) -> OsString {
        join(stem, self.output.as_str())
    }

    /// The `.err` file's name for this stem.
    pub fn error_name(&self, stem: &OsStr) -> OsString {
        join(stem, ERROR_EXTENSION)
    }

    /// Whether the names that follow from this stem fit a file system.
    pub fn fits(&self, stem: &OsStr) -> bool {
        let longest = self.output.as_str().len().max(ERROR_EXTENSION.len());
        stem.len() + longest <= NAME_MAX
    }

    /// Whether an output, put into the input directory, would be an input
    /// again: the chain would never end.
    pub fn feeds_itself(&self) -> bool {
        self.output.as_str().ends_with(self.input.as_str())
    }
}

fn strip<'a>(name: &'a OsStr, extension: &str) -> Option<&'a OsStr> {
    let stem = name.as_bytes().strip_suffix(extension.as_bytes())?;
    (!stem.is_empty()).then(|| OsStr::from_bytes(stem))
}

fn join(stem: &OsStr, extension: &str) -> OsString {
    let mut name = Vec::with_capacity(stem.len() + extension.len());
    name.extend_from_slice(stem.as_bytes());
    name.extend_from_slice(extension.as_bytes());
    OsString::from_vec(name)
}

/// A name as logs and messages show it: on one line, whatever is in it.
pub fn shown(name: &OsStr) -> String {
    one_line(&name.to_string_lossy()).into_owned()
}

/// The name of a file of this stem as the task sees it. Paths in WASI are
/// Unicode, so what is not UTF-8 in a stem becomes U+FFFD, and what is too long
/// then is cut; the host opens the real file when the task asks for that name.
pub fn guest_name(stem: &OsStr, extension: &Extension) -> String {
    let stem = stem.to_string_lossy();
    let room = NAME_MAX.saturating_sub(extension.as_str().len());
    format!("{}{extension}", &stem[..stem.floor_char_boundary(room)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairing(input: &str, output: &str) -> Pairing {
        Pairing { input: input.parse().unwrap(), output: output.parse().unwrap() }
    }

    #[test]
    fn extensions_are_checked() {
        for good in [".txt", ".tar.gz", ".a_1"] {
            assert!(good.parse::<Extension>().is_ok(), "{good}");
        }
        assert_eq!("txt".parse::<Extension>(), Err(ExtensionError::NoDot("txt".into())));
        for bad in ["", ".", "..txt", ".t-t", ".txt.", "*.txt", ". txt", ".ü"] {
            assert_eq!(bad.parse::<Extension>(), Err(ExtensionError::Malformed), "{bad}");
        }
        assert_eq!(".err".parse::<Extension>(), Err(ExtensionError::Reserved));
        assert_eq!(".a.err".parse::<Extension>(), Err(ExtensionError::Reserved));
    }

    #[test]
    fn a_name_that_is_only_the_extension_is_no_input() {
        let p = pairing(".txt", ".json");
        assert_eq!(p.stem(OsStr::new(".txt")), None);
        assert_eq!(p.stem(OsStr::new("..txt")), Some(OsStr::new(".")));
        assert_eq!(p.stem(OsStr::new("a.tar.txt")), Some(OsStr::new("a.tar")));
        assert_eq!(p.stem(OsStr::new("a.TXT")), None);
    }

    #[test]
    fn a_guests_name_fits_a_file_system() {
        let extension = ".txt".parse().unwrap();
        assert_eq!(guest_name(OsStr::new("größe 1"), &extension), "größe 1.txt");
        let odd = OsString::from_vec(vec![0xff; 150]);
        let name = guest_name(&odd, &extension);
        assert!(name.len() <= NAME_MAX && name.ends_with("\u{fffd}.txt"));
    }

    #[test]
    fn an_output_that_is_an_input_again_is_seen() {
        assert!(pairing(".txt", ".txt").feeds_itself());
        assert!(pairing(".txt", ".out.txt").feeds_itself());
        assert!(!pairing(".out.txt", ".txt").feeds_itself());
    }

    proptest! {
        #[test]
        fn pairing_is_one_to_one(stem in proptest::collection::vec(1u8..=255, 1..40)) {
            prop_assume!(!stem.contains(&b'/'));
            let p = pairing(".tar.gz", ".json");
            let stem = OsString::from_vec(stem);
            let (input, output) = (p.input_name(&stem), p.output_name(&stem));
            let error = p.error_name(&stem);
            prop_assert_eq!(p.stem(&input), Some(stem.as_os_str()));
            prop_assert_eq!(p.stem_of_output(&output), Some(stem.as_os_str()));
            prop_assert_eq!(p.stem_of_error(&error), Some(stem.as_os_str()));
        }
    }
}
