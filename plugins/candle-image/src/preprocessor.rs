//! preprocessor_config.json: its own settings, then its class's defaults in transformers, then those that the family
//! was published with.

mod classes;

use candle_kit::Source;
use fusemix_sdk::{Error, tracing};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::preprocessing::{Centre, Colours, Filter, Preprocessing, Resize};

/// The most pixels of a side.
const LARGEST: u32 = 4096;

/// Numbers of filters.
const BILINEAR: usize = 2;
const BICUBIC: usize = 3;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Preprocessor {
    #[serde(deserialize_with = "flag")]
    do_resize: Option<bool>,
    size: Option<Size>,
    /// True if a number as `size` is the short side, false if it is both sides.
    #[serde(skip)]
    number_is_short: bool,
    resample: Option<usize>,
    #[serde(deserialize_with = "flag")]
    do_center_crop: Option<bool>,
    crop_size: Option<Size>,
    /// ConvNeXt's: the short side of the crop, if that is below 384, over that of the picture.
    crop_pct: Option<f64>,
    #[serde(deserialize_with = "flag")]
    do_pad: Option<bool>,
    #[serde(deserialize_with = "flag")]
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    /// EfficientNet's: from -1 on.
    rescale_offset: Option<bool>,
    #[serde(deserialize_with = "flag")]
    do_normalize: Option<bool>,
    image_mean: Option<Channels>,
    image_std: Option<Channels>,
    /// EfficientNet's: over the deviation once more.
    include_top: Option<bool>,
    image_processor_type: Option<String>,
    /// The same in older files; some have both.
    feature_extractor_type: Option<String>,
}

