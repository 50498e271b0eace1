//! Defaults of transformers' classes and of families where preprocessor_config.json is silent.

use super::{BICUBIC, BILINEAR, Channels, Preprocessor, Size};
use crate::preprocessing::{CLIP, Colours, HALVES};

impl Preprocessor {
    /// The middle of a picture whose short side is resized.
    pub(crate) fn cropped(short: u32, crop: u32, colours: Colours) -> Self {
        Self {
            size: Some(Size::short(short)),
            number_is_short: true,
            do_center_crop: Some(true),
            crop_size: Some(Size::square(crop)),
            ..Self::squashed(0, BICUBIC, colours)
        }
    }

    /// A whole picture, as a square.
    fn squashed(side: u32, resample: usize, colours: Colours) -> Self {
        let [mean, deviation] = colours.map(|channels| Some(Channels::Each(channels)));
        let size = Some(Size::square(side));
        Self { size, resample: Some(resample), image_mean: mean, image_std: deviation, ..Self::default() }
    }

    pub(crate) fn vit(side: u32) -> Self {
        Self::squashed(side, BILINEAR, HALVES)
    }

    fn deit() -> Self {
        let crop_size = Some(Size::square(224));
        Self { do_center_crop: Some(true), crop_size, ..Self::squashed(256, BICUBIC, HALVES) }
    }

    pub(crate) fn siglip(side: u32) -> Self {
        Self { number_is_short: true, ..Self::squashed(side, BICUBIC, HALVES) }
    }

    pub(crate) fn convnext(side: u32, colours: Colours) -> Self {
        Self {
            size: Some(Size::short(side)),
            number_is_short: true,
            crop_pct: Some(224.0 / 256.0),
            ..Self::squashed(side, BICUBIC, colours)
        }
    }

    pub(crate) fn efficientnet(side: u32, colours: Colours) -> Self {
        Self {
            crop_size: Some(Size::square(289)),
            include_top: Some(true),
            rescale_offset: Some(false),
            ..Self::squashed(side, BICUBIC, colours)
        }
    }

    /// The defaults of a class, whose older names and other backends have other suffixes.
    pub(super) fn of_class(name: &str) -> Option<Self> {
        let endings = ["ImageProcessorFast", "ImageProcessorPil", "ImageProcessor", "FeatureExtractor"];
        match endings.iter().find_map(|ending| name.strip_suffix(ending))? {
            "ViT" => Some(Self::vit(224)),
            "DeiT" => Some(Self::deit()),
            "CLIP" | "Bit" => Some(Self::cropped(224, 224, CLIP)),
            "Siglip" => Some(Self::siglip(224)),
            "ConvNext" => Some(Self::convnext(384, HALVES)),
            "EfficientNet" => Some(Self::efficientnet(346, HALVES)),
            _ => None,
        }
    }
}
