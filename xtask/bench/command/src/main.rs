//! Upper-cases `/in/NAME` to `/out/NAME`: what a person would run with `wasmtime run` for each file.

use std::{env, fs, io};

fn main() -> io::Result<()> {
    let name = env::args().nth(1).expect("a file's name is given");
    let mut text = fs::read(format!("/in/{name}"))?;
    text.make_ascii_uppercase();
    // The output appears when it is whole.
    let temporary = format!("/out/.{name}");
    fs::write(&temporary, text)?;
    fs::rename(temporary, format!("/out/{name}"))
}
