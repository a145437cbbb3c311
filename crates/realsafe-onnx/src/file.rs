//! Reading a file: its nodes with their attributes, and its constants.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{Device, Tensor, TensorData, bf16, f16};
use bytemuck::AnyBitPattern;
use rten_onnx::onnx::{AttributeProto, DataLocation, DataType, ModelProto, NodeProto, TensorProto};

use crate::dense::{Dense, RANK, aligned, check_rank};
use crate::host::{Host, Kind};
use crate::value::Value;

/// How many floats a constant may have that stays on the host.
const SMALL: usize = 4096;

/// One operation.
#[derive(Debug)]
pub(crate) struct Node {
    /// The operator, with its domain where that is not the standard one.
    pub(crate) operator: String,
    /// Its own name, or that of its first output.
    pub(crate) name: String,
    /// The edges that it reads; empty names stand for inputs that are left out.
    pub(crate) inputs: Vec<String>,
    /// The edges that it writes.
    pub(crate) outputs: Vec<String>,
    attributes: BTreeMap<String, Attribute>,
}

impl Node {
    fn read(node: NodeProto, external: Option<&[u8]>, device: &Device) -> Result<Self, String> {
        let operator = node.op_type.unwrap_or_default();
        let operator = match node.domain.as_deref() {
            None | Some("" | "ai.onnx") => operator,
            Some(domain) => format!("{domain}.{operator}"),
        };
        let name = node.name.filter(|name| !name.is_empty()).or_else(|| node.output.first().cloned());
        let name = name.unwrap_or_default();
        let mut attributes = BTreeMap::new();
        for attribute in node.attribute {
            let key = attribute.name.clone().unwrap_or_default();
            let value = Attribute::read(attribute, external, device);
            attributes.insert(key, value.map_err(|error| format!("node `{name}` ({operator}): {error}"))?);
        }
        Ok(Self { operator, name, inputs: node.input, outputs: node.output, attributes })
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        if let Attribute::Integer(value) = self.attributes.get(name)? { Some(*value) } else { None }
    }

    pub(crate) fn float(&self, name: &str) -> Option<f64> {
        if let Attribute::Float(value) = self.attributes.get(name)? { Some(*value) } else { None }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        if let Attribute::Text(value) = self.attributes.get(name)? { Some(value) } else { None }
    }

    pub(crate) fn integers(&self, name: &str) -> Option<&[i64]> {
        if let Attribute::Integers(values) = self.attributes.get(name)? { Some(values) } else { None }
    }

    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        if let Attribute::Value(value) = self.attributes.get(name)? { Some(value) } else { None }
    }
}

/// A setting of a node.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there are few, and they live while the file is read")]
enum Attribute {
    Integer(i64),
    Float(f64),
    Text(String),
    Integers(Vec<i64>),
    /// A tensor, or a list of floats.
    Value(Value),
    /// A graph, or a list of texts.
    Other,
}

impl Attribute {
    fn read(attribute: AttributeProto, external: Option<&[u8]>, device: &Device) -> Result<Self, String> {
        Ok(match attribute {
            AttributeProto { i: Some(value), .. } => Self::Integer(value),
            AttributeProto { f: Some(value), .. } => Self::Float(f64::from(value)),
            AttributeProto { s: Some(value), .. } => Self::Text(value),
            AttributeProto { t: Some(tensor), .. } => Self::Value(constant(&tensor, external, device)?),
            AttributeProto { floats, .. } if !floats.is_empty() => {
                let values = floats.into_iter().map(f64::from).collect::<Vec<_>>();
                Self::Value(Host::new(Kind::Float, vec![values.len()], values).into())
            }
            AttributeProto { g: None, strings, ints, .. } if strings.is_empty() => Self::Integers(ints),
            _ => Self::Other,
        })
    }
}

/// A file, read.
#[derive(Debug)]
pub(crate) struct File {
    /// The version of the standard operators.
    pub(crate) version: i64,
    /// The nodes, each after those whose outputs it reads.
    pub(crate) nodes: Vec<Node>,
    /// The constants by the names of their edges.
    pub(crate) constants: BTreeMap<String, Value>,
}

impl File {
    /// Reads a file, and puts its large constants onto a device.
    ///
    /// # Errors
    /// What is wrong with it; that constants lie in another file, where `external` is not given.
    pub(crate) fn read(bytes: &[u8], external: Option<&[u8]>, device: &Device) -> Result<Self, String> {
        let model = ModelProto::parse_buf(bytes).map_err(|error| format!("it is no ONNX file, or damaged: {error}"))?;
        let graph = model.graph.ok_or("it is no ONNX file: it has no graph")?;
        let standard = |domain: &Option<String>| matches!(domain.as_deref(), None | Some("" | "ai.onnx"));
        let version = model.opset_import.iter().find(|set| standard(&set.domain)).and_then(|set| set.version);
        let elsewhere = graph.initializer.iter().filter(|tensor| tensor.data_location == Some(DataLocation::EXTERNAL));
        let files: BTreeSet<&str> =
            elsewhere.map(|tensor| external_entry(tensor, "location").unwrap_or_default()).collect();
        if files.len() > 1 {
            let files: Vec<String> = files.iter().map(|file| format!("`{file}`")).collect();
            let files = files.join(", ");
            return Err(format!(
                "its constants lie in several files, {files}: save them into one, or into the graph's"
            ));
        }
        let mut constants = BTreeMap::new();
        for tensor in graph.initializer {
            let name = tensor.name.clone().unwrap_or_default();
            let value = constant(&tensor, external, device).map_err(|error| format!("constant `{name}`: {error}"))?;
            constants.insert(name, value);
        }
        let nodes = graph.node.into_iter().map(|node| Node::read(node, external, device)).collect::<Result<_, _>>()?;
        Ok(Self { version: version.unwrap_or(1), nodes, constants })
    }
}

