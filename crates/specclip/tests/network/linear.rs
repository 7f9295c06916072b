//! Networks that are linear but branch: intervals against dense SVD of the network's matrix, which is
//! built by an evaluation that shares no code with the library.

use faer::Mat;

use super::*;

/// The indices of element `e` of a value of `shape`.
fn indices(shape: &[usize], mut e: usize) -> Vec<usize> {
    let mut indices = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        indices[axis] = e % shape[axis];
        e /= shape[axis];
    }
    indices
}

fn element(shape: &[usize], indices: &[usize]) -> usize {
    shape.iter().zip(indices).fold(0, |e, (n, i)| e * n + i)
}

/// The output at `x` of a linear network without biases.
fn evaluate(graph: &Graph, layers: &[Mat<f64>], x: &[f64]) -> Vec<f64> {
    let mut values: Vec<Vec<f64>> = Vec::new();
    for node in graph.nodes() {
        let mut y = vec![0.0; node.len()];
        let mut start = 0;
        for (i, &input) in node.inputs.iter().enumerate() {
            let (from, x) = (&graph.nodes()[input].shape, &values[input]);
            for (e, x) in x.iter().enumerate() {
                let mut at = indices(from, e);
                match &node.op {
                    Op::Linear(linear) => {
                        let (part, column) = (e / linear.inputs, e % linear.inputs);
                        for row in 0..linear.outputs {
                            let factor = layers[linear.layer][(row, column)];
                            y[part * linear.outputs + row] += factor * x;
                        }
                    }
                    Op::Scale(s) => y[e] = s.factors[e / s.run % s.factors.len()] * x,
                    Op::Identity => y[e] = *x,
                    Op::Add(factors) => y[e] += factors[i] * x,
                    Op::Permute(axes) => {
                        let moved: Vec<usize> = axes.iter().map(|&a| at[a]).collect();
                        y[element(&node.shape, &moved)] = *x;
                    }
                    Op::Concat { axis } => {
                        at[*axis] += start;
                        y[element(&node.shape, &at)] = *x;
                    }
                    Op::Index { axis, indices } => {
                        let entry = at[*axis];
                        for (place, _) in indices.iter().enumerate().filter(|(_, j)| **j == entry) {
                            at[*axis] = place;
                            y[element(&node.shape, &at)] = *x;
                        }
                    }
                    Op::SumAxes { axes, factor } => {
                        axes.iter().for_each(|&a| at[a] = 0);
                        y[element(&node.shape, &at)] += factor * x;
                    }
                    op => panic!("{op:?}"),
                }
            }
            if let Op::Concat { axis } = node.op {
                start += from[axis];
            }
        }
        values.push(match node.op {
            Op::Input => x.to_vec(),
            _ => y,
        });
    }
    values.swap_remove(graph.outputs()[0])
}

fn norm(graph: &Graph, layers: &Make) -> f64 {
    let layers: Vec<Mat<f64>> = layers.iter().map(|l| materialise(&l()).unwrap()).collect();
    let n = graph.nodes()[0].len();
    let column = |j: usize| {
        let unit: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i == j))).collect();
        evaluate(graph, &layers, &unit)
    };
    let columns: Vec<Vec<f64>> = (0..n).map(column).collect();
    let matrix = Mat::from_fn(columns[0].len(), n, |i, j| columns[j][i]);
    matrix.singular_values().unwrap()[0]
}

/// A value of three axes of random small lengths in a random linear network.
struct Random {
    graph: Graph,
    layers: Make,
    numbers: std::vec::IntoIter<f64>,
}

