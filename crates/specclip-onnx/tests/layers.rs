//! Every kind of node that becomes a layer, its shapes and what its operator does.

mod common;

use common::{
    Attribute as A, Builder, Dim, Message, apply, f32_tensor, load, node, only, raw_tensor, value,
};
use half::{bf16, f16};
use specclip::LinearOperator;
use specclip::operator::materialise;
use specclip_onnx::{LayerKind, Model, Options, load_bytes};

fn matrix(model: &Model) -> Vec<Vec<f64>> {
    let operator = model.operator::<f64>(0).unwrap();
    let m = materialise(&*operator).unwrap();
    (0..m.nrows())
        .map(|i| (0..m.ncols()).map(|j| m[(i, j)]).collect())
        .collect()
}

#[test]
fn convolution_with_all_its_attributes() {
    let builder = Builder::new(&[1, 4, 9, 8])
        .weight("body.conv.weight", &[6, 2, 3, 2])
        .node(
            "Conv",
            &["x", "body.conv.weight"],
            &["y"],
            &[
                A::Int("group", 2),
                A::Ints("strides", vec![2, 1]),
                A::Ints("pads", vec![1, 0, 2, 1]),
                A::Ints("dilations", vec![2, 1]),
                A::Ints("kernel_shape", vec![3, 2]),
            ],
        );
    let model = load(&builder);
    let layer = only(&model);
    assert_eq!(layer.name, "body.conv");
    assert_eq!(layer.kind, LayerKind::Conv(2));
    assert_eq!(layer.kind.to_string(), "conv2d");
    assert_eq!(layer.input_shape, [4, 9, 8]);
    assert_eq!(layer.output_shape, [6, 4, 8]);
    assert_eq!(layer.weight.as_ref().unwrap().name, "body.conv.weight");
    assert_eq!(model.operator::<f32>(0).unwrap().output_shape(), [6, 4, 8]);
}

#[test]
fn convolutions_in_one_and_three_dimensions_and_auto_pad() {
    for (auto, expected) in [
        ("SAME_UPPER", vec![0.0, 1.0, 0.0]),
        ("SAME_LOWER", vec![1.0, 0.0, 0.0]),
    ] {
        let builder = Builder::new(&[1, 1, 3])
            .tensor(f32_tensor("w", &[1, 1, 2], &[1.0, 0.0]))
            .node("Conv", &["x", "w"], &["y"], &[A::Text("auto_pad", auto)]);
        let model = load(&builder);
        assert_eq!(only(&model).output_shape, [1, 3]);
        // The only tap is the first of two: with the padding behind it reads its own sample, with the padding in front
        // the one before.
        let shift = if auto == "SAME_UPPER" { 0 } else { 1 };
        let row = &matrix(&model)[1];
        assert_eq!(row[1 - shift], 1.0, "{auto} {expected:?}");
    }
    let builder = Builder::new(&[1, 2, 4, 5, 6])
        .weight("w", &[3, 2, 1, 2, 3])
        .node("Conv", &["x", "w"], &["y"], &[]);
    assert_eq!(only(&load(&builder)).output_shape, [3, 4, 4, 4]);
    assert_eq!(only(&load(&builder)).kind, LayerKind::Conv(3));
}

#[test]
fn transposed_convolution_with_output_shape() {
    let attributes = [
        A::Ints("strides", vec![2]),
        A::Ints("output_shape", vec![9]),
        A::Int("group", 2),
    ];
    let builder = Builder::new(&[1, 4, 5])
        .weight("up.weight", &[4, 3, 3])
        .node("ConvTranspose", &["x", "up.weight"], &["y"], &attributes);
    let model = load(&builder);
    assert_eq!(only(&model).kind, LayerKind::ConvTranspose(1));
    assert_eq!(only(&model).output_shape, [6, 9]);
    assert_eq!(model.operator::<f64>(0).unwrap().output_shape(), [6, 9]);
}