/// A constant as a value: large arrays of floats on the device, everything else on the host.
///
/// # Errors
/// Where it lies in another file that is not there, is too short, or has elements that are no numbers.
fn constant(tensor: &TensorProto, external: Option<&[u8]>, device: &Device) -> Result<Value, String> {
    let shape = tensor.dims.iter().map(|size| usize::try_from(*size).map_err(|_| "it has a negative size"));
    let shape = shape.collect::<Result<Vec<usize>, _>>()?;
    check_rank(&shape)?;
    let count: usize = shape.iter().product();
    let raw = tensor.raw_data.as_ref().map(|raw| raw.borrow());
    let raw = match tensor.data_location {
        Some(DataLocation::EXTERNAL) => Some(outside(tensor, external)?),
        _ => raw.as_deref().map(Vec::as_slice),
    };
    let kind = tensor.data_type.unwrap_or(DataType(0));
    let (kind, values) = match kind {
        DataType::FLOAT => match raw {
            Some(raw) => (Kind::Float, numbers(raw, |value: f32| value)),
            None => (Kind::Float, tensor.float_data.clone()),
        },
        DataType::DOUBLE => match raw {
            Some(raw) => (Kind::Float, numbers(raw, |value: f64| value as f32)),
            None => (Kind::Float, tensor.double_data.iter().map(|value| *value as f32).collect()),
        },
        DataType::FLOAT16 => match raw {
            Some(raw) => (Kind::Float, numbers(raw, |bits: u16| f16::from_bits(bits).to_f32())),
            None => (Kind::Float, tensor.int32_data.iter().map(|bits| f16::from_bits(*bits as u16).to_f32()).collect()),
        },
        DataType::BFLOAT16 => match raw {
            Some(raw) => (Kind::Float, numbers(raw, |bits: u16| bf16::from_bits(bits).to_f32())),
            None => {
                (Kind::Float, tensor.int32_data.iter().map(|bits| bf16::from_bits(*bits as u16).to_f32()).collect())
            }
        },
        other => return integers(other, tensor, raw, shape).map(Value::from),
    };
    if values.len() != count {
        return Err(format!("it has {} elements, but the shape {shape:?}", values.len()));
    }
    if count > SMALL {
        let rank = shape.len();
        let tensor = Tensor::<RANK>::from_data(TensorData::new(values, aligned(&shape)), device);
        return Ok(Dense::new(tensor, rank).into());
    }
    Ok(Host::new(kind, shape, values.into_iter().map(f64::from).collect()).into())
}

fn integers(kind: DataType, tensor: &TensorProto, raw: Option<&[u8]>, shape: Vec<usize>) -> Result<Host, String> {
    let values = match (kind, raw) {
        (DataType::BOOL | DataType::UINT8, Some(raw)) => numbers(raw, |value: u8| f64::from(value)),
        (DataType::INT8, Some(raw)) => numbers(raw, |value: i8| f64::from(value)),
        (DataType::UINT16, Some(raw)) => numbers(raw, |value: u16| f64::from(value)),
        (DataType::INT16, Some(raw)) => numbers(raw, |value: i16| f64::from(value)),
        (DataType::INT32, Some(raw)) => numbers(raw, |value: i32| f64::from(value)),
        (DataType::UINT32, Some(raw)) => numbers(raw, |value: u32| f64::from(value)),
        (DataType::INT64, Some(raw)) => numbers(raw, |value: i64| value as f64),
        (DataType::UINT64, Some(raw)) => numbers(raw, |value: u64| value as f64),
        (DataType::INT64, None) => tensor.int64_data.iter().map(|value| *value as f64).collect(),
        (
            DataType::BOOL | DataType::UINT8 | DataType::INT8 | DataType::UINT16 | DataType::INT16 | DataType::INT32,
            None,
        ) => tensor.int32_data.iter().map(|value| f64::from(*value)).collect(),
        _ => return Err(format!("elements of type {kind} are not supported")),
    };
    if values.len() != shape.iter().product::<usize>() {
        return Err(format!("it has {} elements, but the shape {shape:?}", values.len()));
    }
    let kind = if kind == DataType::BOOL { Kind::Boolean } else { Kind::Integer };
    Ok(Host::new(kind, shape, values))
}

fn numbers<T: AnyBitPattern, V>(raw: &[u8], convert: impl Fn(T) -> V) -> Vec<V> {
    raw.chunks_exact(size_of::<T>()).map(|bytes| convert(bytemuck::pod_read_unaligned(bytes))).collect()
}

/// The bytes of a constant that lies in another file.
fn outside<'a>(tensor: &TensorProto, external: Option<&'a [u8]>) -> Result<&'a [u8], String> {
    let entry = |key: &str| external_entry(tensor, key);
    let location = entry("location").unwrap_or_default();
    let bytes = external.ok_or_else(|| {
        format!("it lies in another file, `{location}`: name that with `weights`, or export into a single file")
    })?;
    let number = |key: &str| entry(key).map(|text| text.parse::<usize>().map_err(|error| format!("`{key}`: {error}")));
    let start = number("offset").unwrap_or(Ok(0))?;
    let end = match number("length").transpose()? {
        Some(length) => start.checked_add(length),
        None => Some(bytes.len()),
    };
    end.and_then(|end| bytes.get(start..end))
        .ok_or_else(|| format!("the file `weights` is too short to be `{location}`, in which it lies"))
}

/// What a constant says of the other file that it lies in.
fn external_entry<'a>(tensor: &'a TensorProto, key: &str) -> Option<&'a str> {
    let entry = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some(key));
    entry.and_then(|entry| entry.value.as_deref())
}
