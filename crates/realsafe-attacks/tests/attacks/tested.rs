//! What the properties are drawn for: every attack, and chains of them.

use std::sync::Arc;

use proptest::prelude::*;
use realsafe_core::{Judged, Model};
use realsafe_plan::{Cost, Goal, Norm, Success, Surrogates};

use crate::autoattack;
use crate::bench::{Listed, Setting, drive_listed, entry, parse, part, traits};
use crate::problems::{crooked, crooked_surrogate};

/// Every attack, with parameters that make several steps of every stage.
pub(crate) const ATTACKS: [(&str, &str); 64] = [
    ("apgd", "steps = 12"),
    ("apgd", "steps = 20\nlarge-radii = true\nloss = \"dlr\""),
    ("apgd", "steps = 10\nstart = \"none\"\nloss = \"margin\""),
    ("apgd-t", "steps = 6\ntargets = 2"),
    ("apgd-t", "steps = 10\ntargets = 3\nlarge-radii = true"),
    ("bandits", "queries = 30"),
    ("bandits", "queries = 31\ntile-size = 3"),
    ("bim", "steps = 6"),
    ("boundary", "queries = 80\nspherical-step = 0.1\nsource-step = 0.1"),
    ("cw", "search-steps = 3\nsteps = 5\nlearning-rate = 0.2"),
    ("cw", "search-steps = 3\nsteps = 5\nlearning-rate = 0.2\nwarm-start = true\nconfidence = 0.1"),
    ("ddn", "steps = 8"),
    ("ddn", "steps = 8\nlevels = 16"),
    ("deepfool", "steps = 6"),
    ("deepfool", "steps = 6\ncandidates = 2"),
    ("dim", "steps = 5\ndiversity-probability = 0.7"),
    ("dim", "steps = 5\nresize-share = 0.5\ninterpolation = \"nearest\""),
    ("evolutionary", "queries = 80"),
    ("evolutionary", "queries = 80\ndimension-reduction = 3"),
    ("fab", "steps = 4"),
    ("fab", "steps = 4\ncandidates = 2"),
    ("fab-t", "steps = 3\ntargets = 2"),
    ("fab-t", "steps = 2\ntargets = 3\nmaximal-bias = 0.5"),
    ("fgsm", ""),
    ("fmn", "steps = 8"),
    ("fmn", "steps = 8\nstep-size = 0.2"),
    ("hop-skip-jump", "queries = 80\ninitial-evaluations = 5"),
    ("hop-skip-jump", "queries = 120\ninitial-evaluations = 5\ngamma = 0.1"),
    ("mim", "steps = 6"),
    ("nattack", "queries = 33\nsamples-per-draw = 6"),
    ("nattack", "queries = 33\nsamples-per-draw = 6\ndimension-reduction = 3"),
    ("nes", "queries = 33\nsamples-per-draw = 6\nsigma = 0.1\nplateau-length = 2"),
    ("nes", "queries = 33\nsamples-per-draw = 6\nsigma = 0.1\ndimension-reduction = 3"),
    // So many points that the rows of a batch are asked about in several calls.
    ("nes", "queries = 105\nsamples-per-draw = 50\nsigma = 0.1"),
    ("p-rgf", "queries = 60\ndirections = 5\nsigma = 0.05"),
    ("p-rgf", "queries = 60\ndirections = 5\nsigma = 0.05\ndata-prior = true"),
    ("p-rgf", "queries = 60\ndirections = 5\nsigma = 0.05\nestimator = \"averaging\""),
    ("p-rgf", "queries = 60\ndirections = 5\nsigma = 0.05\nestimator = \"averaging\"\ndata-prior = true"),
    ("p-rgf", "queries = 30\ndirections = 5\nsigma = 0.05\nestimator = \"fixed-lambda\"\nlambda = 0"),
    ("p-rgf", "queries = 30\ndirections = 5\nsigma = 0.05\nestimator = \"fixed-lambda\""),
    ("p-rgf", "queries = 30\ndirections = 5\nsigma = 0.05\nestimator = \"fixed-lambda\"\nlambda = 1"),
    ("p-rgf", "queries = 30\ndirections = 5\nestimator = \"fixed-lambda\"\ndata-prior = true"),
    ("pgd", "steps = 6"),
    ("pgd", "steps = 6\nstart = \"scaled-cube\"\nstart-radius = 0.5"),
    ("pgd", "steps = 6\nstep-size = 0.05\nloss = \"margin\""),
    ("rays", "queries = 80"),
    ("rays", "queries = 80\nsearch-tolerance = 0.01"),
    ("rgf", "queries = 31\ndirections = 5\nsigma = 0.05"),
    ("rgf", "queries = 31\ndirections = 5\nsigma = 0.05\ndata-prior = true"),
    ("rgf", "queries = 103\ndirections = 50\nsigma = 0.05"),
    ("sgm", "steps = 5"),
    ("si-ni-fgsm", "steps = 5\nscale-copies = 3"),
    ("spsa", "queries = 33\nsamples-per-draw = 6\nsigma = 0.1"),
    ("spsa", "queries = 33\nsamples-per-draw = 6\nsigma = 0.1\ndimension-reduction = 3"),
    ("square", "queries = 40"),
    ("square", "queries = 40\nrescale-schedule = true"),
    ("square", "queries = 40\ninitial-share = 0.1"),
    ("tim", "steps = 5\nkernel-size = 3"),
    ("tim", "steps = 5\ndiversity-probability = 0.5"),
    ("vmi", "steps = 4\nneighbours = 3"),
    ("zoo", "queries = 60\ncoordinates = 5\nlearning-rate = 0.5"),
    ("zoo", "queries = 60\ncoordinates = 5\nlearning-rate = 0.5\nspace = \"pixels\""),
    ("zoo", "queries = 122\ncoordinates = 60\nlearning-rate = 0.5"),
    ("zoo", "queries = 60\ncoordinates = 5\nlearning-rate = 0.5\ndimension-reduction = 3"),
];

