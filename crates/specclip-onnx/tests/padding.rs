//! Padding in front of convolutions, in every form that exporters write it.

mod common;

use common::{Attribute as A, Builder, f32_tensor, load};
use specclip::operator::materialise;
use specclip_onnx::{LayerKind, Model};

/// A convolution that copies its (padded) input, so that its matrix shows the padding.
fn copy(builder: Builder, input: &str) -> Builder {
    builder
        .tensor(f32_tensor("c.weight", &[1, 1, 1], &[1.0]))
        .node("Conv", &[input, "c.weight"], &["y"], &[])
}

/// For each output, the input that it copies; `None` for a zero.
fn sources(model: &Model) -> Vec<Option<usize>> {
    let m = materialise(&*model.operator::<f64>(0).unwrap()).unwrap();
    (0..m.nrows())
        .map(|i| (0..m.ncols()).find(|&j| m[(i, j)] != 0.0))
        .collect()
}

const EXPECTED: [(&str, [Option<usize>; 6]); 4] = [
    ("constant", [None, Some(0), Some(1), Some(2), None, None]),
    (
        "reflect",
        [Some(1), Some(0), Some(1), Some(2), Some(1), Some(0)],
    ),
    (
        "edge",
        [Some(0), Some(0), Some(1), Some(2), Some(2), Some(2)],
    ),
    (
        "wrap",
        [Some(2), Some(0), Some(1), Some(2), Some(0), Some(1)],
    ),
];

#[test]
fn a_pad_node_of_any_mode_is_part_of_the_convolution() {
    for (mode, expected) in EXPECTED {
        let builder = Builder::new(&[1, 1, 3])
            .ints("pads", &[0, 0, 1, 0, 0, 2])
            .node("Pad", &["x", "pads"], &["p"], &[A::Text("mode", mode)]);
        let model = load(&copy(builder, "p"));
        assert_eq!(model.layers.len(), 1, "{mode}");
        assert_eq!(model.layers[0].input_shape, [1, 3]);
        assert_eq!(sources(&model), expected, "{mode}");
    }
}

/// PyTorch's newer exporter, unoptimised, for a convolution without a bias.
#[test]
fn a_look_at_the_type_or_shape_of_a_padded_value_changes_nothing() {
    for (mode, expected) in EXPECTED {
        let builder = Builder::new(&[1, 1, 3])
            .ints("pads", &[0, 0, 1, 0, 0, 2])
            .node("Pad", &["x", "pads"], &["p"], &[A::Text("mode", mode)])
            .tensor(f32_tensor("zero", &[1], &[0.0]))
            .node("CastLike", &["zero", "p"], &["bias"], &[])
            .node("Shape", &["p"], &["s"], &[])
            .tensor(f32_tensor("c.weight", &[1, 1, 1], &[1.0]))
            .node("Conv", &["p", "c.weight", "bias"], &["y"], &[]);
        let model = load(&builder);
        assert_eq!(model.layers.len(), 1, "{mode}");
        assert_eq!(sources(&model), expected, "{mode}");
    }
}

#[test]
fn pads_in_attributes_and_on_named_axes() {
    let mut old = Builder::new(&[1, 1, 3]).node(
        "Pad",
        &["x"],
        &["p"],
        &[
            A::Ints("pads", vec![0, 0, 1, 0, 0, 2]),
            A::Float("value", 7.0),
        ],
    );
    old.opset = 9;
    assert_eq!(sources(&load(&copy(old, "p"))), EXPECTED[0].1);
    let axes = Builder::new(&[1, 1, 3])
        .ints("pads", &[1, 2])
        .ints("axes", &[-1])
        .node(
            "Pad",
            &["x", "pads", "", "axes"],
            &["p"],
            &[A::Text("mode", "wrap")],
        );
    assert_eq!(sources(&load(&copy(axes, "p"))), EXPECTED[3].1);
}

