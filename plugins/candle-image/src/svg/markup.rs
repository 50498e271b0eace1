//! The cost of building a drawing, estimated from its markup: each rule of style is tried on each element, and a marker is
//! copied to the corners of the paths that have it.

use resvg::usvg::roxmltree::{Document, Node};
use std::collections::HashSet;

/// The most tries of a rule on an element, which take a second.
const MOST_TRIES: usize = 1 << 25;
/// The most elements that markers add, which take a second.
const MOST_COPIES: usize = 1 << 17;
/// The properties by which a path has markers.
const MARKS: [&str; 4] = ["marker", "marker-start", "marker-mid", "marker-end"];

/// Rejects a drawing that would take long to build.
pub(super) fn check(document: &Document<'_>) -> Result<(), String> {
    let elements = document.descendants().filter(Node::is_element).count();
    let named = |name: &'static str| document.descendants().filter(move |node| node.tag_name().name() == name);
    let styles: Vec<&str> = named("style").flat_map(|style| style.children()).filter_map(|text| text.text()).collect();
    // One for each selector of a rule.
    let rules = styles.iter().flat_map(|css| css.bytes()).filter(|byte| matches!(byte, b'{' | b',')).count();
    if rules.saturating_mul(elements) > MOST_TRIES {
        return Err(format!("{rules} rules of style for {elements} elements are too many"));
    }
    let size = |marker: Node<'_, '_>| marker.descendants().count();
    let Some(largest) = named("marker").map(size).max() else { return Ok(()) };
    let names = styles.iter().flat_map(|css| marking(css)).collect();
    let mut marked = HashSet::new();
    // Elements come behind those that they are in, whose markers they have too.
    for node in document.descendants() {
        let inherits = node.parent().is_some_and(|parent| marked.contains(&parent.id()));
        if inherits || has_marks(node, &names) {
            marked.insert(node.id());
        }
    }
    let is_marked = |node: &Node<'_, '_>| marked.contains(&node.id());
    if named("marker").flat_map(|marker| marker.descendants()).any(|node| is_marked(&node)) {
        return Err("markers on the paths of markers are not supported; draw them in place".to_owned());
    }
    let corners: usize = document.descendants().filter(is_marked).map(corners).sum();
    // An element is drawn anew wherever it is used.
    let copies = corners.saturating_mul(largest).saturating_mul(1 + named("use").count());
    match copies <= MOST_COPIES {
        true => Ok(()),
        false => Err(format!("its markers add up to {copies} elements, which are too many")),
    }
}

/// The names in the selectors of rules that give markers: of elements, classes (`.arrow`) and ids (`#arrow`).
fn marking(css: &str) -> impl Iterator<Item = &str> {
    let rules = css.split('}').filter_map(|rule| rule.rsplit_once('{'));
    let selectors = rules.filter(|(_, body)| body.contains("marker")).map(|(selector, _)| selector);
    let is_between = |letter: char| letter.is_whitespace() || ",>+~:[]()=\"'".contains(letter);
    selectors.flat_map(move |selector| selector.split(is_between)).filter(|name| !name.is_empty())
}

/// True of an element that has markers, or may have: one of these names is its own.
fn has_marks(node: Node<'_, '_>, names: &HashSet<&str>) -> bool {
    let attribute = |name| node.attribute(name).unwrap_or_default();
    let is_named = |name: &&str| {
        // `path.arrow` and `.one.two` are of both.
        let (element, classes) = name.split_once('.').unwrap_or((name, ""));
        let (element, id) = element.split_once('#').unwrap_or((element, ""));
        let of_element = element == "*" || !element.is_empty() && element == node.tag_name().name();
        let of_id = !id.is_empty() && id == attribute("id");
        let has = |class: &str| attribute("class").split_ascii_whitespace().any(|own| own == class);
        of_element || of_id || classes.split('.').any(|class| !class.is_empty() && has(class))
    };
    MARKS.iter().any(|name| node.has_attribute(*name))
        || attribute("style").contains("marker")
        || names.iter().any(is_named)
}

/// No fewer than the corners of a path: its numbers.
fn corners(node: Node<'_, '_>) -> usize {
    let drawn = ["d", "points", "x1"].into_iter().filter_map(|name| node.attribute(name));
    let is_number = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let numbers = |text: &str| {
        let bytes = text.as_bytes();
        (0..bytes.len()).filter(|&at| is_number(bytes[at]) && (at == 0 || !is_number(bytes[at - 1]))).count()
    };
    drawn.map(|text| 1 + numbers(text)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(body: &str) -> Result<(), String> {
        let svg = format!(r#"<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">{body}</svg>"#);
        check(&Document::parse(&svg).unwrap())
    }

    #[test]
    fn markers_are_counted_where_paths_have_them() {
        let marker = |count: usize| format!(r#"<marker id="m">{}</marker>"#, "<path d='M0 0h1v1'/>".repeat(count));
        let path = |count: usize| format!("d=\"M0 0{}\"", "l1 1".repeat(count));
        let (small, large, long) = (marker(1), marker(1000), path(500));
        assert!(checked(&format!("{small}<path marker-end='url(#m)' {long}/>")).is_ok());
        assert!(checked(&format!("{large}<path {long}/>")).is_ok(), "a path without markers");
        for marked in [
            format!("{large}<path marker-mid='url(#m)' {long}/>"),
            format!("{large}<path style='marker:url(#m)' {long}/>"),
            format!("{large}<g marker-mid='url(#m)'><path {long}/></g>"),
            format!("<style>.a, .b {{marker-mid:url(#m)}}</style>{large}<path class='c b' {long}/>"),
            format!("<style>g > path#x {{marker-mid:url(#m)}}</style>{large}<path id='x' {long}/>"),
            format!("<style>* {{marker-mid:url(#m)}}</style><path {long}/>{large}"),
            format!("{}<path id='p' marker-mid='url(#m)' {}/>{}", marker(9), path(100), "<use href='#p'/>".repeat(100)),
        ] {
            let reason = checked(&marked).unwrap_err();
            assert!(reason.contains("markers"), "{reason}");
        }
        let css = format!("<style>.a{{fill:red}} .b{{marker-mid:url(#m)}}</style>{large}<path class='a' {long}/>");
        assert!(checked(&css).is_ok(), "another class");
        assert!(checked(&format!("{small}<marker><g marker='url(#m)'/></marker>")).unwrap_err().contains("of markers"));
    }

    #[test]
    fn rules_of_style_are_counted_for_each_element() {
        let (rules, elements) = (".a{fill:red}".repeat(7000), "<g class='a'/>".repeat(7000));
        assert!(checked(&format!("<style>{rules}</style>{}", &elements[..14 * 4000])).is_ok());
        assert!(checked(&format!("<style>{rules}</style>{elements}")).unwrap_err().contains("rules of style"));
    }
}
