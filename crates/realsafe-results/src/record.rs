//! A cell's record as the files of its folder, and back.
//!
//! `samples.csv` holds a row per sample, `trace.csv` a row per recorded step, `members.csv` a row per member of a chain
//! (absent without any),
//! `draws.csv` a row per sample of a randomised victim (absent of others),
//! `adversarials.safetensors` the tensor `images` (absent unless asked for), and `cell.json` what the cell is,
//! how it failed (absent unless it did), its warnings and the BLAKE3 of the other files.

use std::collections::BTreeMap;
use std::io;

use realsafe_plan::{Cell, Chosen, Member, Origin, Search, Value};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::files::{csv_bytes, digest};
use crate::images::{decode_images, encode_images};
use crate::{CellRecord, MemberRecord, Outcome, Result, Shares, Spent, Status, TracePoint};

/// The bytes of a folder by file name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The file that describes the cell and lists the others.
pub(crate) const DESCRIPTION: &str = "cell.json";
const SAMPLES: &str = "samples.csv";
const TRACE: &str = "trace.csv";
const MEMBERS: &str = "members.csv";
const DRAWS: &str = "draws.csv";
/// The file of final images, which a cell may lack.
pub(crate) const ADVERSARIALS: &str = "adversarials.safetensors";

/// The columns of a sample, in the cell's file and in the report; [`Outcome`] says what they hold.
///
/// `status` is `robust` or `broken`, of certificates `certified` or `uncertified`, or else an error, which counts as neither: `invalid` and `disputed` are verdicts
/// on an image, `failed`, `crashed`, `timed-out`, `out-of-memory` and `over-budget` say why there is none. Empty:
/// `target` where the goal has none, `clean_pred` where the model itself failed on the clean image, `adv_pred` after
/// an error; both may be `rejected`. Empty, too: `first_success` where nothing succeeded, `broken_by` but for chains, `failed_at` but for searches.
pub(crate) const OUTCOME_COLUMNS: [&str; 18] = [
    "sample",
    "label",
    "target",
    "clean_pred",
    "adv_pred",
    "status",
    "dist_linf",
    "dist_l2",
    "dist_l1",
    "dist_l0",
    "queries",
    "forwards",
    "backwards",
    "surrogate_forwards",
    "surrogate_backwards",
    "first_success",
    "broken_by",
    "failed_at",
];

const TRACE_COLUMNS: [&str; 6] = ["sample", "step", "queries", "pred", "distance", "broken"];

/// The columns of [`Shares`], beside those of a sample where the victim is randomised.
pub(crate) const SHARE_COLUMNS: [&str; 3] = ["clean_share", "correct_share", "robust_share"];

/// An [`Outcome`] as [`OUTCOME_COLUMNS`] order it.
#[derive(Serialize, Deserialize)]
pub(crate) struct OutcomeRow {
    sample: u32,
    label: u32,
    target: Option<u32>,
    #[serde(with = "prediction")]
    clean_pred: Option<u32>,
    #[serde(with = "prediction")]
    adv_pred: Option<u32>,
    status: Status,
    dist_linf: f64,
    dist_l2: f64,
    dist_l1: f64,
    dist_l0: f64,
    queries: u64,
    forwards: u64,
    backwards: u64,
    surrogate_forwards: u64,
    surrogate_backwards: u64,
    first_success: Option<u64>,
    broken_by: Option<String>,
    failed_at: Option<f64>,
}

impl From<&Outcome> for OutcomeRow {
    fn from(outcome: &Outcome) -> Self {
        let Outcome { sample, label, target, clean_pred, adv_pred, status, .. } = *outcome;
        let Outcome { dist_linf, dist_l2, dist_l1, dist_l0, first_success, failed_at, .. } = *outcome;
        let Spent { queries, forwards, backwards, surrogate_forwards, surrogate_backwards } = outcome.spent;
        Self {
            sample,
            label,
            target,
            clean_pred,
            adv_pred,
            status,
            dist_linf,
            dist_l2,
            dist_l1,
            dist_l0,
            queries,
            forwards,
            backwards,
            surrogate_forwards,
            surrogate_backwards,
            first_success,
            broken_by: outcome.broken_by.clone(),
            failed_at,
        }
    }
}

