//! Graphs as exporters write them: what is linked, named, recognised or left out.

mod common;

use common::{Attribute as A, Builder, f32_tensor, load, node};
use specclip::LinearOperator;
use specclip::operator::materialise;
use specclip_onnx::{Error, Layer, LayerKind, Options, load_bytes};

fn only(builder: &Builder) -> Layer {
    let model = load(builder);
    assert_eq!(
        (model.layers.len(), model.skipped.len()),
        (1, 0),
        "{model:?}"
    );
    model.layers[0].clone()
}

fn skipped(builder: &Builder) -> String {
    let model = load(builder);
    assert_eq!(
        (model.layers.len(), model.skipped.len()),
        (0, 1),
        "{model:?}"
    );
    format!("{}: {}", model.skipped[0].op, model.skipped[0].reason)
}

/// The batch normalisation that the first layer is linked to, after which it is read as one operator.
fn linked(builder: Builder, input: &str) -> Option<usize> {
    let builder = builder
        .tensor(f32_tensor("scale", &[2], &[2.0, -3.0]))
        .tensor(f32_tensor("one", &[2], &[1.0, 1.0]))
        .node(
            "BatchNormalization",
            &[input, "scale", "one", "one", "one"],
            &["y"],
            &[],
        );
    let model = load(&builder);
    let norm = model.layers[0].batch_norm;
    let both = model.composed::<f64>(0).unwrap();
    assert_eq!(both.output_shape(), model.layers[0].output_shape);
    norm
}

#[test]
fn batch_normalisation_behind_a_bias_or_a_copy() {
    let conv = || {
        Builder::new(&[1, 2, 4, 4])
            .weight("w", &[2, 2, 3, 3])
            .weight("b", &[1, 2, 1, 1])
            .weight("wide", &[3, 2, 2, 2])
            .node("Conv", &["x", "w"], &["c"], &[])
    };
    let add = |with: &str| conv().node("Add", &["c", with], &["h"], &[]);
    assert_eq!(linked(add("b"), "h"), Some(1));
    assert_eq!(
        linked(conv().node("Identity", &["c"], &["h"], &[]), "h"),
        Some(1)
    );
    let both = add("b").node("Identity", &["h"], &["i"], &[]);
    assert_eq!(linked(both, "i"), Some(1));
    // A residual is no bias, and what is broadcast to more samples is another shape.
    let residual = conv().node("Relu", &["x"], &["r"], &[]).node(
        "AveragePool",
        &["r"],
        &["p"],
        &[A::Ints("kernel_shape", vec![3, 3])],
    );
    assert_eq!(
        linked(residual.node("Add", &["c", "p"], &["h"], &[]), "h"),
        None
    );
    assert_eq!(linked(add("wide"), "h"), None);
    let shared = add("b").node("Relu", &["c"], &["r"], &[]);
    assert_eq!(linked(shared, "h"), None);

    let matrix = || Builder::new(&[2, 2]).weight("w", &[2, 2]).weight("b", &[2]);
    let product = |op: &str, inputs: &[&str]| {
        matrix()
            .node(op, inputs, &["m"], &[])
            .node("Add", &["m", "b"], &["h"], &[])
    };
    for op in ["MatMul", "Gemm"] {
        assert_eq!(linked(product(op, &["x", "w"]), "h"), Some(1), "{op}");
        // With the constant on the left, axis 1 holds the positions and not the outputs.
        assert_eq!(linked(product(op, &["w", "x"]), "h"), None, "{op}");
    }
}

#[test]
fn means_over_axes() {
    let mean = |input: &[i64], axes: &[i64]| {
        Builder::new(input).ints("axes", axes).node(
            "ReduceMean",
            &["x", "axes"],
            &["y"],
            &[A::Int("keepdims", 0)],
        )
    };
    let sequence = only(&mean(&[1, 3, 8], &[-1]));
    assert_eq!(
        (sequence.kind, sequence.input_shape),
        (LayerKind::AvgPool, vec![3, 8])
    );
    assert!(skipped(&mean(&[1, 3, 8], &[1])).contains("averages over the axes [1]"));
    assert!(skipped(&mean(&[1, 8, 8, 3], &[1, 2])).contains("averages over the axes [1, 2]"));
    // A normalisation that is written out: mean, variance.
    let norm = Builder::new(&[1, 3, 8])
        .ints("axes", &[-1])
        .tensor(f32_tensor("two", &[], &[2.0]))
        .node("ReduceMean", &["x", "axes"], &["m"], &[])
        .node("Sub", &["x", "m"], &["d"], &[])
        .node("Pow", &["d", "two"], &["s"], &[])
        .node("ReduceMean", &["s", "axes"], &["v"], &[])
        .node("Mul", &["d", "d"], &["q"], &[])
        .node("ReduceMean", &["q", "axes"], &["y"], &[]);
    let model = load(&norm);
    assert_eq!(
        (model.layers.len(), model.skipped.len()),
        (0, 0),
        "{model:?}"
    );
}

#[test]
fn overlapping_patches_that_are_summed() {
    let fold = Builder::new(&[1, 4, 9])
        .ints("image", &[4, 4])
        .ints("block", &[2, 2])
        .node("Col2Im", &["x", "image", "block"], &["y"], &[]);
    assert!(skipped(&fold).starts_with("Col2Im: it sums"));
}

#[test]
fn names_of_operations_give_way_to_the_bias() {
    let named = |weight: &str, bias: &str| {
        let b = Builder::new(&[1, 2])
            .weight(weight, &[2, 2])
            .weight(bias, &[2]);
        only(&b.node("Gemm", &["x", weight, bias], &["y"], &[])).name
    };
    for weight in ["mul", "div_1", "t", "t_3"] {
        assert_eq!(named(weight, "head.bias"), "head", "{weight}");
        // Without a better one they stay.
        assert_eq!(named(weight, "b"), weight);
    }
    for weight in ["t2", "multi", "mul.weight"] {
        assert_eq!(
            named(weight, "head.bias"),
            weight.trim_end_matches(".weight")
        );
    }
}

