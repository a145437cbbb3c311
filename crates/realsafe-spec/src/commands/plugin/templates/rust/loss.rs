//! The margin of logits: how far the best other class is above the label.
//!
//! ## What it does
//! `max over j ≠ c of logit(j) − logit(c)`, where c is the label; towards a target, minus that for the target.

use realsafe_plugin::{About, Error, Loss, Values};

realsafe_plugin::plugin!(static PLUGIN: [loss LogitMargin]);
realsafe_plugin::export!(PLUGIN);

struct LogitMargin;

impl Loss for LogitMargin {
    const ABOUT: About = About {
        id: "{{name}}",
        // Raise it whenever the numbers may change: stored results of other revisions are not used.
        revision: 1,
        documentation: include_str!("lib.rs"),
        example: "",
        parameters: &[],
    };

    fn create(_: &Values<'_>) -> Result<Self, Error> {
        Ok(Self)
    }

    // What the attacker raises, for one sample; its derivative along each logit goes to `derivatives`.
    fn evaluate(&self, logits: &[f32], label: u32, target: Option<u32>, derivatives: &mut [f32]) -> Result<f32, Error> {
        let (class, sign) = target.map_or((label, 1.0), |target| (target, -1.0));
        let class = class as usize;
        let others = (0..logits.len()).filter(|other| *other != class);
        let best = others.max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
        let best = best.ok_or_else(|| Error::failed("a margin takes two classes or more"))?;
        derivatives.fill(0.0);
        derivatives[best] = sign;
        derivatives[class] = -sign;
        Ok(sign * (logits[best] - logits[class]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_raised_away_from_the_label_and_towards_the_target() {
        let mut derivatives = [0.0; 3];
        assert_eq!(LogitMargin.evaluate(&[4.0, 1.0, 3.0], 0, None, &mut derivatives).unwrap(), -1.0);
        assert_eq!(derivatives, [-1.0, 0.0, 1.0]);
        assert_eq!(LogitMargin.evaluate(&[4.0, 1.0, 3.0], 0, Some(1), &mut derivatives).unwrap(), -3.0);
        assert_eq!(derivatives, [-1.0, 1.0, 0.0]);
    }
}
