//! The cost of building a drawing, estimated from its markup: each rule of style is tried on each element, what `use` names
//! is copied, and so are markers, to the corners of the paths that have them.

use resvg::usvg::roxmltree::{Document, Node, NodeId};
use std::collections::{HashMap, HashSet};

/// The most tries of a rule on an element, which take a second.
const MOST_TRIES: u64 = 1 << 25;
/// The most elements that markers add, which take a second.
const MOST_COPIES: u64 = 1 << 17;
/// The most declarations of all rules, each of which is compared with those before.
const MOST_DECLARATIONS: usize = 100_000;
/// The most squares of the lengths of elements' own styles and classes, which take a second: each part is compared with
/// those before.
const MOST_SQUARES: u64 = 1 << 34;
/// The most elements that are counted one by one.
const MOST_STEPS: u64 = 1 << 21;
/// The properties by which a path has markers, and whether at all of its corners.
const MARKS: [(&str, bool); 4] =
    [("marker", true), ("marker-mid", true), ("marker-start", false), ("marker-end", false)];

/// Rejects a drawing that would take long to build.
pub(super) fn check(document: &Document<'_>) -> Result<(), String> {
    let styles = document.descendants().filter(|node| node.tag_name().name() == "style");
    let styles: Vec<&str> = styles.flat_map(|style| style.children()).filter_map(|text| text.text()).collect();
    // One for each selector of a rule.
    let rules = styles.iter().flat_map(|css| css.bytes()).filter(|byte| matches!(byte, b'{' | b',')).count() as u64;
    let declarations = styles.iter().flat_map(|css| css.bytes()).filter(|byte| *byte == b';').count();
    if declarations > MOST_DECLARATIONS {
        return Err(format!("{declarations} declarations of style are too many"));
    }
    let square = |list: &str| (list.len() as u64).pow(2);
    let lists = document
        .descendants()
        .flat_map(|node| ["style", "class"].into_iter().filter_map(move |name| node.attribute(name)));
    if lists.fold(0, |sum: u64, list| sum.saturating_add(square(list))) > MOST_SQUARES {
        return Err("the `style` or `class` of its elements is too long".to_owned());
    }
    let tries = |elements: u64| match rules.saturating_mul(elements) {
        ..=MOST_TRIES => Ok(()),
        _ => Err(format!("{rules} rules of style for {elements} elements are too many")),
    };
    tries(document.descendants().filter(Node::is_element).count() as u64)?;
    let ids = document.descendants().filter_map(|node| Some((node.attribute("id")?, node)));
    let marking = styles.iter().flat_map(|css| marking(css)).collect();
    let mut drawing =
        Drawing { ids: ids.collect(), marking, known: HashMap::new(), under_way: HashSet::new(), steps: 0 };
    let Size { elements, copies } = drawing.size(document.root(), &[]);
    tries(elements)?;
    match copies <= MOST_COPIES {
        true => Ok(()),
        false => Err(format!("its markers add up to {copies} elements, which are too many")),
    }
}

/// A marker's id, and whether it comes to all corners of a path, or to its two ends.
type Mark<'a> = (&'a str, bool);

/// The elements of a part of a drawing.
#[derive(Clone, Copy, Default)]
struct Size {
    /// Its own, and those that are copied by `use`.
    elements: u64,
    /// Those that markers add.
    copies: u64,
}

impl Size {
    fn add(&mut self, other: Self) {
        self.elements = self.elements.saturating_add(other.elements);
        self.copies = self.copies.saturating_add(other.copies);
    }
}

struct Drawing<'a, 'input> {
    ids: HashMap<&'a str, Node<'a, 'input>>,
    /// Rules that give markers.
    marking: Vec<(Vec<&'a str>, Vec<Mark<'a>>)>,
    /// The sizes of what is referred to.
    known: HashMap<NodeId, Size>,
    /// What is being counted: a reference to it is left out.
    under_way: HashSet<NodeId>,
    /// Elements that were counted.
    steps: u64,
}

impl<'a, 'input> Drawing<'a, 'input> {
    /// The size of a node with the markers of the elements around it.
    fn size(&mut self, node: Node<'a, 'input>, around: &[Mark<'a>]) -> Size {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Size { elements: u64::MAX, copies: u64::MAX };
        }
        let own = self.marks(node);
        let marks = if own.is_empty() { around } else { &[around, &own].concat() };
        let mut size = Size { elements: node.is_element().into(), copies: 0 };
        for child in node.children().filter(Node::is_element) {
            size.add(self.size(child, marks));
        }
        if node.tag_name().name() == "use" {
            let href = node.attributes().find(|attribute| attribute.name() == "href");
            let used = href.and_then(|href| href.value().strip_prefix('#'));
            size.add(used.map(|id| self.size_of(id, marks)).unwrap_or_default());
        }
        let corners = corners(node);
        for (id, is_everywhere) in marks.iter().filter(|_| corners > 0) {
            let marker = self.size_of(id, &[]);
            let added = marker.elements.saturating_add(marker.copies);
            let places = if *is_everywhere { corners } else { corners.min(2) };
            size.add(Size { elements: 0, copies: places.saturating_mul(added) });
        }
        size
    }

