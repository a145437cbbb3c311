//! Everything that cells share: datasets, models and clean predictions, each built once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use burn::tensor::Device;
use realsafe_core::{
    AttackContext, Dataset, DefendedModel, Defense, Judged, Locations, Logits, Member, Model, Pool, Registry, Run,
    Samples, Stop, device,
};
use realsafe_plan::{AttackChoice, Cell, Chosen, Experiment, Origin, StackLayer};

/// How many bytes of images that transfers made are kept for further victims; what goes beyond that is made again.
const MADE: usize = 1 << 30;

/// What a transfer made: judged on the victim for which it was made first, and what the attack warned of.
pub(crate) struct Made {
    pub(crate) judged: Judged,
    pub(crate) warnings: Vec<String>,
}

/// What a victim says of the clean images of a cell.
pub(crate) struct Clean {
    pub(crate) logits: Logits,
    /// How many of some images that it was asked about twice got other logits, although it draws nothing.
    pub(crate) random_answers: u64,
}

/// A component that cannot be built.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the {kind} `{id}` cannot be built: {reason}")]
pub struct BuildError {
    kind: &'static str,
    id: String,
    reason: String,
}

impl BuildError {
    fn new(chosen: &Chosen, reason: String) -> Self {
        Self { kind: chosen.component.kind().name(), id: chosen.id.clone(), reason }
    }

    pub(crate) fn without_branches(attack: &Chosen, model: &Chosen) -> Self {
        let reason = format!(
            "it needs gradients of residual networks, and the model `{}` (`{}`) has no residual branches that it knows of",
            model.id, model.component.id
        );
        Self::new(attack, reason)
    }

    pub(crate) fn in_chain(chain: &Chosen) -> Self {
        let reason =
            "one of its members damps the gradients of the network, which the others share; run that one alone";
        Self::new(chain, reason.to_owned())
    }

    pub(crate) fn without_proofs(cell: &Cell) -> Self {
        let (model, stack, norm) = (&cell.model.id, cell.stack_name(), cell.threat.norm.name());
        let victim = if stack == "none" { format!("`{model}`") } else { format!("`{model}` behind `{stack}`") };
        let reason = format!(
            "{victim} has no proofs in {norm}; there are some in l2 with `gaussian-smoothing` as the outermost defense, and in linf for \
             bare networks of convolutions, linear layers, relus and max-pooling; leave other victims out with `skip` in [matrix]"
        );
        Self::new(&cell.attack.chosen, reason)
    }

    pub(crate) fn without_targets(data: &Chosen) -> Self {
        Self::new(data, "the threat model takes targets from the dataset, which has none".to_owned())
    }
}

/// An attack of a cell.
pub(crate) struct BuiltMember {
    pub(crate) attack: Box<dyn Run>,
    restarts: u32,
    eot: u32,
    minimises_distance: bool,
}

impl BuiltMember {
    /// As drivers take it.
    pub(crate) fn member(&self) -> Member<'_> {
        let Self { attack, restarts, eot, minimises_distance } = self;
        Member { attack: &**attack, restarts: *restarts, eot: *eot, minimises_distance: *minimises_distance }
    }
}

/// Builds components and keeps what is shared between cells.
pub struct Workshop {
    device: Device,
    registry: Arc<Registry>,
    locations: Locations,
    datasets: Shelf<dyn Dataset>,
    models: Shelf<dyn Model>,
    defenses: Shelf<dyn Defense>,
    pools: Shelf<Pool>,
    clean: Shelf<Clean>,
    made: Shelf<Made>,
    /// The bytes of images on that shelf.
    made_bytes: AtomicUsize,
}

impl Workshop {
    /// An empty workshop on a device.
    pub fn new(device: &Device, registry: &Arc<Registry>, locations: &Locations) -> Self {
        device::compute_on_calling_threads();
        Self {
            device: device.clone(),
            registry: Arc::clone(registry),
            locations: locations.clone(),
            datasets: Shelf::default(),
            models: Shelf::default(),
            defenses: Shelf::default(),
            pools: Shelf::default(),
            clean: Shelf::default(),
            made: Shelf::default(),
            made_bytes: AtomicUsize::new(0),
        }
    }

