//! What was computed: the store of cells, statistics, tidy CSV and the report.

mod adversarials;
mod error;
mod figures;
mod files;
#[cfg(test)]
mod fixture;
mod grouping;
mod html;
mod images;
mod journal;
mod manifest;
mod merge;
mod outcome;
mod record;
mod report;
mod statistics;
mod store;
mod table;
mod tables;
mod text;

pub use adversarials::{AdversarialSet, export_adversarials, read_adversarials};
pub use error::{Error, Result};
pub use journal::{Event, Journal};
pub use manifest::ManifestFacts;
pub use merge::{Merged, merge};
pub use outcome::{Adversarials, CellRecord, MemberRecord, Outcome, Shares, Spent, Status, TracePoint};
pub use report::{ExperimentReport, Report, Suspect, write_report};
pub use store::{Conflict, Put, Store};
pub use table::render;
pub use tables::expectations::{ExpectationRow, Verdict};
pub use tables::gate::{Check, Suspicion};
pub use tables::group::WORST_CASE;
pub use tables::members::{MemberRow, MemberShare};
pub use tables::rejections::{RejectionRow, Rejections};
pub use tables::row::{About, Row};
pub use tables::summary::{Summary, SummaryRow};
pub use text::{percent, table};
