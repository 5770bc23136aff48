//! From the bytes of one picture to the bytes of its thumbnail.

use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::imageops::FilterType;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageReader, ImageResult, Rgb,
    RgbImage,
};
use tigerflow_task::Choice;

/// What can be written.
#[derive(Choice, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Jpeg,
    Png,
    /// Without loss.
    Webp,
}

impl Format {
    /// The format that a file's extension names.
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match &*extension {
            "jpg" => Some(Self::Jpeg),
            name => Self::from_name(name),
        }
    }
}

/// How a thumbnail looks.
pub struct Shape {
    /// The greatest width, in pixels; at least 1.
    pub width: u32,
    /// The greatest height, in pixels; at least 1.
    pub height: u32,
    /// The quality of a JPEG, from 1 to 100.
    pub quality: u8,
    /// Whether small pictures become larger.
    pub enlarge: bool,
}

/// Makes a thumbnail. The picture's format is what its first bytes say.
///
/// # Errors
/// Where the picture cannot be decoded.
pub fn thumbnail(large: &[u8], shape: &Shape, format: Format) -> ImageResult<Vec<u8>> {
    let mut decoder = ImageReader::new(Cursor::new(large)).with_guessed_format()?.into_decoder()?;
    // Cameras do not turn the pixels, but note how the picture was held.
    let orientation = decoder.orientation()?;
    // Without its profile, a picture of a wide colour space looks pale.
    let profile = decoder.icc_profile()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);

    let fits = picture.width() <= shape.width && picture.height() <= shape.height;
    if !fits || shape.enlarge {
        // The slowest filter and the one with the least ringing and blur.
        picture = picture.resize(shape.width, shape.height, FilterType::Lanczos3);
    }
    encode(&picture, profile, shape.quality, format)
}

fn encode(
    picture: &DynamicImage,
    profile: Option<Vec<u8>>,
    quality: u8,
    format: Format,
) -> ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    match format {
        Format::Jpeg => {
            let pixels = on_white(picture);
            let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
            write(encoder, profile, &pixels, picture, ExtendedColorType::Rgb8)?;
        }
        Format::Png => encode_lossless(PngEncoder::new(&mut bytes), profile, picture)?,
        Format::Webp => {
            encode_lossless(WebPEncoder::new_lossless(&mut bytes), profile, picture)?;
        }
    }
    Ok(bytes)
}

fn encode_lossless(
    encoder: impl ImageEncoder,
    profile: Option<Vec<u8>>,
    picture: &DynamicImage,
) -> ImageResult<()> {
    if picture.color().has_alpha() {
        let pixels = picture.to_rgba8();
        write(encoder, profile, &pixels, picture, ExtendedColorType::Rgba8)
    } else {
        let pixels = picture.to_rgb8();
        write(encoder, profile, &pixels, picture, ExtendedColorType::Rgb8)
    }
}

fn write(
    mut encoder: impl ImageEncoder,
    profile: Option<Vec<u8>>,
    pixels: &[u8],
    picture: &DynamicImage,
    color: ExtendedColorType,
) -> ImageResult<()> {
    if let Some(profile) = profile {
        // A format that cannot hold one still shows the picture.
        let _ = encoder.set_icc_profile(profile);
    }
    encoder.write_image(pixels, picture.width(), picture.height(), color)
}

/// A JPEG has no transparency: what was transparent becomes white, where
/// dropping the alpha channel would show whatever colour lies under it.
fn on_white(picture: &DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.to_rgb8();
    }
    let picture = picture.to_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0;
        let blend = |channel: u8| {
            let (channel, alpha) = (u32::from(channel), u32::from(alpha));
            // At most 255, since the weights add up to 255.
            ((channel * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        };
        Rgb([red, green, blue].map(blend))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageFormat, Rgba, RgbaImage, load_from_memory};

    const SHAPE: Shape = Shape { width: 32, height: 32, quality: 85, enlarge: false };

    fn picture(width: u32, height: u32, pixel: [u8; 4]) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        RgbaImage::from_pixel(width, height, Rgba(pixel))
            .write_to(&mut bytes, ImageFormat::Png)
            .unwrap();
        bytes.into_inner()
    }

    #[test]
    fn keeps_the_proportions_in_each_format() {
        let large = picture(200, 100, [200, 30, 30, 255]);
        for (format, guess) in [
            (Format::Jpeg, ImageFormat::Jpeg),
            (Format::Png, ImageFormat::Png),
            (Format::Webp, ImageFormat::WebP),
        ] {
            let small = thumbnail(&large, &SHAPE, format).unwrap();
            assert_eq!(image::guess_format(&small).unwrap(), guess);
            let small = load_from_memory(&small).unwrap().to_rgb8();
            assert_eq!(small.dimensions(), (32, 16));
            let [red, green, _] = small.get_pixel(5, 5).0;
            assert!(red > 190 && green < 40, "{format:?}: {red} {green}");
        }
    }

    #[test]
    fn small_pictures_grow_only_when_asked() {
        let tiny = picture(4, 2, [0, 0, 0, 255]);
        let same = thumbnail(&tiny, &SHAPE, Format::Png).unwrap();
        assert_eq!(load_from_memory(&same).unwrap().width(), 4);
        let shape = Shape { enlarge: true, ..SHAPE };
        let larger = thumbnail(&tiny, &shape, Format::Png).unwrap();
        let larger = load_from_memory(&larger).unwrap();
        assert_eq!((larger.width(), larger.height()), (32, 16));
    }

    #[test]
    fn transparency_stays_or_becomes_white() {
        let glass = picture(50, 50, [0, 0, 0, 0]);
        let png = thumbnail(&glass, &SHAPE, Format::Png).unwrap();
        assert_eq!(load_from_memory(&png).unwrap().to_rgba8().get_pixel(0, 0)[3], 0);
        let jpeg = thumbnail(&glass, &SHAPE, Format::Jpeg).unwrap();
        let white = load_from_memory(&jpeg).unwrap().to_rgb8();
        assert!(white.get_pixel(3, 3).0.iter().all(|channel| *channel > 250));
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        assert!(thumbnail(b"not a picture", &SHAPE, Format::Png).is_err());
        let broken = &picture(50, 50, [1, 2, 3, 255])[..60];
        assert!(thumbnail(broken, &SHAPE, Format::Png).is_err());
    }

    #[test]
    fn extensions_name_formats() {
        assert_eq!(Format::of(Path::new("/output/a.JPG")), Some(Format::Jpeg));
        assert_eq!(Format::of(Path::new("/output/a.b.webp")), Some(Format::Webp));
        assert_eq!(Format::of(Path::new("/output/a.txt")), None);
    }
}
