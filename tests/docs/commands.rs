//! The commands of the documentation: each exists with the options that it is shown with, and does what it says.

use std::collections::{BTreeMap, BTreeSet};

use super::page::{Page, code, pages, words};
use super::scene::{copy, scene};
use crate::common::{Place, Ran};

/// An option without a value that follows it at once, as `--allow-fetch[=HOST]`.
fn bare(option: &str) -> &str {
    option.split(['[', '=']).next().unwrap_or_default()
}

/// The `--help` of each command that was asked for.
struct Help {
    place: Place,
    texts: BTreeMap<Vec<String>, String>,
}

impl Help {
    fn new() -> Self {
        Self { place: Place::new(""), texts: BTreeMap::new() }
    }

    fn of(&mut self, command: &[String]) -> &str {
        let Self { place, texts } = self;
        texts.entry(command.to_vec()).or_insert_with(|| {
            let ran = place.run(&format!("{} --help", command.join(" ")));
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            ran.stdout
        })
    }

    /// The names of the commands below a command.
    fn below(&mut self, command: &[String]) -> Vec<String> {
        let listed = self.of(command).split("Commands:").nth(1).unwrap_or_default();
        let lines = listed.split("Options:").next().unwrap_or_default().lines();
        lines.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
    }

    /// The command that arguments begin with, such as `cache export`.
    fn command(&mut self, arguments: &[String]) -> Vec<String> {
        let mut command = Vec::new();
        for word in arguments {
            if !self.below(&command).contains(word) {
                break;
            }
            command.push(word.clone());
        }
        command
    }

    /// The options of a command, with those that all have.
    fn options(&mut self, command: &[String]) -> BTreeSet<String> {
        let lines = self.of(command).lines().filter(|line| line.trim_start().starts_with('-'));
        let options = lines.flat_map(|line| line.split([' ', ',']).filter(|word| word.starts_with('-')));
        options.map(|option| bare(option.trim_end_matches("...")).to_owned()).collect()
    }
}

#[test]
fn exist_with_the_options_that_they_are_shown_with() {
    let mut help = Help::new();
    let mut wrong = Vec::new();
    for page in &pages() {
        let blocks = page.blocks();
        let shown = blocks.iter().filter(|block| block.tag.starts_with("sh")).flat_map(|block| block.commands());
        let said = page.mentions().into_iter().map(|(line, said)| (line, words(said)));
        for (line, arguments) in shown.chain(said) {
            let command = help.command(&arguments);
            let options = help.options(&command);
            if command.is_empty() && arguments.first().is_some_and(|word| !word.starts_with('-')) {
                wrong.push(format!("{}: there is no command `{}`", page.at(line), arguments[0]));
            }
            // A single dash is a value.
            let given = arguments.iter().filter(|word| word.starts_with('-') && *word != "-");
            for option in given.filter(|word| !options.contains(bare(word))) {
                wrong.push(format!("{}: `fusemix {}` has no {option}", page.at(line), command.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The commands that have a heading of their own, and the options in the tables below it, by line.
fn sections(page: &Page) -> Vec<(usize, Vec<String>, BTreeSet<String>)> {
    let mut sections: Vec<(usize, Vec<String>, BTreeSet<String>)> = Vec::new();
    for (line, text) in page.prose() {
        if let Some(command) = text.strip_prefix("## `fusemix ") {
            sections.push((line, words(command.trim_end_matches('`')), BTreeSet::new()));
        } else if let (Some((.., options)), Some(row)) = (sections.last_mut(), text.strip_prefix("| `-")) {
            let cell = format!("`-{}", row.split('|').next().unwrap());
            options.extend(
                code(&cell).filter_map(|option| option.split(' ').next().map(|option| bare(option).to_owned())),
            );
        }
    }
    sections
}

#[test]
fn the_reference_has_every_command_and_option() {
    let mut help = Help::new();
    let pages = pages();
    let page = pages.iter().find(|page| page.name() == "docs/reference/commands.md").unwrap();
    let global = help.options(&[]);
    let (mut wrong, mut documented) = (Vec::new(), BTreeSet::new());
    for (line, command, options) in sections(page) {
        let own: BTreeSet<String> = help.options(&command).difference(&global).cloned().collect();
        if own != options {
            let (lacks, invents): (Vec<_>, Vec<_>) =
                (own.difference(&options).collect(), options.difference(&own).collect());
            wrong.push(format!("{}: lacks {lacks:?} and invents {invents:?}", page.at(line)));
        }
        documented.insert(command);
    }
    let mut open = vec![Vec::new()];
    while let Some(command) = open.pop() {
        let names = help.below(&command).into_iter().filter(|name| name != "help");
        let below: Vec<Vec<String>> = names.map(|name| [&command[..], &[name]].concat()).collect();
        // What only holds others needs no section of its own.
        if below.is_empty() && !documented.contains(&command) {
            wrong.push(format!("{} lacks `fusemix {}`", page.name(), command.join(" ")));
        }
        open.extend(below);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn do_what_they_are_shown_for() {
    let (scene, pages) = (scene(), pages());
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let pages = pages.iter().map(|page| scope.spawn(|| run(page, &scene))).collect::<Vec<_>>();
        pages.into_iter().flat_map(|page| page.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs the commands of a page one after the other; those that fail.
fn run(page: &Page, scene: &Place) -> Vec<String> {
    let blocks = page.blocks();
    let commands: Vec<_> = blocks.iter().filter(|block| block.tag == "sh").flat_map(|block| block.commands()).collect();
    if commands.is_empty() {
        return Vec::new();
    }
    let place = copy(scene);
    let failed = commands.into_iter().filter_map(|(line, arguments)| {
        let ran = Ran::from(place.command("").args(&arguments).output().unwrap());
        let said = || format!("ended with {}:\n{}{}", ran.code, ran.stdout, ran.stderr);
        (ran.code != 0).then(|| format!("{}: `fusemix {}` {}", page.at(line), arguments.join(" "), said()))
    });
    failed.collect()
}
