//! The largest ratios that pairs of inputs reach, against the bounds.

use super::*;

/// The values of a network at `x`, and its local Jacobian's transpose on `seed`.
struct Local<'a> {
    graph: &'a Graph,
    layers: &'a [BoxedOperator<f64>],
    values: Vec<Vec<f64>>,
}

impl<'a> Local<'a> {
    fn at(graph: &'a Graph, layers: &'a [BoxedOperator<f64>], x: &[f64]) -> Self {
        let values = Vec::new();
        let mut local = Self {
            graph,
            layers,
            values,
        };
        for value in 0..graph.nodes().len() {
            let inputs = graph.nodes()[value].inputs.iter();
            let inputs: Vec<&[f64]> = inputs.map(|&i| local.values[i].as_slice()).collect();
            let result = match &graph.nodes()[value].op {
                Op::Input => x.to_vec(),
                op => local.push(value, op, &inputs),
            };
            local.values.push(result);
        }
        local
    }

    /// The local linear map of a node on `inputs`, which at the values themselves is the node.
    fn push(&self, value: Value, op: &Op, inputs: &[&[f64]]) -> Vec<f64> {
        match op {
            Op::Linear(linear) => {
                let op = &self.layers[linear.layer];
                let (mut x, mut y) = (op.input_block(1), op.output_block(1));
                x.as_mut_slice().copy_from_slice(inputs[0]);
                op.apply(&x, &mut y).unwrap();
                y.as_slice().to_vec()
            }
            Op::Constant => vec![-100.0; self.graph.nodes()[value].len()],
            Op::Activation(a) if a.name() == "softmax" => softmax(inputs[0]),
            Op::Activation(a) => inputs[0].iter().map(|x| function(a.name(), *x)).collect(),
            Op::Add(_) => (0..inputs[0].len())
                .map(|i| inputs.iter().map(|x| x[i]).sum())
                .collect(),
            Op::Extremum => (0..inputs[0].len())
                .map(|i| inputs.iter().fold(f64::MIN, |m, x| m.max(x[i])))
                .collect(),
            Op::Scale(scale) => {
                let n = scale.factors.len();
                let factor = |e: usize| scale.factors[(e / scale.run) % n];
                (0..inputs[0].len())
                    .map(|e| factor(e) * inputs[0][e])
                    .collect()
            }
            // Along the last axis of a value that has no other.
            Op::Index { indices, .. } => indices.iter().map(|&i| inputs[0][i]).collect(),
            Op::SumAxes { factor, .. } => vec![factor * inputs[0].iter().sum::<f64>()],
            Op::Concat { .. } => inputs.concat(),
            Op::MaxPool(pool) => self
                .winners(value, pool, inputs[0])
                .iter()
                .map(|&i| inputs[0][i])
                .collect(),
            _ => inputs[0].to_vec(),
        }
    }

    /// The place of the largest sample of each window.
    fn winners(&self, value: Value, pool: &MaxPool, x: &[f64]) -> Vec<usize> {
        let node = &self.graph.nodes()[value];
        let from = &self.graph.nodes()[node.inputs[0]].shape;
        let (rows, cols) = (from[2], from[3]);
        let mut winners = Vec::new();
        for o in 0..node.len() {
            let (plane, rest) = (
                o / (node.shape[2] * node.shape[3]),
                o % (node.shape[2] * node.shape[3]),
            );
            let (i, j) = (rest / node.shape[3], rest % node.shape[3]);
            let mut best: Option<usize> = None;
            for a in 0..pool.kernel[0] {
                for b in 0..pool.kernel[1] {
                    let row = (i * pool.stride[0] + a).wrapping_sub(pool.padding[0]);
                    let col = (j * pool.stride[1] + b).wrapping_sub(pool.padding[1]);
                    if row < rows && col < cols {
                        let place = (plane * rows + row) * cols + col;
                        if best.is_none_or(|p| x[place] > x[p]) {
                            best = Some(place);
                        }
                    }
                }
            }
            winners.push(best.unwrap());
        }
        winners
    }

