//! Projected gradient descent (PGD) as a plugin: step by step what the built-in `pgd` computes, so that the two show what
//! a plugin costs.
//!
//! ## What it does
//! Starts at a random point of the ball and repeats `x ← project(x + step-size · direction)`, where the direction is the
//! sign of the gradient (linf) or the unit vector along it (l2). With `restarts = n` it starts anew, from other points,
//! on the samples that are not broken yet.
//!
//! The start is uniform in the cube of radius start-radius · eps (linf), or a Gaussian direction times a uniform radius
//! up to it (l2), and is projected like every iterate.
//!
//! ## Threat model
//! White-box gradients; linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward and one backward pass per step, restart and sample.
//!
//! ## References
//! Madry, Makelov, Schmidt, Tsipras, Vladu: Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018
//! (arXiv:1706.06083).

use realsafe_plugin::{
    About, Attack, Batch, Cost, Error, LossChoice, Norm, Parameter, Plan, Problem, Role, Rows, Stream, Values, Victim,
    access,
};

realsafe_plugin::plugin! {
    /// The plugin, to be exported or linked statically.
    pub static PLUGIN: [attack Pgd]
}

/// Projected steepest steps from a start.
struct Pgd {
    /// The share of eps within which the start is drawn; none starts at the clean image.
    start_radius: Option<f32>,
    step_size: StepSize,
    loss: LossChoice,
}

/// The length of a step.
enum StepSize {
    Absolute(f32),
    ShareOfEps(f32),
}

impl Attack for Pgd {
    const ABOUT: About = About {
        id: "plugin-pgd",
        revision: 1,
        documentation: include_str!("lib.rs"),
        example: "steps = 100\nstep-size = \"0.01\"",
        parameters: &[
            Parameter::count("steps", 1, 1_000_000)
                .fallback("40")
                .unit("gradients")
                .documentation("How many gradient steps are made."),
            Parameter::number("step-size", 0.0, 1e6)
                .optional()
                .unit("pixel range 0 to 1, in the norm of the threat model")
                .documentation("The length of a step; where it is set, step-size-relative is ignored."),
            Parameter::number("step-size-relative", 0.0, 1e6)
                .fallback("2.5")
                .unit("eps / steps")
                .documentation("The length of a step as a multiple of eps / steps, which fits every eps of a list."),
            Parameter::loss("loss")
                .fallback("cross-entropy")
                .documentation("What is raised for the label, or lowered for the target."),
            Parameter::choice("start", &["ball", "none"])
                .fallback("ball")
                .documentation("How the starting point is drawn."),
            Parameter::number("start-radius", 0.0, 1.0)
                .fallback("1")
                .unit("eps")
                .documentation("The radius within which the starting point is drawn."),
        ],
    };
    type Access = access::Gradients;

    fn plan(values: &Values<'_>) -> Result<Plan, Error> {
        let steps = u32::try_from(values.count("steps")?).unwrap_or(u32::MAX);
        Ok(Plan { steps, start: Cost::NOTHING, step: Cost::gradients(1) })
    }

    fn create(_: &Problem, values: &Values<'_>) -> Result<Self, Error> {
        let relative = values.number("step-size-relative")? / values.count("steps")? as f64;
        let absolute = values.optional_number("step-size")?;
        let radius = values.number("start-radius")? as f32;
        Ok(Self {
            start_radius: (values.choice("start")? == "ball").then_some(radius),
            step_size: absolute.map_or(StepSize::ShareOfEps(relative as f32), |size| StepSize::Absolute(size as f32)),
            loss: values.loss("loss")?,
        })
    }

    fn start(
        &self,
        victim: &mut Victim<'_, Self::Access>,
        batch: &Batch<'_>,
        iterates: &mut Rows<'_>,
        _: &mut Rows<'_>,
    ) -> Result<(), Error> {
        let Some(radius) = self.start_radius else { return Ok(()) };
        let mut noise = vec![0.0; batch.problem.shape.values()];
        for &row in batch.rows() {
            victim.ball(row, Stream::START, radius * batch.eps[row as usize], &mut noise)?;
            iterates.row_mut(row as usize).iter_mut().zip(&noise).for_each(|(pixel, noise)| *pixel += noise);
        }
        project(victim, batch, iterates)
    }

    fn step(
        &self,
        victim: &mut Victim<'_, Self::Access>,
        batch: &Batch<'_>,
        iterates: &mut Rows<'_>,
        _: &mut Rows<'_>,
    ) -> Result<(), Error> {
        let (_, mut directions) = victim.gradient(batch.rows(), iterates, self.loss, Role::Iterate)?;
        match batch.problem.norm {
            Norm::Linf => directions.iter_mut().for_each(|direction| *direction = sign(*direction)),
            Norm::L2 | Norm::L1 | Norm::L0 => victim.steepest(batch.rows(), &mut directions)?,
        }
        for (row, direction) in directions.chunks_exact(batch.problem.shape.values()).enumerate() {
            let length = match self.step_size {
                StepSize::Absolute(length) => length,
                StepSize::ShareOfEps(share) => share * batch.eps[row],
            };
            iterates.row_mut(row).iter_mut().zip(direction).for_each(|(pixel, change)| *pixel += change * length);
        }
        project(victim, batch, iterates)
    }
}

/// The sign of a number, which is 0 for 0.
fn sign(number: f32) -> f32 {
    f32::from(i8::from(number > 0.0) - i8::from(number < 0.0))
}

/// Projects all iterates onto the ball of their rows, then onto the box. The cube is simple enough to do it here; the
/// length of a change depends on the order of a sum, so the ball of l2 is the host's.
fn project(
    victim: &mut Victim<'_, access::Gradients>,
    batch: &Batch<'_>,
    iterates: &mut Rows<'_>,
) -> Result<(), Error> {
    if batch.problem.norm == Norm::L2 {
        return victim.project(batch.rows(), iterates);
    }
    for (row, eps) in batch.eps.iter().enumerate() {
        for (pixel, center) in iterates.row_mut(row).iter_mut().zip(batch.image(row)) {
            *pixel = pixel.max(center - eps).min(center + eps).clamp(0.0, 1.0);
        }
    }
    Ok(())
}