/// Null counts as false, regardless of the class.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Ok(Some(Option::deserialize(deserializer)?.unwrap_or(false)))
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Size {
    Side(u32),
    /// Height and width.
    Pair([u32; 2]),
    Sides(Sides),
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sides {
    height: Option<u32>,
    width: Option<u32>,
    shortest_edge: Option<u32>,
    longest_edge: Option<u32>,
}

impl Size {
    fn square(side: u32) -> Self {
        Self::Pair([side; 2])
    }

    fn short(side: u32) -> Self {
        Self::Sides(Sides { shortest_edge: Some(side), ..Sides::default() })
    }

    fn height_and_width(self) -> Option<[u32; 2]> {
        match self {
            Self::Side(side) => Some([side; 2]),
            Self::Pair(pair) => Some(pair),
            Self::Sides(Sides { height: Some(height), width: Some(width), .. }) => Some([height, width]),
            Self::Sides(_) => None,
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Channels {
    Same(f64),
    Each([f64; 3]),
}

impl Channels {
    fn each(self) -> [f64; 3] {
        match self {
            Self::Same(value) => [value; 3],
            Self::Each(values) => values,
        }
    }
}

impl Preprocessor {
    /// The preprocessing of a model whose family's defaults are `usual`.
    pub(crate) fn read(source: &Source, usual: Self) -> Result<Preprocessing, Error> {
        let (file, config) = source.preprocessor("image_processor")?.unwrap_or(("", json!({})));
        let wrong = |what: String| Error::config(format!("{file} of `{}`: {what}", source.name()));
        let read: Self = serde_json::from_value(config).map_err(|error| wrong(error.to_string()))?;
        let class = read.image_processor_type.as_ref().or(read.feature_extractor_type.as_ref());
        let defaults = class.and_then(|name| Self::of_class(name));
        if let (Some(class), None) = (class, &defaults) {
            let name = source.name();
            tracing::warn!(
                "{file} of `{name}`: this plugin does not know {class}; it follows the file, and the family's \
                 defaults where the file is silent"
            );
        }
        read.or(defaults.unwrap_or(usual)).preprocessing().map_err(wrong)
    }

    /// Fills gaps from `usual`; keys that only some classes know are ignored for others.
    fn or(self, usual: Self) -> Self {
        Self {
            do_resize: self.do_resize.or(usual.do_resize),
            size: self.size.or(usual.size),
            number_is_short: usual.number_is_short,
            resample: self.resample.or(usual.resample),
            do_center_crop: self.do_center_crop.or(usual.do_center_crop),
            crop_size: self.crop_size.or(usual.crop_size),
            crop_pct: usual.crop_pct.map(|usual| self.crop_pct.unwrap_or(usual)),
            do_pad: self.do_pad.or(usual.do_pad),
            do_rescale: self.do_rescale.or(usual.do_rescale),
            rescale_factor: self.rescale_factor.or(usual.rescale_factor),
            rescale_offset: usual.rescale_offset.map(|usual| self.rescale_offset.unwrap_or(usual)),
            do_normalize: self.do_normalize.or(usual.do_normalize),
            image_mean: self.image_mean.or(usual.image_mean),
            image_std: self.image_std.or(usual.image_std),
            include_top: usual.include_top.map(|usual| self.include_top.unwrap_or(usual)),
            ..Self::default()
        }
    }

    fn preprocessing(&self) -> Result<Preprocessing, String> {
        let filter = *Filter::ALL
            .get(self.resample.unwrap_or(BILINEAR))
            .ok_or("`resample` is not one of Pillow's 0 to 5; set one of these there")?;
        if self.do_pad == Some(true) {
            return Err(
                "`do_pad` is not supported by this plugin; set it to false there, if the model allows it".into()
            );
        }
        let mut resize = match self.do_resize {
            Some(false) => Resize::No,
            _ => self.resize().ok_or(
                "`size` is neither a number, nor `shortest_edge`, nor `height` and `width`; set one of these there",
            )?,
        };
        let mut crop = match (self.do_center_crop, self.crop_size) {
            (Some(true), Some(size)) => Some(size.height_and_width().ok_or("`crop_size` has no height and width")?),
            (Some(true), None) => return Err("`do_center_crop` is set without `crop_size`; set that as well".into()),
            _ => None,
        };
        if let (Some(pct), Resize::Short(side)) = (self.crop_pct, resize) {
            if crop.is_some() {
                return Err(
                    "`do_center_crop` together with `crop_pct` is not supported by this plugin; set it to false there"
                        .into(),
                );
            }
            (crop, resize) = match side < 384 {
                true => (Some([side; 2]), Resize::Short((f64::from(side) / pct) as u32)),
                false => (None, Resize::To([side; 2])),
            };
        }
        let size = match (crop, resize) {
            (Some(size), _) | (None, Resize::To(size)) => size,
            _ => return Err("pictures would keep their shapes; set `do_center_crop` and `crop_size` there".into()),
        };
        let sides = size.into_iter().chain(if let Resize::Short(side) = resize { Some(side) } else { None });
        if let Some(side) = sides.into_iter().find(|side| !(1..=LARGEST).contains(side)) {
            return Err(format!("a side of {side} pixels; it must be between 1 and {LARGEST}"));
        }
        let [mean, deviation] = self.colours();
        Ok(Preprocessing {
            size: size.map(|side| side as usize),
            resize,
            centre: Centre::Floor,
            filter,
            mean,
            deviation,
        })
    }

    fn resize(&self) -> Option<Resize> {
        match self.size? {
            Size::Side(side) if self.number_is_short => Some(Resize::Short(side)),
            Size::Sides(Sides { shortest_edge: Some(side), longest_edge: None, .. }) => Some(Resize::Short(side)),
            size => size.height_and_width().map(Resize::To),
        }
    }

    /// Mean and deviation of values from 0 to 255.
    fn colours(&self) -> Colours {
        let (factor, offset) = match (self.do_rescale, self.rescale_offset) {
            (Some(false), _) => (1.0, 0.0),
            (_, Some(true)) => (self.rescale_factor.unwrap_or(1.0 / 255.0), 1.0),
            _ => (self.rescale_factor.unwrap_or(1.0 / 255.0), 0.0),
        };
        let std = self.image_std.unwrap_or(Channels::Same(1.0)).each();
        let (mean, mut deviation) = match self.do_normalize {
            Some(false) => ([0.0; 3], [1.0; 3]),
            _ => (self.image_mean.unwrap_or(Channels::Same(0.0)).each(), std),
        };
        if self.include_top == Some(true) {
            deviation.iter_mut().zip(std).for_each(|(deviation, std)| *deviation *= std);
        }
        [mean.map(|mean| (mean + offset) / factor), deviation.map(|deviation| deviation / factor)]
    }
}