    fn output(&self) -> &[f64] {
        &self.values[self.graph.outputs()[0]]
    }

    /// J' `seed`.
    fn pull(&self, seed: &[f64]) -> Vec<f64> {
        let mut slopes: Vec<Vec<f64>> = self.values.iter().map(|v| vec![0.0; v.len()]).collect();
        slopes[self.graph.outputs()[0]] = seed.to_vec();
        for value in (0..slopes.len()).rev() {
            let node = &self.graph.nodes()[value];
            let above = slopes[value].clone();
            let mut place = 0;
            for &input in &node.inputs {
                let x = &self.values[input];
                let mut below = vec![0.0; x.len()];
                match &node.op {
                    Op::Linear(linear) => {
                        let op = &self.layers[linear.layer];
                        let (mut x, mut y) = (op.input_block(1), op.output_block(1));
                        y.as_mut_slice().copy_from_slice(&above);
                        op.adjoint(&y, &mut x).unwrap();
                        below.copy_from_slice(x.as_slice());
                    }
                    Op::Activation(a) if a.name() == "softmax" => {
                        let p = softmax(x);
                        let mean: f64 = p.iter().zip(&above).map(|(p, a)| p * a).sum();
                        (0..x.len()).for_each(|i| below[i] = p[i] * (above[i] - mean));
                    }
                    Op::Activation(a) => {
                        for i in 0..x.len() {
                            let at = |x: f64| function(a.name(), x);
                            below[i] = above[i] * (at(x[i] + 1e-7) - at(x[i] - 1e-7)) / 2e-7;
                        }
                    }
                    Op::Extremum => {
                        for i in 0..x.len() {
                            below[i] = if x[i] == self.values[value][i] {
                                above[i]
                            } else {
                                0.0
                            };
                        }
                    }
                    Op::Scale(scale) => {
                        for (e, below) in below.iter_mut().enumerate() {
                            *below =
                                above[e] * scale.factors[(e / scale.run) % scale.factors.len()];
                        }
                    }
                    Op::Index { indices, .. } => {
                        indices.iter().zip(&above).for_each(|(&i, a)| below[i] += a);
                    }
                    Op::SumAxes { factor, .. } => below.fill(factor * above[0]),
                    Op::Concat { .. } => below.copy_from_slice(&above[place..place + x.len()]),
                    Op::MaxPool(pool) => {
                        for (o, i) in self.winners(value, pool, x).into_iter().enumerate() {
                            below[i] += above[o];
                        }
                    }
                    _ => below.copy_from_slice(&above),
                }
                place += x.len();
                slopes[input]
                    .iter_mut()
                    .zip(below)
                    .for_each(|(s, b)| *s += b);
            }
        }
        slopes.swap_remove(0)
    }
}

/// The functions of the tests' activations; those with a parameter have the one that the tests use.
fn function(name: &str, x: f64) -> f64 {
    let sigmoid = 1.0 / (1.0 + (-x).exp());
    let softplus = x.max(0.0) + (-x.abs()).exp().ln_1p();
    let cubic = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
    match name {
        "relu" => x.max(0.0),
        "leaky_relu" if x < 0.0 => SLOPE * x,
        "leaky_relu" => x,
        "elu" if x < 0.0 => ALPHA * x.exp_m1(),
        "elu" => x,
        "sigmoid" => sigmoid,
        "tanh" => x.tanh(),
        "softplus" => softplus,
        "silu" => x * sigmoid,
        "mish" => x * softplus.tanh(),
        "gelu_tanh" => 0.5 * x * (1.0 + cubic.tanh()),
        "hard_swish" => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        other => panic!("no function for {other}"),
    }
}

const SLOPE: f64 = 2.0;
const ALPHA: f64 = 2.0;

fn softmax(x: &[f64]) -> Vec<f64> {
    let powers: Vec<f64> = x.iter().map(|x| x.exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|p| p / sum).collect()
}

