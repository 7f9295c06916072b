//! A linear part of a graph, with one value that goes in and one that comes out, as an operator.
//!
//! M x is the evaluation of the nodes in their order, from x, without biases and constants; M' y
//! goes through them in the reverse order and adds up what each value receives from its readers
//! (reverse accumulation). Every node is a sum of terms, each a layer or a sparse matrix applied to
//! one earlier value.
//!
//! *Rounding.* A value v of the exact network and its computed one differ by at most E(v) ||x||.
//! A term T that is applied to u with k operations for each entry has, by the standard model
//! ([`rounding`](crate::bound::rounding)), an error of at most
//! ||T|| E(u) + gamma_k || |T| || (N(u) + E(u)), where N(u) bounds the exact ||u|| / ||x||, and
//! Schur's test bounds both norms of T. The errors of the terms add up.

use super::Layers;
use crate::block::Columns;
use crate::bound::cost::action_cost;
use crate::bound::rounding::{FAST, gamma, up};
use crate::bound::schur::schur;
use crate::bound::{Interval, Params};
use crate::error::Error;
use crate::graph::{Graph, Node, Op, Scale, Value};
use crate::operator::{BoxedOperator, LinearOperator, Part, Structure, check_action};

/// A linear part of a graph; place 0 is the value that goes in, and place i + 1 that of step i.
pub(super) struct Region {
    shapes: Vec<Vec<usize>>,
    steps: Vec<Vec<Term>>,
    /// After which step each place is not read any more.
    last_read: Vec<usize>,
    /// Floating-point operations of one action.
    pub work: f64,
    /// E of the value that comes out.
    error: f64,
}

/// One summand of a value.
struct Term {
    place: usize,
    matrix: Matrix,
}

/// What a summand's input is multiplied by.
enum Matrix {
    /// A layer, applied to consecutive parts.
    Layer(BoxedOperator<f64>),
    /// One factor for each element.
    Scale(Scale),
    /// The entries `factor` in the rows `to` and the columns `from`.
    Sparse {
        from: Vec<usize>,
        to: Vec<usize>,
        factor: f64,
    },
}

impl Region {
    /// The operator from the value `from` to the last of `nodes`, which read only `from`, each other
    /// and constants. `sizes` are bounds of every value's norm, as multiples of that of `from`.
    pub(super) fn new<L: Layers + ?Sized>(
        graph: &Graph,
        from: Value,
        nodes: &[Value],
        sizes: &dyn Fn(Value) -> f64,
        layers: &mut L,
        params: &Params,
    ) -> Result<Self, L::Error> {
        let mut places = vec![None; graph.nodes().len()];
        places[from] = Some(0);
        let mut region = Self {
            shapes: vec![shape(&graph.nodes()[from])],
            steps: Vec::new(),
            last_read: Vec::new(),
            work: 0.0,
            error: 0.0,
        };
        // E and N of every place.
        let mut errors = vec![(0.0, 1.0)];
        for &value in nodes {
            let node = &graph.nodes()[value];
            let terms = terms(graph, node, &places, layers)?;
            let mut error = (0.0, 0.0);
            for term in &terms {
                let largest = match (term.matrix.largest(), &node.op) {
                    (Some(norm), _) => norm,
                    (None, Op::Linear(linear)) => layers.interval(linear.layer, params)?.upper,
                    (None, _) => f64::INFINITY,
                };
                let (e, n) = errors[term.place];
                let rounding = gamma(term.matrix.operations() + terms.len()) * (n + e);
                error.0 = up(error.0 + up(largest * up(e + rounding)));
                error.1 = up(error.1 + up(largest * n));
                region.work += term.matrix.work(node.len());
            }
            errors.push((error.0, sizes(value).min(error.1)));
            region.steps.push(terms);
            region.shapes.push(shape(node));
            places[value] = Some(region.steps.len());
        }
        region.error = errors.last().map_or(0.0, |e| e.0);
        region.last_read = region.last_reads();
        Ok(region)
    }

    fn last_reads(&self) -> Vec<usize> {
        let mut last = vec![0; self.shapes.len()];
        for (step, terms) in self.steps.iter().enumerate() {
            terms.iter().for_each(|term| last[term.place] = step);
        }
        last
    }

    /// An interval of the computed operator made one of the exact operator.
    pub(super) fn exact(&self, mut interval: Interval) -> Interval {
        // Each of the matrix's columns is wrong by at most the error.
        let columns = self.inputs() as f64;
        interval.upper = up(interval.upper + up(columns.sqrt()) * self.error);
        interval.lower = (interval.lower - self.error).max(0.0) * (1.0 - 4.0 * f64::EPSILON);
        interval
    }
}