/// Attacks that run one after the other, in each norm.
const CHAINS: [(Norm, &[(&str, &str)]); 3] = [
    (Norm::Linf, &[("bim", "steps = 2"), ("rays", "queries = 40"), ("fab", "steps = 3"), ("nes", "queries = 40")]),
    (
        Norm::L2,
        &[
            ("square", "queries = 10"),
            ("deepfool", "steps = 2"),
            ("boundary", "queries = 40"),
            ("cw", "search-steps = 2\nsteps = 5\nlearning-rate = 0.2"),
            ("pgd", "steps = 3"),
        ],
    ),
    (Norm::L1, &[("apgd", "steps = 5"), ("fmn", "steps = 5"), ("square", "queries = 20")]),
];

/// An attack or a chain.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tested {
    Attack(&'static str, &'static str),
    Chain,
    /// A version of AutoAttack, with few steps.
    AutoAttack(&'static str),
}

impl Tested {
    pub(crate) fn every() -> impl Iterator<Item = Self> {
        let attacks = ATTACKS.into_iter().map(|(id, parameters)| Self::Attack(id, parameters));
        attacks.chain([Self::Chain, Self::AutoAttack("standard"), Self::AutoAttack("plus")])
    }

    fn norms(self) -> &'static [Norm] {
        match self {
            Self::Attack(id, _) => traits(id).norms,
            Self::Chain | Self::AutoAttack(_) => &[Norm::Linf, Norm::L2, Norm::L1],
        }
    }

    fn goals(self) -> &'static [Goal] {
        if let Self::Attack(id, _) = self { traits(id).goals } else { &[Goal::Untargeted] }
    }

    pub(crate) fn minimises_distance(self) -> bool {
        matches!(self, Self::Attack(id, _) if traits(id).minimises_distance)
    }

    fn surrogates(self) -> Surrogates {
        if let Self::Attack(id, _) = self { traits(id).surrogates } else { Surrogates::Unused }
    }

    /// The members of a chain; of one where it is none.
    fn members(self, norm: Norm) -> Vec<Listed> {
        match self {
            Self::Attack(id, parameters) => vec![Listed::new(id, parameters)],
            Self::Chain => {
                let of_norm = CHAINS.iter().find(|chain| chain.0 == norm).expect("a norm of chains");
                of_norm.1.iter().map(|(id, parameters)| Listed::new(id, parameters)).collect()
            }
            Self::AutoAttack(version) => {
                let mut members = autoattack::members(version, norm);
                for Listed { parameters, .. } in &mut members {
                    *parameters = parameters.replace("= 100\n", "= 5\n").replace("= 5000\n", "= 20\n");
                }
                members
            }
        }
    }

    /// What a run costs a sample at most, by what its members declare.
    pub(crate) fn declared(self, setting: &Setting) -> Cost {
        let cost = |Listed { id, parameters, restarts, eot }: &Listed| {
            let cost = (traits(id).cost)(&parse(&entry(id).component, parameters).values).unwrap();
            cost.times(u64::from(restarts * setting.restarts * eot * setting.eot))
        };
        self.members(setting.norm).iter().map(cost).fold(Cost::default(), Cost::plus)
    }

    /// Attacks some rows of the crooked problem.
    pub(crate) fn run(self, model: &Arc<dyn Model>, rows: &[usize], setting: &Setting) -> Judged {
        let indices: Vec<u32> = rows.iter().map(|row| u32::try_from(*row).unwrap()).collect();
        let mut members = self.members(setting.norm);
        for member in &mut members {
            member.restarts *= setting.restarts;
            member.eot *= setting.eot;
        }
        drive_listed(&members, model, &part(&crooked().1, rows), &indices, setting).expect("the attack runs")
    }
}

