//! Tests of the gate: what is marked, and what is not.

use super::*;
use crate::fixture::{plan, record, record_of_chain};
use crate::tables::entry::entries;
use crate::{CellRecord, Store};

const SAMPLES: u32 = 400;

/// A plan of these attacks against one model at one radius.
fn spec(attacks: &[&str], eps: &str) -> String {
    let attacks: String = attacks.iter().map(|attack| format!("[[attack]]\n{attack}\n")).collect();
    format!(
        "[experiment]\nid = \"gate\"\n[data]\nuse = \"dots\"\nindices = [{}]\n[run]\nchunk = 1000\n[[model]]\nuse = \"net\"\n\
         [threat]\nnorm = \"linf\"\neps = {eps}\n{attacks}",
        (0..SAMPLES).map(|sample| sample.to_string()).collect::<Vec<_>>().join(", ")
    )
}

/// The first `broken` samples break, the others do not.
fn broken(broken: u32) -> CellRecord {
    let end = |sample| if sample < broken { (Status::Broken, 0.1) } else { (Status::Robust, f64::INFINITY) };
    record((0..SAMPLES).map(|sample| crate::fixture::outcome(sample, end(sample).0, end(sample).1)).collect())
}

/// What is suspect of each attack, given its cells' records in plan order.
fn suspicions(spec: &str, records: Vec<CellRecord>) -> Vec<Vec<Suspicion>> {
    verdicts(spec, records).suspicions
}

fn verdicts(spec: &str, records: Vec<CellRecord>) -> Verdicts {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let plan = plan(&[spec]);
    assert_eq!(plan.cells.len(), records.len());
    for (cell, record) in plan.cells.iter().zip(&records) {
        store.put(cell, record).unwrap();
    }
    let groups = Group::load(&plan.cells.iter().collect::<Vec<_>>(), &store).unwrap();
    let entries = entries(&groups, |_| plan.experiments[0].threats[0].eps.clone());
    judge(&groups, &entries, 4)
}

fn checks(suspicions: &[Vec<Suspicion>]) -> Vec<Vec<Check>> {
    suspicions.iter().map(|one| one.iter().map(|suspicion| suspicion.check).collect()).collect()
}

const STEP: &str = "use = \"step\"";
const WALK: &str = "use = \"walk\"";
const LEAP: &str = "use = \"leap\"";
const CLIMB: &str = "use = \"climb\"";

#[test]
fn black_boxes_that_win_make_every_attack_with_gradients_suspect() {
    let attacks = spec(&[STEP, LEAP, CLIMB], "\"1/4\"");
    let found = suspicions(&attacks, vec![broken(300), broken(180), broken(200)]);
    let wins = Check::BlackBoxWins;
    assert_eq!(checks(&found), [vec![], vec![wins], vec![wins], vec![]]);
    assert_eq!(
        found[1][0].evidence,
        "step breaks more without gradients than climb, the best with them: robust accuracy 25.0 % against 50.0 %, \
         25.0 points (standard error 2.2)"
    );
    // Four samples of 400 are a point, which is not more than one; with eight the standard error allows it.
    assert_eq!(checks(&suspicions(&attacks, vec![broken(204), broken(180), broken(200)])).concat(), []);
    assert_eq!(checks(&suspicions(&attacks, vec![broken(208), broken(180), broken(200)])).concat(), [wins, wins]);
    // As many samples as eight, but on different ones: 58 against 50.
    let mut other = broken(200);
    other.outcomes.iter_mut().take(50).for_each(|outcome| outcome.status = Status::Robust);
    let more = broken(258).outcomes.into_iter().skip(200).take(58);
    other.outcomes.splice(200..258, more);
    assert_eq!(checks(&suspicions(&attacks, vec![other, broken(200), broken(200)])).concat(), []);
}

#[test]
fn one_step_that_wins_makes_many_suspect() {
    let attacks = spec(&[LEAP, CLIMB], "\"1/4\"");
    let found = suspicions(&attacks, vec![broken(300), broken(200)]);
    assert_eq!(checks(&found), [vec![], vec![Check::OneStepWins], vec![]]);
    assert!(found[1][0].evidence.starts_with("leap breaks more in one step: robust accuracy 25.0 % against 50.0 %"));
    assert_eq!(checks(&suspicions(&attacks, vec![broken(200), broken(300)])).concat(), []);
    // An error says nothing about either.
    let mut unknown = broken(300);
    unknown.outcomes.iter_mut().skip(200).for_each(|outcome| outcome.status = Status::Failed);
    assert_eq!(checks(&suspicions(&attacks, vec![unknown, broken(200)])).concat(), []);
}