#[test]
fn einsum_with_an_ellipsis() {
    for (equation, input, multiplicity) in [
        ("...j,jk->...k", &[1, 5, 2][..], 5),
        ("...j, jk", &[1, 5, 2], 5),
        ("b...j,jk->b...k", &[1, 4, 5, 2], 20),
        ("...j,...jk->...k", &[1, 2], 1),
        ("bj,...jk->bk...", &[1, 2], 1),
    ] {
        let builder = Builder::new(input)
            .tensor(f32_tensor("w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
            .node(
                "Einsum",
                &["x", "w"],
                &["h"],
                &[A::Text("equation", equation)],
            )
            .weight("v", &[3, 1])
            .node("MatMul", &["h", "v"], &["y"], &[]);
        let model = load(&builder);
        assert_eq!(model.layers.len(), 2, "{equation} {:?}", model.skipped);
        assert_eq!(model.layers[0].multiplicity, multiplicity, "{equation}");
        assert_eq!(model.layers[1].multiplicity, multiplicity, "{equation}");
        let m = materialise(&*model.operator::<f64>(0).unwrap()).unwrap();
        assert_eq!(
            (m[(0, 0)], m[(0, 1)], m[(2, 0)]),
            (1.0, 4.0, 3.0),
            "{equation}"
        );
    }
    let dot = Builder::new(&[1, 2]).weight("w", &[2]);
    let misfit = dot.node(
        "Einsum",
        &["x", "w"],
        &["y"],
        &[A::Text("equation", "...abc,c->...ab")],
    );
    assert!(skipped(&misfit).contains("does not fit"));
}

#[test]
fn operator_sets() {
    let conv = |opset: i64| {
        let mut b =
            Builder::new(&[1, 2, 8])
                .weight("w", &[2, 2, 3])
                .node("Conv", &["x", "w"], &["y"], &[]);
        b.opset = opset;
        load_bytes(&b.bytes(), &Options::default())
    };
    for opset in [7, 8] {
        let error = conv(opset).unwrap_err();
        assert!(matches!(error, Error::Opset { version, .. } if version == opset));
    }
    // Newer sets than are known are tried.
    for opset in [9, 22, 26] {
        assert_eq!(conv(opset).unwrap().layers.len(), 1);
    }
}

/// Keras by tf2onnx: channels last between the layers, a depthwise kernel that is reshaped, and a shape that is computed
/// in 32 bits.
#[test]
fn a_channels_last_network_of_tf2onnx() {
    let mut b = Builder::new(&[])
        .node(
            "Transpose",
            &["x"],
            &["t"],
            &[A::Ints("perm", vec![0, 3, 1, 2])],
        )
        .weight("model/dw/kernel", &[3, 3, 3, 1])
        .ints("kernel", &[3, 1, 3, 3])
        .node("Reshape", &["model/dw/kernel", "kernel"], &["k"], &[]);
    let attributes = [
        A::Int("group", 3),
        A::Text("auto_pad", "SAME_UPPER"),
        A::Ints("strides", vec![2, 2]),
    ];
    b.nodes
        .push(node("Conv", &["t", "k"], &["c"], &attributes).text(3, "model/dw/depthwise"));
    let b = b
        .node(
            "Transpose",
            &["c"],
            &["last"],
            &[A::Ints("perm", vec![0, 2, 3, 1])],
        )
        .weight("bias", &[3])
        .node("Add", &["last", "bias"], &["a"], &[])
        .node("Shape", &["a"], &["s"], &[])
        .node("Cast", &["s"], &["s32"], &[A::Int("to", 6)])
        .ints("zero", &[0])
        .ints("one", &[1])
        .node("Slice", &["s32", "zero", "one", "zero"], &["batch"], &[])
        .tensor(common::raw_tensor(
            "rest",
            &[2],
            6,
            &[255, 255, 255, 255, 3, 0, 0, 0],
        ))
        .node(
            "Concat",
            &["batch", "rest"],
            &["to32"],
            &[A::Int("axis", 0)],
        )
        .node("Cast", &["to32"], &["to"], &[A::Int("to", 7)])
        .node("Reshape", &["a", "to"], &["r"], &[])
        .weight("model/dense/kernel", &[3, 5])
        .node("MatMul", &["r", "model/dense/kernel"], &["y"], &[]);
    let mut b = b;
    let dims = [
        common::Dim::Named("unk__1"),
        common::Dim::Fixed(10),
        common::Dim::Fixed(9),
        common::Dim::Fixed(3),
    ];
    b.inputs = vec![common::value("x", &dims)];
    for batch in [1, 4] {
        let shape = format!("{batch}x10x9x3").parse().unwrap();
        let model = load_bytes(
            &b.bytes(),
            &Options {
                inputs: vec![shape],
            },
        )
        .unwrap();
        assert_eq!(
            (model.layers.len(), model.skipped.len()),
            (2, 0),
            "{model:?}"
        );
        let [conv, dense] = &model.layers[..] else {
            unreachable!()
        };
        assert_eq!(
            (&conv.input_shape[..], &conv.output_shape[..]),
            (&[3, 10, 9][..], &[3, 5, 5][..])
        );
        assert_eq!((conv.multiplicity, dense.multiplicity), (1, 25));
        assert_eq!(conv.name, "model/dw/kernel");
        model.operator::<f64>(0).unwrap();
    }
}