/// The eight ways in which a constant matrix meets a vector all give the same operator.
#[test]
fn products_with_a_constant_matrix() {
    let w = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];
    let rows: Vec<f32> = w.iter().flatten().map(|&x| x as f32).collect();
    let columns: Vec<f32> = (0..3)
        .flat_map(|j| [w[0][j] as f32, w[1][j] as f32])
        .collect();
    let stored = |b: Builder, transposed: bool| match transposed {
        false => b.tensor(f32_tensor("fc.weight", &[2, 3], &rows)),
        true => b.tensor(f32_tensor("fc.weight", &[3, 2], &columns)),
    };
    let cases = [
        (
            stored(Builder::new(&[1, 3]), true).node("MatMul", &["x", "fc.weight"], &["y"], &[]),
            1,
        ),
        (
            stored(Builder::new(&[1, 7, 3]), true).node("MatMul", &["x", "fc.weight"], &["y"], &[]),
            7,
        ),
        (
            stored(Builder::new(&[1, 3, 5]), false).node(
                "MatMul",
                &["fc.weight", "x"],
                &["y"],
                &[],
            ),
            5,
        ),
        (
            stored(Builder::new(&[1, 3]), false)
                .node(
                    "Transpose",
                    &["fc.weight"],
                    &["t"],
                    &[A::Ints("perm", vec![1, 0])],
                )
                .node("MatMul", &["x", "t"], &["y"], &[]),
            1,
        ),
        (
            stored(Builder::new(&[1, 3]), false).node(
                "Gemm",
                &["x", "fc.weight"],
                &["y"],
                &[A::Int("transB", 1)],
            ),
            1,
        ),
        (
            stored(Builder::new(&[3, 1]), true).node(
                "Gemm",
                &["x", "fc.weight"],
                &["y"],
                &[A::Int("transA", 1)],
            ),
            1,
        ),
        (
            stored(Builder::new(&[3, 1]), false).node("Gemm", &["fc.weight", "x"], &["y"], &[]),
            1,
        ),
        (
            stored(Builder::new(&[1, 7, 3]), true).node(
                "Einsum",
                &["x", "fc.weight"],
                &["y"],
                &[A::Text("equation", "abc, cd -> abd")],
            ),
            7,
        ),
    ];
    for (i, (builder, multiplicity)) in cases.iter().enumerate() {
        let model = load(builder);
        let layer = only(&model);
        assert_eq!(
            (layer.name.as_str(), layer.kind),
            ("fc", LayerKind::Dense),
            "case {i}"
        );
        assert_eq!(layer.multiplicity, *multiplicity, "case {i}");
        assert_eq!(matrix(&model), w, "case {i}");
    }
}

#[test]
fn gemm_scales_by_alpha_and_ignores_the_bias() {
    let builder = Builder::new(&[1, 1])
        .tensor(f32_tensor("w", &[1, 1], &[3.0]))
        .tensor(f32_tensor("b", &[1], &[100.0]))
        .node("Gemm", &["x", "w", "b"], &["y"], &[A::Float("alpha", 0.5)]);
    assert_eq!(matrix(&load(&builder)), [[1.5]]);
}

#[test]
fn weights_in_every_precision_and_field() {
    let numbers = [0.5, -2.0, 3.25, 1.0];
    let raw = |f: &dyn Fn(f64) -> Vec<u8>| numbers.iter().flat_map(|&x| f(x)).collect::<Vec<u8>>();
    let typed = |kind: i64| common::tensor_head("w", &[2, 2], kind);
    let tensors = [
        raw_tensor(
            "w",
            &[2, 2],
            1,
            &raw(&|x| (x as f32).to_le_bytes().to_vec()),
        ),
        raw_tensor("w", &[2, 2], 11, &raw(&|x| x.to_le_bytes().to_vec())),
        raw_tensor(
            "w",
            &[2, 2],
            10,
            &raw(&|x| f16::from_f64(x).to_le_bytes().to_vec()),
        ),
        raw_tensor(
            "w",
            &[2, 2],
            16,
            &raw(&|x| bf16::from_f64(x).to_le_bytes().to_vec()),
        ),
        numbers.iter().fold(typed(1), |m, &x| m.float(4, x as f32)),
        numbers.iter().fold(typed(10), |m, &x| {
            m.int(5, i64::from(f16::from_f64(x).to_bits()))
        }),
        numbers.iter().fold(typed(16), |m, &x| {
            m.int(5, i64::from(bf16::from_f64(x).to_bits()))
        }),
    ];
    for tensor in tensors {
        let builder = Builder::new(&[1, 2]).tensor(tensor).node(
            "Gemm",
            &["x", "w"],
            &["y"],
            &[A::Int("transB", 1)],
        );
        assert_eq!(matrix(&load(&builder)), [[0.5, -2.0], [3.25, 1.0]]);
    }
}

