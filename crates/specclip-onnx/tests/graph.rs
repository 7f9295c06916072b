//! Whole networks as graphs, and bounds of their Lipschitz constants.

mod common;

use std::path::Path;

use common::{Attribute as A, Builder, f32_tensor, load as load_model};
use safetensors::tensor::{Dtype, TensorView, serialize};
use specclip::bound::network::{NetworkBound, Outcome, bound};
use specclip::bound::{Params, interval};
use specclip_onnx::{Error, Model, Options, load, load_bytes};

/// What the library or this crate says.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Model(#[from] Error),
    #[error(transparent)]
    Library(#[from] specclip::Error),
}

fn solve(model: &Model) -> NetworkBound {
    let graph = model.graph().unwrap();
    let mut operator = |i: usize| Ok::<_, Problem>(model.operator::<f64>(i)?);
    bound(&graph, &mut operator, &Params::default()).unwrap()
}

fn upper(model: &Model) -> f64 {
    match solve(model).outcome {
        Outcome::Bounded(ends) => ends.upper,
        Outcome::Stopped(stops) => panic!("{stops:?}"),
    }
}

fn stopped_by(builder: &Builder) -> Vec<String> {
    match solve(&load_model(builder)).outcome {
        Outcome::Bounded(ends) => panic!("{ends:?}"),
        Outcome::Stopped(stops) => stops.into_iter().map(|s| s.operator).collect(),
    }
}

fn close(found: f64, expected: f64) {
    let error = (found - expected).abs();
    assert!(error <= 1e-6 * expected, "{found} is not {expected}");
}

/// A PyTorch network with a residual sum, SiLU, a concatenation and max pooling, from both exporters: the bound
/// is above the ratio that gradient ascent reached in PyTorch, and the same for both files.
#[test]
fn pytorch_networks_are_bounded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let text = std::fs::read_to_string(folder.join("network.txt")).unwrap();
    let reached: f64 = text.trim().parse().unwrap();
    let bounds = ["network_script.onnx", "network_dynamo.onnx"].map(|file| {
        let model = load(&folder.join(file), &Options::default()).unwrap();
        upper(&model)
    });
    for bound in bounds {
        assert!(bound >= reached, "{bound} < {reached}");
        assert!(bound <= 50.0 * reached, "{bound} is far from {reached}");
    }
    close(bounds[0], bounds[1]);
}

#[test]
fn the_demo_is_a_chain_of_composed_layers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specclip-cli/assets/demo.onnx");
    let model = load(&path, &Options::default()).unwrap();
    let found = solve(&model);
    let upper = match &found.outcome {
        Outcome::Bounded(ends) => ends.upper,
        Outcome::Stopped(stops) => panic!("{stops:?}"),
    };
    let layers: Vec<usize> = found.steps.iter().flat_map(|s| s.layers.clone()).collect();
    assert_eq!(layers, (0..model.layers.len()).collect::<Vec<_>>());
    let alone = |i: usize| interval(&model.operator::<f64>(i).unwrap(), &Params::default());
    let product: f64 = layers.iter().map(|&i| alone(i).unwrap().upper).product();
    assert!(upper < product, "{upper} {product}");
    // In a chain every factor contributes as much as it is.
    for step in &found.steps {
        close(step.contribution.unwrap(), step.factor.unwrap());
    }
}

#[test]
fn written_out_activations_are_recognised() {
    let one = |value: f32, name: &str| f32_tensor(name, &[], &[value]);
    let silu = Builder::new(&[1, 4])
        .node("Sigmoid", &["x"], &["s"], &[])
        .node("Mul", &["x", "s"], &["y"], &[]);
    close(upper(&load_model(&silu)), 1.09984);
    let swish = Builder::new(&[1, 4])
        .tensor(one(3.0, "three"))
        .tensor(one(0.0, "low"))
        .tensor(one(6.0, "high"))
        .node("Add", &["x", "three"], &["a"], &[])
        .node("Clip", &["a", "low", "high"], &["b"], &[])
        .node("Mul", &["x", "b"], &["c"], &[])
        .node("Div", &["c", "high"], &["y"], &[]);
    close(upper(&load_model(&swish)), 1.5);
    let gelu = Builder::new(&[1, 4])
        .tensor(one(std::f32::consts::SQRT_2, "root"))
        .tensor(one(1.0, "one"))
        .tensor(one(0.5, "half"))
        .node("Div", &["x", "root"], &["a"], &[])
        .node("Erf", &["a"], &["b"], &[])
        .node("Add", &["b", "one"], &["c"], &[])
        .node("Mul", &["x", "c"], &["d"], &[])
        .node("Mul", &["d", "half"], &["y"], &[]);
    close(upper(&load_model(&gelu)), 1.128_904_5);
    let mish = Builder::new(&[1, 4])
        .node("Softplus", &["x"], &["a"], &[])
        .node("Tanh", &["a"], &["b"], &[])
        .node("Mul", &["b", "x"], &["y"], &[]);
    close(upper(&load_model(&mish)), 1.088_499);
    // The gate of another value, and one with a shift, are products like any other.
    let other = Builder::new(&[1, 4])
        .node("Tanh", &["x"], &["t"], &[])
        .node("Sigmoid", &["t"], &["s"], &[])
        .node("Mul", &["x", "s"], &["y"], &[]);
    assert_eq!(stopped_by(&other), ["Mul"]);
}

