//! Where a value lies on an axis, and which values are written at it.

/// A horizontal axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) logarithmic: bool,
    pub(super) ticks: Vec<Tick>,
}

/// A value and how it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

/// About how many values are written at an axis.
const TICKS: f64 = 5.0;

/// Steps of 8-bit images.
const LEVELS: f64 = 255.0;

impl Scale {
    /// From 0 on.
    pub(super) fn linear(end: f64) -> Self {
        let step = round_step(end / TICKS);
        let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        let ticks = multiples(step, end).map(|value| Tick { value, label: format!("{value:.decimals$}") });
        Self { start: 0.0, end, logarithmic: false, ticks: ticks.collect() }
    }

    /// From 0 on, in steps of 8-bit images, or halves, quarters and so on of them.
    pub(super) fn levels(end: f64) -> Self {
        let step = (LEVELS * end / TICKS).log2().ceil().exp2();
        Self { start: 0.0, end, logarithmic: false, ticks: multiples(step, LEVELS * end).map(level).collect() }
    }

    /// Between two positive values, in steps of 8-bit images that double.
    pub(super) fn logarithmic_levels(start: f64, end: f64) -> Self {
        let powers = (LEVELS * start).log2().ceil() as i32..=(LEVELS * end * (1.0 + 1e-9)).log2().floor() as i32;
        // From the largest down, so that the end has one.
        let every = (powers.clone().count() as f64 / TICKS).ceil().max(1.0) as usize;
        let ticks = powers.rev().step_by(every).map(|power| level(f64::from(power).exp2()));
        let mut ticks: Vec<Tick> = ticks.collect();
        ticks.reverse();
        Self { start, end, logarithmic: true, ticks }
    }

    /// Between two positive values.
    pub(super) fn logarithmic(start: f64, end: f64) -> Self {
        let decades = start.log10().floor() as i32..=end.log10().ceil() as i32;
        let factors: &[u32] = if end / start < 500.0 { &[1, 2, 5] } else { &[1] };
        let values = decades.flat_map(|decade| factors.iter().map(move |factor| format!("{factor}e{decade}")));
        let within = |value: &f64| (start..=end).contains(value);
        let values = values.filter_map(|text| text.parse().ok()).filter(within);
        let ticks = values.map(|value| Tick { value, label: format!("{value}") });
        Self { start, end, logarithmic: true, ticks: ticks.collect() }
    }

    /// Where a value lies between the ends, which are 0 and 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.start, self.end);
        if self.logarithmic {
            (value / self.start).ln() / (self.end / self.start).ln()
        } else {
            (value - self.start) / (self.end - self.start)
        }
    }
}

/// A step of 8-bit images.
fn level(level: f64) -> Tick {
    let label = if level == 0.0 { "0".to_owned() } else { format!("{level}/{LEVELS}") };
    Tick { value: level / LEVELS, label }
}

/// 0 and the multiples of a step up to an end, which rounding must not exclude.
fn multiples(step: f64, end: f64) -> impl Iterator<Item = f64> {
    let count = (end / step + 1e-9).floor() as u32;
    (0..=count).map(move |index| f64::from(index) * step)
}

/// The next larger 1, 2 or 5 with zeros.
fn round_step(step: f64) -> f64 {
    let decade = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * decade >= step * (1.0 - 1e-9));
    decade * factor.unwrap_or(10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(&Scale::linear(0.3)), ["0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels(&Scale::linear(1.0)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&Scale::linear(2000.0)), ["0", "500", "1000", "1500", "2000"]);
        assert_eq!(labels(&Scale::linear(0.04)), ["0.00", "0.01", "0.02", "0.03", "0.04"]);
        assert_eq!(labels(&Scale::linear(7.3)), ["0", "2", "4", "6"]);
        assert_eq!(labels(&Scale::levels(8.0 / 255.0)), ["0", "2/255", "4/255", "6/255", "8/255"]);
        assert_eq!(labels(&Scale::levels(3.0 / 255.0)), ["0", "1/255", "2/255", "3/255"]);
        assert_eq!(labels(&Scale::levels(64.0 / 255.0)), ["0", "16/255", "32/255", "48/255", "64/255"]);
        assert_eq!(labels(&Scale::levels(1.0 / 255.0)), ["0", "0.25/255", "0.5/255", "0.75/255", "1/255"]);
        assert_eq!(labels(&Scale::levels(0.5 / 255.0)), ["0", "0.125/255", "0.25/255", "0.375/255", "0.5/255"]);
        let doubled = ["1/255", "2/255", "4/255", "8/255"];
        assert_eq!(labels(&Scale::logarithmic_levels(0.9 / 255.0, 8.0 / 255.0)), doubled);
        assert_eq!(
            labels(&Scale::logarithmic_levels(0.3 / 255.0, 64.0 / 255.0)),
            ["1/255", "4/255", "16/255", "64/255"]
        );
        assert_eq!(labels(&Scale::logarithmic(1.0, 20_000.0)), ["1", "10", "100", "1000", "10000"]);
        assert_eq!(labels(&Scale::logarithmic(0.03, 2.0)), ["0.05", "0.1", "0.2", "0.5", "1", "2"]);
    }

    #[test]
    fn values_lie_between_the_ends() {
        let scale = Scale::linear(4.0);
        assert_eq!([-1.0, 0.0, 1.0, 5.0].map(|value| scale.place(value)), [0.0, 0.0, 0.25, 1.0]);
        let scale = Scale::logarithmic(1.0, 100.0);
        assert_eq!([0.0, 1.0, 10.0, 100.0].map(|value| scale.place(value)), [0.0, 0.0, 0.5, 1.0]);
    }
}
