//! Upper-cases ASCII piece by piece: a file of any size in little memory.

use std::io::{Read, Write};

use tigerflow_task::prelude::*;

struct Stream;

impl Task for Stream {
    type Params = ();

    fn about() -> About {
        About::new().name("stream")
    }

    fn setup(_: ()) -> Result<Self> {
        Ok(Stream)
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let (mut reader, mut writer) = (input.open()?, output.create()?);
        let mut piece = vec![0; 64 << 10];
        loop {
            let length = reader.read(&mut piece)?;
            if length == 0 {
                break;
            }
            piece[..length].make_ascii_uppercase();
            writer.write_all(&piece[..length])?;
        }
        writer.flush()?;
        Ok(())
    }
}

export_task!(Stream);
