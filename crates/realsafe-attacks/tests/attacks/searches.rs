//! Searches over the radius on a linear model, where the smallest one is known.

use realsafe_core::Verdict;
use realsafe_plan::{Norm, Number, Search, Success};

use crate::bench::Setting;
use crate::problems::binary;

fn setting(norm: Norm, success: Success, search: Search) -> Setting {
    Setting { search: Some(search), ..Setting::untargeted(norm, None, success) }
}

#[test]
fn searches_find_the_margin() {
    let problem = binary();
    let exponential = Search::Exponential { start: Number::from(0.004), doublings: 9, bisections: 14 };
    let linear = Search::Linear { largest: Number::from(2.0), points: 40, bisections: 14 };
    for norm in Norm::DENSE {
        for success in [Success::Last, Success::AnyIterate] {
            for (attack, search) in [(("bim", "steps = 20"), &exponential), (("fgsm", ""), &linear)] {
                for (row, judged) in
                    problem.run(attack, &setting(norm, success, search.clone())).into_iter().enumerate()
                {
                    let (found, exact) = (judged.distances.in_norm(norm), problem.distance(row, norm));
                    assert_eq!(judged.verdict, Verdict::Broken, "{attack:?} {norm:?} {success:?} {exact}");
                    assert!(found >= exact * 0.999 && found <= exact * 1.001 + 1e-5, "{attack:?} {found} {exact}");
                    let failed = judged.failed_at.unwrap();
                    assert!(
                        failed < exact * 1.001 && found - failed < 0.01 * exact + 1e-4,
                        "{attack:?} {failed} {exact}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_list_is_walked_down_to_the_smallest_radius_that_is_enough() {
    let problem = binary();
    for norm in Norm::DENSE {
        let unit = problem.distance(0, norm);
        let radii: Vec<f64> = (1..=16).map(|at| unit * f64::from(at) / 8.0).collect();
        let list = Search::List(radii.iter().copied().map(Number::from).collect());
        for success in [Success::Last, Success::AnyIterate] {
            for id in ["bim", "pgd", "mim"] {
                let judged = problem.run((id, "steps = 20"), &setting(norm, success, list.clone()));
                for (row, judged) in judged.into_iter().enumerate() {
                    let exact = problem.distance(row, norm);
                    let enough = radii.iter().copied().find(|radius| *radius >= exact);
                    let Some(enough) = enough else {
                        assert_eq!(judged.verdict, Verdict::Robust, "{id} {norm:?}");
                        continue;
                    };
                    // A radius that is barely enough may take more steps than there are.
                    let next = radii.iter().copied().find(|radius| *radius >= exact * 1.03).unwrap_or(f64::INFINITY);
                    let found = judged.distances.in_norm(norm);
                    assert!(found <= norm.tolerance(next) && (found >= exact * 0.999), "{id} {norm:?} {found} {exact}");
                    assert!(judged.failed_at.unwrap() < next, "{id} {norm:?} {enough}");
                }
            }
        }
    }
}
