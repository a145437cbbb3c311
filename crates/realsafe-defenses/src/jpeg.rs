//! JPEG compression: encodes and decodes every image with a codec.
//!
//! ## What it does
//! Rounds pixels to 8 bits, encodes them at `quality` and decodes the result. Colour images are subsampled 4:2:0 by
//! default, as most encoders do, by the means of four pixels. Images need one or three channels. What comes out is within two
//! steps of 8 bits of what libjpeg makes of a picture; where colours are subsampled, within one on average and ten at most.
//!
//! ## What an attacker sees
//! A codec has no useful derivative: `exact` is zero almost everywhere. The default is `identity` (BPDA).
//!
//! ## References
//! Dziugaite, Ghahramani, Roy: A Study of the Effect of JPG Compression on Adversarial Images, 2016 (arXiv:1608.00853);
//! Guo, Rana, Cisse, van der Maaten: Countering Adversarial Images Using Input Transformations, ICLR 2018
//! (arXiv:1711.00117). Broken by Athalye, Carlini, Wagner, ICML 2018 (arXiv:1802.00420).

use burn::tensor::{Tensor, TensorData};
use image::ImageFormat;
use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};
use realsafe_core::{Defense, DefenseEntry, Draws, Stop, inventory, read};
use realsafe_plan::{Component, DefenseTraits, Fallback, GradientMode, Origin, Parameter, ParameterKind, Traits};

struct Jpeg {
    quality: u8,
    sampling: SamplingFactor,
}

impl Jpeg {
    /// Encodes and decodes one image of planes.
    fn compress(&self, planes: &[f32], channels: usize, height: usize, width: usize) -> Vec<f32> {
        let size = height * width;
        // NaN becomes 0 here and is found by the verification of the image that the attack returned.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let byte = |value: f32| (value * 255.0).round() as u8;
        let pixels: Vec<u8> =
            (0..size).flat_map(|at| (0..channels).map(move |c| byte(planes[c * size + at]))).collect();
        let mut encoded = Vec::new();
        let mut encoder = Encoder::new(&mut encoded, self.quality);
        encoder.set_sampling_factor(self.sampling);
        encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
        let color = if channels == 1 { ColorType::Luma } else { ColorType::Rgb };
        let side = |length: usize| u16::try_from(length).expect("JPEG images have fewer than 65,536 rows and columns");
        encoder.encode(&pixels, side(width), side(height), color).expect("the buffer fits the image");
        let decoded = image::load_from_memory_with_format(&encoded, ImageFormat::Jpeg).expect("it was just encoded");
        let decoded = if channels == 1 { decoded.into_luma8().into_raw() } else { decoded.into_rgb8().into_raw() };
        (0..channels)
            .flat_map(|c| decoded.iter().skip(c).step_by(channels))
            .map(|byte| f32::from(*byte) / 255.0)
            .collect()
    }
}

impl Defense for Jpeg {
    fn forward(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        let [n, channels, height, width] = images.dims();
        let device = images.device();
        let pixels = read(images)?;
        let compressed = pixels.chunks_exact(channels * height * width);
        let compressed = compressed.flat_map(|image| self.compress(image, channels, height, width)).collect();
        Ok(Tensor::from_data(TensorData::new::<f32, _>(compressed, [n, channels, height, width]), &device))
    }

    fn backward(&self, _: Tensor<4>, cotangent: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        Ok(cotangent.zeros_like())
    }
}

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "jpeg",
            revision: 2,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("jpeg.rs"),
            parameters: &[
                Parameter {
                    name: "quality",
                    kind: ParameterKind::Count { minimum: 1, maximum: 100 },
                    unit: "",
                    fallback: Fallback::Value("75"),
                    documentation: "The quality of the encoder, from 1 (worst) to 100.",
                },
                Parameter {
                    name: "subsampling",
                    kind: ParameterKind::Choice(&["4:2:0", "4:4:4"]),
                    unit: "",
                    fallback: Fallback::Value("4:2:0"),
                    documentation: "Whether colour is kept at half the resolution or at the full one.",
                },
            ],
            example: "quality = 75",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Identity, GradientMode::Exact, GradientMode::Blocked],
                output: |_, shape| match shape[0] {
                    1 | 3 => Ok(shape),
                    channels => Err(format!("it takes images of one or three channels, not {channels}")),
                },
                ..DefenseTraits::PLAIN
            }),
        },
        build: &|values, _| Ok(Box::new(Jpeg {
            quality: u8::try_from(values.count("quality")).unwrap_or(100),
            sampling: if values.text("subsampling") == "4:4:4" { SamplingFactor::R_4_4_4 } else { SamplingFactor::R_4_2_0 },
        })),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::shared::reference::reference;

    /// How far what is made of a picture is from what libjpeg makes of it, in steps of 8 bits: on average, and at most.
    fn from_libjpeg(quality: u8, sampling: SamplingFactor, grey: bool, name: &str) -> (f32, f32) {
        let picture: Vec<f32> = reference("jpeg-image").into_iter().map(|byte| byte / 255.0).collect();
        let (channels, picture) = if grey { (1, &picture[560..1120]) } else { (3, &picture[..]) };
        let found = Jpeg { quality, sampling }.compress(picture, channels, 20, 28);
        let away: Vec<f32> = found.iter().zip(reference(name)).map(|(a, b)| (255.0 * a - b).abs()).collect();
        (away.iter().sum::<f32>() / away.len() as f32, away.into_iter().fold(0.0, f32::max))
    }

    #[test]
    fn it_is_near_what_libjpeg_makes_of_a_picture() {
        for (quality, sampling, grey, name) in [
            (75, SamplingFactor::R_4_2_0, true, "jpeg-75-grey"),
            (75, SamplingFactor::R_4_4_4, false, "jpeg-75-444"),
            (75, SamplingFactor::R_4_2_0, false, "jpeg-75-420"),
            (30, SamplingFactor::R_4_2_0, false, "jpeg-30-420"),
        ] {
            let (mean, most) = from_libjpeg(quality, sampling, grey, name);
            let near = if name.ends_with("420") { (1.0, 10.0) } else { (0.05, 2.0) };
            assert!(mean <= near.0 && most <= near.1, "{name}: {mean} {most}");
        }
    }

    fn smooth(channels: usize) -> Tensor<4> {
        let pixels: Vec<f32> = (0..channels * 256).map(|at| (at % 16) as f32 / 32.0 + 0.25).collect();
        Tensor::from_data(TensorData::new(pixels, [1, channels, 16, 16]), &Device::flex())
    }

    #[test]
    fn high_quality_keeps_a_smooth_image_and_low_quality_does_not() {
        for channels in [1, 3] {
            let error = |quality| {
                let jpeg = Jpeg { quality, sampling: SamplingFactor::R_4_2_0 };
                (jpeg.forward(smooth(channels), &Draws::none(1)).unwrap() - smooth(channels))
                    .abs()
                    .max()
                    .into_scalar::<f32>()
            };
            assert!(error(100) < 0.02, "{}", error(100));
            assert!(error(1) > error(100));
        }
    }
}
