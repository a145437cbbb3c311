//! Computes a cell that asks the victim for proofs.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use realsafe_core::random::Purpose;
use realsafe_core::{Certificates, Control, Draws, Model, ProofOptions, Stop};
use realsafe_plan::{Cell, Norm};
use realsafe_results::{CellRecord, Outcome, Shares, Spent, Status};

use crate::prepared::{CellError, Prepared, prepare};
use crate::workshop::{BuildError, Workshop};

/// Finds the first certificate among some cells whose victim has no proofs.
pub(crate) fn check<'a>(cells: impl Iterator<Item = &'a Cell>, workshop: &Workshop) -> Result<(), BuildError> {
    let mut seen = BTreeSet::new();
    for cell in cells.filter(|cell| cell.attack.chosen.component.is_certificate()) {
        let (model, stack, norm) = (&cell.model, cell.stack_name(), cell.threat.norm);
        if seen.insert((&cell.experiment, &model.id, stack, norm))
            && workshop.defended(model, &cell.stack)?.certifier(norm).is_none()
        {
            return Err(BuildError::without_proofs(cell));
        }
    }
    Ok(())
}

/// Asks the victim of a cell for proofs, and turns them into outcomes.
pub(crate) fn certify(cell: &Cell, workshop: &Workshop, control: Control<'_>) -> Result<CellRecord, CellError> {
    let Prepared { samples, model, predictions, clean_shares, random_answers, .. } = prepare(cell, workshop)?;
    let go_on = || if control.cancelled.load(Ordering::Relaxed) { Err(Stop::Cancelled) } else { Ok(()) };
    let values = &cell.attack.chosen.values;
    let options = ProofOptions {
        selection: values.count("selection-samples"),
        samples: values.count("samples"),
        alpha: values.number("alpha"),
        duality: values.text("bounds") == "duality",
        go_on: &go_on,
    };
    let draws = Draws::new(cell.seed, Purpose::Certificate, cell.samples.iter().map(|sample| (*sample, 0)));
    let norm = cell.threat.norm;
    let certificates = model.certify(&samples, norm, &options, &draws, workshop.device());
    let Certificates { radii, passes } = certificates.ok_or_else(|| BuildError::without_proofs(cell))??;
    (control.stepped)(radii.len());
    let outcomes = radii.iter().enumerate().map(|(slot, &radius)| {
        let distance = |of: Norm| if of == norm { radius } else { f64::INFINITY };
        let clean = clean_shares[slot];
        Outcome {
            sample: cell.samples[slot],
            label: samples.labels[slot],
            target: None,
            clean_pred: Some(predictions[slot]),
            adv_pred: None,
            status: if radius > 0.0 { Status::Certified } else { Status::Uncertified },
            dist_linf: distance(Norm::Linf),
            dist_l2: distance(Norm::L2),
            dist_l1: distance(Norm::L1),
            dist_l0: distance(Norm::L0),
            spent: Spent { forwards: passes, ..Spent::default() },
            first_success: None,
            broken_by: None,
            failed_at: None,
            // Nothing was attacked: what is known of the draws is how they answer the clean image.
            shares: cell.draws.map(|_| Shares { clean, correct: clean, robust: clean }),
        }
    });
    Ok(CellRecord {
        outcomes: outcomes.collect(),
        trace: Vec::new(),
        members: Vec::new(),
        zero_gradients: 0,
        random_answers,
        adversarials: None,
        warnings: Vec::new(),
    })
}
