//! Certificate: asks the victim for a proof that nothing near an image is misclassified, instead of attacking it.
//!
//! ## What it does
//! Per sample the victim proves a radius within which every image has the sample's label, or it proves nothing. Certified
//! accuracy at eps is the share of samples whose radius is larger; no attack within eps can break these, so that it is a lower
//! bound of robust accuracy where attacks find upper bounds. One run serves all eps, and the curve of certified accuracy against
//! eps is an exact step function.
//!
//! - Behind `gaussian-smoothing`, in l2: `selection-samples` noisy copies select the class that most of them vote for, and of
//!   `samples` others the share of its votes is bounded from below, by Clopper and Pearson at the confidence `1 - alpha`.
//!   With the bound p the radius is `σ Φ⁻¹(p)`; nothing is proven where p is at most one half, or the class is not the label. A
//!   proof is wrong with a probability of at most `alpha`.
//! - Networks of convolutions, linear layers, relus and max-pooling (`digits-cnn`, `lenet`, `small-cnn` and `convolution-stack`
//!   with linear heads), bare, in linf: the largest cube, to within 2⁻²⁴, in which intervals exclude all other classes. `samples`
//!   and the like do not matter. Only networks that were trained for it have proofs worth the name, as by the recipe
//!   `interval-bound-propagation`. With `bounds = "duality"` the radii that intervals prove are enlarged, to within 2⁻¹⁰, by linear
//!   bounds of the relus, as networks need that were trained by `wong-kolter`.
//!
//! Other victims are refused before anything runs, and so are defenses in front of these. Abstentions count as uncertified.
//! The median and mean distance of the report are those of the radii, zero where nothing is proven. A certificate is no part
//! of the worst case; where an attack breaks a sample within its radius, both are suspect.
//!
//! ## Threat model
//! `untargeted`: where nothing is misclassified, nothing becomes a target either.
//!
//! ## Cost
//! `selection-samples + samples` answers of the model behind the noise; 50 passes of a network for intervals. By
//! duality, 11 times as many more as linear functions are sent back through the network: one for each class and each number behind
//! the linear layers and convolutions after the first, where these are not too large. No queries.
//!
//! ## References
//! Cohen, Rosenfeld, Kolter: Certified Adversarial Robustness via Randomized Smoothing, ICML 2019 (arXiv:1902.02918), who take
//! 100, 100 000 and 0.001. Gowal et al.: On the Effectiveness of Interval Bound Propagation for Training Verifiably Robust Models,
//! 2018 (arXiv:1810.12715). Wong, Kolter: Provable Defenses against Adversarial Examples via the Convex Outer Adversarial Polytope,
//! ICML 2018 (arXiv:1711.00851). Clopper, Pearson: The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial,
//! Biometrika 26, 1934.

use realsafe_core::{CertificateEntry, inventory};
use realsafe_plan::{CertificateTraits, Component, Fallback, Goal, Norm, Origin, Parameter, ParameterKind, Traits};

const DRAWS: ParameterKind = ParameterKind::Count { minimum: 1, maximum: 10_000_000 };

inventory::submit! {
    CertificateEntry {
        component: Component {
            id: "certificate",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("certificate.rs"),
            parameters: &[
                Parameter {
                    name: "selection-samples",
                    kind: DRAWS,
                    unit: "noisy copies",
                    fallback: Fallback::Value("100"),
                    documentation: "How many draws select the class that is to be proven.",
                },
                Parameter {
                    name: "samples",
                    kind: DRAWS,
                    unit: "noisy copies",
                    fallback: Fallback::Value("1000"),
                    documentation: "How many draws are the evidence: more prove larger radii.",
                },
                Parameter {
                    name: "alpha",
                    kind: ParameterKind::Number { minimum: 1e-12, maximum: 0.5 },
                    unit: "probability",
                    fallback: Fallback::Value("0.001"),
                    documentation: "How likely the proof of a sample may be wrong at most.",
                },
                Parameter {
                    name: "bounds",
                    kind: ParameterKind::Choice(&["intervals", "duality"]),
                    unit: "",
                    fallback: Fallback::Value("intervals"),
                    documentation: "What bounds networks: intervals, or the dual bound of Wong and Kolter, tighter and slow.",
                },
            ],
            example: "samples = 10000",
            traits: Traits::Certificate(CertificateTraits { norms: &[Norm::Linf, Norm::L2], goals: &[Goal::Untargeted] }),
        },
    }
}
