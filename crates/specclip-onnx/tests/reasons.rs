//! What is left out, and what is refused later: the reason must be true.

mod common;

use common::{Attribute as A, Builder, Message, f32_tensor, load, node, raw_tensor};

fn assert_skipped(builder: &Builder, reason: &str) {
    let model = load(builder);
    assert_eq!(
        (model.layers.len(), model.skipped.len()),
        (0, 1),
        "{model:?}"
    );
    let found = &model.skipped[0].reason;
    assert!(found.contains(reason), "{found}");
}

/// Why the operator of the only layer cannot be built: in f32 and in f64, the latter empty when it can.
fn refused(builder: &Builder) -> [String; 2] {
    let model = load(builder);
    assert_eq!(model.layers.len(), 1, "{model:?}");
    let message = |e: Option<specclip_onnx::Error>| e.map_or_else(String::new, |e| e.to_string());
    [
        message(model.operator::<f32>(0).err()),
        message(model.operator::<f64>(0).err()),
    ]
}

#[test]
fn element_types_that_are_not_read() {
    for (number, name) in [(17, "float8e4m3fn"), (22, "int4"), (14, "complex64")] {
        let start =
            || Builder::new(&[1, 2, 5, 5]).tensor(raw_tensor("w", &[2, 2, 1, 1], number, &[1; 4]));
        let plain = start().node("Conv", &["x", "w"], &["y"], &[]);
        assert_skipped(&plain, &format!("stored as {name}, which is not read"));
        let cast = start()
            .node("Cast", &["w"], &["wf"], &[A::Int("to", 1)])
            .node("Conv", &["x", "wf"], &["y"], &[]);
        assert_skipped(&cast, &format!("stored as {name}, which is not read"));
    }
}

#[test]
fn sparse_weights() {
    let sparse = || {
        let values = f32_tensor("w", &[2], &[1.0, 2.0]);
        let indices = common::i64_tensor("", &[2], &[0, 5]);
        Message::default()
            .message(1, &values)
            .message(2, &indices)
            .int(3, 3)
            .int(3, 4)
    };
    let mut builder = Builder::new(&[1, 3]).node("MatMul", &["x", "w"], &["y"], &[]);
    builder.sparse = vec![sparse()];
    assert_skipped(&builder, "sparse");
    let value = Message::default()
        .text(1, "sparse_value")
        .int(20, 11)
        .message(22, &sparse());
    let mut constant = Builder::new(&[1, 3]);
    constant
        .nodes
        .push(node("Constant", &[], &["c"], &[]).message(5, &value));
    assert_skipped(&constant.node("MatMul", &["x", "c"], &["y"], &[]), "sparse");
}

#[test]
fn quantised_weights_through_arithmetic() {
    let builder = Builder::new(&[1, 2, 5, 5])
        .tensor(raw_tensor("q", &[2, 2, 3, 3], 3, &[1; 36]))
        .tensor(f32_tensor("scale", &[], &[0.1]))
        .node("DequantizeLinear", &["q", "scale"], &["d"], &[])
        .node("Mul", &["d", "scale"], &["m"], &[])
        .node("Conv", &["x", "m"], &["y"], &[]);
    assert_skipped(&builder, "quantised (it comes from DequantizeLinear)");
}

#[test]
fn values_that_do_not_fit_a_precision() {
    let huge: Vec<u8> = [1.0, 1e300_f64]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    let start = |rows: i64| Builder::new(&[1, rows]).tensor(raw_tensor("w", &[2, 1], 11, &huge));
    let stored = start(2).node("MatMul", &["x", "w"], &["y"], &[]);
    let [single, double] = refused(&stored);
    assert!(
        single.contains("1e300 at index 1") && single.contains("try --precision f64"),
        "{single}"
    );
    assert_eq!(double, "");
    let cast = start(2)
        .node("Cast", &["w"], &["c"], &[A::Int("to", 1)])
        .node("MatMul", &["x", "c"], &["y"], &[]);
    for message in refused(&cast) {
        let expected = if message.contains("float32") {
            "converts"
        } else {
            "f32; try --precision f64"
        };
        assert!(
            message.contains("1e300") && message.contains(expected),
            "{message}"
        );
    }
    let gemm = |alpha: f32| {
        let b = Builder::new(&[1, 1]).tensor(f32_tensor("w", &[1, 1], &[1e30]));
        b.node("Gemm", &["x", "w"], &["y"], &[A::Float("alpha", alpha)])
    };
    let [single, double] = refused(&gemm(1e30));
    assert!(
        single.contains("does not fit f32; try --precision f64"),
        "{single}"
    );
    assert_eq!(double, "");
    assert_skipped(&gemm(f32::INFINITY), "alpha = inf");
    let product = |op: &str, by: f32| {
        let b = Builder::new(&[1, 1]).tensor(f32_tensor("w", &[1, 1], &[1e30]));
        b.tensor(f32_tensor("by", &[1], &[by]))
            .node(op, &["w", "by"], &["p"], &[])
            .node("MatMul", &["x", "p"], &["y"], &[])
    };
    let [single, double] = refused(&product("Mul", 1e30));
    assert!(single.contains("try --precision f64"), "{single}");
    assert_eq!(double, "");
    for message in refused(&product("Div", 0.0)) {
        assert!(
            message.contains("inf") && message.contains("the model computes"),
            "{message}"
        );
    }
}

#[test]
fn layers_for_which_there_is_no_operator() {
    let conv = Builder::new(&[1, 2, 3, 3, 3, 3])
        .weight("w", &[2, 2, 1, 1, 1, 1])
        .node("Conv", &["x", "w"], &["y"], &[]);
    assert_skipped(&conv, "over 4 axes");
    let up = |size: i64| {
        let attributes = [
            A::Ints("strides", vec![2]),
            A::Ints("output_shape", vec![size]),
        ];
        Builder::new(&[1, 1, 3]).weight("w", &[1, 1, 2]).node(
            "ConvTranspose",
            &["x", "w"],
            &["y"],
            &attributes,
        )
    };
    assert_eq!(
        load(&up(7)).operator::<f64>(0).unwrap().output_shape(),
        [1, 7]
    );
    assert_skipped(&up(8), "does not reach");
    let norm = |variance: f32| {
        Builder::new(&[1, 2, 4])
            .weight("g", &[2])
            .tensor(f32_tensor("v", &[2], &[1.0, variance]))
            .node(
                "BatchNormalization",
                &["x", "g", "g", "g", "v"],
                &["y"],
                &[],
            )
    };
    assert!(load(&norm(0.0)).operator::<f64>(0).is_ok());
    assert_skipped(&norm(-1.0), "channel 1 has the variance -1");
    let groups = Builder::new(&[1, 2, 4]).weight("w", &[3, 1, 1]).node(
        "Conv",
        &["x", "w"],
        &["y"],
        &[A::Int("group", 2)],
    );
    assert_skipped(&groups, "do not divide into 2 groups");
    let attributes = [
        A::Ints("kernel_shape", vec![2]),
        A::Ints("pads", vec![2, 0]),
    ];
    let pool = Builder::new(&[1, 2, 4]).node("AveragePool", &["x"], &["y"], &attributes);
    assert_skipped(&pool, "padding");
}