impl From<OutcomeRow> for Outcome {
    fn from(row: OutcomeRow) -> Self {
        Self {
            sample: row.sample,
            label: row.label,
            target: row.target,
            clean_pred: row.clean_pred,
            adv_pred: row.adv_pred,
            status: row.status,
            dist_linf: row.dist_linf,
            dist_l2: row.dist_l2,
            dist_l1: row.dist_l1,
            dist_l0: row.dist_l0,
            spent: Spent {
                queries: row.queries,
                forwards: row.forwards,
                backwards: row.backwards,
                surrogate_forwards: row.surrogate_forwards,
                surrogate_backwards: row.surrogate_backwards,
            },
            first_success: row.first_success,
            broken_by: row.broken_by,
            failed_at: row.failed_at,
            shares: None,
        }
    }
}

/// A prediction: a class, `rejected`, or nothing.
mod prediction {
    use realsafe_plan::REJECTED;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    const NAME: &str = "rejected";

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn serialize<S: Serializer>(
        prediction: &Option<u32>,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        match *prediction {
            Some(REJECTED) => NAME.serialize(serializer),
            other => other.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Option<u32>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let parse = |text: String| if text == NAME { Ok(REJECTED) } else { text.parse().map_err(D::Error::custom) };
        text.map(parse).transpose()
    }
}

const MEMBER_COLUMNS: [&str; 8] =
    ["id", "attacked", "broken", "queries", "forwards", "backwards", "surrogate_forwards", "surrogate_backwards"];

/// A [`MemberRecord`] as [`MEMBER_COLUMNS`] order it.
#[derive(Serialize, Deserialize)]
struct MemberRow {
    id: String,
    attacked: u64,
    broken: u64,
    queries: u64,
    forwards: u64,
    backwards: u64,
    surrogate_forwards: u64,
    surrogate_backwards: u64,
}

impl From<&MemberRecord> for MemberRow {
    fn from(member: &MemberRecord) -> Self {
        let Spent { queries, forwards, backwards, surrogate_forwards, surrogate_backwards } = member.spent;
        let (id, attacked, broken) = (member.id.clone(), member.attacked, member.broken);
        Self { id, attacked, broken, queries, forwards, backwards, surrogate_forwards, surrogate_backwards }
    }
}

impl From<MemberRow> for MemberRecord {
    fn from(row: MemberRow) -> Self {
        let MemberRow { id, attacked, broken, queries, forwards, backwards, .. } = row;
        let MemberRow { surrogate_forwards, surrogate_backwards, .. } = row;
        let spent = Spent { queries, forwards, backwards, surrogate_forwards, surrogate_backwards };
        Self { id, attacked, broken, spent }
    }
}

/// What `cell.json` says.
#[derive(Serialize, Deserialize)]
pub(crate) struct Description {
    /// What the cell is, for people.
    cell: serde_json::Value,
    /// How the whole cell failed: the mark of a provisional record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<Status>,
    /// Samples whose first gradient was zero or not a number.
    #[serde(default, skip_serializing_if = "is_zero")]
    zero_gradients: u64,
    /// Clean images that the victim answered otherwise when it was asked again.
    #[serde(default, skip_serializing_if = "is_zero")]
    random_answers: u64,
    /// What looked wrong but did not stop the cell.
    warnings: Vec<String>,
    /// BLAKE3 of the other files.
    pub(crate) files: BTreeMap<String, String>,
}

impl Description {
    /// Reads `cell.json`; the error says what is wrong.
    pub(crate) fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| format!("{DESCRIPTION}: {error}"))
    }

    /// Whether both say the same of what was computed. Names may differ, and so may warnings then, which mention them.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        let numbers = |one: &Self| (one.failed, one.zero_gradients, one.random_answers);
        numbers(self) == numbers(other) && (self.cell != other.cell || self.warnings == other.warnings)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The files of a computed cell.