#[test]
fn what_is_not_lipschitz_stops() {
    let square = Builder::new(&[1, 4]).node("Mul", &["x", "x"], &["y"], &[]);
    assert_eq!(stopped_by(&square), ["Mul"]);
    let exp = Builder::new(&[1, 4]).node("Exp", &["x"], &["y"], &[]);
    assert_eq!(stopped_by(&exp), ["Exp"]);
    let cast = Builder::new(&[1, 4]).node("Cast", &["x"], &["y"], &[A::Int("to", 7)]);
    assert_eq!(stopped_by(&cast), ["Cast"]);
    let norm = Builder::new(&[1, 4]).weight("g", &[4]).node(
        "LayerNormalization",
        &["x", "g"],
        &["y"],
        &[],
    );
    assert_eq!(stopped_by(&norm), ["LayerNormalization"]);
    let attention = Builder::new(&[4, 4])
        .node("MatMul", &["x", "x"], &["a"], &[])
        .node("Softmax", &["a"], &["y"], &[]);
    assert_eq!(stopped_by(&attention), ["MatMul"]);
}

/// Slices, repetitions, sums and products with constants have the norm of their matrix.
#[test]
fn elements_are_moved_and_multiplied() {
    let picked = Builder::new(&[1, 4]).ints("places", &[0, -1, 3]).node(
        "Gather",
        &["x", "places"],
        &["y"],
        &[A::Int("axis", 1)],
    );
    close(upper(&load_model(&picked)), 2_f64.sqrt());
    let spread = Builder::new(&[1, 4, 1]).ints("shape", &[1, 4, 9]).node(
        "Expand",
        &["x", "shape"],
        &["y"],
        &[],
    );
    close(upper(&load_model(&spread)), 3.0);
    let mean =
        Builder::new(&[1, 4, 9])
            .ints("axes", &[2])
            .node("ReduceMean", &["x", "axes"], &["y"], &[]);
    close(upper(&load_model(&mean)), 1.0 / 3.0);
    let scaled = Builder::new(&[1, 2, 3])
        .tensor(f32_tensor("f", &[2, 1], &[-4.0, 3.0]))
        .node("Mul", &["f", "x"], &["y"], &[]);
    close(upper(&load_model(&scaled)), 4.0);
    let residual = Builder::new(&[1, 4])
        .tensor(f32_tensor("f", &[], &[3.0]))
        .node("Mul", &["x", "f"], &["a"], &[])
        .node("Tanh", &["a"], &["b"], &[])
        .node("Sub", &["x", "b"], &["y"], &[]);
    close(upper(&load_model(&residual)), 4.0);
    let joined = Builder::new(&[1, 4]).weight("c", &[1, 2]).node(
        "Concat",
        &["x", "c", "x"],
        &["y"],
        &[A::Int("axis", 1)],
    );
    close(upper(&load_model(&joined)), 2_f64.sqrt());
}

#[test]
fn a_layer_description_has_no_graph() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.toml");
    let bytes: Vec<u8> = [1.0_f32, 2.0]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    let view = TensorView::new(Dtype::F32, vec![1, 2], &bytes).unwrap();
    let file = serialize([("fc.weight", view)], None).unwrap();
    std::fs::write(path.with_extension("safetensors"), file).unwrap();
    std::fs::write(
        &path,
        "[[layer]]\nkind = \"linear\"\nweight = \"fc.weight\"\n",
    )
    .unwrap();
    let model = load(&path, &Options::default()).unwrap();
    assert!(matches!(model.graph(), Err(Error::NoGraph)));
}

/// Adds x - `name` to a model: zero where `name` is x again.
fn minus(builder: Builder, name: &str) -> f64 {
    upper(&load_model(&builder.node("Sub", &["x", name], &["y"], &[])))
}

