//! Repeated steps of steepest ascent of the cross-entropy, each projected onto the ball.
//!
//! ## What it does
//! Starts at the clean image and repeats `x ← project(x + step-size · eps · direction)`, where the direction is the sign
//! of the gradient (linf) or the unit vector along it (l2).
//!
//! ## Threat model
//! White-box gradients; linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward and one backward pass per step and sample.

use realsafe_plugin::{
    About, Attack, Batch, Cost, Error, LossChoice, Parameter, Plan, Problem, Role, Rows, Values, Victim, access,
};

realsafe_plugin::plugin!(static PLUGIN: [attack SteepestSteps]);
realsafe_plugin::export!(PLUGIN);

struct SteepestSteps {
    /// The length of a step, as a share of eps.
    step_size: f32,
}

impl Attack for SteepestSteps {
    const ABOUT: About = About {
        id: "{{name}}",
        // Raise it whenever the numbers may change: stored results of other revisions are not used.
        revision: 1,
        documentation: include_str!("lib.rs"),
        example: "steps = 20",
        parameters: &[
            Parameter::count("steps", 1, 1_000_000).fallback("40").documentation("How many steps are made."),
            Parameter::number("step-size", 0.0, 10.0)
                .fallback("0.1")
                .unit("eps")
                .documentation("The length of a step."),
        ],
    };
    // What the attack may ask of its victim. With `access::Scores`, `victim.gradient` would not compile.
    type Access = access::Gradients;

    // What a step costs at most; more is refused.
    fn plan(values: &Values<'_>) -> Result<Plan, Error> {
        let steps = u32::try_from(values.count("steps")?).unwrap_or(u32::MAX);
        Ok(Plan { steps, start: Cost::NOTHING, step: Cost::gradients(1) })
    }

    fn create(_: &Problem, values: &Values<'_>) -> Result<Self, Error> {
        Ok(Self { step_size: values.number("step-size")? as f32 })
    }

    // The iterates are the clean images already.
    fn start(
        &self,
        _: &mut Victim<'_, Self::Access>,
        _: &Batch<'_>,
        _: &mut Rows<'_>,
        _: &mut Rows<'_>,
    ) -> Result<(), Error> {
        Ok(())
    }

    // Samples that are adversarial end by themselves: the next step has fewer rows.
    fn step(
        &self,
        victim: &mut Victim<'_, Self::Access>,
        batch: &Batch<'_>,
        iterates: &mut Rows<'_>,
        _: &mut Rows<'_>,
    ) -> Result<(), Error> {
        let (_, mut directions) = victim.gradient(batch.rows(), iterates, LossChoice::CROSS_ENTROPY, Role::Iterate)?;
        victim.steepest(batch.rows(), &mut directions)?;
        for (row, direction) in directions.chunks_exact(batch.problem.shape.values()).enumerate() {
            let length = self.step_size * batch.eps[row];
            iterates.row_mut(row).iter_mut().zip(direction).for_each(|(pixel, change)| *pixel += length * change);
        }
        victim.project(batch.rows(), iterates)
    }
}
