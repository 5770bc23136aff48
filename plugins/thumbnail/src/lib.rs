//! Small pictures of large ones: decodes, turns upright, scales, encodes.

mod picture;

use tigerflow_task::prelude::*;

use crate::picture::{Format, Shape, thumbnail};

/// The context: how every thumbnail looks.
struct Thumbnail {
    shape: Shape,
    format: Option<Format>,
}

#[derive(Params)]
struct Options {
    /// The greatest width, in pixels
    #[param(default = 320)]
    width: u32,
    /// The greatest height, in pixels
    #[param(default = 320)]
    height: u32,
    /// The format to write; without it, the one that --output-ext names
    format: Option<Format>,
    /// The quality of a JPEG, from 1 to 100
    #[param(default = 85)]
    quality: u8,
    /// Make small pictures larger, too
    enlarge: bool,
}

impl Task for Thumbnail {
    type Params = Options;

    fn about() -> About {
        // A photograph of 100 megapixels takes 300 MB when decoded.
        About::new().option("memory-limit", "1G")
    }

    fn setup(options: Options) -> Result<Self> {
        if options.width == 0 || options.height == 0 {
            bail!("`--width` and `--height` must be at least 1 pixel");
        }
        if !(1..=100).contains(&options.quality) {
            bail!("`--quality` must be from 1 to 100, not {}", options.quality);
        }
        Ok(Thumbnail {
            shape: Shape {
                width: options.width,
                height: options.height,
                quality: options.quality,
                enlarge: options.enlarge,
            },
            format: options.format,
        })
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let format = match self.format {
            Some(format) => format,
            None => Format::of(output).with_context(|| {
                format!(
                    "`{}` names no format to write; give `--format` or an `--output-ext` of {}",
                    output.name(),
                    Format::NAMES.join(", "),
                )
            })?,
        };
        let large = input.read()?;
        let small = thumbnail(&large, &self.shape, format)
            .with_context(|| format!("cannot make a thumbnail of `{}`", input.name()))?;
        output.write(small)
    }
}

export_task!(Thumbnail);