    /// The size of what an id names, counted once if it has no markers but its own.
    fn size_of(&mut self, id: &str, around: &[Mark<'a>]) -> Size {
        let Some(&node) = self.ids.get(id) else { return Size::default() };
        if let Some(known) = self.known.get(&node.id()).filter(|_| around.is_empty()) {
            return *known;
        }
        if !self.under_way.insert(node.id()) {
            return Size::default();
        }
        // It has the markers of where it is written, too.
        let written: Vec<Mark<'a>> = node.ancestors().skip(1).flat_map(|node| self.marks(node)).collect();
        let size = self.size(node, &[around, &written].concat());
        self.under_way.remove(&node.id());
        if around.is_empty() {
            self.known.insert(node.id(), size);
        }
        size
    }

    /// The markers of an element, or those that it may have.
    fn marks(&self, node: Node<'a, 'input>) -> Vec<Mark<'a>> {
        let by_attribute =
            MARKS.iter().filter_map(|(name, everywhere)| Some((target(node.attribute(*name)?)?, *everywhere)));
        let by_style = node.attribute("style").into_iter().flat_map(declared);
        let rules = self.marking.iter().filter(|(names, _)| names.iter().any(|name| is_named(node, name)));
        by_attribute.chain(by_style).chain(rules.flat_map(|(_, marks)| marks.iter().copied())).collect()
    }
}

/// The id in `url(#id)`.
fn target(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("url(")?;
    let id = rest.split(')').next()?.trim_matches(|letter: char| letter.is_whitespace() || "'\"".contains(letter));
    id.strip_prefix('#')
}

/// The markers of some declarations of style.
fn declared(style: &str) -> impl Iterator<Item = Mark<'_>> {
    style.split(';').filter_map(|declaration| {
        let (name, value) = declaration.split_once(':')?;
        let (_, is_everywhere) = MARKS.iter().find(|(mark, _)| name.trim() == *mark)?;
        Some((target(value)?, *is_everywhere))
    })
}

/// The rules that give markers: the names in their selectors, and the markers.
fn marking(css: &str) -> impl Iterator<Item = (Vec<&str>, Vec<Mark<'_>>)> {
    let is_between = |letter: char| letter.is_whitespace() || ",>+~:[]()=\"'".contains(letter);
    let rules = css.split('}').filter_map(|rule| rule.rsplit_once('{'));
    let rules = rules.map(move |(selectors, body)| {
        let names = selectors.split(is_between).filter(|name| !name.is_empty()).collect();
        (names, declared(body).collect::<Vec<_>>())
    });
    rules.filter(|(_, marks)| !marks.is_empty())
}

/// True of an element that a name in a selector may be of: `path`, `.arrow`, `#arrow`, `path.arrow`, `*`.
fn is_named(node: Node<'_, '_>, name: &str) -> bool {
    let attribute = |name| node.attribute(name).unwrap_or_default();
    let (element, classes) = name.split_once('.').unwrap_or((name, ""));
    let (element, id) = element.split_once('#').unwrap_or((element, ""));
    let of_element = element == "*" || !element.is_empty() && element == node.tag_name().name();
    let of_id = !id.is_empty() && id == attribute("id");
    let has = |class: &str| attribute("class").split_ascii_whitespace().any(|own| own == class);
    of_element || of_id || classes.split('.').any(|class| !class.is_empty() && has(class))
}

