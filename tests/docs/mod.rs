//! The documentation held against the program: its links, its code, its TOML, its commands.

mod commands;
mod page;
mod scene;
mod toml;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::common::repository;
use page::pages;

/// The tags of blocks. Of `sh` the commands are run, of `sh no-run` only parsed.
const TAGS: [&str; 6] = ["python", "rust", "sh", "sh no-run", "text", "toml"];

#[test]
fn the_readme_fits_on_a_few_screens() {
    let pages = pages();
    let readme = pages.iter().find(|page| page.name() == "README.md").unwrap();
    assert!(readme.lines() <= 150, "README.md has {} lines", readme.lines());
}

#[test]
fn links_lead_somewhere_and_the_index_to_every_page() {
    let pages = pages();
    let anchors: BTreeMap<PathBuf, Vec<String>> =
        pages.iter().map(|page| (page.path.canonicalize().unwrap(), page.anchors())).collect();
    let (mut wrong, mut indexed) = (Vec::new(), Vec::new());
    for page in &pages {
        for (line, link) in page.links().into_iter().filter(|(_, link)| !link.starts_with("https://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = if path.is_empty() { page.path.clone() } else { page.path.parent().unwrap().join(path) };
            match path.canonicalize() {
                Err(error) => wrong.push(format!("{}: {link}: {error}", page.at(line))),
                Ok(path) => {
                    let lacks = |anchors: &Vec<String>| !anchors.iter().any(|other| other == anchor);
                    if !anchor.is_empty() && anchors.get(&path).is_none_or(lacks) {
                        wrong.push(format!("{}: {link}: there is no such heading", page.at(line)));
                    }
                    indexed.extend((page.name() == "docs/README.md").then_some(path));
                }
            }
        }
    }
    let unlinked = pages.iter().filter(|page| {
        let path = page.path.canonicalize().unwrap();
        page.path.parent() != Some(repository()) && !page.path.ends_with("docs/README.md") && !indexed.contains(&path)
    });
    wrong.extend(unlinked.map(|page| format!("docs/README.md does not link to {}", page.name())));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn code_is_that_of_the_file_that_it_comes_from() {
    let mut wrong = Vec::new();
    for page in &pages() {
        for block in page.blocks() {
            let at = page.at(block.line);
            if !TAGS.contains(&block.tag) {
                wrong.push(format!("{at}: `{}` is none of the tags {TAGS:?}", block.tag));
            }
            match block.source {
                None if block.tag == "rust" => wrong.push(format!("{at}: which file does this code come from?")),
                None => {}
                Some(source) => {
                    let text = std::fs::read_to_string(repository().join(source)).unwrap_or_default();
                    let line = |line: &str| {
                        let line = line.strip_prefix("//!").map_or(line, |doc| doc.strip_prefix(' ').unwrap_or(doc));
                        format!("{line}\n")
                    };
                    let text: String = text.lines().map(line).collect();
                    if block.lines.is_empty() || !text.contains(&block.text()) {
                        wrong.push(format!("{at}: this is not in {source}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