    /// The device of all models.
    pub const fn device(&self) -> &Device {
        &self.device
    }

    /// Builds all datasets, models and defenses of an experiment, so that what is wrong with a file shows before anything runs.
    ///
    /// # Errors
    /// The first component that cannot be built.
    pub fn prepare(&self, experiment: &Experiment) -> Result<(), BuildError> {
        self.samples(&experiment.data, &experiment.samples[..1.min(experiment.samples.len())])?;
        // What a plugin does to itself costs the cells that use it, not the run.
        let linked = |chosen: &&Arc<Chosen>| matches!(chosen.component.origin, Origin::Crate(_));
        experiment.models.iter().filter(linked).try_for_each(|model| self.model(model).map(drop))?;
        let defenses = experiment.defenses.iter().map(|layer| &layer.defense);
        defenses.filter(linked).try_for_each(|defense| self.defense(defense).map(drop))
    }

    /// Reads samples of a dataset.
    ///
    /// # Errors
    /// What is wrong with the dataset.
    pub fn samples(&self, data: &Chosen, indices: &[u32]) -> Result<Samples, BuildError> {
        let dataset = self.dataset(data)?;
        let past_end = |index: &&u32| **index as usize >= dataset.len();
        if let Some(index) = indices.iter().find(past_end) {
            let reason = format!("sample {index} was asked for, but there are only {}", dataset.len());
            return Err(BuildError::new(data, reason));
        }
        dataset.read(indices).map_err(|reason| BuildError::new(data, reason))
    }

    /// A model behind a stack of defenses.
    ///
    /// # Errors
    /// What is wrong with the model.
    pub fn defended(&self, model: &Chosen, stack: &[StackLayer]) -> Result<DefendedModel, BuildError> {
        let layer = |layer: &StackLayer| Ok((self.defense(&layer.defense)?, layer.gradient));
        Ok(DefendedModel::new(self.model(model)?, stack.iter().map(layer).collect::<Result<_, _>>()?))
    }

    /// The attacks of a cell, in order.
    pub(crate) fn attacks(&self, cell: &Cell) -> Result<Vec<BuiltMember>, BuildError> {
        let shape = self.samples(&cell.data, &cell.samples[..1])?.shape;
        let context = AttackContext {
            registry: Arc::clone(&self.registry),
            locations: self.locations.clone(),
            norm: cell.threat.norm,
            goal: cell.threat.goal,
            shape,
            classes: classes(cell),
            surrogates: cell.attack.surrogates.len(),
            pool: self.pool(&cell.data)?,
        };
        let build = |chosen: &Chosen, restarts, eot| {
            let attack = self.registry.attack(chosen, &context).map_err(|reason| BuildError::new(chosen, reason))?;
            let minimises_distance = chosen.component.attack().is_some_and(|traits| traits.minimises_distance);
            Ok(BuiltMember { attack, restarts, eot, minimises_distance })
        };
        let AttackChoice { chosen, restarts, eot, members, .. } = &cell.attack;
        if members.is_empty() {
            return Ok(vec![build(chosen, *restarts, *eot)?]);
        }
        members.iter().map(|member| build(&member.chosen, member.restarts, member.eot)).collect()
    }

    /// The networks that the attack of a cell uses beside its victim.
    pub(crate) fn surrogates(&self, cell: &Cell) -> Result<Vec<DefendedModel>, BuildError> {
        cell.attack.surrogates.iter().map(|surrogate| self.defended(surrogate, &[])).collect()
    }

    /// What the victim says of the clean images of a cell on a draw, computed once for all attacks on them.
    pub(crate) fn clean(
        &self,
        cell: &Cell,
        draw: u32,
        compute: impl FnOnce() -> Result<Clean, Stop>,
    ) -> Result<Arc<Clean>, Stop> {
        self.clean.get(&clean_key(cell, draw), || compute().map(Arc::new))
    }

    /// The same on the first draw, if it was computed.
    pub(crate) fn known_clean(&self, cell: &Cell) -> Option<Arc<Clean>> {
        self.clean.peek(&clean_key(cell, 0))
    }

