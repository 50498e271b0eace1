//! The recipes that come of a sweep's text.

use super::*;

const BASE: &str = "\
[tower.image]
encoder = ['a', 'b']
[tower.text]
encoder = ['c', 'd']
[[pairs]]
train = { file = 'train.tsv', sample = [100, 200] }
test = 'test.tsv'
image = 'file'
text = ['caption_1', 'caption_2']
[fit]
method = 'fusemix'
[train]
lr = 0.01
";

fn sweep(text: &str) -> Result<Sweep, String> {
    Sweep::parse(TomlFile::of(Path::new("sweep.toml"), text.to_owned())).map_err(|error| error.to_string())
}

#[test]
fn all_combinations_of_lists_are_recipes() {
    let all = sweep(&format!("seeds = 3\n{BASE}")).unwrap();
    assert_eq!(all.seeds, [0, 1, 2]);
    let axes: Vec<_> =
        all.axes.iter().map(|axis| (axis.name.as_str(), axis.values.clone(), axis.are_numbers)).collect();
    let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        axes,
        [
            ("image", texts(&["a", "b"]), false),
            ("text", texts(&["c", "d"]), false),
            ("sample", texts(&["100", "200"]), true)
        ]
    );
    assert_eq!(all.variations.len(), 8);
    assert_eq!(all.variations[0].at, [Some(0); 3]);
    assert_eq!(all.variations[5].name, "image b, text c, sample 200");
    let recipe = &all.variations[5].recipe;
    assert_eq!(recipe.pairs[0].train.sample, Some(200));
    assert_eq!(recipe.pairs[0].ends[1].columns, ["caption_1", "caption_2"]);
    assert_eq!(all.baseline, 0);
}

#[test]
fn variants_change_the_recipe_and_have_the_axes_in_common() {
    let text = format!(
        "baseline = 'plain'\non = 'validation'\n{}[[variant]]\nname = 'plain'\ntrain.mixup_alpha = 0.0\n\
         [[variant]]\nname = 'slow'\ntrain.lr = [0.001, 0.002]\n",
        BASE.replace("['a', 'b']", "'a'").replace("['c', 'd']", "'c'").replace(", sample = [100, 200]", "")
    );
    let all = sweep(&text).unwrap();
    let names: Vec<&str> = all.variations.iter().map(|variation| variation.name.as_str()).collect();
    assert_eq!(names, ["plain, lr 0.01", "slow, lr 0.001", "slow, lr 0.002"]);
    assert_eq!((all.baseline, all.on), (0, Pairs::Validation));
    assert!(all.variations[0].text.contains("mixup_alpha = 0.0") && !all.variations[1].text.contains("mixup_alpha"));
}

#[test]
fn encoders_are_set_up_in_several_ways() {
    let all = sweep(&format!("{BASE}[encoder.a]\nlayer = ['last', 'penultimate']\n")).unwrap();
    // Of tower image a in two ways and b in one, of text two, and two sizes.
    assert_eq!(all.variations.len(), 12);
    let of_a = &all.variations[0];
    assert_eq!(of_a.encoders.len(), 1);
    assert_eq!((of_a.encoders[0].base.as_str(), of_a.encoders[0].name.as_str()), ("a", "a layer=last"));
    assert!(of_a.text.contains("encoder = \"a layer=last\""), "{}", of_a.text);
    let of_b = all.variations.iter().find(|variation| variation.name.starts_with("image b")).unwrap();
    assert!(of_b.encoders.is_empty() && !of_b.name.contains("layer"), "{}", of_b.name);
    assert_eq!(of_b.at.last(), Some(&None));
    let error = sweep(&format!("{BASE}[encoder.aa]\nlayer = ['last', 'first']\n")).unwrap_err();
    assert!(error.contains("no tower has the encoder `aa`; did you mean `a`?"), "{error}");
}

#[test]
fn each_augment_has_its_own_options_alone() {
    let plain = BASE.replace("['a', 'b']", "'a'").replace("['c', 'd']", "'c'").replace(", sample = [100, 200]", "");
    let train = "augment = ['fusemix', 'noise']\nmixup_alpha = [0.5, 1.0]\nnoise = 0.2";
    let all = sweep(&plain.replace("lr = 0.01", train)).unwrap();
    let names: Vec<&str> = all.variations.iter().map(|variation| variation.name.as_str()).collect();
    assert_eq!(names, ["fusemix, mixup_alpha 0.5", "fusemix, mixup_alpha 1.0", "augment noise"]);
    assert!(all.variations.iter().all(|of| of.text.contains("noise = 0.2") == of.name.contains("noise")));
    // What none of them reads stays, and is told.
    let other = sweep(&plain.replace("lr = 0.01", "augment = ['none', 'noise']\nmixup_alpha = 0.5")).unwrap();
    assert!(other.variations.iter().all(|of| of.text.contains("mixup_alpha")));
}

