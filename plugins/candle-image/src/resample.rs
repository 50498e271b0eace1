//! Resizing as Pillow does, of the part that is wanted.

use fast_image_resize::images::TypedImage;
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{ImageView, ResizeAlg, ResizeOptions, Resizer};

use crate::recipe::Filter;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Of `picture` resized `to` height and width as Pillow does, the part of `size` that begins at row and column `start`.
pub(crate) fn resample(
    picture: &impl ImageView<Pixel = U8x3>,
    to: [u32; 2],
    start: [u32; 2],
    size: [u32; 2],
    filter: Filter,
) -> Result<TypedImage<'static, U8x3>> {
    let from = [picture.height(), picture.width()];
    let Some(filter) = filter.convolution() else { return nearest(picture, to, start, size) };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
    // Where the part lies in the picture, in one dimension: its start and its length.
    let lies = |dim: usize| {
        let [from, to, start, size] = [from[dim], to[dim], start[dim], size[dim]].map(f64::from);
        let start = from * start / to;
        (start, (from * size / to).min(from - start))
    };
    let ((top, down), (left, across)) = (lies(0), lies(1));
    let [height, width] = from.map(f64::from);
    // The order of Pillow 13: bicubic overshoots, and what does is cut off in between, so the order shows. It also
    // keeps what lies between small, however thin a picture is.
    let [less_down, less_across] = [0, 1].map(|dim| i64::from(from[dim]) - i64::from(to[dim]));
    let down_first = less_down > 0 && less_down > 2 * less_across;
    let (between, first, second) = match down_first {
        true => (
            (from[1], size[0]),
            options.crop(0.0, top, width, down),
            options.crop(left, 0.0, across, f64::from(size[0])),
        ),
        false => (
            (size[1], from[0]),
            options.crop(left, 0.0, across, height),
            options.crop(0.0, top, f64::from(size[1]), down),
        ),
    };
    let (mut between, mut part) = (TypedImage::new(between.0, between.1), TypedImage::new(size[1], size[0]));
    let mut resizer = Resizer::new();
    resizer.resize_typed(picture, &mut between, &first)?;
    resizer.resize_typed(&between, &mut part, &second)?;
    Ok(part)
}

/// [`resample`] by the nearest pixel. Where two are equally near, it shows that Pillow adds up its steps.
fn nearest(
    picture: &impl ImageView<Pixel = U8x3>,
    to: [u32; 2],
    start: [u32; 2],
    size: [u32; 2],
) -> Result<TypedImage<'static, U8x3>> {
    let places = |from: u32, dim: usize| {
        let step = f64::from(from) / f64::from(to[dim]);
        let all = std::iter::successors(Some(step * 0.5), move |at| Some(at + step)).map(|at| at as usize);
        let (start, size) = (start[dim] as usize, size[dim] as usize);
        all.skip(start).take(size).map(|at| at.min(from as usize - 1)).collect::<Vec<_>>()
    };
    let columns = places(picture.width(), 1);
    let rows: Vec<&[U8x3]> = picture.iter_rows(0).collect();
    let pixels =
        places(picture.height(), 0).into_iter().flat_map(|row| columns.iter().map(move |&column| (row, column)));
    let pixels = pixels.map(|(row, column)| rows[row][column]).collect();
    Ok(TypedImage::from_pixels(size[1], size[0], pixels)?)
}