/// No fewer than the corners of a path: its numbers.
fn corners(node: Node<'_, '_>) -> u64 {
    let drawn = ["d", "points", "x1"].into_iter().filter_map(|name| node.attribute(name));
    let is_number = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let numbers = |text: &str| {
        let bytes = text.as_bytes();
        (0..bytes.len()).filter(|&at| is_number(bytes[at]) && (at == 0 || !is_number(bytes[at - 1]))).count() as u64
    };
    drawn.map(|text| 1 + numbers(text)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(body: &str) -> Result<(), String> {
        let svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9">{body}</svg>"##
        );
        check(&Document::parse(&svg).unwrap())
    }

    fn marker(id: &str, count: usize, more: &str) -> String {
        format!(r#"<marker id="{id}">{}{more}</marker>"#, "<path d='M0 0h1v1'/>".repeat(count))
    }

    fn path(count: usize) -> String {
        format!("d=\"M0 0{}\"", "l1 1".repeat(count))
    }

    #[test]
    fn markers_are_counted_where_paths_have_them() {
        let (small, large, long) = (marker("m", 1, ""), marker("m", 1000, ""), path(500));
        assert!(checked(&format!("{small}<path marker-mid='url(#m)' {long}/>")).is_ok());
        for free in [
            format!("{large}<path {long}/>"),
            format!("{large}<path style='marker:none' marker-mid='none' {long}/>"),
            format!("{large}<path marker-start='url(#m)' style='marker-end:url(#m)' {long}/>"),
            format!("{large}<path marker-mid='url(#other)' {long}/>"),
            format!(
                "<style>.a{{fill:red}} .b{{marker-mid:url(#m)}} path{{marker:none}}</style>{large}<path class='a' {long}/>"
            ),
        ] {
            assert_eq!(checked(&free), Ok(()), "{}", &free[free.len() - 60..]);
        }
        for marked in [
            format!("{large}<path marker-mid='url(#m)' {long}/>"),
            format!("{large}<path style='fill:red; marker : url( \"#m\" )' {long}/>"),
            format!("{large}<g marker-mid='url(#m)'><path {long}/></g>"),
            format!("<style>.a, .b {{marker-mid:url(#m)}}</style>{large}<path class='c b' {long}/>"),
            format!("<style>g > path#x {{marker-mid:url(#m)}}</style>{large}<path id='x' {long}/>"),
            format!("<style>* {{marker-mid:url(#m)}}</style><path {long}/>{large}"),
            format!("{large}<defs><path id='p' {long}/></defs><use marker-mid='url(#m)' xlink:href='#p'/>"),
            format!(
                "{}<path id='p' marker-mid='url(#m)' {}/>{}",
                marker("m", 9, ""),
                path(100),
                "<use href='#p'/>".repeat(100)
            ),
        ] {
            let reason = checked(&marked).unwrap_err();
            assert!(reason.contains("markers"), "{reason}");
        }
    }

    #[test]
    fn what_refers_to_others_counts_as_often_as_it_is_copied() {
        // Ten of ten of ten, and so on.
        let uses = |at: usize| format!("<g id='u{}'>{}</g>", at + 1, format!("<use href='#u{at}'/>").repeat(10));
        let nested = |depth: usize| format!("<g id='u0'/>{}", (0..depth).map(uses).collect::<String>());
        let rules = format!("<style>{}</style>", ".a{fill:red}".repeat(100));
        assert!(checked(&format!("{rules}{}", nested(3))).is_ok());
        assert!(checked(&format!("{rules}{}", nested(6))).unwrap_err().contains("rules of style"));
        // Markers on the paths of markers.
        let inner =
            |at: usize| marker(&format!("m{}", at + 1), 0, &format!("<path marker-mid='url(#m{at})' {}/>", path(10)));
        let chain = |depth: usize| {
            let markers: String = (0..depth).map(inner).collect();
            format!("{}{markers}<path marker-mid='url(#m{depth})' {}/>", marker("m0", 1, ""), path(10))
        };
        assert!(checked(&chain(1)).is_ok());
        assert!(checked(&chain(5)).unwrap_err().contains("markers"));
        // A circle is no copy.
        assert!(
            checked("<marker id='m'><path d='M0 0h1' marker-mid='url(#m)'/></marker><g id='a'><use href='#a'/></g>")
                .is_ok()
        );
    }

    /// As Inkscape writes them.
    #[test]
    fn stock_arrows_are_drawn() {
        let arrow = r#"<marker id="Arrow1Lend" style="overflow:visible"><path d="M 0,0 5,-5 -12.5,0 5,5 Z"
            style="fill-rule:evenodd;stroke-width:1.0pt;marker-start:none;"/></marker>"#;
        assert!(
            checked(&format!("<defs>{arrow}</defs><path style='marker-end:url(#Arrow1Lend)' {}/>", path(20_000)))
                .is_ok()
        );
    }

    #[test]
    fn a_count_ends() {
        let chain = |at: usize| {
            let used =
                format!("<use href='#u{at}' marker-mid='url(#a{at})'/><use href='#u{at}' marker-mid='url(#b{at})'/>");
            format!("<g id='u{}'>{used}</g>", at + 1)
        };
        let nested: String = (0..40).map(chain).collect();
        assert!(checked(&format!("<path id='u0' d='M0 0'/>{nested}")).is_err());
    }

    #[test]
    fn rules_of_style_are_counted_for_each_element() {
        let (rules, elements) = (".a{fill:red}".repeat(7000), "<g class='a'/>".repeat(7000));
        assert!(checked(&format!("<style>{rules}</style>{}", &elements[..14 * 4000])).is_ok());
        assert!(checked(&format!("<style>{rules}</style>{elements}")).unwrap_err().contains("rules of style"));
        let many = "fill:red;".repeat(100_001);
        assert!(checked(&format!("<style>.a{{{many}}}</style>")).unwrap_err().contains("declarations"));
        assert!(checked(&format!("<path style='{many}'/>")).unwrap_err().contains("`style` or `class`"));
    }
}