fn slices(
    mut b: Builder,
    input: &str,
    axis: i64,
    before: i64,
    after: i64,
    tag: &str,
) -> (Builder, String) {
    let name = |part: &str| format!("{tag}.{part}");
    let ends = [
        ("s0", -before),
        ("e0", i64::MAX),
        ("s1", 0),
        ("e1", after),
        ("axis", axis),
    ];
    for (part, n) in ends {
        b = b.ints(&name(part), &[n]);
    }
    let (head, tail, out) = (name("head"), name("tail"), name("out"));
    let b = b
        .node(
            "Slice",
            &[input, &name("s0"), &name("e0"), &name("axis")],
            &[&head],
            &[],
        )
        .node(
            "Slice",
            &[input, &name("s1"), &name("e1"), &name("axis")],
            &[&tail],
            &[],
        )
        .node(
            "Concat",
            &[&head, input, &tail],
            &[&out],
            &[A::Int("axis", axis)],
        );
    (b, out)
}

#[test]
fn circular_padding_written_as_slices() {
    let (builder, padded) = slices(Builder::new(&[1, 1, 3]), "x", 2, 1, 2, "w");
    let model = load(&copy(builder, &padded));
    assert_eq!(model.layers[0].input_shape, [1, 3]);
    assert_eq!(sources(&model), EXPECTED[3].1);

    let (builder, rows) = slices(Builder::new(&[1, 2, 5, 6]), "x", 2, 1, 1, "h");
    let (builder, both) = slices(builder, &rows, 3, 2, 0, "w");
    let builder =
        builder
            .weight("c.weight", &[2, 2, 3, 3])
            .node("Conv", &[&both, "c.weight"], &["y"], &[]);
    let model = load(&builder);
    assert_eq!(model.layers[0].input_shape, [2, 5, 6]);
    assert_eq!(model.layers[0].output_shape, [2, 5, 6]);
}

#[test]
fn slices_that_are_no_padding_stay_outside() {
    // The parts are swapped: a rotation with repetition, not a padding.
    let builder = Builder::new(&[1, 1, 4])
        .ints("zero", &[0])
        .ints("two", &[2])
        .node("Slice", &["x", "zero", "two", "two"], &["s"], &[])
        .node("Concat", &["x", "s", "s"], &["c"], &[A::Int("axis", 2)]);
    let model = load(&copy(builder, "c"));
    assert_eq!(model.layers[0].input_shape, [1, 8]);
}

#[test]
fn paddings_of_different_modes_are_composed() {
    // Panoramas: the width wraps, the height is padded with zeros, and the convolution pads once more.
    let builder = Builder::new(&[1, 1, 3, 3])
        .ints("around", &[0, 0, 0, 1, 0, 0, 0, 1])
        .ints("above", &[0, 0, 1, 0, 0, 0, 1, 0])
        .node("Pad", &["x", "around"], &["a"], &[A::Text("mode", "wrap")])
        .node("Pad", &["a", "above"], &["b"], &[])
        .weight("c.weight", &[1, 1, 3, 3])
        .node(
            "Conv",
            &["b", "c.weight"],
            &["y"],
            &[A::Ints("pads", vec![1, 0, 0, 0])],
        );
    let model = load(&builder);
    assert_eq!(model.layers.len(), 1);
    assert_eq!(model.layers[0].input_shape, [1, 3, 3]);
    assert_eq!(model.layers[0].output_shape, [1, 4, 3]);
    model.operator::<f32>(0).unwrap();
}

#[test]
fn a_padding_that_others_read_too_is_a_layer_of_its_own() {
    let builder = Builder::new(&[1, 2, 5, 5])
        .ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1])
        .node("Pad", &["x", "pads"], &["p"], &[A::Text("mode", "reflect")])
        .weight("c.weight", &[2, 2, 1, 1])
        .node("Conv", &["p", "c.weight"], &["h"], &[])
        .node("Add", &["h", "p"], &["y"], &[]);
    let kinds: Vec<LayerKind> = load(&builder).layers.iter().map(|l| l.kind).collect();
    assert_eq!(kinds, [LayerKind::Pad, LayerKind::Conv(2)]);
}

#[test]
fn padded_channels_are_a_layer_of_their_own() {
    let builder = Builder::new(&[1, 2, 3])
        .ints("pads", &[0, 1, 0, 0, 1, 0])
        .node("Pad", &["x", "pads"], &["y"], &[]);
    let model = load(&builder);
    assert_eq!(model.layers[0].input_shape, [2, 3]);
    assert_eq!(model.layers[0].output_shape, [4, 3]);
    // Each of the six inputs is copied once.
    let operator = model.operator::<f64>(0).unwrap();
    assert!((operator.frobenius().unwrap() - 6.0_f64.sqrt()).abs() < 1e-12);
}
