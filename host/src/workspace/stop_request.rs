//! A request to stop, for a run that no signal reaches: it is on another machine,
//! or of another user.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::lock::Owner;

/// A request to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequest {
    /// The run that is meant. Another one may be at work when it is read.
    pub to: Owner,
    /// The machine that it was made on.
    pub from: String,
    /// Whether to leave what is in flight.
    pub now: bool,
}

impl StopRequest {
    /// Leaves it at `path`, whole at once, in the place of an earlier one.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let temporary = path.with_extension("new");
        fs::write(&temporary, serde_json::to_vec(self)?)?;
        fs::rename(&temporary, path)
    }

    /// Takes the one at `path` away, if there is one. One that cannot be read is
    /// none.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        fs::remove_file(path)?;
        Ok(serde_json::from_slice(&bytes).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stop");
        assert_eq!(StopRequest::take(&path).unwrap(), None);
        let request = StopRequest { to: Owner::current(), from: "here".into(), now: true };
        request.write(&path).unwrap();
        assert_eq!(StopRequest::take(&path).unwrap(), Some(request));
        fs::write(&path, "").unwrap();
        assert_eq!(StopRequest::take(&path).unwrap(), None);
        assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
    }
}