/// The shape of a value as that of an operator's input, which has an axis.
fn shape(node: &Node) -> Vec<usize> {
    match node.shape.as_slice() {
        [] => vec![1],
        shape => shape.to_vec(),
    }
}

impl LinearOperator for Region {
    type Block = Columns<f64>;

    fn input_shape(&self) -> &[usize] {
        &self.shapes[0]
    }

    fn output_shape(&self) -> &[usize] {
        &self.shapes[self.shapes.len() - 1]
    }

    fn input_block(&self, k: usize) -> Self::Block {
        Columns::zeros(self.inputs(), k)
    }

    fn output_block(&self, k: usize) -> Self::Block {
        Columns::zeros(self.outputs(), k)
    }

    fn apply(&self, x: &Self::Block, y: &mut Self::Block) -> Result<(), Error> {
        check_action("linear graph", (self.inputs(), x), (self.outputs(), &*y))?;
        let k = x.cols();
        let mut values: Vec<Option<Columns<f64>>> = vec![Some(x.clone())];
        for (step, terms) in self.steps.iter().enumerate() {
            let mut value = Columns::zeros(self.shapes[step + 1].iter().product(), k);
            for term in terms {
                // A place is kept until its last reader.
                if let Some(x) = &values[term.place] {
                    term.matrix.add_image(x, &mut value)?;
                }
            }
            values.push(Some(value));
            for (place, value) in values.iter_mut().enumerate().take(step + 1) {
                if self.last_read[place] <= step {
                    *value = None;
                }
            }
        }
        if let Some(Some(last)) = values.last() {
            y.as_mut_slice().copy_from_slice(last.as_slice());
        }
        Ok(())
    }

    fn adjoint(&self, y: &Self::Block, x: &mut Self::Block) -> Result<(), Error> {
        let (m, n) = (self.outputs(), self.inputs());
        check_action("linear graph's adjoint", (m, y), (n, &*x))?;
        let k = y.cols();
        let mut received: Vec<Option<Columns<f64>>> = vec![None; self.shapes.len()];
        received[self.steps.len()] = Some(y.clone());
        for (step, terms) in self.steps.iter().enumerate().rev() {
            let Some(above) = received[step + 1].take() else {
                continue;
            };
            for term in terms {
                let rows = self.shapes[term.place].iter().product();
                let below = received[term.place].get_or_insert_with(|| Columns::zeros(rows, k));
                term.matrix.add_preimage(&above, below)?;
            }
        }
        match &received[0] {
            Some(sum) => x.as_mut_slice().copy_from_slice(sum.as_slice()),
            None => x.as_mut_slice().fill(0.0),
        }
        Ok(())
    }
}

/// The summands of a node; those of constants are left out.
fn terms<L: Layers + ?Sized>(
    graph: &Graph,
    node: &Node,
    places: &[Option<usize>],
    layers: &mut L,
) -> Result<Vec<Term>, L::Error> {
    let mut terms = Vec::new();
    let mut start = 0;
    for (i, &input) in node.inputs.iter().enumerate() {
        let from = &graph.nodes()[input];
        if let Some(place) = places[input] {
            let matrix = match &node.op {
                Op::Linear(linear) => {
                    let operator = layers.operator(linear.layer)?;
                    Matrix::Layer(super::compose::checked(operator, linear, node)?)
                }
                Op::Scale(scale) => Matrix::Scale(scale.clone()),
                Op::Add(factors) => Matrix::scalar(factors[i]),
                Op::Permute(axes) => permuted(axes, from, node),
                Op::SumAxes { axes, factor } => summed(axes, *factor, from),
                Op::Index { axis, indices } => {
                    let from = along(&from.shape, *axis, indices.iter().copied());
                    let to = (0..from.len()).collect();
                    Matrix::moved(from, to)
                }
                Op::Concat { axis } => {
                    let range = start..start + from.shape[*axis];
                    let to = along(&node.shape, *axis, range);
                    Matrix::moved((0..to.len()).collect(), to)
                }
                _ => Matrix::scalar(1.0),
            };
            terms.push(Term { place, matrix });
        }
        if let Op::Concat { axis } = node.op {
            start += from.shape[axis];
        }
    }
    Ok(terms)
}

/// Where the entries `indices` of an axis lie among all elements.
fn along(shape: &[usize], axis: usize, indices: impl Iterator<Item = usize> + Clone) -> Vec<usize> {
    let outer: usize = shape[..axis].iter().product();
    let inner: usize = shape[axis + 1..].iter().product();
    let n = shape[axis];
    let entry = |o: usize, i: usize| (0..inner).map(move |k| (o * n + i) * inner + k);
    (0..outer)
        .flat_map(|o| indices.clone().flat_map(move |i| entry(o, i)))
        .collect()
}

