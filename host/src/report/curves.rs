//! Curves over the epochs, as SVG.

use plotters::prelude::*;

/// One line of a plot: its name and its points, (epoch, value).
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Finite points in order of epoch.
    pub points: Vec<(f64, f64)>,
}

const SIZE: (u32, u32) = (640, 320);
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x2a, 0x6f, 0xdb),
    RGBColor(0xd9, 0x4f, 0x30),
    RGBColor(0x2e, 0x9e, 0x6b),
    RGBColor(0x8e, 0x5b, 0xc7),
    RGBColor(0xc9, 0x93, 0x1a),
    RGBColor(0x5d, 0x6d, 0x7e),
];

/// Draws `series` over the epochs; the value axis starts at 0 and is called `unit`.
pub fn svg(unit: &str, series: &[Series]) -> Result<String, Box<dyn std::error::Error>> {
    let points = || series.iter().flat_map(|series| &series.points);
    let epochs = points().map(|point| point.0).fold(1.0, f64::max);
    let top = points().map(|point| point.1).fold(0.0, f64::max) * 1.05 + f64::EPSILON;
    let mut picture = String::new();
    {
        let root = SVGBackend::with_string(&mut picture, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..epochs, 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(0xdd, 0xdd, 0xdd))
            .axis_style(RGBColor(0x99, 0x99, 0x99))
            .label_style(("sans-serif", 12))
            .x_desc("epoch")
            .y_desc(unit)
            .draw()?;
        for (line, &colour) in series.iter().zip(COLOURS.iter().cycle()) {
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?
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
