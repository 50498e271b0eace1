//! The cost of a drawing, estimated before anything is drawn: resvg draws each group with an opacity, a filter, a mask
//! or a clip, and each pattern, into pixels of its own, while all those around it wait.

use resvg::tiny_skia::{PathSegment, Point, Rect, Transform};
use resvg::usvg::filter::{Filter, Kind};
use resvg::usvg::{ClipPath, Group, Mask, Node, Paint, Path};

/// The most pixels that may wait in memory together: half a gigabyte.
const MOST_WAITING: u64 = 1 << 27;
/// The most pixels that may be painted in all, which takes seconds.
const MOST_DRAWN: u64 = 1 << 32;
/// The cost of a node that draws nothing, in pixels.
const NODE: u64 = 1 << 10;
/// The most lines and curves of paths, dashes of their strokes and colours of their gradients, which take seconds.
const MOST_LINES: u64 = 1 << 20;

/// Rejects a drawing of `across x down` pixels that costs too much.
pub(super) fn check(root: &Group, transform: Transform, [across, down]: [u32; 2]) -> Result<(), &'static str> {
    // resvg's own bound of a layer, in each direction.
    let most = [across, down].map(|side| 5.0 * side as f32);
    Layers { most, drawn: 0, lines: 0 }.children(root, transform).map(|_| ())
}

struct Layers {
    /// Width and height of the largest layer.
    most: [f32; 2],
    drawn: u64,
    lines: u64,
}

/// Pixels that wait together.
type Waiting = Result<u64, &'static str>;

impl Layers {
    fn children(&mut self, group: &Group, transform: Transform) -> Waiting {
        group.children().iter().try_fold(0, |most, node| Ok(self.node(node, transform)?.max(most)))
    }

    fn node(&mut self, node: &Node, transform: Transform) -> Waiting {
        match node {
            Node::Group(group) => self.group(group, transform.pre_concat(group.transform())),
            Node::Path(path) => self.path(path, transform),
            Node::Image(image) => self.draw(image.bounding_box(), transform).map(|_| 0),
            Node::Text(text) => self.group(text.flattened(), transform),
        }
    }

    fn group(&mut self, group: &Group, transform: Transform) -> Waiting {
        let within = self.children(group, transform)?;
        if !group.should_isolate() {
            return Ok(within);
        }
        let layer = self.draw(group.layer_bounding_box().to_rect(), transform)?;
        let mut most = within;
        for filter in group.filters() {
            most = most.max(self.filter(filter, layer, transform)?);
        }
        if let Some(clip) = group.clip_path() {
            most = most.max(self.clip(clip, layer)?);
        }
        if let Some(mask) = group.mask() {
            most = most.max(self.mask(mask, layer, transform)?);
        }
        fits(layer + most)
    }

    /// The results of all primitives are kept up to the last; two more are inputs.
    fn filter(&mut self, filter: &Filter, layer: u64, transform: Transform) -> Waiting {
        let primitives = filter.primitives();
        let kept = layer * (primitives.len() as u64 + 2);
        let mut most = 0;
        for primitive in primitives {
            self.count(layer.saturating_mul(work(primitive.kind(), layer, transform)))?;
            if let Kind::Image(image) = primitive.kind() {
                most = most.max(self.children(image.root(), transform)?);
            }
        }
        fits(kept + most)
    }

    /// A mask or clip of a layer is as large as the layer, and so is one of that.
    fn clip(&mut self, clip: &ClipPath, layer: u64) -> Waiting {
        self.count(layer)?;
        let within = self.clip_children(clip.root(), layer)?;
        let next = clip.clip_path().map_or(Ok(0), |clip| self.clip(clip, layer))?;
        fits(layer + within.max(next))
    }

    fn clip_children(&mut self, group: &Group, layer: u64) -> Waiting {
        let mut most = 0;
        for node in group.children() {
            self.count(NODE)?;
            let Node::Group(group) = node else { continue };
            let within = self.clip_children(group, layer)?;
            most = most.max(match group.clip_path() {
                Some(clip) => fits(layer + within.max(self.clip(clip, layer)?))?,
                None => within,
            });
        }
        Ok(most)
    }

    fn mask(&mut self, mask: &Mask, layer: u64, transform: Transform) -> Waiting {
        self.count(layer)?;
        let within = self.children(mask.root(), transform)?;
        let next = mask.mask().map_or(Ok(0), |mask| self.mask(mask, layer, transform))?;
        fits(layer + within.max(next))
    }