#[test]
fn weights_in_constant_nodes_and_through_chains() {
    let tensor = f32_tensor("", &[4], &[1.0, 2.0, 3.0, 4.0]);
    let builder = Builder::new(&[1, 2])
        .node(
            "Constant",
            &[],
            &["conv.w_0"],
            &[A::Tensor("value", tensor)],
        )
        .ints("shape", &[2, -1])
        .node("Reshape", &["conv.w_0", "shape"], &["r"], &[])
        .node("Identity", &["r"], &["i"], &[])
        .node("Cast", &["i"], &["c"], &[A::Int("to", 1)])
        .tensor(f32_tensor("two", &[1], &[2.0]))
        .node("Mul", &["c", "two"], &["m"], &[])
        .node("Unsqueeze", &["m", "axes"], &["u"], &[])
        .ints("axes", &[0])
        .node("Squeeze", &["u", "axes"], &["s"], &[])
        .node("Concat", &["s", "s"], &["cc"], &[A::Int("axis", 0)])
        .ints("start", &[1])
        .ints("end", &[3])
        .ints("zero", &[0])
        .node("Slice", &["cc", "start", "end", "zero"], &["w"], &[])
        .node("MatMul", &["x", "w"], &["y"], &[]);
    let model = load(&builder);
    assert_eq!(only(&model).name, "conv.w_0");
    // Rows 1 and 2 of [[2, 4], [6, 8], [2, 4], [6, 8]], transposed.
    assert_eq!(matrix(&model), [[6.0, 2.0], [8.0, 4.0]]);
}

#[test]
fn batch_normalisation_is_linked_to_the_convolution_it_alone_reads() {
    let conv = |b: Builder| {
        b.weight("c.weight", &[2, 1, 1])
            .node("Conv", &["x", "c.weight"], &["h"], &[])
            .tensor(f32_tensor("bn.weight", &[2], &[2.0, -3.0]))
            .tensor(f32_tensor("bn.bias", &[2], &[1.0, 1.0]))
            .tensor(f32_tensor("bn.running_mean", &[2], &[1.0, 1.0]))
            .tensor(f32_tensor("bn.running_var", &[2], &[3.0, 8.0]))
    };
    let inputs = [
        "h",
        "bn.weight",
        "bn.bias",
        "bn.running_mean",
        "bn.running_var",
    ];
    let epsilon = [A::Float("epsilon", 1.0)];
    let alone =
        conv(Builder::new(&[1, 1, 4])).node("BatchNormalization", &inputs, &["y"], &epsilon);
    let model = load(&alone);
    assert_eq!(model.layers[0].batch_norm, Some(1));
    assert_eq!(model.layers[1].name, "bn");
    assert_eq!(model.layers[1].kind, LayerKind::BatchNorm);
    assert_eq!(
        apply(&model, 1, &[1.0; 8]),
        [1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0]
    );
    let both = model.composed::<f64>(0).unwrap();
    assert_eq!(
        (both.input_shape(), both.output_shape()),
        (&[1, 4][..], &[2, 4][..])
    );

    let shared = conv(Builder::new(&[1, 1, 4]))
        .node("BatchNormalization", &inputs, &["n"], &epsilon)
        .node("Add", &["n", "h"], &["y"], &[]);
    assert_eq!(load(&shared).layers[0].batch_norm, None);
}

#[test]
fn a_shared_weight_gives_a_row_for_each_use() {
    let builder = Builder::new(&[1, 2, 8])
        .weight("shared.weight", &[2, 2, 3])
        .node("Conv", &["x", "shared.weight"], &["h"], &[])
        .node("Conv", &["h", "shared.weight"], &["y"], &[]);
    let model = load(&builder);
    let rows: Vec<(&str, &[usize])> = model
        .layers
        .iter()
        .map(|l| (l.name.as_str(), l.input_shape.as_slice()))
        .collect();
    assert_eq!(rows, [("shared", &[2, 8][..]), ("shared#2", &[2, 6][..])]);
}

#[test]
fn names_that_exporters_make_up_give_way() {
    let product = |weight: &str, bias: &str| {
        let mut b = Builder::new(&[1, 2])
            .weight(weight, &[2, 2])
            .weight(bias, &[2]);
        b = b
            .node("MatMul", &["x", weight], &["h"], &[])
            .node("Add", &["h", bias], &["y"], &[]);
        load(&b).layers[0].name.clone()
    };
    assert_eq!(product("head.weight", "head.bias"), "head");
    assert_eq!(product("onnx::MatMul_7", "head.bias"), "head");
    assert_eq!(product("val_17", "head.bias"), "head");
    assert_eq!(product("123", "b"), "MatMul_0");
    assert_eq!(product("linear_0.w_0", "linear_0.b_0"), "linear_0.w_0");
}