/// For each element of a value of `shape` in order, the sum of its indices times `strides`.
fn strided(shape: &[usize], strides: &[usize]) -> Vec<usize> {
    let mut places = vec![0];
    for (&n, &stride) in shape.iter().zip(strides) {
        let next = places
            .iter()
            .flat_map(|&p| (0..n).map(move |i| p + i * stride));
        places = next.collect();
    }
    places
}

/// The strides of the axes for which `kept` is true in a value of those alone; 0 for the others.
fn strides(shape: &[usize], kept: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut strides = vec![0; shape.len()];
    let mut next = 1;
    for axis in (0..shape.len()).rev().filter(|&a| kept(a)) {
        strides[axis] = next;
        next *= shape[axis];
    }
    strides
}

fn permuted(axes: &[usize], input: &Node, node: &Node) -> Matrix {
    let strides = strides(&input.shape, |_| true);
    let moved: Vec<usize> = axes.iter().map(|&a| strides[a]).collect();
    let from = strided(&node.shape, &moved);
    Matrix::moved(from, (0..node.len()).collect())
}

fn summed(axes: &[usize], factor: f64, input: &Node) -> Matrix {
    let strides = strides(&input.shape, |a| !axes.contains(&a));
    Matrix::Sparse {
        from: (0..input.len()).collect(),
        to: strided(&input.shape, &strides),
        factor,
    }
}

impl Matrix {
    fn scalar(factor: f64) -> Self {
        let factors = vec![factor];
        Self::Scale(Scale { factors, run: 1 })
    }

    fn moved(from: Vec<usize>, to: Vec<usize>) -> Self {
        let factor = 1.0;
        Self::Sparse { from, to, factor }
    }

    /// `y` += M `x`.
    fn add_image(&self, x: &Columns<f64>, y: &mut Columns<f64>) -> Result<(), Error> {
        if let Self::Layer(op) = self {
            let parts = Columns::from_vec(
                op.inputs(),
                x.rows() / op.inputs() * x.cols(),
                x.as_slice().to_vec(),
            )?;
            let mut image = op.output_block(parts.cols());
            op.apply(&parts, &mut image)?;
            add(image.as_slice(), y);
            return Ok(());
        }
        self.add_elements(x, y, false);
        Ok(())
    }

    /// `x` += M' `y`.
    fn add_preimage(&self, y: &Columns<f64>, x: &mut Columns<f64>) -> Result<(), Error> {
        if let Self::Layer(op) = self {
            let parts = Columns::from_vec(
                op.outputs(),
                y.rows() / op.outputs() * y.cols(),
                y.as_slice().to_vec(),
            )?;
            let mut image = op.input_block(parts.cols());
            op.adjoint(&parts, &mut image)?;
            add(image.as_slice(), x);
            return Ok(());
        }
        self.add_elements(y, x, true);
        Ok(())
    }

    /// `y` += M `x`, or M' `x`, of a matrix that is not a layer.
    fn add_elements(&self, x: &Columns<f64>, y: &mut Columns<f64>, transposed: bool) {
        let (n, m) = (x.rows(), y.rows());
        let columns = x.as_slice().chunks_exact(n);
        for (x, y) in columns.zip(y.as_mut_slice().chunks_exact_mut(m)) {
            match self {
                Self::Layer(_) => {}
                Self::Scale(Scale { factors, run }) => {
                    for (e, (x, y)) in x.iter().zip(y).enumerate() {
                        *y += factors[(e / run) % factors.len()] * x;
                    }
                }
                Self::Sparse { from, to, factor } => {
                    let (from, to) = if transposed { (to, from) } else { (from, to) };
                    for (&i, &o) in from.iter().zip(to) {
                        y[o] += factor * x[i];
                    }
                }
            }
        }
    }

    /// A bound of the norm, with absolute values in the place of all entries; none of closures.
    fn largest(&self) -> Option<f64> {
        match self {
            Self::Layer(op) => absolute(&op.structure()),
            Self::Scale(scale) => Some(scale.factors.iter().fold(0.0, |m: f64, f| m.max(f.abs()))),
            Self::Sparse { from, to, factor } => {
                let both = (most_equal(from) * most_equal(to)) as f64;
                Some(up(both.sqrt() * factor.abs()))
            }
        }
    }

    /// No fewer than the operations behind one entry of an image.
    fn operations(&self) -> usize {
        match self {
            Self::Layer(op) => op.inputs().saturating_add(64).saturating_mul(FAST),
            Self::Scale(_) => 2,
            Self::Sparse { to, .. } => most_equal(to) + 2,
        }
    }

