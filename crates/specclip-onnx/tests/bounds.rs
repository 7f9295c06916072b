//! Small files that ask for much memory or time: a layer that is left out with a reason, or an error, at once.

mod common;

use common::{
    Attribute as A, Builder, Message, f32_tensor, i64_tensor, node, node_in, tensor_head,
};
use specclip_onnx::{Error, Model, Options, load, load_bytes};

fn open(bytes: &[u8]) -> Result<Model, Error> {
    load_bytes(bytes, &Options::default())
}

/// The only reason why something is left out.
fn reason(builder: &Builder) -> String {
    let model = open(&builder.bytes()).unwrap();
    assert_eq!(
        (model.layers.len(), model.skipped.len()),
        (0, 1),
        "{model:?}"
    );
    model.skipped[0].reason.clone()
}

/// The output of the only layer, which must be what its operator gives.
fn output(builder: &Builder) -> Vec<usize> {
    let model = open(&builder.bytes()).unwrap();
    assert_eq!(
        (model.layers.len(), model.skipped.len()),
        (1, 0),
        "{model:?}"
    );
    model.operator::<f32>(0).unwrap();
    model.layers[0].output_shape.clone()
}

fn sliding(op: &str, input: &[i64], attributes: &[A]) -> Builder {
    Builder::new(input)
        .weight("w", &[1, 1, 2, 2])
        .node(op, &["x", "w"], &["y"], attributes)
}

#[test]
fn strides_beyond_the_input_act_like_its_length() {
    let strides = |n: i64| A::Ints("strides", vec![n, 1]);
    assert_eq!(
        output(&sliding("Conv", &[1, 1, 4, 4], &[strides(1 << 40)])),
        [1, 1, 3]
    );
    let transposed = |rows| sliding("ConvTranspose", &[1, 1, rows, 1], &[strides(1 << 28)]);
    assert_eq!(output(&transposed(1)), [1, 2, 2]);
    assert!(reason(&transposed(2)).contains("samples"));
    // A dilation moves nothing when there is one tap.
    let dilated = Builder::new(&[1, 1, 4]).weight("w", &[1, 1, 1]).node(
        "Conv",
        &["x", "w"],
        &["y"],
        &[A::Ints("dilations", vec![1 << 40])],
    );
    assert_eq!(output(&dilated), [1, 4]);
}

#[test]
fn strides_beyond_the_input_in_a_description() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.toml");
    let header = br#"{"w":{"dtype":"F32","shape":[1,1,2],"data_offsets":[0,8]}}"#;
    let mut weights = (header.len() as u64).to_le_bytes().to_vec();
    weights.extend(header);
    weights.extend([0, 0, 128, 63, 0, 0, 128, 63]);
    std::fs::write(folder.path().join("m.safetensors"), weights).unwrap();
    let described = |kind: &str, input: usize, padding: u64| {
        let text = format!(
            "[[layer]]\nkind = \"{kind}\"\nweight = \"w\"\ninput = [1, {input}]\nstride = 1099511627776\n\
             padding = {padding}\n"
        );
        std::fs::write(&path, text).unwrap();
        load(&path, &Options::default())
    };
    for kind in ["conv", "conv_transpose"] {
        let model = described(kind, 1 + usize::from(kind == "conv"), 0).unwrap();
        model.operator::<f32>(0).unwrap();
    }
    let error = described("conv", 4, 1 << 36).unwrap_err().to_string();
    assert!(error.contains("samples"), "{error}");
}

#[test]
fn long_axes() {
    let p: i64 = 1 << 36;
    let attributes = [
        A::Ints("pads", vec![p, 0, p, 0]),
        A::Ints("strides", vec![2 * p, 1]),
    ];
    assert!(reason(&sliding("Conv", &[1, 1, 4, 4], &attributes)).contains("samples"));
    let pads = Builder::new(&[1, 1])
        .ints("pads", &[0, 0, 0, 1 << 28])
        .node("Pad", &["x", "pads"], &["y"], &[]);
    assert!(reason(&pads).contains("samples"));
    let resize = |input: &[i64], scales: &[f32]| {
        Builder::new(input)
            .tensor(f32_tensor("scales", &[scales.len() as i64], scales))
            .node("Resize", &["x", "", "scales"], &["y"], &[])
    };
    let scale = 2.0_f32.powi(28);
    assert!(reason(&resize(&[1, 1, 1], &[1.0, 1.0, scale])).contains("samples"));
    // Input and output are small, the array between them is not.
    let (n, m) = (1 << 20, 2.0_f32.powi(20));
    let turned = resize(&[1, 1, 1, n], &[1.0, 1.0, m, 1.0 / m]);
    assert!(reason(&turned).contains("elements"), "{}", reason(&turned));
    let window = [1 << 20, 1];
    let pool = Builder::new(&[1, 1, 1 << 21, 1]).node(
        "AveragePool",
        &["x"],
        &["y"],
        &[A::Ints("kernel_shape", window.to_vec())],
    );
    assert!(reason(&pool).contains("windows"), "{}", reason(&pool));
    let taps = Builder::new(&[1, 1, 1 << 14])
        .weight("w", &[1, 1, 1 << 13])
        .node("Conv", &["x", "w"], &["y"], &[]);
    assert!(reason(&taps).contains("taps"));
}

