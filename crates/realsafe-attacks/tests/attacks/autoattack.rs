//! AutoAttack on a linear model, whose robust accuracy is known at every radius.

use realsafe_core::{ChainEntry, Judgement, Verdict, inventory};
use realsafe_plan::{Norm, Success};

use crate::bench::{Listed, Setting, drive_listed, from_zero, matrix, parse};
use crate::problems::{Problem, around_grey};
use crate::reference::NORMS;

/// The members of a version of AutoAttack in a norm.
pub(crate) fn members(version: &str, norm: Norm) -> Vec<Listed> {
    let entry = inventory::iter::<ChainEntry>().find(|entry| entry.component.id == "autoattack").unwrap();
    let values = parse(&entry.component, &format!("version = \"{version}\"")).values;
    let text = (entry.component.chain().unwrap().members.unwrap())(&values, norm).unwrap();
    let member = |text: &str| {
        let mut member = Listed::new("", "");
        for (key, value) in text.lines().filter_map(|line| line.split_once(" = ")) {
            match key {
                "use" => member.id = value.trim_matches('"').to_owned(),
                "restarts" => member.restarts = value.parse().unwrap(),
                "eot" => member.eot = value.parse().unwrap(),
                "id" => {}
                _ => member.parameters += &format!("{key} = {value}\n"),
            }
        }
        member
    };
    text.split("[[member]]").skip(1).map(member).collect()
}

/// Five classes over images of 3 × 4.
fn problem() -> Problem {
    around_grey(&matrix(5, 12, 1.0, 7000), [0.0; 5])
}

/// Radii between the distances of the rows, each with some room to both sides.
fn radii(problem: &Problem, norm: Norm) -> Vec<f64> {
    let mut distances: Vec<f64> = (0..problem.rows()).map(|row| problem.distance(row, norm)).collect();
    distances.sort_by(f64::total_cmp);
    let apart = distances.windows(2).filter(|pair| pair[1] > 1.05 * pair[0]);
    let radii: Vec<f64> = apart.map(|pair| f64::midpoint(pair[0], pair[1])).collect();
    assert!(radii.len() >= 5, "{norm:?}");
    [1, radii.len() / 2, radii.len() - 1].map(|at| radii[at]).to_vec()
}

fn finds_the_robust_accuracy(version: &str, norm: Norm, eps: f64, success: Success) -> Vec<Judgement> {
    let (problem, members) = (problem(), members(version, norm));
    let setting = Setting::untargeted(norm, eps, success);
    let judged = drive_listed(&members, &problem.model, &problem.samples, &from_zero(&problem.samples), &setting);
    let judged = judged.unwrap();
    for (row, judged) in judged.judgements.iter().enumerate() {
        let robust = problem.distance(row, norm) > eps;
        let expected = if robust { Verdict::Robust } else { Verdict::Broken };
        assert_eq!(judged.verdict, expected, "{version} {norm:?} row {row} at {eps}");
        assert!(judged.distances.in_norm(norm) <= norm.tolerance(eps) || robust, "{version} {norm:?} row {row}");
    }
    let broken: u64 = judged.contributions.iter().map(|contribution| contribution.broken).sum();
    let count = judged.judgements.iter().filter(|judged| judged.verdict == Verdict::Broken).count();
    assert_eq!(broken, count as u64, "each is credited to one member");
    judged.judgements
}

#[test]
fn the_standard_version_finds_the_robust_accuracy_of_a_linear_model() {
    for norm in NORMS {
        for eps in radii(&problem(), norm) {
            finds_the_robust_accuracy("standard", norm, eps, Success::AnyIterate);
        }
    }
}

#[test]
fn the_version_plus_and_the_last_iterate_find_it_too() {
    for norm in NORMS {
        let eps = radii(&problem(), norm)[1];
        finds_the_robust_accuracy("standard", norm, eps, Success::Last);
        finds_the_robust_accuracy("plus", norm, eps, Success::AnyIterate);
    }
}

#[test]
fn a_chain_finds_what_its_members_find_together() {
    let problem = problem();
    for norm in Norm::DENSE {
        let eps = radii(&problem, norm)[1];
        let setting = Setting::untargeted(norm, eps, Success::AnyIterate);
        let drive = |members: &[Listed]| {
            let judged =
                drive_listed(members, &problem.model, &problem.samples, &from_zero(&problem.samples), &setting);
            judged.unwrap().judgements.iter().map(|judged| judged.verdict == Verdict::Broken).collect::<Vec<_>>()
        };
        let members = [("fgsm", ""), ("square", "queries = 30"), ("deepfool", "steps = 2"), ("pgd", "steps = 20")]
            .map(|(id, parameters)| Listed::new(id, parameters));
        let alone = members.each_ref().map(|member| drive(std::slice::from_ref(member)));
        let any: Vec<bool> = (0..problem.rows()).map(|row| alone.iter().any(|broken| broken[row])).collect();
        assert_eq!(drive(&members), any, "{norm:?}");
        assert!(alone.iter().any(|broken| *broken != any), "{norm:?}: no member alone finds all");
    }
}
