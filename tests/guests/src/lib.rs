//! Each file beside this one is a guest of its own; see `Cargo.toml`.
