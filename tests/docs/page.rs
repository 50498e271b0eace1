//! A page of the documentation: its fenced blocks, its links, its headings, and the commands that it names.

use std::path::PathBuf;

use crate::common::repository;

/// A page as its readers have it.
pub(super) struct Page {
    pub(super) path: PathBuf,
    text: String,
}

/// A fenced block.
pub(super) struct Block<'a> {
    /// The line of the opening fence, from 1.
    pub(super) line: usize,
    /// The text behind the opening fence.
    pub(super) tag: &'a str,
    /// The file that it is an excerpt of, as the comment before it says.
    pub(super) source: Option<&'a str>,
    pub(super) lines: Vec<&'a str>,
}

/// The README and all pages of docs/.
pub(super) fn pages() -> Vec<Page> {
    let mut paths = vec![repository().join("README.md")];
    let mut folders = vec![repository().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|ending| ending == "md") => paths.push(path),
                false => {}
            }
        }
    }
    paths.into_iter().map(|path| Page { text: std::fs::read_to_string(&path).unwrap(), path }).collect()
}

/// The texts in code on a line.
pub(super) fn code(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The words of a line of shell, as far as these pages need one: quotes and comments.
pub(super) fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote): (Vec<String>, Option<String>, Option<char>) = Default::default();
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

impl Block<'_> {
    /// The arguments of each call of the program, by the line that it ends on.
    pub(super) fn commands(&self) -> Vec<(usize, Vec<String>)> {
        let (mut commands, mut begun) = (Vec::new(), String::new());
        for (line, text) in (self.line + 1..).zip(&self.lines) {
            if let Some(text) = text.strip_suffix('\\') {
                begun += text;
                continue;
            }
            let words = words(&(std::mem::take(&mut begun) + text));
            if words.first().is_some_and(|word| word == "fusemix") {
                commands.push((line, words[1..].to_vec()));
            }
        }
        commands
    }

    pub(super) fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Page {
    /// Its name from the repository's folder.
    pub(super) fn name(&self) -> String {
        self.path.strip_prefix(repository()).unwrap().display().to_string()
    }

    /// A place in it, for a message.
    pub(super) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.name())
    }

    pub(super) fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// Its blocks, and the lines outside of them with their numbers.
    fn parts(&self) -> (Vec<Block<'_>>, Vec<(usize, &str)>) {
        let (mut blocks, mut prose): (Vec<Block<'_>>, Vec<(usize, &str)>) = Default::default();
        let mut open: Option<Block<'_>> = None;
        for (line, text) in (1..).zip(self.text.lines()) {
            match (open.take(), text.strip_prefix("```")) {
                (None, Some(tag)) => {
                    let before = prose.last().filter(|(before, _)| before + 1 == line).map(|(_, text)| *text);
                    let comment = before.and_then(|text| text.strip_prefix("<!-- from ")?.strip_suffix(" -->"));
                    open = Some(Block { line, tag, source: comment, lines: Vec::new() });
                }
                (None, None) => prose.push((line, text)),
                (Some(block), Some(_)) => blocks.push(block),
                (Some(mut block), None) => {
                    block.lines.push(text);
                    open = Some(block);
                }
            }
        }
        assert!(open.is_none(), "{}: a block is not closed", self.name());
        (blocks, prose)
    }

    pub(super) fn blocks(&self) -> Vec<Block<'_>> {
        self.parts().0
    }

    /// Lines outside of blocks, with their numbers.
    pub(super) fn prose(&self) -> Vec<(usize, &str)> {
        self.parts().1
    }

    /// The targets of its links, by line.
    pub(super) fn links(&self) -> Vec<(usize, &str)> {
        let mut links = Vec::new();
        for (line, text) in self.prose() {
            links.extend(text.split("](").skip(1).filter_map(|rest| Some((line, rest.split_once(')')?.0))));
        }
        links
    }

    /// The commands in its prose, such as `fusemix cache`, by line.
    pub(super) fn mentions(&self) -> Vec<(usize, &str)> {
        let mut mentions = Vec::new();
        for (line, text) in self.prose() {
            mentions.extend(code(text).filter_map(|code| Some((line, code.strip_prefix("fusemix ")?))));
        }
        mentions
    }

    /// The names of its headings in links.
    pub(super) fn anchors(&self) -> Vec<String> {
        let headings = self.prose().into_iter().filter(|(_, text)| text.starts_with('#'));
        let anchor = |heading: &str| -> String {
            let text = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = text.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
            kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
        };
        headings.map(|(_, heading)| anchor(heading)).collect()
    }
}