fn length(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The largest ratio ||f(x) - f(y)|| / ||x - y|| that is found: from random pairs, y is moved along the
/// gradient of the ratio, which for a short distance is power iteration on the local Jacobian, while
/// x moves too.
fn ascend(graph: &Graph, layers: &[BoxedOperator<f64>], distance: f64) -> f64 {
    let n = graph.nodes()[0].len();
    let mut largest: f64 = 0.0;
    for seed in 1..9 {
        let mut x = noise(seed, n);
        let mut step = noise(seed + 100, n);
        for _ in 0..60 {
            let norm = length(&step);
            let y: Vec<f64> = x
                .iter()
                .zip(&step)
                .map(|(x, s)| x + distance * s / norm)
                .collect();
            let (at_x, at_y) = (Local::at(graph, layers, &x), Local::at(graph, layers, &y));
            let change: Vec<f64> = at_y
                .output()
                .iter()
                .zip(at_x.output())
                .map(|(a, b)| a - b)
                .collect();
            largest = largest.max(length(&change) / distance);
            let (toward, back) = (at_y.pull(&change), at_x.pull(&change));
            // Both ends follow their own gradient; the distance is restored.
            let lengths = length(&toward).max(length(&back)).max(1e-300);
            for i in 0..n {
                let (up, down) = (toward[i] / lengths, back[i] / lengths);
                step[i] = y[i] - x[i] + distance * (up + down);
                x[i] -= 0.1 * distance * down;
            }
        }
    }
    largest
}

/// Residual sums, concatenations and overlapping max pooling between layers and ReLUs: no pair moves
/// the output by more than the bound, and the best pairs come near enough for that to mean something.
#[test]
fn no_pair_of_inputs_exceeds_the_bound() {
    let image = [1, 4, 6, 6];
    let relu = || Op::from(Activation::relu());
    let layers: Make = vec![
        conv(11, [4, 4], 6, PaddingMode::Zeros),
        conv(12, [4, 4], 6, PaddingMode::Reflect),
        conv(13, [8, 4], 6, PaddingMode::Circular),
        dense(14, 6, 36),
    ];
    let built: Vec<BoxedOperator<f64>> = layers.iter().map(|make| make()).collect();
    let mut graph = Graph::new();
    let mut push = |op: Op, inputs: &[Value], shape: &[usize]| {
        graph.push("node", "Op", op, inputs, shape).unwrap()
    };
    let x = push(Op::Input, &[], &image);
    let a = push(Op::linear(0, 144, 144), &[x], &image);
    let a = push(relu(), &[a], &image);
    let b = push(Op::linear(1, 144, 144), &[a], &image);
    let sum = push(Op::add(2), &[x, b], &image);
    let sum = push(relu(), &[sum], &image);
    let joined = push(Op::Concat { axis: 1 }, &[sum, a], &[1, 8, 6, 6]);
    let c = push(Op::linear(2, 288, 144), &[joined], &image);
    let pool = MaxPool {
        kernel: vec![3, 3],
        stride: vec![2, 2],
        padding: vec![1, 1],
        dilation: vec![1, 1],
    };
    let pooled = push(Op::MaxPool(pool), &[c], &[1, 4, 3, 3]);
    let flat = push(Op::Identity, &[pooled], &[1, 36]);
    let y = push(Op::linear(3, 36, 6), &[flat], &[1, 6]);

    // Each stage is a network of its own.
    for (end, least) in [
        (a, 0.8),
        (sum, 0.4),
        (joined, 0.4),
        (c, 0.2),
        (pooled, 0.08),
        (y, 0.04),
    ] {
        let mut stage = graph.clone();
        stage.output(end).unwrap();
        let bound = upper(&solve(&stage, &layers));
        let reached = [1e-3, 1.0, 100.0].map(|d| ascend(&stage, &built, d));
        let reached = reached.into_iter().fold(0.0, f64::max);
        println!("value {end}: {reached} of {bound}");
        assert!(
            reached <= bound * (1.0 + 1e-9),
            "value {end}: {reached} > {bound}"
        );
        assert!(
            reached >= least * bound,
            "value {end}: {reached} of {bound}"
        );
    }
}

/// Two inputs that are one sample of all four windows of its neighbourhood: the root of 4 is reached.
#[test]
fn overlapping_max_pooling_reaches_its_constant() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 1, 5, 5]).unwrap();
    let pool = MaxPool {
        kernel: vec![3, 3],
        stride: vec![2, 2],
        padding: vec![0, 0],
        dilation: vec![1, 1],
    };
    let y = graph.push("p", "MaxPool", Op::MaxPool(pool), &[x], &[1, 1, 2, 2]);
    graph.output(y.unwrap()).unwrap();
    let mut image = vec![0.0; 25];
    let dark = Local::at(&graph, &[], &image).output().to_vec();
    image[12] = 1.0;
    let bright = Local::at(&graph, &[], &image).output().to_vec();
    let change: Vec<f64> = bright.iter().zip(&dark).map(|(a, b)| a - b).collect();
    close(length(&change), upper(&solve(&graph, &Vec::new())));
}

