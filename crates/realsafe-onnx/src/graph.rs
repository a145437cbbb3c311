//! A file as a list of steps: what is not needed left out, what is constant computed, batch norms folded.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Device;

use crate::dense::Dense;
use crate::file::{File, Node};
use crate::operators::{self, Call, Run};
use crate::value::Value;

/// A graph that can be run.
pub(crate) struct Graph {
    steps: Vec<Step>,
    input: usize,
    output: usize,
    slots: usize,
    version: i64,
    device: Device,
}

struct Step {
    node: Node,
    run: Run,
    inputs: Vec<Option<Operand>>,
    outputs: Vec<Option<usize>>,
}

#[expect(clippy::large_enum_variant, reason = "there are few, one per input of a node")]
enum Operand {
    Constant(Value),
    /// A slot that is read for the last time, or again later.
    Slot {
        index: usize,
        last: bool,
    },
}

impl Graph {
    /// Makes the steps from the edge `input` to the edge `output`.
    ///
    /// # Errors
    /// Every operator that is missing, with the nodes that need it; what is wrong with a node of constants.
    pub(crate) fn new(file: File, input: &str, output: &str, device: &Device) -> Result<Self, String> {
        let File { version, nodes, mut constants } = file;
        let nodes = needed(nodes, output)?;
        missing(&nodes)?;
        let mut kept = Vec::new();
        for node in nodes {
            let constant = |name: &String| name.is_empty() || constants.contains_key(name);
            if !node.inputs.iter().all(constant) {
                kept.push(node);
                continue;
            }
            let inputs = node.inputs.iter().map(|name| constants.get(name).cloned()).collect();
            let call = Call { node: &node, inputs, rows: 1, version, device };
            let results = run(&call)?;
            constants.extend(node.outputs.iter().cloned().zip(results));
        }
        let kept = operators::fold_batch_norms(kept, output, &mut constants, device);
        Self::assign(kept, &constants, input, output, version, device)
    }

    /// Gives each edge a slot, which is emptied where it is read for the last time.
    fn assign(
        nodes: Vec<Node>,
        constants: &BTreeMap<String, Value>,
        input: &str,
        output: &str,
        version: i64,
        device: &Device,
    ) -> Result<Self, String> {
        let mut slots = BTreeMap::from([(input.to_owned(), 0)]);
        let mut steps = Vec::new();
        for node in nodes {
            let operand = |name: &String| -> Result<Option<Operand>, String> {
                if name.is_empty() {
                    return Ok(None);
                }
                if let Some(value) = constants.get(name) {
                    return Ok(Some(Operand::Constant(value.clone())));
                }
                let index = slots.get(name).copied();
                let index =
                    index.ok_or_else(|| format!("node `{}` reads `{name}`, which nothing writes", node.name))?;
                Ok(Some(Operand::Slot { index, last: false }))
            };
            let inputs = node.inputs.iter().map(operand).collect::<Result<_, _>>()?;
            let mut outputs = Vec::new();
            for name in &node.outputs {
                let next = slots.len();
                outputs.push((!name.is_empty()).then(|| *slots.entry(name.clone()).or_insert(next)));
            }
            let run = operators::find(&node.operator).ok_or_else(|| format!("there is no `{}`", node.operator))?;
            steps.push(Step { node, run, inputs, outputs });
        }
        let index = slots.get(output).copied();
        let index = index.ok_or_else(|| format!("the output `{output}` does not depend on the images"))?;
        let mut later = BTreeSet::from([index]);
        for step in steps.iter_mut().rev() {
            for operand in step.inputs.iter_mut().flatten().rev() {
                if let Operand::Slot { index, last } = operand {
                    *last = later.insert(*index);
                }
            }
        }
        Ok(Self { steps, input: 0, output: index, slots: slots.len(), version, device: device.clone() })
    }

    /// The output for images, `rows` of them.
    ///
    /// # Errors
    /// The first node that fails.
    pub(crate) fn run(&self, images: Dense, rows: usize) -> Result<Value, String> {
        let mut slots: Vec<Option<Value>> = vec![None; self.slots];
        slots[self.input] = Some(images.into());
        for step in &self.steps {
            let mut value = |operand: &Option<Operand>| match operand {
                None => None,
                Some(Operand::Constant(value)) => Some(value.clone()),
                Some(Operand::Slot { index, last: true }) => slots[*index].take(),
                Some(Operand::Slot { index, last: false }) => slots[*index].clone(),
            };
            let inputs = step.inputs.iter().map(&mut value).collect();
            let call = Call { node: &step.node, inputs, rows, version: self.version, device: &self.device };
            let results = run_with(step.run, &call)?;
            for (slot, result) in step.outputs.iter().zip(results) {
                if let Some(slot) = slot {
                    slots[*slot] = Some(result);
                }
            }
        }
        slots[self.output].take().ok_or_else(|| "the output was not computed".to_owned())
    }
}

fn run(call: &Call<'_>) -> Result<Vec<Value>, String> {
    let run = operators::find(&call.node.operator).ok_or_else(|| format!("there is no `{}`", call.node.operator))?;
    run_with(run, call)
}

fn run_with(run: Run, call: &Call<'_>) -> Result<Vec<Value>, String> {
    run(call).map_err(|error| format!("node `{}` ({}): {error}", call.node.name, call.node.operator))
}

/// The nodes that an edge depends on.
fn needed(nodes: Vec<Node>, output: &str) -> Result<Vec<Node>, String> {
    let mut edges = BTreeSet::from([output.to_owned()]);
    let mut needed = Vec::new();
    for node in nodes.into_iter().rev() {
        if node.outputs.iter().any(|name| edges.contains(name)) {
            edges.extend(node.inputs.iter().filter(|name| !name.is_empty()).cloned());
            needed.push(node);
        }
    }
    if needed.is_empty() {
        return Err(format!("no node writes the output `{output}`"));
    }
    needed.reverse();
    Ok(needed)
}

fn missing(nodes: &[Node]) -> Result<(), String> {
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in nodes.iter().filter(|node| operators::find(&node.operator).is_none()) {
        missing.entry(&node.operator).or_default().push(&node.name);
    }
    if missing.is_empty() {
        return Ok(());
    }
    let lines = missing.iter().map(|(operator, nodes)| {
        let others = if nodes.len() > 3 { format!(" and {} more", nodes.len() - 3) } else { String::new() };
        let nodes: Vec<String> = nodes.iter().take(3).map(|node| format!("`{node}`")).collect();
        format!("\n  {operator}: {}{others}", nodes.join(", "))
    });
    Err(format!("these operators are not supported:{}", lines.collect::<String>()))
}