/// What is drawn for an attack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drawn {
    norm: prop::sample::Index,
    goal: prop::sample::Index,
    success: prop::sample::Index,
    eps: prop::sample::Index,
    seed: u64,
    transfers: bool,
}

impl Drawn {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let index = any::<prop::sample::Index>;
        let drawn = |(norm, goal, success, eps, seed, transfers)| Self { norm, goal, success, eps, seed, transfers };
        (index(), index(), index(), index(), 0..1_000_000_u64, prop::bool::weighted(0.2)).prop_map(drawn)
    }

    pub(crate) fn setting(self, tested: Tested) -> Setting {
        let (norm, goal) = (*self.norm.get(tested.norms()), *self.goal.get(tested.goals()));
        let eps = (!tested.minimises_distance()).then_some(*self.eps.get(&radii(norm)));
        let transfers = self.transfers && tested.surrogates() == Surrogates::Transfer;
        // A transfer is judged once, at the end.
        let success = if transfers { Success::Last } else { *self.success.get(&Success::ALL) };
        let uses_surrogates = transfers || tested.surrogates() == Surrogates::Needed;
        Setting {
            goal,
            seed: self.seed,
            transfers,
            surrogates: if uses_surrogates { vec![crooked_surrogate()] } else { Vec::new() },
            // What attacks on labels may start from is the dataset's, not the batch's.
            pool: Some(crooked().1),
            ..Setting::untargeted(norm, eps, success)
        }
    }
}

/// Radii in a norm: next to nothing, some, and more than enough.
pub(crate) fn radii(norm: Norm) -> [f64; 5] {
    match norm {
        Norm::Linf => [1e-3, 0.03, 0.1, 0.3, 1.0],
        Norm::L2 => [1e-3, 0.2, 0.7, 2.0, 9.0],
        Norm::L1 => [1e-3, 1.0, 4.0, 12.0, 70.0],
        Norm::L0 => [1.0, 2.0, 5.0, 20.0, 70.0],
    }
}