/// The largest ratio of pairs that lie near to each other: from many random places of several sizes, the
/// direction is turned to that in which the network changes most (power iteration on the Jacobian).
fn steepest_pair(graph: &Graph, layers: &[BoxedOperator<f64>]) -> f64 {
    let n = graph.nodes()[0].len();
    let mut largest: f64 = 0.0;
    for seed in 1..1200 {
        let size = [0.5, 2.0, 5.0][seed as usize % 3];
        let x: Vec<f64> = noise(seed, n).iter().map(|x| size * x).collect();
        let at_x = Local::at(graph, layers, &x);
        let mut step = noise(seed + 5000, n);
        for _ in 0..8 {
            let scale = 1e-6 / length(&step).max(1e-300);
            let y: Vec<f64> = x.iter().zip(&step).map(|(x, s)| x + scale * s).collect();
            let at_y = Local::at(graph, layers, &y);
            let outputs = at_y.output().iter().zip(at_x.output());
            let change: Vec<f64> = outputs.map(|(a, b)| a - b).collect();
            // The distance as it came out after rounding.
            let apart: Vec<f64> = y.iter().zip(&x).map(|(y, x)| y - x).collect();
            if length(&apart) > 0.0 {
                largest = largest.max(length(&change) / length(&apart));
            }
            step = at_x.pull(&change);
        }
    }
    largest
}

/// A network of one rule, on one axis of `n` numbers.
fn single(n: usize, build: impl FnOnce(&mut Graph, Value) -> Value) -> Graph {
    let mut graph = Graph::new();
    let x = graph.input("x", &[n]).unwrap();
    let y = build(&mut graph, x);
    graph.output(y).unwrap();
    graph
}

fn activated(activation: Activation, n: usize) -> Graph {
    single(n, |graph, x| {
        let push = graph.push("f", "F", activation.into(), &[x], &[n]);
        push.unwrap()
    })
}

