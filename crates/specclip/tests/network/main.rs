//! Bounds of whole networks: on graphs with known constants, and against the largest ratios that
//! pairs of inputs reach.

mod linear;
mod reach;

use specclip::bound::network::{Layers, NetworkBound, Outcome, Reason, bound};
use specclip::bound::{Argument, Interval, Params, interval};
use specclip::graph::{Activation, Graph, MaxPool, Node, Op, Scale, Value};
use specclip::operator::{Compose, Conv, ConvParams, Dense, Diagonal, PaddingMode, materialise};
use specclip::{BoxedOperator, Error, LinearOperator};

/// Numbers between -1 and 1 that look random.
fn noise(seed: u64, n: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// The layers of a test's network.
type Make = Vec<Box<dyn Fn() -> BoxedOperator<f64>>>;

fn solve(graph: &Graph, layers: &Make) -> NetworkBound {
    let mut operator = |i: usize| Ok::<_, Error>(layers[i]());
    bound(graph, &mut operator, &Params::default()).unwrap()
}

/// The upper end.
fn upper(found: &NetworkBound) -> f64 {
    match &found.outcome {
        Outcome::Bounded(ends) => ends.upper,
        Outcome::Stopped(stops) => panic!("stopped by {stops:?}"),
    }
}

fn lower(found: &NetworkBound) -> Option<f64> {
    match &found.outcome {
        Outcome::Bounded(ends) => ends.lower,
        Outcome::Stopped(stops) => panic!("stopped by {stops:?}"),
    }
}

fn close(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() <= 1e-12 * expected,
        "{found} is not {expected}"
    );
}

/// Nodes of one test, on a value of `n` numbers.
struct Net {
    graph: Graph,
    n: usize,
}

impl Net {
    fn new(n: usize) -> (Self, Value) {
        let mut graph = Graph::new();
        let x = graph.input("x", &[1, n]).unwrap();
        (Self { graph, n }, x)
    }

    fn add(&mut self, op: Op, inputs: &[Value]) -> Value {
        let shape = [1, self.n];
        self.graph.push("node", "Op", op, inputs, &shape).unwrap()
    }

    fn upper(mut self, y: Value) -> f64 {
        self.graph.output(y).unwrap();
        upper(&solve(&self.graph, &Vec::new()))
    }
}

#[test]
fn constants_follow_the_rules() {
    let (mut net, x) = Net::new(4);
    let a = net.add(Op::scale(-3.0), &[x]);
    let b = net.add(Activation::sigmoid().into(), &[a]);
    let sum = net.add(Op::Add(vec![1.0, -2.0]), &[x, b]);
    close(net.upper(sum), 1.0 + 2.0 * 3.0 / 4.0);

    let (mut net, x) = Net::new(4);
    let a = net.add(Op::scale(3.0), &[x]);
    let b = net.add(Op::scale(-4.0), &[x]);
    let most = net.add(Op::Extremum, &[a, b]);
    close(net.upper(most), 5.0);

    let (mut net, x) = Net::new(4);
    let a = net.add(Op::scale(3.0), &[x]);
    let b = net.add(Op::scale(4.0), &[x]);
    let op = Op::Concat { axis: 1 };
    let joined = net.graph.push("c", "Concat", op, &[a, b], &[1, 8]).unwrap();
    close(net.upper(joined), 5.0);

    let (mut net, x) = Net::new(4);
    let indices = vec![3, 0, 3, 3, 1];
    let op = Op::Index { axis: 1, indices };
    let picked = net.graph.push("g", "Gather", op, &[x], &[1, 5]).unwrap();
    close(net.upper(picked), 3_f64.sqrt());

    let (mut net, x) = Net::new(4);
    let (axes, factor) = (vec![1], 0.25);
    let op = Op::SumAxes { axes, factor };
    let mean = net.graph.push("m", "Mean", op, &[x], &[1]).unwrap();
    close(net.upper(mean), 0.5);
}