#[test]
fn nobody_survives_the_whole_box() {
    let attacks = spec(&[STEP, WALK], "[\"1/4\", 1]");
    let found = suspicions(&attacks, vec![broken(300), broken(395), broken(200)]);
    assert_eq!(
        checks(&found),
        [vec![], vec![Check::Unbounded], vec![Check::Unbounded], vec![Check::Unbounded], vec![], vec![]]
    );
    assert_eq!(found[1][0].evidence, "1.2 % stay robust although any image may be chosen");
    assert_eq!(checks(&suspicions(&attacks, vec![broken(300), broken(396), broken(396)])).concat(), []);
}

#[test]
fn nobody_survives_where_there_is_no_radius() {
    for norm in ["linf", "l2", "l1", "l0"] {
        let attacks = spec(&[WALK], "[]").replace("\"linf\"\neps = []", &format!("\"{norm}\""));
        let Verdicts { suspicions, .. } = verdicts(&attacks, vec![broken(300)]);
        assert_eq!(checks(&suspicions), [vec![Check::Unbounded], vec![]], "{norm}");
        assert_eq!(suspicions[0][0].evidence, "25.0 % stay robust although any image may be chosen");
    }
}

#[test]
fn a_search_may_choose_no_more_than_its_largest_radius() {
    let marked = |search: &str| {
        let attack = format!("use = \"climb\"\nsearch = {search}");
        checks(&suspicions(&spec(&[&attack], "[\"1/4\", \"1/2\"]"), vec![broken(200)])).concat()
    };
    let (none, both) = (vec![], vec![Check::Unbounded; 2]);
    assert_eq!(marked("\"list\""), none);
    let exponential = |doublings| format!("{{ start = \"1/4\", doublings = {doublings}, bisections = 3 }}");
    assert_eq!(marked(&exponential(1)), none);
    assert_eq!(marked(&exponential(2)), both);
    let linear = |largest| format!("{{ largest = {largest}, points = 4, bisections = 0 }}");
    assert_eq!(marked(&linear("\"1/2\"")), none);
    assert_eq!(marked(&linear("1")), both);
}

/// A record of steps 1 and 9: so many samples have an adversarial iterate at each.
fn with_trace(at_first: u32, at_last: u32) -> CellRecord {
    let mut traced = broken(at_last);
    let point = |outcome: &Outcome, step, adversarial: u32| TracePoint {
        sample: outcome.sample,
        step,
        queries: u64::from(step),
        pred: if outcome.sample < adversarial { 2 } else { 1 },
        distance: 0.1,
        broken: outcome.sample < adversarial,
    };
    let points = traced.outcomes.iter().flat_map(|outcome| [point(outcome, 1, at_first), point(outcome, 9, at_last)]);
    traced.trace = points.collect();
    traced
}

#[test]
fn more_iterations_must_not_hurt() {
    let attack = format!("{CLIMB}\nrecord = [1, 9]");
    let once = spec(&[&attack], "\"1/4\"");
    let found = suspicions(&once, vec![with_trace(250, 200)]);
    assert_eq!(checks(&found)[0], [Check::MoreIterationsHurt]);
    assert!(found[0][0].evidence.starts_with("the iterates of step 1 break more than those of step 9"));
    assert_eq!(checks(&suspicions(&once, vec![with_trace(200, 250)])).concat(), []);
    let restarted = spec(&[&format!("{attack}\nrestarts = 2")], "\"1/4\"");
    assert_eq!(checks(&suspicions(&restarted, vec![with_trace(250, 200)])).concat(), []);
}

#[test]
fn more_than_a_point_of_first_gradients_must_not_be_zero() {
    let zero = |count| CellRecord { zero_gradients: count, ..broken(100) };
    let attacks = spec(&[CLIMB], "\"1/4\"");
    let found = suspicions(&attacks, vec![zero(5)]);
    assert_eq!(checks(&found), [vec![Check::ZeroGradients], vec![]]);
    assert_eq!(found[0][0].evidence, "the first gradient was zero or not a number for 5 of 400 samples (1.2 %)");
    assert_eq!(checks(&suspicions(&attacks, vec![zero(4)])).concat(), []);
    // Samples that no gradient was taken of do not count.
    let mut fewer = zero(4);
    fewer.outcomes[0].spent.backwards = 0;
    assert_eq!(checks(&suspicions(&attacks, vec![fewer])).concat(), [Check::ZeroGradients]);
}

#[test]
fn what_is_disputed_was_answered_at_random() {
    let mut disputed = broken(100);
    disputed.outcomes[7].status = Status::Disputed;
    let attacks = spec(&[CLIMB], "\"1/4\"");
    let found = suspicions(&attacks, vec![disputed]);
    assert_eq!(checks(&found), [vec![Check::RandomAnswers], vec![]]);
    assert_eq!(found[0][0].evidence, "the adversarials of 1 of 400 samples got another answer when they were verified");
    let mut failed = broken(100);
    failed.outcomes[7].status = Status::Crashed;
    assert_eq!(checks(&suspicions(&attacks, vec![failed])).concat(), []);
}