#[test]
fn options_of_training_are_of_those_that_are_trained() {
    let base = BASE.replace("['a', 'b']", "'a'").replace("['c', 'd']", "'c'").replace(", sample = [100, 200]", "");
    // Beside another method, what has [train] and names no method is trained.
    let text = base.replace("[fit]\nmethod = 'fusemix'\n", "[fit]\nlandmarks = 50\n")
        + "[[variant]]\nname = 'closed'\nfit.method = 'kernel-cca'\n[[variant]]\nname = 'fusion'\n";
    let all = sweep(&text).unwrap();
    let found: Vec<_> = all.variations.iter().map(|of| (of.name.as_str(), of.recipe.method)).collect();
    assert_eq!(found, [("closed", Method::KernelCca), ("fusion", Method::Fusemix)]);
    let has = |of: usize, key: &str| all.variations[of].text.contains(key);
    assert!(has(0, "landmarks") && !has(0, "lr") && !has(1, "landmarks") && has(1, "lr"));
    // So is a fusion beside a space that is there already.
    let identity = "[[variant]]\nname = 'clip'\ntower.image.adapter = 'identity'\n\
                    tower.text.adapter = 'identity'\nfit.method = 'identity'\n[[variant]]\nname = 'fusion'\n";
    let all = sweep(&(base.replace("[fit]\nmethod = 'fusemix'\n", "") + identity)).unwrap();
    let methods: Vec<Method> = all.variations.iter().map(|of| of.recipe.method).collect();
    assert_eq!(methods, [Method::Identity, Method::Fusemix]);
}

#[test]
fn values_may_be_tables() {
    let files = "[{ file = 'a.tsv', sample = 10 }, { file = 'b.tsv' }]";
    let all = sweep(&BASE.replace("{ file = 'train.tsv', sample = [100, 200] }", files)).unwrap();
    let axis = all.axes.iter().find(|axis| axis.name == "train").unwrap();
    assert_eq!(axis.values, ["file a.tsv sample 10", "file b.tsv"]);
    let of = |recipe: &Recipe| (recipe.pairs[0].train.path.clone(), recipe.pairs[0].train.sample);
    let found: BTreeSet<_> = all.variations.iter().map(|variation| of(&variation.recipe)).collect();
    assert_eq!(found, BTreeSet::from([("a.tsv".into(), Some(10)), ("b.tsv".into(), None)]));
    // So are the names of columns, of a pair set and of one file.
    let columns = "[{ file = 'one' }, { file = 'other' }]";
    let names = |all: Sweep| -> Vec<_> {
        let train = |of: &Variation| of.recipe.pairs[0].train.renamed[0].1.clone();
        all.variations.iter().map(train).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let of_set = sweep(&BASE.replace("image = 'file'", &format!("image = 'file'\ncolumns = {columns}"))).unwrap();
    assert_eq!(names(of_set), ["one", "other"]);
    let of_file = sweep(&BASE.replace("sample = [100, 200]", &format!("columns = {columns}"))).unwrap();
    assert_eq!(names(of_file), ["one", "other"]);
}

#[test]
fn mistakes_are_named_at_their_line() {
    let error = |text: &str| sweep(text).unwrap_err();
    let misspelt = error(&BASE.replace("lr = 0.01", "lr = [0.01, 0.1]\n[trane]\n"));
    assert!(misspelt.starts_with("sweep.toml:14: unknown key `trane`"), "{misspelt}");
    let wrong = error(&BASE.replace("sample = [100, 200]", "sample = [100, 'all']"));
    assert!(wrong.starts_with("sweep.toml:6: `sample = \"all\"`") && wrong.contains("variation: "), "{wrong}");
    let none = error(&BASE.replace("['a', 'b']", "[]"));
    assert!(none.contains("sweep.toml:2: `tower.image.encoder` has no values to vary"), "{none}");
    for seeds in ["0", "[]", "[1, 1]", "'a'", "[-1]"] {
        assert!(error(&format!("seeds = {seeds}\n{BASE}")).starts_with("sweep.toml:1: `seeds` must be"));
    }
    let baseline = error(&format!("baseline = 'x'\n{BASE}"));
    assert!(baseline.starts_with("sweep.toml:1: `baseline = \"x\"` is no variation; there are"), "{baseline}");
}