#[test]
fn one_padding_in_front_of_many_convolutions() {
    let mut b = Builder::new(&[1, 1, 1 << 21])
        .ints("pads", &[0, 0, 1, 0, 0, 1])
        .node("Pad", &["x", "pads"], &["p"], &[])
        .weight("w", &[1, 1, 1]);
    for i in 0..5000 {
        b = b.node("Conv", &["p", "w"], &[&format!("y{i}")], &[]);
    }
    assert!(open(&b.bytes()).unwrap().layers.len() >= 5000);
}

#[test]
fn many_axes() {
    const RANK: usize = 1 << 14;
    let ones = i64_tensor("shape", &[RANK as i64], &[1; RANK]);
    let names: Vec<String> = (0..40_000).map(|i| format!("r{i}")).collect();
    let relus = |mut b: Builder| {
        for pair in names.windows(2) {
            b = b.node("Relu", &[&pair[0]], &[&pair[1]], &[]);
        }
        b.weight("w", &[1, 1, 1])
            .node("Conv", &["r39999", "w"], &["y"], &[])
    };
    let reshaped = Builder::new(&[1])
        .tensor(ones)
        .node("Reshape", &["x", "shape"], &["r0"], &[]);
    assert!(reason(&relus(reshaped)).contains("16384 axes"));
    let weight = relus(Builder::new(&[1]).weight("r0", &[1; RANK]));
    assert!(open(&weight.bytes()).unwrap().layers.is_empty());
    let input = Builder::new(&[1; RANK]).node("Relu", &["x"], &["r0"], &[]);
    assert!(reason(&relus(input)).contains("16384 axes"));

    let axes: Vec<i64> = (0..RANK as i64).collect();
    let mut b = Builder::new(&[1])
        .ints("axes", &axes)
        .node("Relu", &["x"], &["r0"], &[]);
    for pair in names[..61].windows(2) {
        b = b.node("Unsqueeze", &[&pair[0], "axes"], &[&pair[1]], &[]);
    }
    let b = b
        .weight("w", &[1, 1, 1])
        .node("Conv", &["r60", "w"], &["y"], &[]);
    assert!(reason(&b).contains("numbers"), "{}", reason(&b));

    // Reasons do not repeat a long list for every node that reads it.
    let mut b = Builder::new(&[1]).ints("pads", &axes);
    for name in &names {
        b = b.node("Pad", &["x", "pads"], &[name], &[]);
    }
    let skipped = open(&b.bytes()).unwrap().skipped;
    assert_eq!(skipped.len(), names.len());
    assert!(
        skipped.iter().all(|s| s.reason.len() < 200),
        "{}",
        skipped[0].reason
    );
    let equation: &'static str = "a".repeat(1 << 20).leak();
    let einsum = Builder::new(&[1]).node(
        "Einsum",
        &["x", "x"],
        &["y"],
        &[A::Text("equation", equation)],
    );
    assert!(reason(&einsum).len() < 200);
}

/// A function `local.F` from `a` to `b`.
fn function(nodes: &[Message]) -> Message {
    let head = Message::default()
        .text(1, "F")
        .text(4, "a")
        .text(5, "b")
        .text(10, "local");
    nodes.iter().fold(head, |f, n| f.message(7, n))
}

#[test]
fn functions_that_grow() {
    let mut chain = vec![node("Relu", &["a"], &["t0"], &[])];
    let names: Vec<String> = (0..3000).map(|i| format!("t{i}")).collect();
    for pair in names.windows(2) {
        chain.push(node("Relu", &[&pair[0]], &[&pair[1]], &[]));
    }
    chain.push(node("Identity", &["t2999"], &["b"], &[]));
    let call = |output: &str| node_in("local", "F", &["x"], &[output], &[]);
    let conv = |b: Builder| {
        b.weight("w", &[1, 1, 1])
            .node("Conv", &["h", "w"], &["y"], &[])
    };
    let mut long = conv(Builder::new(&[1, 1, 4]));
    long.nodes.push(call("h").text(3, &"n".repeat(1 << 20)));
    long.functions.push(function(&chain));
    assert_eq!(open(&long.bytes()).unwrap().layers.len(), 1);

    // Names need not be unique.
    let mut twice = conv(Builder::new(&[1, 1, 4]));
    twice.nodes.push(call("g").text(3, "block"));
    twice.nodes.push(call("h").text(3, "block"));
    twice.functions.push(function(&chain));
    assert_eq!(open(&twice.bytes()).unwrap().layers.len(), 1);

    let floats: Vec<u8> = (0..1 << 20).flat_map(|_| 1.0_f32.to_le_bytes()).collect();
    let tensor = tensor_head("k", &[1 << 20], 1).bytes(4, &floats);
    let constant = node("Constant", &[], &["k"], &[A::Tensor("value", tensor)]);
    let relu = node("Relu", &["a"], &["b"], &[]);
    let mut copies = conv(Builder::new(&[1, 1, 4]));
    copies.functions.push(function(&[constant, relu]));
    copies.nodes.push(call("h"));
    assert_eq!(open(&copies.bytes()).unwrap().layers.len(), 1);
    for i in 0..2500 {
        copies.nodes.push(call(&format!("h{i}")));
    }
    let error = open(&copies.bytes()).unwrap_err().to_string();
    assert!(error.contains("memory"), "{error}");
}
