//! Colours that are stored as brightness and two differences, as Pillow reads them: by JFIF's rule where nothing is
//! compressed, and by the file's own factors and range where libtiff decompresses it.

use super::header::{Colours, Header};

/// The map from the three to red, green and blue.
pub(super) fn colour(header: &Header<'_>) -> impl Fn([u8; 3]) -> [u8; 3] {
    const NOT_COMPRESSED: u16 = 1;
    let is_plain = header.compression == NOT_COMPRESSED && header.colours == Colours::Ycc([1, 1]);
    let tables = if is_plain { jfif() } else { own(&header.luma, &header.range) };
    move |[y, cb, cr]| {
        let Tables { y: brightness, red, green, blue, parts } = &tables;
        let (y, cb, cr) = (brightness[usize::from(y)], usize::from(cb), usize::from(cr));
        let parts = [red[cr], green[0][cb] + green[1][cr], blue[cb]].map(|part| part >> parts);
        parts.map(|part| (y + part).clamp(0, 255) as u8)
    }
}

/// What each value adds to a colour, in parts of a unit; brightness in units.
struct Tables {
    y: [i32; 256],
    red: [i32; 256],
    /// By the two differences.
    green: [[i32; 256]; 2],
    blue: [i32; 256],
    /// The bits of a part.
    parts: u32,
}

/// In Pillow's 64 parts of a unit, rounded towards zero.
fn jfif() -> Tables {
    let table = |factor: f64| std::array::from_fn(|at| (factor * 64.0 * (at as f64 - 128.0) + 0.5) as i32);
    let green = [table(-0.34414), table(-0.71414)];
    Tables { y: std::array::from_fn(|at| at as i32), red: table(1.402), green, blue: table(1.772), parts: 6 }
}

/// By the shares of red, green and blue in brightness, and by what is black and white of each of the three. Values
/// are whole units before factors are applied, as in libtiff.
fn own([red, green, blue]: &[f32; 3], range: &[f32; 6]) -> Tables {
    const HALF: f32 = 32768.0;
    let unit = |at: usize, black: f32, white: f32, most: f32| {
        let span = white - black;
        ((at as f32 - black) * most / if span == 0.0 { 1.0 } else { span }) as i32
    };
    let difference = |of: usize, factor: f32, more: f32| {
        let factor = (factor.abs().min(2.0) * 65536.0 + 0.5) as i32 * if factor < 0.0 { -1 } else { 1 };
        std::array::from_fn(|at| {
            let value = unit(at, range[of], range[of + 1], 127.0).clamp(-1024, 1024);
            factor.saturating_mul(value).saturating_add(more as i32)
        })
    };
    let (to_red, to_blue) = (2.0 - 2.0 * red, 2.0 - 2.0 * blue);
    Tables {
        y: std::array::from_fn(|at| unit(at, range[0], range[1], 255.0).clamp(-1024, 1024)),
        red: difference(4, to_red, HALF),
        green: [difference(2, -to_blue * blue / green, HALF), difference(4, -to_red * red / green, 0.0)],
        blue: difference(2, to_blue, HALF),
        parts: 16,
    }
}
