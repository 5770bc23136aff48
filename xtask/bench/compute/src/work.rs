//! What the task and the native program do: the same source for both.

use std::fmt::Write as _;
use std::io::{Read, Result, Write};

use sha2::{Digest, Sha256};

#[path = "../../words/rust/src/words.rs"]
mod words;

/// How much of a stream is in memory.
const BUFFER: usize = 1 << 20;

/// 64-bit FNV-1a, byte by byte: one multiplication waits for the one before.
pub fn fnv1a(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}\n")
}

/// The most frequent words, by a hash map.
pub fn words(text: &str) -> String {
    words::count(text)
}

/// SHA-256, as the crate `sha2` has it for the machine.
pub fn sha256(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(65);
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("text grows");
    }
    text + "\n"
}

/// Copies a stream in upper case, ASCII only, one buffer at a time.
pub fn upper(reader: &mut impl Read, writer: &mut impl Write) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = reader.read(&mut buffer)?;
        if length == 0 {
            return writer.flush();
        }
        buffer[..length].make_ascii_uppercase();
        writer.write_all(&buffer[..length])?;
    }
}
