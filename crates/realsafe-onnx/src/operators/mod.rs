//! The operators: a function each, by the names of the standard <https://onnx.ai/onnx/operators/>.

mod convolution;
mod elementwise;
mod movement;
mod normalisation;
mod pooling;
mod products;
mod reductions;
mod resize;

use std::sync::Arc;

use burn::tensor::Device;
pub(crate) use normalisation::fold_batch_norms;

use crate::dense::Dense;
use crate::file::Node;
use crate::host::Host;
use crate::value::Value;

/// Computes the outputs of a node.
pub(crate) type Run = fn(&Call<'_>) -> Result<Vec<Value>, String>;

/// A node with the values of its inputs.
pub(crate) struct Call<'a> {
    pub(crate) node: &'a Node,
    pub(crate) inputs: Vec<Option<Value>>,
    /// How many images the graph is run on.
    pub(crate) rows: usize,
    /// The version of the standard operators.
    pub(crate) version: i64,
    pub(crate) device: &'a Device,
}

impl Call<'_> {
    pub(crate) fn optional(&self, index: usize) -> Option<Value> {
        self.inputs.get(index).cloned().flatten()
    }

    pub(crate) fn input(&self, index: usize) -> Result<Value, String> {
        self.optional(index).ok_or_else(|| format!("input {index} is missing"))
    }

    pub(crate) fn dense(&self, index: usize) -> Result<Dense, String> {
        Ok(self.input(index)?.dense(self.device))
    }

    pub(crate) fn optional_dense(&self, index: usize) -> Option<Dense> {
        Some(self.optional(index)?.dense(self.device))
    }

    /// An input that must not depend on the pixels of the images.
    pub(crate) fn optional_host(&self, index: usize) -> Result<Option<Arc<Host>>, String> {
        match self.optional(index) {
            None => Ok(None),
            Some(Value::Host(host)) => Ok(Some(host)),
            Some(_) => {
                Err(format!("input {index} depends on the images, or is very large; sizes and indices must not"))
            }
        }
    }

    pub(crate) fn host(&self, index: usize) -> Result<Arc<Host>, String> {
        self.optional_host(index)?.ok_or_else(|| format!("input {index} is missing"))
    }

    /// Integers that are an attribute in old versions of an operator, and an input in new ones.
    pub(crate) fn settings(&self, attribute: &str, index: usize) -> Result<Option<Vec<i64>>, String> {
        if let Some(integers) = self.node.integers(attribute) {
            return Ok(Some(integers.to_vec()));
        }
        Ok(self.optional_host(index)?.map(|host| host.to_integers()))
    }
}

/// An axis that may count from the end.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let from_start = if axis < 0 { axis + rank as i64 } else { axis };
    let found = usize::try_from(from_start).ok().filter(|axis| *axis < rank);
    found.ok_or_else(|| format!("there is no axis {axis} in {rank} axes"))
}

fn one(value: impl Into<Value>) -> Result<Vec<Value>, String> {
    Ok(vec![value.into()])
}

/// The function of an operator, where it is supported.
pub(crate) fn find(operator: &str) -> Option<Run> {
    elementwise::find(operator).or_else(|| movement::find(operator)).or_else(|| reductions::find(operator)).or_else(
        || {
            Some(match operator {
                "Conv" => convolution::convolution,
                "BatchNormalization" => normalisation::batch,
                "LayerNormalization" => normalisation::layer,
                "GroupNormalization" => normalisation::group,
                "InstanceNormalization" => normalisation::instance,
                "LRN" => normalisation::local_response,
                "MaxPool" => pooling::maximum,
                "AveragePool" => pooling::average,
                "GlobalMaxPool" => pooling::global_maximum,
                "GlobalAveragePool" => pooling::global_average,
                "Gemm" => products::gemm,
                "MatMul" => products::matmul,
                "Einsum" => products::einsum,
                "Resize" => resize::resize,
                _ => return None,
            })
        },
    )
}