    /// Floating-point operations on a value that becomes one of `outputs` elements.
    fn work(&self, outputs: usize) -> f64 {
        match self {
            Self::Layer(op) => {
                let applications = (outputs / op.outputs()) as f64;
                action_cost(&Part::new(op)) * applications
            }
            Self::Scale(_) => 4.0 * outputs as f64,
            Self::Sparse { to, .. } => 4.0 * to.len() as f64,
        }
    }
}

fn add(x: &[f64], y: &mut Columns<f64>) {
    y.as_mut_slice()
        .iter_mut()
        .zip(x)
        .for_each(|(y, x)| *y += x);
}

/// A bound of the norm of an operator with absolute values in the place of all entries.
fn absolute(structure: &Structure) -> Option<f64> {
    match structure {
        Structure::Product(parts) => parts
            .iter()
            .map(|part| absolute(&part.structure))
            .try_fold(1.0, |product, norm| Some(up(product * norm?))),
        Structure::Sum(terms) => terms
            .iter()
            .map(absolute)
            .try_fold(0.0, |sum, norm| Some(up(sum + norm?))),
        single => schur(single),
    }
}

/// How often the most frequent number occurs.
fn most_equal(numbers: &[usize]) -> usize {
    let size = numbers.iter().max().map_or(0, |m| m + 1);
    super::factor::most_copies(numbers, size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws::check_adjoint;
    use crate::operator::{Dense, Function, materialise};

    /// Layers of 3 -> 2 elements, one with weights and one that is a closure.
    fn layer(index: usize) -> Result<BoxedOperator<f64>, Error> {
        let weight = vec![1.0, -2.0, 0.5, 0.25, 3.0, -1.0];
        if index == 0 {
            return Ok(Box::new(Dense::new(weight, 2, 3)?));
        }
        let forward = |x: &[f64], y: &mut [f64]| {
            y[0] = x[0] + 2.0 * x[2];
            y[1] = x[1] - x[2];
        };
        let adjoint = |y: &[f64], x: &mut [f64]| {
            x[0] = y[0];
            x[1] = y[1];
            x[2] = 2.0 * y[0] - y[1];
        };
        Ok(Box::new(Function::new(&[3], &[2], forward, adjoint)?))
    }

    /// A graph with every kind of linear node, whose first value is the input.
    fn every_node() -> Result<Graph, Error> {
        let mut graph = Graph::new();
        let mut push =
            |op, inputs: &[Value], shape: &[usize]| graph.push("n", "N", op, inputs, shape);
        let x = push(Op::Input, &[], &[2, 2, 3])?;
        let a = push(Op::linear(0, 3, 2), &[x], &[2, 2, 2])?;
        let b = push(Op::linear(1, 3, 2), &[x], &[2, 2, 2])?;
        let b = push(Op::Permute(vec![2, 0, 1]), &[b], &[2, 2, 2])?;
        let sum = push(Op::Add(vec![1.0, -0.5, 2.0]), &[a, b, a], &[2, 2, 2])?;
        let (factors, run) = (vec![3.0, 0.5], 2);
        let scaled = push(Op::Scale(Scale { factors, run }), &[sum], &[2, 2, 2])?;
        let fixed = push(Op::Constant, &[], &[2, 1, 2])?;
        let joined = push(Op::Concat { axis: 1 }, &[scaled, fixed, b], &[2, 5, 2])?;
        let (axis, indices) = (1, vec![4, 0, 0, 1]);
        let picked = push(Op::Index { axis, indices }, &[joined], &[2, 4, 2])?;
        let (axes, factor) = (vec![0], 0.3);
        let mean = push(Op::SumAxes { axes, factor }, &[picked], &[4, 2])?;
        push(Op::Identity, &[mean], &[8])?;
        Ok(graph)
    }

    #[test]
    fn the_adjoint_is_the_transpose() -> Result<(), Error> {
        let graph = every_node()?;
        let constant = |v: &Value| matches!(graph.nodes()[*v].op, Op::Constant);
        let nodes: Vec<Value> = (1..graph.nodes().len()).filter(|v| !constant(v)).collect();
        let mut layers = layer;
        let params = Params::default();
        let region = Region::new(&graph, 0, &nodes, &|_| f64::INFINITY, &mut layers, &params)?;
        (0..20).try_for_each(|seed| check_adjoint(&region, seed))?;
        // Column by column it is the same as many columns at once.
        let matrix = materialise(&region)?;
        let (mut x, mut y) = (region.input_block(1), region.output_block(1));
        x.as_mut_slice()[7] = 1.0;
        region.apply(&x, &mut y)?;
        assert!(
            y.as_slice()
                .iter()
                .enumerate()
                .all(|(i, y)| *y == matrix[(i, 7)])
        );
        assert!(
            region.error > 0.0 && region.error < 1e-10,
            "{}",
            region.error
        );
        Ok(())
    }
}