pub(crate) fn encode(cell: &Cell, record: &CellRecord) -> Result<Files> {
    let mut files = Files::new();
    files.insert(SAMPLES.to_owned(), csv_bytes(&OUTCOME_COLUMNS, record.outcomes.iter().map(OutcomeRow::from))?);
    if !record.trace.is_empty() {
        files.insert(TRACE.to_owned(), csv_bytes(&TRACE_COLUMNS, &record.trace)?);
    }
    if !record.members.is_empty() {
        files.insert(MEMBERS.to_owned(), csv_bytes(&MEMBER_COLUMNS, record.members.iter().map(MemberRow::from))?);
    }
    let shares: Vec<Shares> = record.outcomes.iter().filter_map(|outcome| outcome.shares).collect();
    if !shares.is_empty() {
        files.insert(DRAWS.to_owned(), csv_bytes(&SHARE_COLUMNS, shares)?);
    }
    if let Some(adversarials) = &record.adversarials {
        files.insert(ADVERSARIALS.to_owned(), encode_images(adversarials)?);
    }
    let description = Description {
        cell: describe(cell),
        failed: record.failure(),
        zero_gradients: record.zero_gradients,
        random_answers: record.random_answers,
        warnings: record.warnings.clone(),
        files: files.iter().map(|(name, bytes)| (name.clone(), digest(bytes))).collect(),
    };
    let mut text = serde_json::to_vec_pretty(&description).map_err(io::Error::from)?;
    text.push(b'\n');
    files.insert(DESCRIPTION.to_owned(), text);
    Ok(files)
}

/// Whether the files of a cell are marked as those of one that failed, the samples unread.
pub(crate) fn is_failed_cell(files: &Files) -> bool {
    files
        .get(DESCRIPTION)
        .is_some_and(|text| Description::parse(text).is_ok_and(|described| described.failed.is_some()))
}

/// The record in the files of a cell; the error says which of them is unreadable, and why.
pub(crate) fn decode(files: &Files) -> std::result::Result<CellRecord, String> {
    let file = |name: &str| files.get(name).map(Vec::as_slice);
    let description = Description::parse(file(DESCRIPTION).unwrap_or_default())?;
    let outcomes = parse::<OutcomeRow>(SAMPLES, file(SAMPLES).unwrap_or_default())?;
    let trace = file(TRACE).map_or(Ok(Vec::new()), |bytes| parse::<TracePoint>(TRACE, bytes))?;
    let members = file(MEMBERS).map_or(Ok(Vec::new()), |bytes| parse::<MemberRow>(MEMBERS, bytes))?;
    let adversarials = file(ADVERSARIALS).map(decode_images).transpose();
    let mut outcomes: Vec<Outcome> = outcomes.into_iter().map(Outcome::from).collect();
    if let Some(bytes) = file(DRAWS) {
        let shares = parse::<(f64, f64, f64)>(DRAWS, bytes)?;
        if shares.len() != outcomes.len() {
            return Err(format!("{DRAWS}: {} rows for {} samples", shares.len(), outcomes.len()));
        }
        for (outcome, (clean, correct, robust)) in outcomes.iter_mut().zip(shares) {
            outcome.shares = Some(Shares { clean, correct, robust });
        }
    }
    Ok(CellRecord {
        outcomes,
        trace,
        members: members.into_iter().map(MemberRecord::from).collect(),
        zero_gradients: description.zero_gradients,
        random_answers: description.random_answers,
        adversarials: adversarials.map_err(|cause| format!("{ADVERSARIALS}: {cause}"))?,
        warnings: description.warnings,
    })
}

fn parse<R: DeserializeOwned>(name: &str, bytes: &[u8]) -> std::result::Result<Vec<R>, String> {
    csv::Reader::from_reader(bytes)
        .deserialize()
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| format!("{name}: {error}"))
}

