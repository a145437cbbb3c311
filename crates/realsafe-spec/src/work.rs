//! All cells that a command is about, and the devices that they are computed on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use realsafe_core::{Registry, device};
use realsafe_plan::{Cell, Experiment, Plan, expand};
use realsafe_results::{ManifestFacts, Store};

use crate::catalogue::Components;
use crate::failure::Failure;
use crate::selection::Selection;

/// A plan, and the device of each of its experiments.
pub(crate) struct Work {
    /// All experiments and all cells, in the order of the command line.
    pub(crate) plan: Plan,
    /// Names of devices, by experiment.
    devices: Vec<String>,
    /// What keys say about devices, by their names.
    classes: BTreeMap<String, String>,
    /// What builds the components.
    pub(crate) registry: Arc<Registry>,
}

impl Work {
    /// Reads the experiments, opens their devices and plans their cells.
    ///
    /// # Errors
    /// All mistakes of all specs, or the first device that is not available.
    pub(crate) fn new(selection: &Selection) -> Result<Self, Failure> {
        Self::with_classes(selection, |name| Ok(device::class(name, &device::open(name)?)))
    }

    /// The same for results that another machine computed, on a device of that class.
    pub(crate) fn of_class(selection: &Selection, class: &str) -> Result<Self, Failure> {
        Self::with_classes(selection, |_| Ok(class.to_owned()))
    }

    fn with_classes(selection: &Selection, class: impl Fn(&str) -> Result<String, Failure>) -> Result<Self, Failure> {
        // All mistakes show before any device is asked, and experiments of one name are mistakes on every device.
        let Components { registry, catalogue } = selection.components()?;
        let mut plan = Plan::new(selection.experiments(&catalogue)?, "")?;
        let devices: Vec<String> = plan.experiments.iter().map(|experiment| selection.device_of(experiment)).collect();
        let mut classes = BTreeMap::new();
        for name in &devices {
            if !classes.contains_key(name) {
                classes.insert(name.clone(), class(name)?);
            }
        }
        let experiments = plan.experiments.iter().zip(&devices);
        plan.cells = experiments.flat_map(|(experiment, device)| expand(experiment, &classes[device])).collect();
        let distinct: BTreeSet<&str> = classes.values().map(String::as_str).collect();
        plan.device_class = distinct.into_iter().collect::<Vec<_>>().join(", ");
        Ok(Self { plan, devices, classes, registry })
    }

    /// The experiments of each device, as a plan of their own.
    pub(crate) fn by_device(&self) -> Vec<(&str, Plan)> {
        self.classes.keys().map(|device| (device.as_str(), self.on(device))).collect()
    }

    fn on(&self, device: &str) -> Plan {
        let experiments = self.plan.experiments.iter().zip(&self.devices).filter(|(_, name)| *name == device);
        let experiments: Vec<Experiment> = experiments.map(|(experiment, _)| experiment.clone()).collect();
        let ours = |cell: &&Cell| experiments.iter().any(|experiment| experiment.id == cell.experiment);
        let cells = self.plan.cells.iter().filter(ours).cloned().collect();
        Plan { experiments, cells, device_class: self.classes[device].clone() }
    }

    /// The cells of an experiment.
    pub(crate) fn cells_of<'a>(&'a self, experiment: &'a Experiment) -> impl Iterator<Item = &'a Cell> {
        self.plan.cells.iter().filter(|cell| cell.experiment == experiment.id)
    }

    /// What the manifest of a report says about this program and machine.
    pub(crate) fn facts(&self) -> ManifestFacts {
        let devices = self.classes.iter().map(|(name, class)| format!("{name} ({class})"));
        ManifestFacts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device: devices.collect::<Vec<_>>().join(", "),
            host: realsafe_runner::host(),
        }
    }
}

/// The store in an output folder.
pub(crate) fn open_store(out: &Path) -> Result<Store, Failure> {
    Ok(Store::open(out.join("store"))?)
}

/// The store that a run left in an output folder.
pub(crate) fn existing_store(out: &Path) -> Result<Store, Failure> {
    Ok(Store::existing(out.join("store"))?)
}