/// Blocks moved to channels and back, and parts joined again, are what was there before; in another
/// order they are not.
#[test]
fn elements_come_back_to_their_places() {
    let image = [1, 2, 4, 4];
    let block = || A::Int("blocksize", 2);
    let deep = Builder::new(&image).node("SpaceToDepth", &["x"], &["s"], &[block()]);
    let columns = A::Text("mode", "CRD");
    let back = |mode: &[A]| {
        let attributes = [&[block()], mode].concat();
        deep.clone()
            .node("DepthToSpace", &["s"], &["b"], &attributes)
    };
    assert!(minus(back(&[]), "b") < 1e-9);
    assert!(minus(back(&[A::Text("mode", "DCR")]), "b") < 1e-9);
    assert!(minus(back(&[columns]), "b") > 1.0);

    let halves = Builder::new(&image).node(
        "Split",
        &["x"],
        &["p", "q"],
        &[A::Int("axis", 2), A::Int("num_outputs", 2)],
    );
    let joined = |parts: [&str; 2]| {
        let axis = [A::Int("axis", 2)];
        halves.clone().node("Concat", &parts, &["b"], &axis)
    };
    assert!(minus(joined(["p", "q"]), "b") < 1e-9);
    close(minus(joined(["q", "p"]), "b"), 2.0);

    let cut = |builder: Builder, from: &str, to: &str, [start, end, step]: [i64; 3]| {
        let [a, b, c, d] = ["start", "end", "axis", "step"].map(|n| format!("{n} of {to}"));
        let numbers = builder
            .ints(&a, &[start])
            .ints(&b, &[end])
            .ints(&c, &[3])
            .ints(&d, &[step]);
        numbers.node("Slice", &[from, &a, &b, &c, &d], &[to], &[])
    };
    let reversed = cut(Builder::new(&image), "x", "r", [-1, i64::MIN, -1]);
    close(minus(reversed.clone(), "r"), 2.0);
    assert!(minus(cut(reversed, "r", "b", [-1, i64::MIN, -1]), "b") < 1e-9);
    let odd = cut(Builder::new(&image), "x", "o", [1, 4, 2]);
    let even = cut(odd, "x", "e", [0, 4, 2]);
    let axis = [A::Int("axis", 3)];
    let both = even.node("Concat", &["o", "e", "o"], &["y"], &axis);
    close(upper(&load_model(&both)), 2_f64.sqrt());
}

/// A transposed weight in an Einsum has the weight's norm.
#[test]
fn an_einsum_is_a_layer() {
    let weight = [1.0, 2.0, 0.0, -1.0, 0.5, 3.0];
    let net = Builder::new(&[1, 3])
        .tensor(f32_tensor("w", &[2, 3], &weight))
        .node(
            "Einsum",
            &["x", "w"],
            &["h"],
            &[A::Text("equation", "bi,oi->bo")],
        )
        .node("Relu", &["h"], &["y"], &[]);
    let model = load_model(&net);
    // The root of the larger eigenvalue of w w' = (5, 0; 0, 10.25).
    close(upper(&model), 10.25_f64.sqrt());
}

/// Models that no exporter writes: shapes of 2^60 elements, nodes in a circle, values that read
/// themselves, sums that double 1100 times.
#[test]
fn hostile_models_stop_or_are_refused() {
    let huge = Builder::new(&[1, 1])
        .ints("shape", &[1 << 30, 1 << 30])
        .node("Expand", &["x", "shape"], &["y"], &[]);
    if let Ok(model) = load_bytes(&huge.bytes(), &Options::default()) {
        let found = model.graph().map(|graph| {
            let mut operator = |i: usize| Ok::<_, Problem>(model.operator::<f64>(i)?);
            bound(&graph, &mut operator, &Params::default())
                .unwrap()
                .outcome
        });
        assert!(!matches!(found, Ok(Outcome::Bounded(_))), "{found:?}");
    }
    let circle = Builder::new(&[1, 4])
        .node("Add", &["x", "b"], &["a"], &[])
        .node("Add", &["a", "x"], &["b"], &[])
        .node("Relu", &["b"], &["y"], &[]);
    let own = Builder::new(&[1, 4]).node("Add", &["x", "y"], &["y"], &[]);
    for builder in [circle, own] {
        if let Ok(model) = load_bytes(&builder.bytes(), &Options::default()) {
            let graph = model.graph();
            assert!(graph.is_err(), "{graph:?}");
        }
    }
    let names: Vec<String> = (0..1100).map(|i| format!("v{i}")).collect();
    let mut doubling = Builder::new(&[1, 4]).node("Relu", &["x"], &["v0"], &[]);
    for pair in names.windows(2) {
        doubling = doubling.node("Add", &[&pair[0], &pair[0]], &[&pair[1]], &[]);
    }
    let model = load_model(&doubling.node("Relu", &["v1099"], &["y"], &[]));
    let graph = model.graph().unwrap();
    let mut operator = |i: usize| Ok::<_, Problem>(model.operator::<f64>(i)?);
    let error = bound(&graph, &mut operator, &Params::default()).unwrap_err();
    assert!(error.to_string().contains("is inf"), "{error}");
}