    /// What a transfer makes on some bytes of images. It never asks the victim, so it is made once for all of them.
    pub(crate) fn made(
        &self,
        cell: &Cell,
        targets: &[Option<u32>],
        bytes: usize,
        make: impl FnOnce() -> Result<Made, Stop>,
    ) -> Result<Arc<Made>, Stop> {
        let key = made_key(cell, targets);
        if self.made.peek(&key).is_none() && self.made_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MADE {
            return make().map(Arc::new);
        }
        self.made.get(&key, || make().map(Arc::new))
    }

    fn dataset(&self, data: &Chosen) -> Result<Arc<dyn Dataset>, BuildError> {
        self.datasets.get(&identity(data), || {
            let dataset = self.registry.dataset(data, &self.locations);
            dataset.map(Arc::from).map_err(|reason| BuildError::new(data, reason))
        })
    }

    fn model(&self, chosen: &Chosen) -> Result<Arc<dyn Model>, BuildError> {
        self.models.get(&identity(chosen), || {
            let member = |member: &Chosen| self.model(member).map_err(|problem| problem.to_string());
            let model = self.registry.model_with(chosen, &self.locations, &self.device, &member);
            model.map(Arc::from).map_err(|reason| BuildError::new(chosen, reason))
        })
    }

    fn defense(&self, chosen: &Chosen) -> Result<Arc<dyn Defense>, BuildError> {
        self.defenses.get(&identity(chosen), || {
            let defense = self.registry.defense(chosen, &self.locations);
            defense.map(Arc::from).map_err(|reason| BuildError::new(chosen, reason))
        })
    }

    fn pool(&self, data: &Chosen) -> Result<Arc<Pool>, BuildError> {
        self.pools.get(&identity(data), || Ok(Arc::new(Pool::new(self.dataset(data)?))))
    }
}

/// What tells the clean images of cells apart.
fn clean_key(cell: &Cell, draw: u32) -> String {
    let stack: Vec<String> = cell.stack.iter().map(|layer| identity(&layer.defense)).collect();
    format!("{} {} {stack:?} {:?} {draw}", identity(&cell.data), identity(&cell.model), cell.samples)
}

/// What tells apart what transfers make: everything but the victim, of which they know the number of classes and, from the
/// rule for targets, perhaps these.
fn made_key(cell: &Cell, targets: &[Option<u32>]) -> String {
    let surrogates: Vec<String> = cell.attack.surrogates.iter().map(|surrogate| identity(surrogate)).collect();
    format!(
        "{} {:?} {} {surrogates:?} {:?} {:?} {} {} {targets:?}",
        identity(&cell.data),
        cell.samples,
        identity(&cell.attack.chosen),
        cell.attack.ensemble,
        cell.threat,
        cell.seed,
        classes(cell),
    )
}

/// How many classes the victim has.
fn classes(cell: &Cell) -> usize {
    let traits = cell.model.component.model();
    traits.and_then(|traits| (traits.classes)(&cell.model.values).ok()).unwrap_or_default()
}

/// What tells two uses of a component apart, whatever the spec calls them.
fn identity(chosen: &Chosen) -> String {
    let digests: Vec<&str> = chosen.files.values().map(|file| file.blake3.as_str()).collect();
    format!("{} {:?} {digests:?}", chosen.component.id, chosen.values)
}

/// Things that are made once and shared; making different things goes on side by side.
struct Shelf<T: ?Sized>(Mutex<BTreeMap<String, Arc<Slot<T>>>>);

struct Slot<T: ?Sized> {
    made: OnceLock<Arc<T>>,
    making: Mutex<()>,
}

impl<T: ?Sized> Default for Shelf<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: ?Sized> Shelf<T> {
    fn peek(&self, key: &str) -> Option<Arc<T>> {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get(key)?.made.get().cloned()
    }

    fn get<E>(&self, key: &str, make: impl FnOnce() -> Result<Arc<T>, E>) -> Result<Arc<T>, E> {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let empty = || Arc::new(Slot { made: OnceLock::new(), making: Mutex::new(()) });
            Arc::clone(slots.entry(key.to_owned()).or_insert_with(empty))
        };
        let making = slot.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = slot.made.get() {
            return Ok(Arc::clone(made));
        }
        let made = make()?;
        slot.made.get_or_init(|| Arc::clone(&made));
        drop(making);
        Ok(made)
    }
}
