//! Writes small ONNX files byte by byte, so that the reader is not tested with its own message types.
#![allow(dead_code, reason = "each test file uses a part")]

use specclip::{Columns, LinearOperator};
use specclip_onnx::{Layer, Model, Options, load_bytes};

/// A protobuf message under construction.
#[derive(Default, Clone)]
pub struct Message(pub Vec<u8>);

impl Message {
    fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push((n as u8) | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    pub fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value as u64);
        self
    }

    pub fn float(mut self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    pub fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub fn message(self, field: u64, message: &Message) -> Self {
        self.bytes(field, &message.0)
    }
}

/// A TensorProto of f32 in raw form.
pub fn f32_tensor(name: &str, dims: &[i64], data: &[f32]) -> Message {
    let raw: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
    raw_tensor(name, dims, 1, &raw)
}

/// A TensorProto of i64 in raw form.
pub fn i64_tensor(name: &str, dims: &[i64], data: &[i64]) -> Message {
    let raw: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
    raw_tensor(name, dims, 7, &raw)
}

/// A TensorProto with any element type and raw bytes.
pub fn raw_tensor(name: &str, dims: &[i64], data_type: i64, raw: &[u8]) -> Message {
    tensor_head(name, dims, data_type).bytes(9, raw)
}

/// A TensorProto without data.
pub fn tensor_head(name: &str, dims: &[i64], data_type: i64) -> Message {
    let head = dims.iter().fold(Message::default(), |m, &d| m.int(1, d));
    head.int(2, data_type).text(8, name)
}

/// An attribute of a node.
#[derive(Clone)]
pub enum Attribute {
    Int(&'static str, i64),
    Ints(&'static str, Vec<i64>),
    Float(&'static str, f32),
    Text(&'static str, &'static str),
    Tensor(&'static str, Message),
    Graph(&'static str, Message),
}

impl Attribute {
    fn write(&self) -> Message {
        let start = |name: &str, kind: i64| Message::default().text(1, name).int(20, kind);
        match self {
            Self::Int(name, i) => start(name, 2).int(3, *i),
            Self::Ints(name, list) => list.iter().fold(start(name, 7), |m, &i| m.int(8, i)),
            Self::Float(name, f) => start(name, 1).float(2, *f),
            Self::Text(name, text) => start(name, 3).text(4, text),
            Self::Tensor(name, tensor) => start(name, 4).message(5, tensor),
            Self::Graph(name, graph) => start(name, 5).message(6, graph),
        }
    }
}

/// A NodeProto.
pub fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Attribute]) -> Message {
    node_in("", op, inputs, outputs, attributes)
}

/// A NodeProto of an operator in `domain`.
pub fn node_in(
    domain: &str,
    op: &str,
    inputs: &[&str],
    outputs: &[&str],
    attributes: &[Attribute],
) -> Message {
    let mut message = Message::default();
    for input in inputs {
        message = message.text(1, input);
    }
    for output in outputs {
        message = message.text(2, output);
    }
    message = message.text(4, op);
    if !domain.is_empty() {
        message = message.text(7, domain);
    }
    attributes
        .iter()
        .fold(message, |m, a| m.message(5, &a.write()))
}

/// One dimension of a ValueInfoProto.
#[derive(Clone, Copy)]
pub enum Dim {
    Fixed(i64),
    Named(&'static str),
}

/// A ValueInfoProto of f32.
pub fn value(name: &str, dims: &[Dim]) -> Message {
    let shape = dims.iter().fold(Message::default(), |m, d| {
        let dim = match d {
            Dim::Fixed(n) => Message::default().int(1, *n),
            Dim::Named(name) => Message::default().text(2, name),
        };
        m.message(1, &dim)
    });
    let tensor = Message::default().int(1, 1).message(2, &shape);
    Message::default()
        .text(1, name)
        .message(2, &Message::default().message(1, &tensor))
}

/// A ValueInfoProto with fixed dimensions.
pub fn fixed(name: &str, dims: &[i64]) -> Message {
    let dims: Vec<Dim> = dims.iter().map(|&n| Dim::Fixed(n)).collect();
    value(name, &dims)
}

/// The parts of a model.
#[derive(Clone, Default)]
pub struct Builder {
    pub nodes: Vec<Message>,
    pub tensors: Vec<Message>,
    pub sparse: Vec<Message>,
    pub inputs: Vec<Message>,
    pub outputs: Vec<&'static str>,
    pub value_info: Vec<Message>,
    pub functions: Vec<Message>,
    pub opset: i64,
}

impl Builder {
    /// A model with the fixed input `x` and the output `y`.
    pub fn new(input: &[i64]) -> Self {
        Self {
            inputs: vec![fixed("x", input)],
            outputs: vec!["y"],
            opset: 19,
            ..Self::default()
        }
    }

    pub fn node(
        mut self,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[Attribute],
    ) -> Self {
        self.nodes.push(node(op, inputs, outputs, attributes));
        self
    }

    pub fn tensor(mut self, tensor: Message) -> Self {
        self.tensors.push(tensor);
        self
    }

    /// An f32 initialiser with the values 1, 2, 3, ... scaled to be below 1.
    pub fn weight(self, name: &str, dims: &[i64]) -> Self {
        let n = dims.iter().product::<i64>().max(1);
        let data: Vec<f32> = (0..n)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) / 64.0)
            .collect();
        self.tensor(f32_tensor(name, dims, &data))
    }

    pub fn ints(self, name: &str, data: &[i64]) -> Self {
        self.tensor(i64_tensor(name, &[data.len() as i64], data))
    }

    pub fn graph(&self) -> Message {
        let mut graph = Message::default();
        for node in &self.nodes {
            graph = graph.message(1, node);
        }
        graph = graph.text(2, "graph");
        for tensor in &self.tensors {
            graph = graph.message(5, tensor);
        }
        for tensor in &self.sparse {
            graph = graph.message(15, tensor);
        }
        for input in &self.inputs {
            graph = graph.message(11, input);
        }
        for output in &self.outputs {
            graph = graph.message(12, &Message::default().text(1, output));
        }
        for value in &self.value_info {
            graph = graph.message(13, value);
        }
        graph
    }

    pub fn bytes(&self) -> Vec<u8> {
        let model = Message::default()
            .int(1, 9)
            .text(2, "test")
            .message(7, &self.graph());
        let model = self.functions.iter().fold(model, |m, f| m.message(25, f));
        model.message(8, &Message::default().int(2, self.opset)).0
    }
}

/// Reads the model.
pub fn load(builder: &Builder) -> Model {
    load_bytes(&builder.bytes(), &Options::default()).unwrap()
}

/// The only layer of a model that left nothing out.
pub fn only(model: &Model) -> &Layer {
    assert_eq!(
        (model.layers.len(), model.skipped.len()),
        (1, 0),
        "{model:?}"
    );
    &model.layers[0]
}

/// What a layer's operator makes of one vector.
pub fn apply(model: &Model, layer: usize, x: &[f64]) -> Vec<f64> {
    let operator = model.operator::<f64>(layer).unwrap();
    let x = Columns::from_vec(x.len(), 1, x.to_vec()).unwrap();
    let mut y = Columns::zeros(operator.output_shape().iter().product(), 1);
    operator.apply(&x, &mut y).unwrap();
    y.column(0).to_vec()
}
