//! FAB and FAB-T: the distance on linear models, to the percent that overshooting by a twentieth of the last steps costs,
//! and every image that they ask about.

use realsafe_core::random::{Purpose, StreamKey, stream};
use realsafe_core::{Judgement, Verdict};
use realsafe_plan::{Cost, Goal, Norm, Success};

use crate::bench::{Setting, matrix, run};
use crate::problems::{Problem, grey, linear_problem, uneven};
use crate::reference::{
    Image, NORMS, Network, SEED, clipped, dual, gaussian, greyish, largest, onto_hyperplane, plus, scaled, size,
    uniform,
};
use crate::sample::{Sample, assert_same};

#[test]
fn both_find_the_distance_to_a_linear_model() {
    for norm in NORMS {
        for attack in ["fab", "fab-t"] {
            let setting = Setting::untargeted(norm, None, Success::AnyIterate);
            linear_problem().finds_the_distance((attack, "steps = 60"), &setting, 0.01);
        }
    }
}

/// Asserts that what was found is as far away as a change, and rounding nearer at most.
fn is_as_far_as(judged: &Judgement, norm: Norm, change: &[f64], what: &str) {
    let excess = judged.distances.in_norm(norm) / size(norm, change);
    assert!((0.9999..1.01).contains(&excess), "{what}: found {excess} times the exact distance");
}

#[test]
fn fab_finds_the_distance_to_a_target() {
    let problem = grey(3);
    for norm in NORMS {
        let setting = |goal| Setting { goal, ..Setting::untargeted(norm, None, Success::AnyIterate) };
        let [targeted, misclassified] =
            [Goal::Targeted, Goal::TargetedMisclassify].map(|goal| problem.run(("fab", "steps = 100"), &setting(goal)));
        // One boundary per step.
        let one = Cost::gradient(100).plus(Cost::forward(100));
        assert!(targeted.iter().chain(&misclassified).all(|judged| judged.spent == one), "{norm:?}");
        let mut exact = [0; 2];
        for row in 0..problem.rows() {
            let (label, target) = (problem.label(row), (problem.label(row) + 1) % 3);
            let other = 3 - label - target;
            let on_the_way = |rival| {
                let change = problem.change(row, target, rival, norm);
                let logits = problem.logits(&plus(&problem.image(row), 1.0, &change));
                (change, logits)
            };
            // The nearest image of the target lies on the boundary to one rival, if the other is below that.
            for (rival, third) in [(label, other), (other, label)] {
                let (change, logits) = on_the_way(rival);
                if logits[third] < logits[target] - 1e-6 {
                    is_as_far_as(&targeted[row], norm, &change, &format!("{norm:?} row {row} to the target"));
                    exact[0] += 1;
                }
            }
            // Any other class counts where only the label is aimed away from, so the way must lead through none.
            let (change, logits) = on_the_way(label);
            if logits[other] < logits[label] - 0.01 {
                is_as_far_as(&misclassified[row], norm, &change, &format!("{norm:?} row {row} from the label"));
                exact[1] += 1;
            }
        }
        assert!(exact.into_iter().all(|count| count >= 4), "{norm:?}: {exact:?} rows are decided");
    }
}

#[test]
fn fab_t_finds_the_distance_to_the_classes_that_it_aims_at() {
    let problem = uneven();
    for norm in NORMS {
        let setting = Setting::untargeted(norm, None, Success::AnyIterate);
        let mut farther = 0;
        for row in 0..problem.rows() {
            let logits = problem.logits(&problem.image(row));
            let likeliest = largest(&logits, |class| class != problem.label(row));
            let change = problem.change(row, likeliest, problem.label(row), norm);
            let there = problem.logits(&plus(&problem.image(row), 1.0, &change));
            if problem.others(row).any(|class| class != likeliest && there[class] > there[likeliest] - 0.01) {
                continue;
            }
            farther += usize::from(size(norm, &change) > 1.02 * problem.distance(row, norm));
            let attack = ("fab-t", "steps = 100\ntargets = 1");
            let judged = &run(attack, &problem.model, &problem.alone(row), &setting)[0];
            is_as_far_as(judged, norm, &change, &format!("{norm:?} row {row}"));
        }
        assert!(farther > 0, "{norm:?}: some boundary is nearer than that to the likeliest class");
        problem.finds_the_distance(("fab-t", "steps = 100\ntargets = 3"), &setting, 0.01);
    }
}

#[test]
fn the_box_is_taken_into_account() {
    // One pixel cannot move at all; the other two must go further.
    let weights = [vec![1.0, 1.0, -1.0], vec![-1.0, -1.0, 1.0]];
    let problem = Problem::new(&weights, &[0.0; 2], [1, 1, 3], &[vec![0.0, 0.9, 0.5]]);
    for (norm, distance) in [(Norm::Linf, 0.2), (Norm::L2, 0.08_f64.sqrt()), (Norm::L1, 0.4)] {
        assert!((problem.distance(0, norm) - distance).abs() < 1e-6);
        let setting = Setting::untargeted(norm, None, Success::AnyIterate);
        for attack in ["fab", "fab-t"] {
            problem.finds_the_distance((attack, "steps = 60"), &setting, 0.01);
        }
    }
}

fn sample(seed: usize, goal: Goal) -> Sample {
    let network = Network::new(matrix(8, 6, 2.0, 26_000), matrix(4, 8, 1.5, 26_100));
    Sample::new(network, [1, 2, 3], greyish(6, 0.6, 300 + 6 * seed), goal)
}

/// What the attacks ask about, and the nearest adversarial.
struct Search<'a> {
    sample: &'a Sample,
    norm: Norm,
    asked: Vec<Image>,
    nearest: Option<Image>,
}