    fn path(&mut self, path: &Path, transform: Transform) -> Waiting {
        self.draw(path.stroke_bounding_box(), transform)?;
        self.draw_lines((path.data().len() as u64).saturating_add(dashes(path)))?;
        let paints = [path.fill().map(|fill| fill.paint()), path.stroke().map(|stroke| stroke.paint())];
        let mut most = 0;
        for paint in paints.into_iter().flatten() {
            self.draw_lines(stops(paint))?;
            let Paint::Pattern(pattern) = paint else { continue };
            let (across, down) = transform.pre_concat(pattern.transform()).get_scale();
            // Nothing bounds it but this.
            let tile = pixels(pattern.rect().width() * across, pattern.rect().height() * down);
            self.count(tile)?;
            let within = self.children(pattern.root(), Transform::from_scale(across, down))?;
            most = most.max(fits(tile + within)?);
        }
        Ok(most)
    }

    /// The pixels below `area`.
    fn draw(&mut self, area: Rect, transform: Transform) -> Waiting {
        // What is nowhere on the canvas is not drawn, and costs no more than a layer.
        let [across, down] = match area.transform(transform) {
            // resvg lets two pixels more on each side.
            Some(area) => [area.width() + 4.0, area.height() + 4.0],
            None => self.most,
        };
        let area = pixels(across.min(self.most[0]), down.min(self.most[1]));
        self.count(area + NODE)?;
        Ok(area)
    }

    fn draw_lines(&mut self, lines: u64) -> Result<(), &'static str> {
        self.lines = self.lines.saturating_add(lines);
        match self.lines <= MOST_LINES {
            true => Ok(()),
            false => Err("its paths have too many lines, dashes and colours of gradients"),
        }
    }

    fn count(&mut self, pixels: u64) -> Result<(), &'static str> {
        self.drawn = self.drawn.saturating_add(pixels);
        match self.drawn <= MOST_DRAWN {
            true => Ok(()),
            false => Err("it draws over itself too often"),
        }
    }
}

/// The colours of a gradient, which each path with it goes through.
fn stops(paint: &Paint) -> u64 {
    match paint {
        Paint::LinearGradient(gradient) => gradient.stops().len() as u64,
        Paint::RadialGradient(gradient) => gradient.stops().len() as u64,
        Paint::Color(_) | Paint::Pattern(_) => 0,
    }
}

/// The dashes of a path's stroke: no fewer than are drawn, as a curve is no longer than the lines between its points.
fn dashes(path: &Path) -> u64 {
    let Some(dashes) = path.stroke().and_then(|stroke| stroke.dasharray()) else { return 0 };
    let distance = |one: Point, other: Point| f64::from(one.distance(other));
    let (mut length, mut start, mut last) = (0.0, Point::zero(), Point::zero());
    for segment in path.data().segments() {
        let points = match segment {
            PathSegment::MoveTo(point) => {
                (start, last) = (point, point);
                continue;
            }
            PathSegment::LineTo(point) => [point; 3],
            PathSegment::QuadTo(one, point) => [one, point, point],
            PathSegment::CubicTo(one, two, point) => [one, two, point],
            PathSegment::Close => [start; 3],
        };
        for point in points {
            length += distance(last, point);
            last = point;
        }
    }
    let turn: f64 = dashes.iter().map(|dash| f64::from(*dash)).sum();
    (length / turn * (dashes.len() / 2) as f64) as u64
}

fn fits(waiting: u64) -> Waiting {
    match waiting <= MOST_WAITING {
        true => Ok(waiting),
        false => Err("its nested groups, filters, masks, clips and patterns take too much memory together"),
    }
}

/// The cost of a pixel of a filter's result, in drawn pixels. No kernel sees more than the layer.
fn work(kind: &Kind, layer: u64, transform: Transform) -> u64 {
    // To read and write a layer; to look at each of its colours; a point of a kernel; an octave of noise.
    const LAYER: u64 = 16;
    const COLOUR: u64 = 64;
    const POINT: u64 = 4;
    const OCTAVE: u64 = 64;
    let (across, down) = transform.get_scale();
    let of_points = |points: u64| LAYER + POINT * points.min(layer);
    match kind {
        Kind::Turbulence(noise) => LAYER + OCTAVE * u64::from(noise.num_octaves()),
        Kind::ConvolveMatrix(convolution) => {
            let matrix = convolution.matrix();
            of_points(u64::from(matrix.columns()) * u64::from(matrix.rows()))
        }
        Kind::Morphology(morphology) => {
            let [x, y] = [morphology.radius_x().get() * across, morphology.radius_y().get() * down];
            of_points(pixels(2.0 * x + 1.0, 2.0 * y + 1.0))
        }
        Kind::Flood(_) | Kind::Image(_) | Kind::Merge(_) | Kind::Offset(_) | Kind::Tile(_) => LAYER,
        _ => COLOUR,
    }
}

/// Saturates, far above any limit and far below overflow.
fn pixels(across: f32, down: f32) -> u64 {
    (across.ceil() * down.ceil()).min(1e12) as u64
}