/// Several outputs are one stacked vector; so are several inputs.
#[test]
fn inputs_and_outputs_are_stacked() {
    let mut graph = Graph::new();
    let a = graph.input("a", &[1, 2]).unwrap();
    let b = graph.input("b", &[1, 2]).unwrap();
    let y = graph
        .push("y", "Mul", Op::scale(3.0), &[a], &[1, 2])
        .unwrap();
    let z = graph
        .push("z", "Mul", Op::scale(4.0), &[b], &[1, 2])
        .unwrap();
    graph.output(y).unwrap();
    graph.output(z).unwrap();
    let found = solve(&graph, &Vec::new());
    // Each output alone has its constant; 5 bounds the true 4.
    close(upper(&found), 5.0);
    assert_eq!(found.steps.last().unwrap().reason, Reason::Root);
}

fn pooled(kernel: usize, stride: usize, dilation: usize, padding: usize, n: usize) -> f64 {
    let out = (n + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 1, n]).unwrap();
    let pool = MaxPool {
        kernel: vec![kernel],
        stride: vec![stride],
        padding: vec![padding],
        dilation: vec![dilation],
    };
    let y = graph.push("p", "MaxPool", Op::MaxPool(pool), &[x], &[1, 1, out]);
    graph.output(y.unwrap()).unwrap();
    let found = upper(&solve(&graph, &Vec::new())).powi(2);
    // The windows that each sample is part of, counted.
    let count = |i: usize| {
        let taps = (0..out).flat_map(|o| (0..kernel).map(move |t| o * stride + t * dilation));
        taps.filter(|&place| place == i + padding).count()
    };
    let most = (0..n).map(count).max().unwrap() as f64;
    assert!(
        found > most - 1e-9,
        "{found} windows, and {most} share a sample"
    );
    found
}

#[test]
fn max_pooling_counts_the_windows_that_share_a_sample() {
    for kernel in 1..5 {
        for stride in 1..6 {
            for dilation in 1..5 {
                for n in [17, 40] {
                    pooled(kernel, stride, dilation, kernel / 2, n);
                }
            }
        }
    }
    close(pooled(3, 2, 1, 1, 32), 2.0);
    close(pooled(2, 2, 1, 0, 32), 1.0);
    close(pooled(3, 1, 2, 2, 32), 3.0);
    close(pooled(3, 2, 2, 2, 32), 3.0);
    close(pooled(2, 3, 2, 0, 32), 1.0);
}

/// The largest slope on a fine grid, beyond which every slope is constant to 1e-6.
fn steepest(f: impl Fn(f64) -> f64) -> f64 {
    let h = 1e-4;
    (-400_000..400_000)
        .map(|i| f64::from(i) * h)
        .map(|x| ((f(x + h) - f(x)) / h).abs())
        .fold(0.0, f64::max)
}

