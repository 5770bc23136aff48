//! Go: the one on PATH, or a toolchain from Go's module proxy.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use crate::{
    process::{self, step},
    repo,
};

/// The first release whose wasip1 code the SDK's bindings work with.
const OLDEST: (u32, u32) = (1, 26);
/// What is installed where there is none.
const VERSION: &str = "1.26.8";

/// A Go that builds tasks.
pub fn go() -> Result<()> {
    step("Go", || {
        if let Some(version) = version("go") {
            return Ok(((), version));
        }
        let own = folder().join("bin/go");
        if let Some(version) = version(&own.to_string_lossy()) {
            return Ok(((), format!("{version} in {}", repo::shown(&folder()))));
        }
        install()?;
        Ok(((), format!("go{VERSION} installed in {}", repo::shown(&folder()))))
    })
}

/// Where it is installed.
pub fn folder() -> PathBuf {
    repo::tools().join("go")
}

/// The version of a Go that is new enough.
fn version(program: &str) -> Option<String> {
    let printed = process::output(process::command(program).args(["env", "GOVERSION"])).ok()?;
    let version = printed.trim().to_owned();
    (number(&version)? >= OLDEST).then_some(version)
}

/// `go1.26.8` as (1, 26).
fn number(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("go")?.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Go's toolchains are modules, and so come from the proxy that modules come from.
fn install() -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!("tasks in Go need Go 1.26 or newer on PATH; install it and try again");
    }
    let proxies = std::env::var("GOPROXY").unwrap_or_default();
    let proxy = proxies
        .split([',', '|'])
        .find(|word| word.starts_with("http"))
        .unwrap_or("https://proxy.golang.org");
    let name = format!("v0.0.1-go{VERSION}.linux-amd64");
    let url = format!("{}/golang.org/toolchain/@v/{name}.zip", proxy.trim_end_matches('/'));
    let partial = repo::tools().join("go.partial");
    repo::remove_dir(&partial)?;
    fs::create_dir_all(&partial).context("could not create .tools/go.partial")?;
    let script = "import io, sys, urllib.request, zipfile; \
                  zipfile.ZipFile(io.BytesIO(urllib.request.urlopen(sys.argv[1]).read())).extractall(sys.argv[2])";
    let mut python = process::command("python3");
    process::quietly(python.args(["-c", script, &url]).arg(&partial)).with_context(|| {
        format!("there is no Go 1.26 or newer on PATH, and {url} could not be had")
    })?;
    let unpacked = partial.join(format!("golang.org/toolchain@{name}"));
    // A zip file does not say what is a program.
    let mut chmod = process::command("sh");
    process::quietly(chmod.args(["-c", "chmod -R +x bin pkg/tool"]).current_dir(&unpacked))?;
    repo::remove_dir(&folder())?;
    fs::rename(&unpacked, folder()).context("could not move Go to .tools/go")?;
    repo::remove_dir(&partial)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn versions_are_read() {
        assert_eq!(number("go1.26.8"), Some((1, 26)));
        assert_eq!(number("go1.27rc1"), Some((1, 27)));
        assert_eq!(number("devel"), None);
    }
}
