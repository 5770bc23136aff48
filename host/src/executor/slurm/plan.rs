//! What a worker must know, as a file beside the component: the run's plan, with
//! every check made.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::protocol::FileName;
use crate::engine::description::Value;
use crate::engine::{Directory, Isolation, Purpose};
use crate::workspace::staging::Durability;

/// A worker's plan. It holds the values of granted environment variables, so its
/// file is the user's own and goes when the run has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerPlan {
    /// The version of tigerflow-host that wrote it.
    pub version: String,
    /// The component's copy.
    #[serde(with = "any_path")]
    pub component: PathBuf,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// Preopened read-only as `/input`.
    #[serde(with = "any_path")]
    pub input_dir: PathBuf,
    /// Where outputs go.
    #[serde(with = "any_path")]
    pub output_dir: PathBuf,
    /// What inputs end in.
    pub input_ext: String,
    /// What outputs end in.
    pub output_ext: String,
    /// Whether links may lead out of the input directory.
    pub follow_links: bool,
    /// What outputs survive.
    pub durability: Durability,
    /// Granted directories.
    #[serde(with = "directories")]
    pub directories: Vec<Directory>,
    /// Granted environment variables, with their values.
    pub environment: Vec<(String, String)>,
    /// Granted hosts, as the user wrote them.
    pub hosts: Vec<String>,
    /// Whether the host's workspace lies in a directory that the guest sees.
    pub workspace_visible: bool,
    /// What `setup` receives.
    pub arguments: Vec<(String, Value)>,
    /// Most memory of an instance, in bytes.
    pub memory_limit: usize,
    /// Most bytes that an attempt may write.
    pub output_limit: u64,
    /// See [`Limits`](crate::engine::network::Limits).
    pub request_timeout: Duration,
    /// See [`Limits`](crate::engine::network::Limits).
    pub response_limit: u64,
    /// Most time for an attempt.
    pub timeout: Option<Duration>,
    /// Most time for `setup`.
    pub setup_timeout: Option<Duration>,
    /// When an attempt that failed is made again.
    pub retry: crate::schedule::RetryPolicy,
    /// Limits that it shares with what else runs on its node: names and numbers.
    pub labels: Vec<(String, u32)>,
    /// Most files in flight.
    pub concurrency: usize,
    /// Most instances of an asynchronous task.
    pub instances: usize,
    /// What the task is loaded for.
    pub purpose: Purpose,
    /// What has instances of its own.
    pub isolation: Isolation,
    /// When a worker leaves that has nothing to do.
    pub idle_timeout: Duration,
    /// What Slurm was asked for: workers of another job are another run's.
    pub job: String,
    /// Its job's wall time, where that is known.
    pub wall_time: Option<Duration>,
}

impl WorkerPlan {
    /// A short digest: workers of another plan are not this run's.
    pub fn digest(&self) -> String {
        let bytes = serde_json::to_vec(self).expect("a plan is plain data");
        crate::engine::digest(&bytes)[..12].into()
    }

    /// Writes it to `path`, for this user's eyes only.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let temporary = path.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_data()?;
        fs::rename(&temporary, path)
    }

    /// Reads it.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }
}

/// Paths, which need not be UTF-8.
mod any_path {
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::FileName;

    pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        FileName::from(path.as_os_str()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(OsString::from(FileName::deserialize(from)?).into())
    }
}

/// Granted directories, by paths of any kind.
mod directories {
    use std::ffi::OsString;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Directory, FileName};

    type Plain = (FileName, String, bool);

    pub(super) fn serialize<S: Serializer>(all: &[Directory], to: S) -> Result<S::Ok, S::Error> {
        let plain = |d: &Directory| -> Plain {
            (d.host_path.as_os_str().into(), d.guest_path.clone(), d.writable)
        };
        all.iter().map(plain).collect::<Vec<_>>().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Directory>, D::Error> {
        let directory = |(host_path, guest_path, writable): Plain| Directory {
            host_path: OsString::from(host_path).into(),
            guest_path,
            writable,
        };
        Ok(Vec::<Plain>::deserialize(from)?.into_iter().map(directory).collect())
    }
}