#[test]
fn activations_have_the_steepest_slope_of_their_function() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let cubic = |x: f64| (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
    type Case = (Activation, Box<dyn Fn(f64) -> f64>);
    let cases: Vec<Case> = vec![
        (Activation::sigmoid(), Box::new(sigmoid)),
        (Activation::tanh(), Box::new(f64::tanh)),
        (Activation::silu(), Box::new(move |x| x * sigmoid(x))),
        (
            Activation::mish(),
            Box::new(move |x| x * softplus(x).tanh()),
        ),
        (
            Activation::gelu_tanh(),
            Box::new(move |x| 0.5 * x * (1.0 + cubic(x).tanh())),
        ),
        (
            Activation::hard_swish(),
            Box::new(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        ),
        (Activation::softsign(), Box::new(|x| x / (1.0 + x.abs()))),
        (
            Activation::selu(1.6732632, 1.050701).unwrap(),
            Box::new(|x| 1.050701 * if x > 0.0 { x } else { 1.6732632 * x.exp_m1() }),
        ),
        (
            Activation::elu(0.5).unwrap(),
            Box::new(|x| if x > 0.0 { x } else { 0.5 * x.exp_m1() }),
        ),
        (
            Activation::leaky_relu(&[-3.0, 0.1]).unwrap(),
            Box::new(|x| if x > 0.0 { x } else { -3.0 * x }),
        ),
    ];
    for (activation, f) in cases {
        let (slope, constant) = (steepest(f), activation.lipschitz());
        let name = activation.name();
        // A difference quotient is a mean of slopes: below the constant but for its rounding.
        assert!(slope <= constant * (1.0 + 1e-9), "{name}: {slope}");
        assert!(slope >= constant * (1.0 - 2e-4), "{name}: {slope}");
    }
    // gelu's slope at its steepest place is (1 + erf(1)) / 2 + exp(-1) / sqrt(pi).
    let gelu = (1.0 + 0.842_700_792_949_715) / 2.0 + (-1_f64).exp() / std::f64::consts::PI.sqrt();
    let stated = Activation::gelu().lipschitz();
    assert!(stated >= gelu && stated < gelu + 1e-6, "{gelu}");
    for bad in [f64::NAN, f64::INFINITY] {
        assert!(Activation::leaky_relu(&[bad]).is_err());
        assert!(Activation::elu(bad).is_err());
    }
    assert!(Activation::celu(0.0).is_err());
}

#[test]
fn what_no_rule_covers_stops_by_name() {
    let (mut net, x) = Net::new(4);
    let a = net.add(Op::scale(2.0), &[x]);
    let dead = net.add(Op::unknown("dead"), &[a]);
    net.add(Activation::relu().into(), &[dead]);
    let node = Op::unknown("it jumps");
    let b = net
        .graph
        .push("round", "Round", node, &[a], &[1, 4])
        .unwrap();
    let c = net.add(Activation::relu().into(), &[b]);
    net.graph.output(c).unwrap();
    let found = solve(&net.graph, &Vec::new());
    let Outcome::Stopped(stops) = &found.outcome else {
        panic!("{found:?}");
    };
    assert_eq!(stops.len(), 1, "{stops:?}");
    assert_eq!(
        (stops[0].name.as_str(), stops[0].operator.as_str()),
        ("round", "Round")
    );
    assert_eq!(found.steps.len(), 1);
    close(found.steps[0].constant, 2.0);
}

#[test]
fn graphs_that_make_no_sense_are_refused() {
    let mut graph = Graph::new();
    assert!(graph.input("x", &[1, 0]).is_err());
    let x = graph.input("x", &[1, 4]).unwrap();
    let mut push = |op: Op, inputs: &[Value], shape: &[usize]| {
        graph.push("n", "Op", op, inputs, shape).unwrap_err()
    };
    push(Op::Identity, &[x], &[1, 5]);
    push(Op::Identity, &[7], &[1, 4]);
    push(Op::linear(0, 3, 3), &[x], &[1, 3]);
    push(Op::linear(0, 0, 0), &[x], &[1, 4]);
    push(Op::scale(f64::NAN), &[x], &[1, 4]);
    push(Op::add(2), &[x], &[1, 4]);
    push(Op::Permute(vec![1, 1]), &[x], &[4, 4]);
    push(Op::Concat { axis: 1 }, &[x, x], &[1, 7]);
    push(Op::Concat { axis: 2 }, &[x, x], &[1, 8]);
    let (axis, indices) = (1, vec![4]);
    push(Op::Index { axis, indices }, &[x], &[1, 1]);
    assert!(graph.output(9).is_err());
    let mut none = |_: usize| Err::<BoxedOperator<f64>, Error>(unreachable_layer());
    assert!(bound(&graph, &mut none, &Params::default()).is_err());
}

fn unreachable_layer() -> Error {
    Dense::<f64>::new(Vec::new(), 0, 0).err().unwrap()
}

fn dense(seed: u64, outputs: usize, inputs: usize) -> Box<dyn Fn() -> BoxedOperator<f64>> {
    let weight = noise(seed, outputs * inputs);
    Box::new(move || Box::new(Dense::new(weight.clone(), outputs, inputs).unwrap()))
}

fn conv(
    seed: u64,
    channels: [usize; 2],
    size: usize,
    mode: PaddingMode,
) -> Box<dyn Fn() -> BoxedOperator<f64>> {
    let [inputs, outputs] = channels;
    let weight: Vec<f64> = noise(seed, outputs * inputs * 9);
    Box::new(move || {
        let params = ConvParams::new(2).padding(1, mode);
        let (shape, input) = ([outputs, inputs, 3, 3], [inputs, size, size]);
        Box::new(Conv::new(weight.clone(), &shape, &input, &params).unwrap())
    })
}

fn norm_of(op: &BoxedOperator<f64>) -> f64 {
    materialise(op).unwrap().singular_values().unwrap()[0]
}

/// A convolution, its batch normalisation, a factor, a flattening and a dense layer: one operator.
#[test]
fn a_linear_chain_has_an_interval_around_its_norm() {
    let mut graph = Graph::new();
    let factors = vec![0.5, -3.0, 0.1, 1.0];
    let layers: Make = vec![
        conv(1, [2, 4], 6, PaddingMode::Zeros),
        {
            let factors = factors.clone();
            Box::new(move || Box::new(Diagonal::new(factors.clone(), &[4, 6, 6]).unwrap()))
        },
        dense(2, 5, 144),
    ];
    let image = [1, 4, 6, 6];
    let x = graph.input("x", &[1, 2, 6, 6]).unwrap();
    let h = graph.push("conv", "Conv", Op::linear(0, 72, 144), &[x], &image);
    let h = graph.push(
        "bn",
        "BatchNorm",
        Op::linear(1, 144, 144),
        &[h.unwrap()],
        &image,
    );
    let h = graph.push("half", "Mul", Op::scale(-0.5), &[h.unwrap()], &image);
    let scale = Op::Scale(Scale {
        factors: vec![2.0, 1.0, 4.0, 0.5],
        run: 36,
    });
    let h = graph.push("scale", "Mul", scale, &[h.unwrap()], &image);
    let h = graph.push("flat", "Flatten", Op::Identity, &[h.unwrap()], &[1, 144]);
    let h = graph.push("fc", "Gemm", Op::linear(2, 144, 5), &[h.unwrap()], &[1, 5]);
    graph.output(h.unwrap()).unwrap();
    let found = solve(&graph, &layers);

    let factors: Vec<f64> = [2.0, 1.0, 4.0, 0.5]
        .iter()
        .zip(&factors)
        .map(|(a, b)| -0.5 * a * b)
        .collect();
    let both = Diagonal::new(factors, &[4, 6, 6]).unwrap();
    let inner = Compose::new(both, layers[0]()).unwrap();
    let whole: BoxedOperator<f64> = Box::new(Compose::new(layers[2](), inner).unwrap());
    let truth = norm_of(&whole);
    let product: f64 = norm_of(&layers[0]()) * 0.5 * 3.0 * 4.0 * norm_of(&layers[2]());
    assert!(upper(&found) >= truth, "{found:?} {truth}");
    assert!(lower(&found).unwrap_or(0.0) <= truth, "{found:?} {truth}");
    if let Ok(interval) = interval(&whole, &Params::default()) {
        assert!(
            upper(&found) <= interval.upper * (1.0 + 1e-12),
            "{found:?} {interval:?}"
        );
        assert!(upper(&found) < product);
        assert!(lower(&found).unwrap() > 0.99 * truth, "{found:?} {truth}");
    }
}

/// Dense layers on the last axis and on the one before do not compose to their product.
#[test]
fn layers_on_different_axes_are_not_composed() {
    // Two matrices whose product vanishes.
    let first: Vec<f64> = vec![1.0, 0.0, 0.0, 0.0];
    let second: Vec<f64> = vec![0.0, 0.0, 0.0, 1.0];
    let layers: Make = [first, second]
        .map(|w| -> Box<dyn Fn() -> BoxedOperator<f64>> {
            Box::new(move || Box::new(Dense::new(w.clone(), 2, 2).unwrap()))
        })
        .into();
    let mut graph = Graph::new();
    let x = graph.input("x", &[2, 2]).unwrap();
    let h = graph.push("right", "MatMul", Op::linear(0, 2, 2), &[x], &[2, 2]);
    let mut op = Op::linear(1, 2, 2);
    if let Op::Linear(linear) = &mut op {
        linear.consecutive = false;
    }
    let y = graph.push("left", "MatMul", op, &[h.unwrap()], &[2, 2]);
    graph.output(y.unwrap()).unwrap();
    let found = solve(&graph, &layers);
    assert!(upper(&found) >= 1.0, "{found:?}");
    assert_eq!(lower(&found), None);
}

/// The probabilities of all random bounds that the result depends on add up.
#[test]
fn failure_probabilities_add_up() {
    let layers: Make = vec![dense(21, 8, 8), dense(22, 8, 8), dense(23, 8, 8)];
    let params = Params {
        arguments: vec![Argument::Krylov],
        failure_probability: 1e-3,
        ..Params::default()
    };
    let failure = |activated: [bool; 2]| {
        let (mut net, mut x) = Net::new(8);
        for (i, relu) in [false, activated[0], activated[1]].into_iter().enumerate() {
            if relu {
                x = net.add(Activation::relu().into(), &[x]);
            }
            x = net.add(Op::linear(i, 8, 8), &[x]);
        }
        net.graph.output(x).unwrap();
        let mut operator = |i: usize| Ok::<_, Error>(layers[i]());
        let found = bound(&net.graph, &mut operator, &params).unwrap();
        let steps: f64 = found.steps.iter().map(|s| s.failure_probability).sum();
        let Outcome::Bounded(ends) = found.outcome else {
            panic!("stopped");
        };
        close(steps, ends.failure_probability);
        ends.failure_probability
    };
    // Three layers alone; two of them composed as well; all three, and the composition.
    close(failure([true, true]), 3e-3);
    close(failure([false, true]), 4e-3);
    close(failure([false, false]), 4e-3);
}

/// A layer whose interval is known, but for a probability.
struct Known(Box<dyn Fn() -> BoxedOperator<f64>>, Interval);

impl Layers for Known {
    type Error = Error;

    fn operator(&mut self, _: usize) -> Result<BoxedOperator<f64>, Error> {
        Ok(self.0())
    }
    fn interval(&mut self, _: usize, _: &Params) -> Result<Interval, Error> {
        Ok(self.1)
    }
}

/// A region that ends with a node that only moves elements: its random bound is compared with the random bound of
/// the layer and loses, so the constant that is kept is wrong if either is.
#[test]
fn a_comparison_that_decides_on_a_moved_value_counts() {
    let make = dense(24, 4, 4);
    let truth = norm_of(&make());
    let known = Interval {
        lower: truth * (1.0 - 1e-12),
        upper: truth * (1.0 + 1e-12),
        lower_by: Argument::Vector,
        upper_by: Argument::Krylov,
        failure_probability: 1e-4,
    };
    let mut graph = Graph::new();
    let x = graph.input("x", &[2, 4]).unwrap();
    let mut push = |op, inputs: &[Value], shape: &[usize]| {
        graph.push("node", "Op", op, inputs, shape).unwrap()
    };
    let y = push(Op::linear(0, 4, 4), &[x], &[2, 4]);
    let (axis, indices) = (0, vec![1, 0]);
    let swapped = push(Op::Index { axis, indices }, &[y], &[2, 4]);
    let moved = push(Op::Permute(vec![1, 0]), &[swapped], &[4, 2]);
    let z = push(Activation::relu().into(), &[moved], &[4, 2]);
    graph.output(z).unwrap();
    let params = Params {
        arguments: vec![Argument::Krylov],
        failure_probability: 1e-3,
        ..Params::default()
    };
    let found = bound(&graph, &mut Known(make, known), &params).unwrap();
    let Outcome::Bounded(ends) = found.outcome else {
        panic!("stopped");
    };
    assert!(ends.upper >= truth && ends.upper <= truth * (1.0 + 1e-10));
    close(ends.failure_probability, 1.1e-3);
    let steps: f64 = found.steps.iter().map(|s| s.failure_probability).sum();
    close(steps, 1.1e-3);
}

/// Sums of a value with itself, 1100 times: 2^1100 is no finite bound, and that is what is said.
#[test]
fn a_bound_that_overflows_is_refused() {
    for (count, finite) in [(1000, true), (1100, false)] {
        let (mut net, mut x) = Net::new(4);
        for _ in 0..count {
            x = net.add(Op::add(2), &[x, x]);
        }
        net.graph.output(x).unwrap();
        let mut none = |_: usize| Err::<BoxedOperator<f64>, Error>(unreachable_layer());
        match bound(&net.graph, &mut none, &Params::default()) {
            Ok(found) => {
                assert!(finite, "{:?}", found.outcome);
                let exact = 1000_f64.exp2();
                assert!((exact..exact * 1.000_1).contains(&upper(&found)));
            }
            Err(error) => {
                let text = error.to_string();
                assert!(!finite && text.contains("is inf"), "{text}");
            }
        }
    }
}
