//! Which values depend on the model's inputs, and on which: what is linear in them, and how large a batch is.

mod common;

use common::{
    Attribute as A, Builder, Message, f32_tensor, fixed, i64_tensor, load, node, raw_tensor,
};

/// The bodies of loops and branches: nodes, inputs and outputs.
fn body(nodes: &[Message], inputs: &[&str], outputs: &[&str]) -> Message {
    let named = |name: &&str| Message::default().text(1, name);
    let graph = nodes
        .iter()
        .fold(Message::default(), |g, n| g.message(1, n));
    let graph = inputs.iter().fold(graph, |g, i| g.message(11, &named(i)));
    outputs.iter().fold(graph, |g, o| g.message(12, &named(o)))
}

/// A convolution behind `h`, which a loop or branch computes from nothing but constants and what its body captures.
fn behind(builder: Builder) -> Builder {
    let mut builder = builder
        .weight("w", &[2, 2, 1])
        .node("Conv", &["h", "w"], &["y"], &[]);
    builder.value_info.push(fixed("h", &[1, 2, 8]));
    builder
}

fn loop_over(nodes: &[Message]) -> Builder {
    let repeat = body(nodes, &["i", "go"], &["go_on", "out"]);
    behind(
        Builder::new(&[1, 2, 8])
            .tensor(i64_tensor("n", &[], &[1]))
            .tensor(raw_tensor("yes", &[], 9, &[1]))
            .node("Loop", &["n", "yes"], &["h"], &[A::Graph("body", repeat)]),
    )
}

#[test]
fn what_a_body_captures_counts_as_its_input() {
    let go_on = node("Identity", &["go"], &["go_on"], &[]);
    let from_x = loop_over(&[go_on.clone(), node("Relu", &["x"], &["out"], &[])]);
    let model = load(&from_x);
    assert_eq!(model.layers.len(), 1, "{model:?}");
    assert_eq!(model.layers[0].input_shape, [2, 8]);
    // Of constants alone, the convolution makes a constant: no layer, and nothing left out.
    let from_nothing = loop_over(&[go_on, node("Relu", &["w"], &["out"], &[])]);
    let model = load(&from_nothing);
    assert_eq!((model.layers.len(), model.skipped.len()), (0, 0));

    // The condition follows from the file, but it is not known how.
    let inner = |op: &str| {
        // The capture is inside a body inside a body.
        let deep = body(&[node(op, &["x"], &["deep"], &[])], &[], &["deep"]);
        let branches = [
            A::Graph("then_branch", deep.clone()),
            A::Graph("else_branch", deep),
        ];
        let nodes = [node("If", &["condition"], &["shallow"], &branches)];
        body(&nodes, &[], &["shallow"])
    };
    let branch = behind(
        Builder::new(&[1, 2, 8])
            .tensor(f32_tensor("k", &[3], &[1.0, 2.0, 3.0]))
            .node("ReduceMean", &["k"], &["mean"], &[A::Int("keepdims", 0)])
            .node("Greater", &["mean", "mean"], &["condition"], &[])
            .node(
                "If",
                &["condition"],
                &["h"],
                &[
                    A::Graph("then_branch", inner("Relu")),
                    A::Graph("else_branch", inner("Neg")),
                ],
            ),
    );
    assert_eq!(load(&branch).layers.len(), 1);
}

fn multiplicities(builder: &Builder) -> Vec<usize> {
    let layers = load(builder).layers;
    layers.iter().map(|l| l.multiplicity).collect()
}

#[test]
fn the_first_axis_of_an_input_may_be_no_batch() {
    // An image without a batch axis: its channels are no samples, although 66 positions are a multiple of 3.
    let image = Builder::new(&[3, 8, 13])
        .ints("first", &[0])
        .node("Unsqueeze", &["x", "first"], &["batched"], &[])
        .weight("w", &[4, 3, 3, 3])
        .node("Conv", &["batched", "w"], &["h"], &[])
        .ints("shape", &[-1, 4])
        .node("Reshape", &["h", "shape"], &["positions"], &[])
        .weight("v", &[4, 5])
        .node("MatMul", &["positions", "v"], &["y"], &[]);
    assert_eq!(multiplicities(&image), [1, 66]);
    // Without the convolution nothing tells, but a count that is no multiple is no count of a batch.
    let rows = Builder::new(&[3, 4, 5])
        .ints("shape", &[-1, 4])
        .node("Reshape", &["x", "shape"], &["positions"], &[])
        .ints("from", &[0])
        .ints("to", &[10])
        .node("Slice", &["positions", "from", "to"], &["some"], &[])
        .weight("v", &[4, 5])
        .node("MatMul", &["some", "v"], &["y"], &[]);
    assert_eq!(multiplicities(&rows), [10]);
}

#[test]
fn the_batch_is_that_of_the_inputs_that_a_layer_depends_on() {
    let two = |lengths: &[i64]| {
        let mut b = Builder::new(&[]);
        b.inputs = vec![fixed("lengths", lengths), fixed("x", &[2, 6, 4])];
        b.weight("v", &[4, 5])
    };
    let apart = two(&[7])
        .node(
            "Transpose",
            &["x"],
            &["t"],
            &[A::Ints("perm", vec![1, 0, 2])],
        )
        .node("MatMul", &["t", "v"], &["y"], &[]);
    assert_eq!(multiplicities(&apart), [6]);
    let mixed = |lengths: &[i64]| {
        two(lengths)
            .node("Add", &["x", "lengths"], &["sum"], &[])
            .node("MatMul", &["sum", "v"], &["y"], &[])
    };
    assert_eq!(multiplicities(&mixed(&[2, 1, 4])), [6]);
    assert_eq!(multiplicities(&mixed(&[1])), [6]);
    assert_eq!(multiplicities(&mixed(&[])), [6]);
    // Four features of one input are no samples of the other.
    assert_eq!(multiplicities(&mixed(&[4])), [12]);
}
