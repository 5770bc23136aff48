//! Upper-cases ASCII, sixteen bytes at a time where the machine is WebAssembly.

use tigerflow_task::prelude::*;

struct Simd;

impl Task for Simd {
    type Params = ();

    fn setup(_: ()) -> Result<Self> {
        Ok(Simd)
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let mut text = input.read()?;
        let (sixteens, rest) = text.as_chunks_mut();
        for sixteen in sixteens {
            upper(sixteen);
        }
        rest.make_ascii_uppercase();
        output.write(text)
    }
}

#[cfg(target_family = "wasm")]
#[target_feature(enable = "simd128")]
fn upper(bytes: &mut [u8; 16]) {
    use core::arch::wasm32::{
        u8x16_ge, u8x16_le, u8x16_splat, u8x16_sub, v128_and, v128_load, v128_store,
    };
    let place = bytes.as_mut_ptr().cast();
    // SAFETY: the place is 16 bytes long, and vectors need no alignment.
    let text = unsafe { v128_load(place) };
    let lower = v128_and(u8x16_ge(text, u8x16_splat(b'a')), u8x16_le(text, u8x16_splat(b'z')));
    let changed = u8x16_sub(text, v128_and(lower, u8x16_splat(b'a' - b'A')));
    // SAFETY: as above.
    unsafe { v128_store(place, changed) };
}

#[cfg(not(target_family = "wasm"))]
fn upper(bytes: &mut [u8; 16]) {
    bytes.make_ascii_uppercase();
}

export_task!(Simd);
