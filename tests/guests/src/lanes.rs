//! A hostile asynchronous task. Several of its calls share `/output`, each with
//! a directory of its own there, and its input says what it does with those:
//! `link TARGET` puts a symbolic link in place of its own, `file` a file, `gone`
//! nothing, `wipe` removes all others', `steal` takes what others wrote as its
//! own output, `swap` puts the directory of another in place of its own,
//! `leave` fills its own with more than an output; `plant TARGET` makes its
//! output a symbolic link. What says `good …` waits, and writes properly.

use std::ffi::{CString, c_char};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tigerflow_task::prelude::*;
use tigerflow_task::time;

struct Lanes;

impl AsyncTask for Lanes {
    type Params = ();

    fn about() -> About {
        About::new().name("lanes")
    }

    async fn setup(_: ()) -> Result<Self> {
        Ok(Lanes)
    }

    async fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let text = input.read_to_string()?;
        let (word, argument) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let path: &Path = output.as_ref();
        let lane = path.parent().context("a lane")?;
        match word {
            "good" => {
                time::sleep(Duration::from_millis(300)).await;
                return output.write(argument.to_uppercase());
            }
            // What its neighbours do is done first.
            "steal" | "swap" => time::sleep(Duration::from_millis(100)).await,
            _ => {}
        }
        match word {
            "link" => {
                fs::remove_dir(lane)?;
                symlink(argument, lane)?;
            }
            "file" => {
                fs::remove_dir(lane)?;
                fs::write(lane, "a file")?;
            }
            "gone" => fs::remove_dir(lane)?,
            "wipe" => {
                for other in others(lane)? {
                    fs::remove_dir_all(other)?;
                }
                output.write("wiped")?;
            }
            "write" => {
                output.write(argument)?;
                time::sleep(Duration::from_millis(300)).await;
            }
            "steal" => {
                for other in others(lane)? {
                    for entry in fs::read_dir(other)? {
                        fs::rename(entry?.path(), path)?;
                    }
                }
            }
            "swap" => {
                fs::remove_dir(lane)?;
                let other = others(lane)?.pop().context("another lane")?;
                fs::rename(other, lane)?;
            }
            "leave" => {
                fs::create_dir_all(lane.join("deep/er"))?;
                fs::write(lane.join("deep/er/file"), "left")?;
                fs::write(lane.join("another.out"), "left")?;
                symlink("..", &lane.join("link"))?;
                output.write("left")?;
            }
            "plant" => symlink(argument, path)?,
            other => bail!("no such deed: {other}"),
        }
        Ok(())
    }
}

export_async_task!(Lanes);

/// The other directories in `/output`.
fn others(lane: &Path) -> Result<Vec<PathBuf>> {
    let mut others = Vec::new();
    for entry in fs::read_dir("/output")? {
        let path = entry?.path();
        if path != lane {
            others.push(path);
        }
    }
    others.sort();
    Ok(others)
}

/// `std` has no symbolic links for WASI yet.
fn symlink(target: &str, link: &Path) -> Result<()> {
    unsafe extern "C" {
        fn symlink(target: *const c_char, link: *const c_char) -> i32;
    }
    let target = CString::new(target)?;
    let link = CString::new(link.to_str().context("not UTF-8")?)?;
    // SAFETY: both are C strings that live as long as the call.
    match unsafe { symlink(target.as_ptr(), link.as_ptr()) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}