#[test]
fn shapes_that_the_model_computes_are_followed() {
    // flatten(1) as exporters write it: Shape, Gather, Unsqueeze, Concat, Reshape.
    let builder = Builder::new(&[2, 3, 4, 4])
        .node("Shape", &["x"], &["s"], &[])
        .tensor(common::i64_tensor("zero", &[], &[0]))
        .node("Gather", &["s", "zero"], &["b"], &[])
        .ints("axes", &[0])
        .node("Unsqueeze", &["b", "axes"], &["b1"], &[])
        .ints("rest", &[-1])
        .node("Concat", &["b1", "rest"], &["shape"], &[A::Int("axis", 0)])
        .node("Reshape", &["x", "shape"], &["flat"], &[])
        .weight("fc.weight", &[48, 5])
        .node("MatMul", &["flat", "fc.weight"], &["y"], &[]);
    let model = load(&builder);
    assert_eq!(only(&model).input_shape, [48]);
    assert_eq!(only(&model).multiplicity, 1);
}

#[test]
fn one_unknown_operator_costs_only_what_is_behind_it() {
    let unknown = common::node_in("my.ops", "Mystery", &["h"], &["u"], &[]);
    let mut builder = Builder::new(&[1, 2, 8])
        .weight("a.weight", &[2, 2, 3])
        .weight("b.weight", &[2, 2, 3])
        .node("Conv", &["x", "a.weight"], &["h"], &[]);
    builder.nodes.push(unknown);
    builder = builder.node("Conv", &["u", "b.weight"], &["v"], &[]).node(
        "Conv",
        &["h", "a.weight"],
        &["y"],
        &[],
    );
    let model = load(&builder);
    let names: Vec<&str> = model.layers.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["a", "a#2"]);
    assert_eq!(model.skipped.len(), 2);
    assert_eq!(model.skipped[0].op, "my.ops.Mystery");
    assert!(
        model.skipped[1].reason.contains("my.ops.Mystery"),
        "{}",
        model.skipped[1].reason
    );
    // With the shape that the file states, the rest runs.
    builder.value_info.push(common::fixed("u", &[1, 2, 6]));
    let model = load(&builder);
    assert_eq!(model.layers.len(), 3);
    assert_eq!(model.layers[1].input_shape, [2, 6]);
}

#[test]
fn what_is_not_linear_or_quantised_is_named() {
    let builder = Builder::new(&[1, 4, 4])
        .node("MatMul", &["x", "x"], &["a"], &[])
        .tensor(raw_tensor("q", &[4, 4], 3, &[1; 16]))
        .tensor(f32_tensor("s", &[], &[0.1]))
        .node("DequantizeLinear", &["q", "s"], &["d"], &[])
        .node("MatMul", &["a", "d"], &["b"], &[])
        .weight("w", &[4, 4])
        .node("Conv", &["b", "b"], &["c"], &[])
        .node("MatMulInteger", &["b", "q"], &["y"], &[])
        .node("LSTM", &["b", "w", "w"], &["l"], &[]);
    let model = load(&builder);
    assert!(model.layers.is_empty());
    let reasons: Vec<(&str, &str)> = model
        .skipped
        .iter()
        .map(|s| (s.op.as_str(), s.reason.as_str()))
        .collect();
    assert_eq!(
        reasons[0],
        ("MatMul", "both operands are computed, so it is not linear")
    );
    assert_eq!(
        reasons[1],
        (
            "MatMul",
            "its weight is quantised (it comes from DequantizeLinear)"
        )
    );
    assert_eq!(
        reasons[2].1,
        "its weight is computed from the model's inputs, so it is not linear"
    );
    assert!(
        reasons[3].1.contains("quantised") && reasons[4].1.contains("recurrent"),
        "{reasons:?}"
    );
}

fn body(nodes: &[Message], output: &str) -> Message {
    let graph = nodes
        .iter()
        .fold(Message::default(), |g, n| g.message(1, n));
    graph.message(12, &Message::default().text(1, output))
}

