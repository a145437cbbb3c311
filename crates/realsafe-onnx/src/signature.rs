//! What a file takes and gives, read without its constants.

use std::path::Path;

use rten_onnx::onnx::{TensorShapeProto, ValueInfoProto};
use rten_onnx::protobuf::{DecodeMessage, Fields, OwnedValues, ProtobufError, ReadValue, ValueReader};

/// A size that the file fixes, or leaves open.
pub(crate) type Size = Option<usize>;

/// An input or output: its name, and its shape where the file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) name: String,
    pub(crate) shape: Option<Vec<Size>>,
}

/// The only input of a file, and its outputs.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    pub(crate) input: Edge,
    pub(crate) outputs: Vec<Edge>,
}

impl Signature {
    /// Reads the signature of a file from its bytes.
    ///
    /// # Errors
    /// Where it is no ONNX file, or has no input or more than one.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        Self::decode(Header::decode(ValueReader::from_buf(bytes)))
    }

    /// Reads the signature of a file, and little more of it.
    ///
    /// # Errors
    /// As [`Signature::read`]; that it cannot be read.
    pub(crate) fn read_file(path: &Path) -> Result<Self, String> {
        let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
        Self::decode(Header::decode(ValueReader::from_file(file)))
    }

    fn decode(header: Result<Header, ProtobufError>) -> Result<Self, String> {
        let Header(graph) = header.map_err(|error| format!("it is no ONNX file, or damaged: {error}"))?;
        let graph = graph.ok_or("it is no ONNX file: it has no graph")?;
        // Old files list their constants among the inputs.
        let mut inputs = graph.inputs.into_iter().filter(|edge| !graph.constants.contains(&edge.name));
        let input = inputs.next().ok_or("it has no input; perhaps the file was cut short")?;
        let others: Vec<String> = inputs.map(|edge| format!("`{}`", edge.name)).collect();
        if !others.is_empty() {
            let message = "a model takes images and nothing else, but the file has more inputs";
            return Err(format!("{message}: `{}`, {}", input.name, others.join(", ")));
        }
        Ok(Self { input, outputs: graph.outputs })
    }

    /// The output of that name, or the first one.
    ///
    /// An edge within the graph is an output of unknown shape.
    pub(crate) fn output(&self, name: Option<&str>) -> Result<Edge, String> {
        match name {
            None => self.outputs.first().cloned().ok_or_else(|| "it has no output".to_owned()),
            Some(name) => {
                let declared = self.outputs.iter().find(|edge| edge.name == name).cloned();
                Ok(declared.unwrap_or_else(|| Edge { name: name.to_owned(), shape: None }))
            }
        }
    }
}

/// A model, of which only the graph is read.
struct Header(Option<GraphHeader>);

#[derive(Default)]
struct GraphHeader {
    inputs: Vec<Edge>,
    outputs: Vec<Edge>,
    constants: Vec<String>,
}

/// A constant, of which only the name is read.
struct Name(String);

// The numbers of the fields in `onnx.proto`.
const MODEL_GRAPH: u64 = 7;
const GRAPH_INITIALIZER: u64 = 5;
const GRAPH_INPUT: u64 = 11;
const GRAPH_OUTPUT: u64 = 12;
const TENSOR_NAME: u64 = 8;

impl DecodeMessage for Header {
    type Types = OwnedValues;

    fn decode_fields<R: ReadValue<Types = Self::Types>>(mut fields: Fields<R>) -> Result<Self, ProtobufError> {
        let mut graph = None;
        while let Some(mut field) = fields.next()? {
            match field.number() {
                MODEL_GRAPH => graph = Some(GraphHeader::decode_field(&mut field)?),
                _ => field.skip()?,
            }
        }
        Ok(Self(graph))
    }
}

impl DecodeMessage for GraphHeader {
    type Types = OwnedValues;

    fn decode_fields<R: ReadValue<Types = Self::Types>>(mut fields: Fields<R>) -> Result<Self, ProtobufError> {
        let mut header = Self::default();
        while let Some(mut field) = fields.next()? {
            match field.number() {
                GRAPH_INITIALIZER => header.constants.push(Name::decode_field(&mut field)?.0),
                GRAPH_INPUT => header.inputs.push(edge(ValueInfoProto::decode_field(&mut field)?)),
                GRAPH_OUTPUT => header.outputs.push(edge(ValueInfoProto::decode_field(&mut field)?)),
                _ => field.skip()?,
            }
        }
        Ok(header)
    }
}

impl DecodeMessage for Name {
    type Types = OwnedValues;

    fn decode_fields<R: ReadValue<Types = Self::Types>>(mut fields: Fields<R>) -> Result<Self, ProtobufError> {
        let mut name = String::new();
        while let Some(mut field) = fields.next()? {
            match field.number() {
                TENSOR_NAME => name = field.read_string()?,
                _ => field.skip()?,
            }
        }
        Ok(Self(name))
    }
}

fn edge(value: ValueInfoProto) -> Edge {
    let shape = value.r#type.and_then(|kind| kind.tensor_type).and_then(|tensor| tensor.shape);
    let sizes = |shape: TensorShapeProto| {
        shape.dim.iter().map(|dimension| dimension.dim_value.and_then(|size| usize::try_from(size).ok())).collect()
    };
    Edge { name: value.name.unwrap_or_default(), shape: shape.map(sizes) }
}