#[test]
fn members_without_gradients_must_not_break_what_is_left() {
    let chain = |members: &str| spec(&[&format!("use = \"chain\"\nmembers = [{members}]")], "\"1/4\"");
    let rest = "r".repeat(SAMPLES as usize - 3);
    let one = record_of_chain(0, &format!("brs{rest}"));
    // One of 400 samples is 0.25 %.
    let found = suspicions(&chain("{ use = \"climb\" }, { use = \"step\" }"), vec![one.clone()]);
    assert_eq!(checks(&found), [vec![Check::BlackBoxMemberWins], vec![]]);
    assert_eq!(
        found[0][0].evidence,
        "without gradients, step broke 1 of 400 samples (0.25 %) that the members with gradients left"
    );
    let none = record_of_chain(0, &format!("bbr{rest}"));
    assert_eq!(checks(&suspicions(&chain("{ use = \"climb\" }, { use = \"step\" }"), vec![none])).concat(), []);
    // A member with gradients that comes later has had no chance, and without any there is nothing to compare with.
    for members in ["{ use = \"step\" }, { use = \"climb\" }", "{ use = \"step\" }, { id = \"again\", use = \"step\" }"]
    {
        assert_eq!(checks(&suspicions(&chain(members), vec![one.clone()])).concat(), []);
    }
}

#[test]
fn certificates_are_suspect_only_where_an_attack_breaks_what_they_prove() {
    let attacks = spec(&[WALK, CLIMB, "use = \"proof\""], "\"1/4\"");
    let proven = |radius: f64| {
        let outcome = |sample| crate::fixture::outcome(sample, Status::Certified, radius);
        record((0..SAMPLES).map(outcome).collect())
    };
    // The adversarials are at a distance of 0.1.
    let found = suspicions(&attacks, vec![broken(400), broken(400), proven(0.1)]);
    assert_eq!(checks(&found).concat(), []);
    let found = suspicions(&attacks, vec![broken(400), broken(300), proven(0.11)]);
    let about_proofs = found.iter().flatten().filter(|suspicion| suspicion.check == Check::CertificateBroken);
    let evidence: Vec<&str> = about_proofs.map(|suspicion| suspicion.evidence.as_str()).collect();
    assert_eq!(evidence, ["walk breaks 400 of 400 samples within the radius that is proven for them"]);
}

#[test]
fn what_was_not_checked_is_told() {
    let unchecked = |attacks: &[&str], eps: &str| {
        let spec = spec(attacks, eps);
        let cells = plan(&[&spec]).cells.len();
        verdicts(&spec, vec![broken(200); cells]).unchecked
    };
    use Check::{BlackBoxWins, MoreIterationsHurt, OneStepWins, Unbounded};
    assert_eq!(unchecked(&[STEP], "\"1/4\""), [Unbounded, BlackBoxWins, MoreIterationsHurt, OneStepWins]);
    assert_eq!(unchecked(&[STEP, CLIMB], "\"1/4\""), [Unbounded, MoreIterationsHurt, OneStepWins]);
    let recorded = format!("{CLIMB}\nrecord = [1, 9]");
    assert_eq!(unchecked(&[STEP, WALK, LEAP, &recorded], "\"1/4\""), []);
    assert_eq!(unchecked(&[STEP, LEAP, CLIMB], "[\"1/4\", 1]"), [MoreIterationsHurt]);
    // Nothing is told of what is not there.
    let nothing = spec(&[STEP], "\"1/4\"");
    let plan = plan(&[&nothing]);
    let directory = tempfile::tempdir().unwrap();
    let groups = Group::load(&plan.cells.iter().collect::<Vec<_>>(), &Store::open(directory.path()).unwrap()).unwrap();
    assert_eq!(judge(&groups, &entries(&groups, |_| Vec::new()), 4).unchecked, []);
}

#[test]
fn one_step_is_one_step_however_many_draws_its_gradient_is_the_mean_of() {
    let averaged = format!("{LEAP}\neot = 20");
    let attacks = spec(&[&averaged, CLIMB], "\"1/4\"");
    let found = suspicions(&attacks, vec![broken(300), broken(200)]);
    assert_eq!(checks(&found), [vec![], vec![Check::OneStepWins], vec![]]);
}

#[test]
fn victims_that_answer_otherwise_when_asked_again_are_random() {
    let other = CellRecord { random_answers: 3, ..broken(100) };
    let found = suspicions(&spec(&[CLIMB], "\"1/4\""), vec![other]);
    assert_eq!(checks(&found), [vec![Check::RandomAnswers], vec![]]);
    assert_eq!(found[0][0].evidence, "3 clean images got other logits when the victim was asked again");
}
