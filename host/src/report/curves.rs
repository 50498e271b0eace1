//! Curves, as SVG.

use plotters::prelude::*;

use crate::session::Series;

const SIZE: (u32, u32) = (640, 320);
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x2a, 0x6f, 0xdb),
    RGBColor(0xd9, 0x4f, 0x30),
    RGBColor(0x2e, 0x9e, 0x6b),
    RGBColor(0x8e, 0x5b, 0xc7),
    RGBColor(0xc9, 0x93, 0x1a),
    RGBColor(0x5d, 0x6d, 0x7e),
];

/// What a curve goes over.
pub(super) enum Over<'a> {
    /// Epochs, from 0 on.
    Epochs,
    /// The values of a key; in powers of ten where they lie far apart.
    Values(&'a str),
}

/// The share of the largest value below which the smallest one is far from it.
const FAR: f64 = 0.05;

/// Draws `series`; the value axis starts at 0 and is called `unit`.
pub(super) fn svg(over: &Over<'_>, unit: &str, series: &[Series]) -> Result<String, Box<dyn std::error::Error>> {
    let points = || series.iter().flat_map(|series| &series.points);
    let (least, most) = points().fold((f64::MAX, f64::MIN), |(least, most), (x, _)| (least.min(*x), most.max(*x)));
    let (name, first, last, in_powers) = match *over {
        Over::Epochs => ("epoch", 0.0, most.max(1.0), false),
        Over::Values(name) if least > 0.0 && least < FAR * most => (name, least.log10(), most.log10(), true),
        Over::Values(name) => (name, least, if most > least { most } else { least + 1.0 }, false),
    };
    let place = |x: f64| if in_powers { x.log10() } else { x };
    let label = |x: &f64| match in_powers {
        true => format!("{:.1e}", 10_f64.powf(*x)),
        false => format!("{}", (x * 1e6).round() / 1e6),
    };
    let top = points().map(|point| point.1).fold(0.0, f64::max) * 1.05 + f64::EPSILON;
    let mut picture = String::new();
    {
        let root = SVGBackend::with_string(&mut picture, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(first..last, 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(0xdd, 0xdd, 0xdd))
            .axis_style(RGBColor(0x99, 0x99, 0x99))
            .label_style(("sans-serif", 12))
            .x_desc(name)
            .x_label_formatter(&label)
            .y_desc(unit)
            .draw()?;
        for (line, &colour) in series.iter().zip(COLOURS.iter().cycle()) {
            chart
                .draw_series(LineSeries::new(line.points.iter().map(|(x, y)| (place(*x), *y)), colour.stroke_width(2)))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        if series.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::LowerRight)
                .background_style(WHITE.mix(0.8))
                .label_font(("sans-serif", 12))
                .draw()?;
        }
        root.present()?;
    }
    Ok(picture)
}