impl<'a> Search<'a> {
    fn new(sample: &'a Sample, norm: Norm) -> Self {
        Self { sample, norm, asked: Vec::new(), nearest: None }
    }

    fn distance(&self, image: &[f64]) -> f64 {
        size(self.norm, &self.sample.change(image))
    }

    /// Asks about a point, and says whether it is adversarial.
    fn ask(&mut self, point: &Image) -> bool {
        self.asked.push(point.clone());
        let adversarial = self.sample.reached(point);
        if adversarial && self.nearest.as_ref().is_none_or(|nearest| self.distance(point) < self.distance(nearest)) {
            self.nearest = Some(point.clone());
        }
        adversarial
    }

    /// Steps from a start; at the logits of a point, `boundaries` are pairs of classes, the first of which shall exceed the second.
    fn steps(&mut self, start: Image, count: usize, boundaries: impl Fn(&[f64]) -> Vec<(usize, usize)>) {
        let (network, clean, norm) = (&self.sample.network, &self.sample.clean, self.norm);
        let mut point = start;
        for _ in 0..count {
            self.ask(&point);
            let linear = boundaries(&network.logits(&point)).into_iter();
            let linear = linear.map(|(class, other)| network.difference(&point, class, other));
            let distance = |(value, slopes): &(f64, Image)| value.abs() / (1e-12 + dual(norm, slopes));
            let (value, slopes) = linear.min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap();
            let value_clean = value + slopes.iter().zip(plus(clean, -1.0, &point)).map(|(a, b)| a * b).sum::<f64>();
            let near = onto_hyperplane(norm, &point, &slopes, value);
            let far = onto_hyperplane(norm, clean, &slopes, value_clean);
            let (a, b) = (size(norm, &near).max(1e-8), size(norm, &far).max(1e-8));
            let bias = (a / (a + b)).min(0.1);
            let drawn = scaled(&plus(&point, 1.05, &near), 1.0 - bias);
            point = clipped(&plus(&drawn, bias, &plus(clean, 1.05, &far)));
            if self.ask(&point) {
                point = plus(clean, 0.9, &plus(&point, -1.0, clean));
            }
        }
    }

    fn follows(&self, attack: (&str, &str), restarts: u32) {
        let setting = Setting { restarts, ..self.sample.setting(self.norm, None, Success::AnyIterate) };
        let judged = &self.sample.asks(attack, &setting, &self.asked).judgements[0];
        assert_eq!(judged.verdict == Verdict::Broken, self.nearest.is_some(), "{attack:?} {:?}", self.norm);
        let nearest = self.nearest.as_ref().unwrap_or(&self.sample.clean);
        assert_same(&judged.pixels, nearest, &format!("{attack:?} {:?}, result", self.norm));
    }
}

/// The boundaries that FAB looks at.
fn boundaries(sample: &Sample, logits: &[f64]) -> Vec<(usize, usize)> {
    let aim = sample.aim();
    match (sample.goal, aim.target) {
        (Goal::Targeted, Some(target)) => vec![(target, largest(logits, |class| class != target))],
        (_, Some(target)) => vec![(target, aim.label)],
        _ => {
            let mut classes: Vec<usize> = (0..logits.len()).filter(|class| *class != aim.label).collect();
            classes.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
            classes.into_iter().map(|class| (class, aim.label)).collect()
        }
    }
}

#[test]
fn fab_follows_its_definition_question_by_question() {
    for (norm, goal) in NORMS.into_iter().flat_map(|norm| Goal::ALL.map(|goal| (norm, goal))) {
        let mut late = 0;
        for seed in 0..8 {
            let sample = sample(seed, goal);
            let mut search = Search::new(&sample, norm);
            search.steps(sample.clean.clone(), 12, |logits| boundaries(&sample, logits));
            late +=
                usize::from(search.nearest.is_some() && !search.asked[..3].iter().any(|image| sample.reached(image)));
            search.follows(("fab", "steps = 12"), 1);
        }
        assert!(late > 0, "{norm:?} {goal:?} takes several steps somewhere");
    }
}

#[test]
fn a_restart_of_fab_begins_at_half_the_start_radius() {
    for norm in NORMS {
        for seed in 0..4 {
            let sample = sample(seed, Goal::Untargeted);
            let of_sample = |logits: &[f64]| boundaries(&sample, logits);
            let mut search = Search::new(&sample, norm);
            search.steps(sample.clean.clone(), 4, of_sample);
            // Between two runs the result so far is judged.
            search.asked.push(search.nearest.clone().unwrap_or_else(|| sample.clean.clone()));
            let key = StreamKey { seed: SEED, purpose: Purpose::Start, sample: 0, restart: 1, step: 0 };
            let noise = match norm {
                Norm::Linf => uniform(&mut stream(key), 6),
                _ => gaussian(&mut stream(key), 6),
            };
            let start = clipped(&plus(&sample.clean, 0.5 * 0.6 / size(norm, &noise), &noise));
            search.steps(start, 4, of_sample);
            search.follows(("fab", "steps = 4\nstart-radius = 0.6"), 2);
        }
    }
}

#[test]
fn fab_t_follows_its_definition_class_by_class() {
    for norm in NORMS {
        for seed in 0..8 {
            let sample = sample(seed, Goal::Untargeted);
            let mut search = Search::new(&sample, norm);
            let likeliest = boundaries(&sample, &sample.network.logits(&sample.clean));
            search.ask(&sample.clean);
            for boundary in &likeliest[..2] {
                search.steps(sample.clean.clone(), 8, |_| vec![*boundary]);
            }
            search.follows(("fab-t", "steps = 8\ntargets = 2"), 1);
        }
    }
}