impl Random {
    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        let number = self.numbers.next().unwrap();
        (((number + 1.0) / 2.0 * n as f64) as usize).min(n - 1)
    }

    fn push(&mut self, op: Op, inputs: &[Value], shape: &[usize]) -> Value {
        self.graph.push("node", "Op", op, inputs, shape).unwrap()
    }

    /// One more value, made of those before.
    fn grow(&mut self) -> Value {
        let count = self.graph.nodes().len();
        // Often the last, so that networks become deep.
        let a = match self.below(3) {
            0 => self.below(count),
            _ => count - 1,
        };
        let shape = self.graph.nodes()[a].shape.clone();
        let axis = self.below(3);
        match self.below(8) {
            0 => {
                let axes = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 0, 1], [2, 1, 0]][self.below(5)];
                let moved = axes.map(|a| shape[a]);
                self.push(Op::Permute(axes.to_vec()), &[a], &moved)
            }
            1 => {
                let n = 1 + self.below(4);
                let indices: Vec<usize> = (0..n).map(|_| self.below(shape[axis])).collect();
                let mut picked = shape;
                picked[axis] = n;
                self.push(Op::Index { axis, indices }, &[a], &picked)
            }
            2 => {
                let mut summed = shape.clone();
                summed[axis] = 1;
                let (axes, factor) = (vec![axis], 0.7);
                let sum = self.push(Op::SumAxes { axes, factor }, &[a], &summed);
                let indices = vec![0; shape[axis]];
                self.push(Op::Index { axis, indices }, &[sum], &shape)
            }
            3 => {
                let alike = |n: &Node| n.shape == shape;
                let b = self.graph.nodes().iter().position(alike).unwrap();
                self.push(Op::Add(vec![1.0, -0.6, 0.5]), &[a, b, a], &shape)
            }
            4 => {
                let fits = |n: &Node| (0..3).all(|i| i == axis || n.shape[i] == shape[i]);
                let b = self.graph.nodes().iter().position(fits).unwrap();
                let mut joined = shape;
                joined[axis] += self.graph.nodes()[b].shape[axis];
                self.push(Op::Concat { axis }, &[a, b], &joined)
            }
            5 => {
                let factors = vec![0.5, -1.5, 1.0].into_iter().cycle();
                let scale = Scale {
                    factors: factors.take(shape[1]).collect(),
                    run: shape[2],
                };
                self.push(Op::Scale(scale), &[a], &shape)
            }
            6 => {
                let (n, m) = (shape[2], 1 + self.below(4));
                let layer = self.layers.len();
                self.layers.push(dense(layer as u64 + 50, m, n));
                self.push(Op::linear(layer, n, m), &[a], &[shape[0], shape[1], m])
            }
            _ => {
                let joined = [shape[1], shape[0], shape[2]];
                self.push(Op::Identity, &[a], &joined)
            }
        }
    }
}

#[test]
fn every_linear_graph_has_an_interval_around_its_norm() {
    let mut branching = 0;
    for seed in 1..120 {
        let mut random = Random {
            graph: Graph::new(),
            layers: Vec::new(),
            numbers: noise(seed * 7919, 400).into_iter(),
        };
        (0..20).for_each(|_| {
            random.below(2);
        });
        random.push(Op::Input, &[], &[2, 3, 4]);
        let last = (0..2 + seed as usize % 7)
            .map(|_| random.grow())
            .last()
            .unwrap();
        if random.graph.nodes()[last].len() > 300 {
            continue;
        }
        random.graph.output(last).unwrap();
        let Random { graph, layers, .. } = random;
        let found = solve(&graph, &layers);
        let (truth, high) = (norm(&graph, &layers), upper(&found));
        let low = lower(&found).unwrap_or_else(|| panic!("seed {seed}: no lower end"));
        assert!(
            low <= truth * (1.0 + 1e-13) && truth <= high * (1.0 + 1e-13),
            "seed {seed}: {low} {truth} {high}"
        );
        assert!(
            low >= truth * (1.0 - 1e-4) - 1e-12,
            "seed {seed}: {low} {truth}"
        );
        assert!(
            high <= truth * (1.0 + 1e-6) + 1e-12,
            "seed {seed}: {high} {truth} {found:?}"
        );
        let joins = |n: &Node| n.inputs.len() > 1;
        branching += usize::from(graph.nodes().iter().any(joins));
    }
    assert!(branching > 40, "{branching}");
}

/// conv(x) - x behind a ReLU: the sum's rule gives the norm of the convolution plus 1, and the operator
/// that is both at once less.
#[test]
fn a_residual_sum_of_linear_branches_is_one_operator() {
    let image = [1, 3, 6, 6];
    // A convolution near to the identity.
    let layers: Make = vec![Box::new(|| {
        let mut weight: Vec<f64> = noise(31, 81).iter().map(|w| 0.02 * w).collect();
        (0..3).for_each(|c| weight[(c * 3 + c) * 9 + 4] += 1.0);
        let params = ConvParams::new(2).padding(1, PaddingMode::Zeros);
        Box::new(Conv::new(weight, &[3, 3, 3, 3], &[3, 6, 6], &params).unwrap())
    })];
    let mut graph = Graph::new();
    let x = graph.input("x", &image).unwrap();
    let relu = Activation::relu().into();
    let h = graph.push("relu", "Relu", relu, &[x], &image).unwrap();
    let conv = Op::linear(0, 108, 108);
    let a = graph.push("conv", "Conv", conv, &[h], &image).unwrap();
    let difference = Op::Add(vec![1.0, -1.0]);
    let y = graph
        .push("sub", "Sub", difference, &[a, h], &image)
        .unwrap();
    graph.output(y).unwrap();
    let found = solve(&graph, &layers);
    let matrix = materialise(&layers[0]()).unwrap() - Mat::<f64>::identity(108, 108);
    let truth = matrix.singular_values().unwrap()[0];
    let high = upper(&found);
    assert!(
        high >= truth && high <= truth * (1.0 + 1e-6),
        "{high} {truth}"
    );
    assert!(high < 0.5 * norm_of(&layers[0]()));
    // A ReLU before it: not the whole network is linear.
    assert_eq!(lower(&found), None);
    assert!(
        found
            .steps
            .iter()
            .any(|s| s.name == "conv + sub" && s.layers == [0]),
        "{found:?}"
    );
}