fn describe(cell: &Cell) -> serde_json::Value {
    let budget = &cell.attack.budget;
    let layer = |layer: &realsafe_plan::StackLayer| {
        let mut described = describe_chosen(&layer.defense);
        described["gradient"] = json!(layer.gradient.name());
        described
    };
    let mut attack = describe_chosen(&cell.attack.chosen);
    attack["success"] = json!(cell.attack.success.name());
    attack["restarts"] = json!(cell.attack.restarts);
    attack["eot"] = json!(cell.attack.eot);
    if let Some(search) = &cell.attack.search {
        attack["search"] = describe_search(search);
    }
    if !cell.attack.members.is_empty() {
        let member = |member: &Member| {
            let mut described = describe_chosen(&member.chosen);
            described["restarts"] = json!(member.restarts);
            described["eot"] = json!(member.eot);
            described
        };
        attack["members"] = cell.attack.members.iter().map(member).collect();
    }
    attack["budget"] = json!({"queries": budget.queries, "forwards": budget.forwards, "backwards": budget.backwards});
    attack["record"] = json!(cell.attack.record);
    if !cell.attack.surrogates.is_empty() {
        attack["surrogates"] = cell.attack.surrogates.iter().map(|surrogate| describe_chosen(surrogate)).collect();
        attack["ensemble"] = cell.attack.ensemble.name().into();
    }
    let mut described = json!({
        "key": cell.key.as_str(),
        "experiment": cell.experiment,
        "data": describe_chosen(&cell.data),
        "samples": describe_samples(&cell.samples),
        "model": describe_chosen(&cell.model),
        "stack": cell.stack.iter().map(layer).collect::<Vec<_>>(),
        "attack": attack,
        "threat": {
            "id": cell.threat.id,
            "norm": cell.threat.unit.name,
            "eps": cell.threat.eps.as_ref().map(realsafe_plan::Number::text),
            "goal": cell.threat.goal.name(),
            "target": cell.threat.target.as_ref().map(realsafe_plan::TargetRule::name),
        },
        "seed": cell.seed,
    });
    if let Some(draws) = cell.draws {
        described["draws"] = json!(draws);
    }
    described
}

fn describe_search(search: &Search) -> serde_json::Value {
    match search {
        Search::List(radii) => json!({"list": radii.iter().map(|radius| radius.text()).collect::<Vec<_>>()}),
        Search::Exponential { start, doublings, bisections } => {
            json!({"start": start.text(), "doublings": doublings, "bisections": bisections})
        }
        Search::Linear { largest, points, bisections } => {
            json!({"largest": largest.text(), "points": points, "bisections": bisections})
        }
    }
}

fn describe_chosen(chosen: &Chosen) -> serde_json::Value {
    let values = chosen.values.iter().map(|(name, value)| (name.to_owned(), describe_value(value)));
    let files = chosen.files.iter().map(|(name, file)| (name.clone(), json!(file.blake3)));
    let mut described = json!({
        "id": chosen.id,
        "use": chosen.component.id,
        "revision": chosen.component.revision,
        "values": values.collect::<serde_json::Map<_, _>>(),
        "files": files.collect::<serde_json::Map<_, _>>(),
    });
    if let Origin::Plugin { name, version, blake3 } = chosen.component.origin {
        described["plugin"] = json!({"name": name, "version": version, "blake3": blake3});
    }
    described
}

fn describe_value(value: &Value) -> serde_json::Value {
    match value {
        Value::Flag(flag) => json!(flag),
        Value::Count(count) => json!(count),
        Value::Number(number) => json!(number.text()),
        Value::Numbers(numbers) => numbers.iter().map(|number| json!(number.text())).collect(),
        Value::Text(text) => json!(text),
        Value::Component(chosen) => describe_chosen(chosen),
        Value::Components(parts) => parts.iter().map(describe_chosen).collect(),
    }
}

/// Ascending indices as closed ranges: `0-99 120`.
fn describe_samples(samples: &[u32]) -> String {
    let runs = samples.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    let texts = runs.map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        alone => alone.iter().map(u32::to_string).collect(),
    });
    texts.collect::<Vec<_>>().join(" ")
}
