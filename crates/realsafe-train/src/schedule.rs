//! The learning rate and the radius over a run, as functions of time alone, so that a resumed run needs no state of them.

use realsafe_plan::Values;

/// The learning rate in the middle of an update, `time` being the share of the run that is over, from 0 to 1.
pub(crate) fn learning_rate(values: &Values, time: f64) -> f64 {
    let largest = values.number("learning-rate");
    let share = match values.text("schedule") {
        "step" => {
            let passed = values.numbers("milestones").into_iter().filter(|milestone| *milestone <= time);
            passed.map(|_| values.number("decay")).product()
        }
        "cosine" => 0.5 + 0.5 * (time * std::f64::consts::PI).cos(),
        "cyclic" => {
            let peak = values.number("peak");
            if time < peak { time / peak } else { (1.0 - time) / (1.0 - peak) }
        }
        _ => 1.0,
    };
    largest * share * grown(time, values.number("warm-up"))
}

/// How much of its size a radius has at a time of the run that grows linearly from nothing during the share `warm_up`.
pub(crate) fn grown(time: f64, warm_up: f64) -> f64 {
    if time < warm_up { time / warm_up } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use realsafe_plan::{Number, Value};

    use super::*;

    fn rates(schedule: &str, peak: &str, warm_up: &str) -> Vec<f64> {
        let number = |text: &str| text.parse::<Number>().unwrap();
        let mut values = Values::default();
        values.insert("schedule", Value::Text(schedule.to_owned()));
        values.insert("learning-rate", Value::Number(number("8")));
        values.insert("milestones", Value::Numbers(vec![number("0.5"), number("0.75")]));
        values.insert("peak", Value::Number(number(peak)));
        values.insert("warm-up", Value::Number(number(warm_up)));
        values.insert("decay", Value::Number(number("0.5")));
        [0.0, 0.25, 0.5, 0.75, 1.0].map(|time| learning_rate(&values, time)).to_vec()
    }

    #[test]
    fn schedules_go_their_way() {
        assert_eq!(rates("constant", "0.5", "0"), [8.0; 5]);
        assert_eq!(rates("step", "0.5", "0"), [8.0, 8.0, 4.0, 2.0, 2.0]);
        assert_eq!(rates("cyclic", "0.5", "0"), [0.0, 4.0, 8.0, 4.0, 0.0]);
        assert_eq!(rates("cyclic", "0.25", "0"), [0.0, 8.0, 8.0 * 0.5 / 0.75, 8.0 * 0.25 / 0.75, 0.0]);
        assert_eq!(rates("cyclic", "0", "0"), [8.0, 6.0, 4.0, 2.0, 0.0]);
        assert_eq!(rates("constant", "0.5", "1"), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(rates("step", "0.5", "0.5"), [0.0, 4.0, 4.0, 2.0, 2.0]);
        let cosine = rates("cosine", "0.5", "0");
        assert_eq!((cosine[0], cosine[4]), (8.0, 0.0));
        assert!((cosine[2] - 4.0).abs() < 1e-12 && cosine.is_sorted_by(|earlier, later| earlier > later));
    }
}
