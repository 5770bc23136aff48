//! The SDKs are part of the binary: a file that comes or goes there is a change.

fn main() {
    println!("cargo:rerun-if-changed=../guest-sdk");
    println!("cargo:rerun-if-changed=../wit");
}