#[test]
fn branches_are_taken_when_their_condition_is_known() {
    let conv = body(&[node("Conv", &["x", "w"], &["inner"], &[])], "inner");
    let same = body(&[node("Identity", &["x"], &["copy"], &[])], "copy");
    let branches = [A::Graph("then_branch", conv), A::Graph("else_branch", same)];
    let start = Builder::new(&[1, 2, 8]).weight("w", &[2, 2, 3]);
    let known = start
        .clone()
        .tensor(raw_tensor("yes", &[], 9, &[1]))
        .node("If", &["yes"], &["h"], &branches)
        .node("Conv", &["h", "w"], &["y"], &[]);
    let shapes: Vec<Vec<usize>> = load(&known)
        .layers
        .iter()
        .map(|l| l.input_shape.clone())
        .collect();
    assert_eq!(shapes, [vec![2, 8], vec![2, 6]]);

    let mut unknown = start.node("If", &["cond"], &["y"], &branches);
    unknown.inputs.push(value("cond", &[]));
    let model = load(&unknown);
    assert!(model.layers.is_empty());
    assert_eq!(model.skipped[0].op, "Conv");
    assert!(
        model.skipped[0].reason.contains("body of the If"),
        "{}",
        model.skipped[0].reason
    );
}

#[test]
fn functions_of_the_file_are_expanded() {
    let inner = node("Conv", &["input", "kernel"], &["out"], &[]);
    let stride = Message::default()
        .text(1, "strides")
        .text(21, "step")
        .int(20, 7);
    let inner = inner.message(5, &stride);
    let function = Message::default()
        .text(1, "Block")
        .text(4, "input")
        .text(4, "kernel")
        .text(5, "out")
        .message(7, &inner)
        .text(10, "local");
    let call = common::node_in(
        "local",
        "Block",
        &["x", "w"],
        &["y"],
        &[A::Ints("step", vec![2])],
    );
    let mut builder = Builder::new(&[1, 2, 9]).weight("w", &[2, 2, 3]);
    builder.nodes.push(call);
    builder.functions.push(function);
    assert_eq!(only(&load(&builder)).output_shape, [2, 4]);
}

#[test]
fn nodes_in_any_order() {
    let builder = Builder::new(&[1, 2, 9])
        .weight("w", &[2, 2, 3])
        .node("Conv", &["h", "w"], &["y"], &[])
        .node("Relu", &["x"], &["h"], &[]);
    assert_eq!(only(&load(&builder)).output_shape, [2, 7]);
}

#[test]
fn windows_of_a_batch_are_counted_for_one_sample() {
    // Swin: a batch of windows, each with its positions.
    let builder = Builder::new(&[2, 6, 4])
        .ints("shape", &[4, 3, 4])
        .node("Reshape", &["x", "shape"], &["windows"], &[])
        .weight("w", &[4, 5])
        .node("MatMul", &["windows", "w"], &["y"], &[]);
    assert_eq!(only(&load(&builder)).multiplicity, 6);
}

#[test]
fn free_dimensions_take_their_size_from_the_options() {
    let mut builder =
        Builder::new(&[])
            .weight("w", &[4, 3, 3, 3])
            .node("Conv", &["x", "w"], &["y"], &[]);
    builder.inputs = vec![value(
        "x",
        &[
            Dim::Named("n"),
            Dim::Fixed(3),
            Dim::Named("h"),
            Dim::Named("h"),
        ],
    )];
    let shape = |text: &str| Options {
        inputs: vec![text.parse().unwrap()],
    };
    for text in ["1x3x10x10", "x=5x3x10x10"] {
        let model = load_bytes(&builder.bytes(), &shape(text)).unwrap();
        assert_eq!(only(&model).output_shape, [4, 8, 8]);
        assert_eq!(only(&model).multiplicity, 1);
    }
    let message = |options: &Options| {
        load_bytes(&builder.bytes(), options)
            .unwrap_err()
            .to_string()
    };
    let missing = message(&Options::default());
    assert!(
        missing.contains("\"x\"") && missing.contains("nx3xhxh") && missing.contains("--input"),
        "{missing}"
    );
    assert!(message(&shape("1x3x10")).contains("3 dimensions instead of 4"));
    assert!(message(&shape("1x4x10x10")).contains("dimension 1 is fixed at 3"));
    assert!(message(&shape("1x3x10x12")).contains("nx3xhxh"));
    assert!(message(&shape("z=1x3x10x10")).contains("no input named \"z\""));
}
