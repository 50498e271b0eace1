//! Groups of towers that nothing joins: there would be no one space for them.

use super::toml_file::{ConfigError, TomlFile};

/// An error if the pairs, of which each joins two towers, do not join all, directly or through others. Of each tower
/// there are the name, and true if its latents are the shared space: such towers are in one already.
pub(super) fn check(file: &TomlFile, towers: &[(&str, bool)], pairs: &[[usize; 2]]) -> Result<(), ConfigError> {
    let joined = |tower: usize, other: usize| {
        let by_pairs = pairs.iter().any(|ends| ends.contains(&tower) && ends.contains(&other));
        by_pairs || towers[tower].1 && towers[other].1
    };
    let mut reached = vec![0];
    let mut at = 0;
    while let Some(&tower) = reached.get(at) {
        let next: Vec<usize> =
            (0..towers.len()).filter(|other| !reached.contains(other) && joined(tower, *other)).collect();
        reached.extend(next);
        at += 1;
    }
    reached.sort_unstable();
    let others: Vec<usize> = (0..towers.len()).filter(|tower| !reached.contains(tower)).collect();
    let Some(&first) = others.first() else { return Ok(()) };
    let names = |group: &[usize]| group.iter().map(|tower| format!("`{}`", towers[*tower].0)).collect::<Vec<_>>();
    let (group, others) = (names(&reached).join(", "), names(&others).join(", "));
    let message = format!(
        "no [[pairs]] join the towers {group} with {others}, so nothing would bring them into one space; add [[pairs]] \
         of one of the first with one of the others, or make a recipe of each group"
    );
    Err(file.error_at(&["tower", towers[first].0], message))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{ConfigError, Recipe, TomlFile};

    fn read(adapters: [&str; 4], pairs: &[[&str; 2]]) -> Result<Recipe, ConfigError> {
        let mut text = String::new();
        for (name, adapter) in ["image", "text", "audio", "sensor"].into_iter().zip(adapters) {
            text += &format!("[tower.{name}]\nencoder = 'e'\nadapter = '{adapter}'\n");
        }
        for [first, second] in pairs {
            text += &format!("[[pairs]]\ntrain = 'pairs.tsv'\n{first} = 'a'\n{second} = 'b'\n");
        }
        Recipe::parse(TomlFile::of(Path::new("fusion.toml"), text))
    }

    #[test]
    fn groups_of_towers_that_no_pairs_join_are_named() {
        let apart = [["image", "text"], ["audio", "sensor"]];
        let error = read(["mlp"; 4], &apart).unwrap_err().to_string();
        assert!(
            error.starts_with("fusion.toml:7: no [[pairs]] join the towers `image`, `text` with `audio`, `sensor`")
        );
        assert!(error.contains("add [[pairs]]"), "{error}");
        read(["mlp"; 4], &[apart[0], apart[1], ["sensor", "text"]]).unwrap();
        // Two towers whose latents are one space join their groups.
        read(["mlp", "identity", "identity", "mlp"], &apart).unwrap();
        assert!(read(["mlp", "identity", "mlp", "mlp"], &apart).is_err());
    }
}