/// Networks whose constant is what their rule says, within what the search finds.
fn tight() -> Vec<(&'static str, Graph)> {
    let mut cases = vec![
        ("relu", activated(Activation::relu(), 4)),
        (
            "leaky relu",
            activated(Activation::leaky_relu(&[SLOPE]).unwrap(), 4),
        ),
        (
            "prelu",
            activated(Activation::leaky_relu(&[0.5, SLOPE]).unwrap(), 4),
        ),
        ("elu", activated(Activation::elu(ALPHA).unwrap(), 4)),
        ("sigmoid", activated(Activation::sigmoid(), 4)),
        ("tanh", activated(Activation::tanh(), 4)),
        ("softplus", activated(Activation::softplus(), 4)),
        ("silu", activated(Activation::silu(), 4)),
        ("mish", activated(Activation::mish(), 4)),
        ("gelu", activated(Activation::gelu_tanh(), 4)),
        ("hard swish", activated(Activation::hard_swish(), 4)),
        ("softmax", activated(Activation::softmax(), 2)),
    ];
    let relu = |graph: &mut Graph, x: Value| {
        let relu = Activation::relu().into();
        graph.push("relu", "Relu", relu, &[x], &[4]).unwrap()
    };
    cases.push((
        "sum",
        single(4, |g, x| {
            let a = relu(g, x);
            g.push("+", "Add", Op::add(2), &[a, a], &[4]).unwrap()
        }),
    ));
    cases.push((
        "concat",
        single(4, |g, x| {
            let a = relu(g, x);
            let op = Op::Concat { axis: 0 };
            g.push("c", "Concat", op, &[a, a], &[8]).unwrap()
        }),
    ));
    // max((x, -100), (-100, x)) is (x, x).
    cases.push((
        "extremum",
        single(4, |g, x| {
            let low = g.push("low", "", Op::Constant, &[], &[4]).unwrap();
            let mut joined = |parts: &[Value]| {
                let op = Op::Concat { axis: 0 };
                g.push("c", "Concat", op, parts, &[8]).unwrap()
            };
            let (a, b) = (joined(&[x, low]), joined(&[low, x]));
            g.push("max", "Max", Op::Extremum, &[a, b], &[8]).unwrap()
        }),
    ));
    cases.push((
        "copies",
        single(4, |g, x| {
            let a = relu(g, x);
            let (axis, indices) = (0, vec![1, 0, 1, 1, 3]);
            let op = Op::Index { axis, indices };
            g.push("i", "Gather", op, &[a], &[5]).unwrap()
        }),
    ));
    cases.push((
        "mean",
        single(4, |g, x| {
            let a = relu(g, x);
            let (axes, factor) = (vec![0], 0.25);
            g.push("m", "Mean", Op::SumAxes { axes, factor }, &[a], &[1])
                .unwrap()
        }),
    ));
    cases.push((
        "scale",
        single(4, |g, x| {
            let a = relu(g, x);
            let (factors, run) = (vec![0.5, -3.0], 2);
            g.push("s", "Mul", Op::Scale(Scale { factors, run }), &[a], &[4])
                .unwrap()
        }),
    ));
    cases.push((
        "linear",
        single(4, |g, x| {
            let a = relu(g, x);
            g.push("fc", "Gemm", Op::linear(0, 4, 4), &[a], &[4])
                .unwrap()
        }),
    ));
    cases.push((
        "max pooling",
        single(25, |g, x| {
            let x = g
                .push("r", "Reshape", Op::Identity, &[x], &[1, 1, 5, 5])
                .unwrap();
            let pool = MaxPool {
                kernel: vec![3, 3],
                stride: vec![2, 2],
                padding: vec![0, 0],
                dilation: vec![1, 1],
            };
            g.push("p", "MaxPool", Op::MaxPool(pool), &[x], &[1, 1, 2, 2])
                .unwrap()
        }),
    ));
    cases
}

/// Each rule alone: pairs come within 3 % of the bound, and none above it, so a factor that is wrong by
/// more fails on one side or the other.
#[test]
fn every_rule_is_reached() {
    // All signs equal, so that no ReLU hides a part of the worst direction.
    let layers: Make = vec![Box::new(|| {
        let weight = (1..=16).map(|i| f64::from(i * 7 % 16 + 1) / 16.0).collect();
        Box::new(Dense::new(weight, 4, 4).unwrap())
    })];
    let built: Vec<BoxedOperator<f64>> = layers.iter().map(|make| make()).collect();
    let mut wrong = Vec::new();
    for (name, graph) in tight() {
        let bound = upper(&solve(&graph, &layers));
        let reached = steepest_pair(&graph, &built);
        println!("{name}: {reached} of {bound}");
        // Differences of a millionth carry rounding errors of 1e-9 of it.
        if reached > bound * (1.0 + 1e-8) || reached < 0.97 * bound {
            wrong.push(format!("{name}: {reached} of {bound}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
