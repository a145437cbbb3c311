//! What holds for every defense.

use std::collections::BTreeSet;

use realsafe_core::{DefenseEntry, Model, inventory};
use realsafe_plan::check_component;

use super::{built, draws, example, images, named, on_images, pattern, pulled, shape, traits, values, victims};

#[test]
fn every_file_is_a_defense_and_every_defense_is_sound() {
    let files =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.is_file());
    let names = files.map(|path| path.file_stem().unwrap().to_string_lossy().replace('_', "-"));
    let files: BTreeSet<String> = names.filter(|name| name != "lib").collect();
    let entries = inventory::iter::<DefenseEntry>();
    assert_eq!(files, entries.map(|entry| entry.component.id.to_owned()).collect());
    for entry in inventory::iter::<DefenseEntry>() {
        check_component(&entry.component).unwrap();
        for heading in ["## What it does", "## What an attacker sees", "## References"] {
            assert!(entry.component.manual().contains(heading), "{} has no {heading}", entry.component.id);
        }
    }
}

/// What standardises, and colours with noise.
const OUTSIDE: [&str; 5] =
    ["global-contrast-normalisation", "per-image-standardisation", "rand-disc", "rand-mix", "zca-whitening"];

#[test]
fn rows_do_not_matter_to_each_other_and_images_stay_in_the_box() {
    for entry in on_images() {
        let (id, images) = (entry.component.id, pattern(3, shape(entry)));
        let defense = example(entry);
        let together = values(defense.forward(images.clone(), &draws(10..13, 0)).unwrap());
        let alone = values(defense.forward(images.clone().narrow(0, 1, 1), &draws([11], 0)).unwrap());
        assert_eq!(together[alone.len()..2 * alone.len()], alone, "{id}");
        let inside = together.iter().all(|pixel| (0.0..=1.0).contains(pixel));
        assert_ne!(inside, OUTSIDE.contains(&id), "{id}");
        assert!(together.iter().all(|pixel| pixel.is_finite()), "{id}");
        assert!(together != values(images), "{id} does nothing");
    }
}

#[test]
fn outputs_have_the_shape_that_is_promised() {
    for entry in on_images() {
        let (values, defense) = built(entry, entry.component.example).unwrap();
        let promised = (traits(entry).output)(&values, shape(entry)).unwrap();
        let [rows, given @ ..] = defense.forward(pattern(2, shape(entry)), &draws(0..2, 0)).unwrap().dims();
        assert_eq!((rows, given), (2, promised), "{}", entry.component.id);
    }
    let (values, defense) = built(named("random-resize-pad"), "size = 20\nsmallest = \"16/20\"").unwrap();
    assert_eq!((traits(named("random-resize-pad")).output)(&values, [3, 16, 16]), Ok([3, 20, 20]));
    assert_eq!(defense.forward(images(2), &draws(0..2, 0)).unwrap().dims(), [2, 3, 20, 20]);
}

#[test]
fn random_ones_draw_anew_for_every_pass_and_the_same_for_the_same() {
    for entry in inventory::iter::<DefenseEntry>() {
        let images = pattern(8, shape(entry));
        for (place, victim) in victims(entry, traits(entry).gradients[0]).into_iter().enumerate() {
            let answers = |pass| values(victim.logits(images.clone(), &draws(0..8, pass)).unwrap());
            let id = format!("{} {place}", entry.component.id);
            assert_eq!(answers(0), answers(0), "{id}");
            assert_eq!(answers(0) != answers(1), traits(entry).randomised, "{id}");
            let tape = victim.forward(images.clone(), &draws(0..8, 2)).unwrap();
            // What votes gives attackers another function, by its manual.
            if entry.component.id != "gaussian-smoothing" {
                assert_eq!(values(tape.logits), answers(2), "{id}");
            }
        }
    }
}

#[test]
fn an_answer_depends_on_its_own_row_alone() {
    for entry in inventory::iter::<DefenseEntry>() {
        let images = pattern(3, shape(entry));
        for (place, victim) in victims(entry, traits(entry).gradients[0]).into_iter().enumerate() {
            let (together, own) = (draws(10..13, 0), draws([11], 0));
            let one = images.clone().narrow(0, 1, 1);
            let of_second = |all: Vec<f32>| all[all.len() / 3..2 * all.len() / 3].to_vec();
            let id = format!("{} {place}", entry.component.id);
            let answers = values(victim.logits(images.clone(), &together).unwrap());
            assert_eq!(of_second(answers), values(victim.logits(one.clone(), &own).unwrap()), "{id}");
            assert_eq!(of_second(pulled(&victim, images.clone(), &together)), pulled(&victim, one, &own), "{id}");
        }
    }
}

#[test]
fn what_does_not_fit_is_told_before_anything_runs() {
    let complaint = |id: &str, keys: &str, shape| {
        let (values, _) = built(named(id), keys).unwrap();
        (traits(named(id)).output)(&values, shape).unwrap_err()
    };
    assert!(complaint("jpeg", "", [2, 8, 8]).contains("one or three channels"));
    let digits = "images = { use = \"digits\", split = \"train\" }\npatches = 10";
    assert!(complaint("quilting", digits, [3, 8, 8]).contains("have 1 channels"));
    assert!(complaint("quilting", digits, [1, 4, 8]).contains("do not fit into 4"));
    assert!(complaint("quilting", &format!("{digits}\npatch = 2"), [1, 8, 8]).contains("smaller than `patch`"));
    assert!(complaint("random-resize-pad", "", [1, 1, 1]).contains("cannot shrink"));
}

#[test]
fn patches_of_no_images_are_refused() {
    let empty = tempfile::tempdir().unwrap();
    std::fs::write(empty.path().join("list.csv"), "file,label\n").unwrap();
    let folder = empty.path().display();
    let keys =
        format!("images = {{ use = \"images\", folder = \"{folder}\", labels = \"{folder}/list.csv\", size = 8 }}");
    let told = built(named("quilting"), &keys).err().unwrap();
    assert!(told.contains("the dataset of its `images` is empty"), "{told}");
}
