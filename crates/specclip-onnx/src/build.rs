//! Writing networks as ONNX models.

use bytes::Bytes;
use prost::Message;

use crate::onnx::proto::{
    AttributeProto, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetId, TensorProto,
    TensorShape, TensorType, TypeProto, ValueInfo,
};

/// The first operator set whose `Pad` wraps around.
const OPERATOR_SET: i64 = 19;
/// The version of the file format that came with it.
const IR_VERSION: i64 = 9;
const FLOAT: i32 = 1;
const INT64: i32 = 7;

/// An ONNX model under construction: one graph of 32-bit numbers in operator set 19, with a free batch axis.
///
/// Nodes are written in the order in which they are added, which must be one in which they can run. That names are
/// unique and inputs exist is the caller's affair; [`load_bytes`](crate::load_bytes) reads the result like any other
/// model.
///
/// ```
/// use specclip_onnx::{Options, build::Builder, load_bytes};
///
/// let mut model = Builder::new("one layer");
/// model.input("image", &[2]);
/// model.floats("fc.weight", &[3, 2], &[1.0, 0.0, 0.0, 2.0, 0.0, 0.0]);
/// model.node("Gemm", &["image", "fc.weight"], "logits").int("transB", 1);
/// model.output("logits", &[3]);
/// let model = load_bytes(&model.finish(), &Options::default())?;
/// assert_eq!(model.layers[0].name, "fc");
/// # Ok::<(), specclip_onnx::Error>(())
/// ```
#[derive(Debug)]
pub struct Builder {
    graph: GraphProto,
}

impl Builder {
    /// A graph without nodes.
    pub fn new(name: &str) -> Self {
        let graph = GraphProto {
            name: name.to_owned(),
            ..GraphProto::default()
        };
        Self { graph }
    }

    /// Adds an input of the graph; `shape` is that of one example.
    pub fn input(&mut self, name: &str, shape: &[usize]) {
        self.graph.input.push(value(name, shape));
    }

    /// Adds an output of the graph; `shape` is that of one example.
    pub fn output(&mut self, name: &str, shape: &[usize]) {
        self.graph.output.push(value(name, shape));
    }

    /// Adds an initialiser: a tensor of 32-bit numbers in row-major order.
    pub fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.initialiser(name, shape, FLOAT, bytes);
    }

    /// Adds an initialiser: a list of whole numbers.
    pub fn integers(&mut self, name: &str, values: &[i64]) {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.initialiser(name, &[values.len()], INT64, bytes);
    }

    fn initialiser(&mut self, name: &str, shape: &[usize], data_type: i32, bytes: Vec<u8>) {
        self.graph.initializer.push(TensorProto {
            dims: shape.iter().map(|&n| n as i64).collect(),
            data_type,
            name: name.to_owned(),
            raw_data: Bytes::from(bytes),
            ..TensorProto::default()
        });
    }

    /// Adds a node with one output, after which the node is named as well; attributes are added to what is returned.
    pub fn node(&mut self, op: &str, inputs: &[&str], output: &str) -> Attributes<'_> {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: output.to_owned(),
            op_type: op.to_owned(),
            ..NodeProto::default()
        });
        let last = self.graph.node.len() - 1;
        Attributes(&mut self.graph.node[last].attribute)
    }

    /// The bytes of the file.
    pub fn finish(self) -> Vec<u8> {
        let set = OperatorSetId {
            domain: String::new(),
            version: OPERATOR_SET,
        };
        let model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: "specclip".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            opset_import: vec![set],
            graph: Some(self.graph),
            ..ModelProto::default()
        };
        model.encode_to_vec()
    }
}

/// The attributes of the node that was added last.
#[derive(Debug)]
pub struct Attributes<'a>(&'a mut Vec<AttributeProto>);

impl Attributes<'_> {
    /// A whole number.
    pub fn int(self, name: &str, value: i64) -> Self {
        self.add(AttributeProto {
            i: value,
            ..attribute(name, 2)
        })
    }

    /// A number.
    pub fn float(self, name: &str, value: f32) -> Self {
        self.add(AttributeProto {
            f: value,
            ..attribute(name, 1)
        })
    }

    /// A list of whole numbers.
    pub fn ints(self, name: &str, values: impl IntoIterator<Item = usize>) -> Self {
        self.add(AttributeProto {
            ints: values.into_iter().map(|n| n as i64).collect(),
            ..attribute(name, 7)
        })
    }

    /// A word.
    pub fn text(self, name: &str, value: &str) -> Self {
        self.add(AttributeProto {
            s: Bytes::copy_from_slice(value.as_bytes()),
            ..attribute(name, 3)
        })
    }

    fn add(self, attribute: AttributeProto) -> Self {
        self.0.push(attribute);
        self
    }
}

/// An attribute without a value; the type's numbers are those of `AttributeProto.AttributeType`.
fn attribute(name: &str, r#type: i32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type,
        ..AttributeProto::default()
    }
}

/// A tensor of 32-bit numbers whose first axis is the batch.
fn value(name: &str, shape: &[usize]) -> ValueInfo {
    let batch = Dimension {
        dim_value: None,
        dim_param: Some("batch".to_owned()),
    };
    let fixed = shape.iter().map(|&n| Dimension {
        dim_value: Some(n as i64),
        dim_param: None,
    });
    let tensor = TensorType {
        elem_type: FLOAT,
        shape: Some(TensorShape {
            dim: std::iter::once(batch).chain(fixed).collect(),
        }),
    };
    ValueInfo {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(tensor),
        }),
    }
}
