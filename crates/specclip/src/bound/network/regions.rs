//! Linear parts of a network that branch: sums and concatenations of what was made of one value.
//!
//! A value whose way from the network's input passes through one *source* (the input, an activation,
//! a sum of values that have several sources) and is linear from there on is an operator applied to
//! the source. The rules of sums and concatenations take the worst of each branch; the norm of the
//! operator knows that all branches get the same input.

use super::Layers;
use super::compose::{applicable, offer, walk};
use super::region::Region;
use super::tape::Tape;
use crate::bound::{Params, interval};
use crate::graph::{Graph, Linear, Op, Value};

/// Floating-point operations of one action of an operator; its interval takes a few hundred.
const MOST_WORK: f64 = 2e8;

/// How many times as much the action of a whole network may take.
const WHOLE: f64 = 10.0;

/// Elements of all values of a region together.
const MOST_ELEMENTS: usize = 1 << 22;

/// Norms of regions that are looked at: squares of others might overflow or vanish.
const SIZES: std::ops::Range<f64> = 1e-100..1e100;

/// Replaces the rules of sums, concatenations and what follows them by bounds of their operators, where
/// those are smaller and affordable; returns a lower end of the network's constant, where the whole
/// network is one such operator, or `lower` where that is known.
pub(super) fn improve<L: Layers + ?Sized>(
    tape: &mut Tape<'_>,
    layers: &mut L,
    params: &Params,
    mut lower: Option<f64>,
) -> Result<Option<f64>, L::Error> {
    let graph = tape.graph;
    let sources = sources(tape);
    for (end, from) in ends(tape, &sources) {
        let whole = lower.is_none() && is_network(graph, end, from);
        let nodes = between(graph, end, from, &sources);
        let acting: Vec<Value> = nodes.iter().copied().filter(|&v| acts(graph, v)).collect();
        let chain = walk(graph, end).from == from;
        let settled = !whole && (chain || acting.len() < 2);
        if settled || elements(graph, &nodes) > MOST_ELEMENTS {
            continue;
        }
        let constants = tape.constants(None);
        if !SIZES.contains(&(constants[end] / constants[from])) {
            continue;
        }
        // Rounding is bounded with numbers that hold for certain.
        let random = |v: &Value| tape.entries[*v].as_ref().is_some_and(|e| e.failure() > 0.0);
        let sure = !nodes.iter().any(random);
        let sizes = |value: Value| match sure {
            true => constants[value] / constants[from] * (1.0 + 4.0 * f64::EPSILON),
            false => f64::INFINITY,
        };
        let region = Region::new(graph, from, &nodes, &sizes, layers, params)?;
        let share = if whole { WHOLE } else { 1.0 };
        if region.work > MOST_WORK * share {
            continue;
        }
        let found = applicable(interval(&region, params))?.map(|i| region.exact(i));
        // All that the choice depends on, for its probability; the name lists what acts.
        offer(tape, found, from, &nodes, acting);
        if whole {
            lower = found.map(|interval| interval.lower);
        }
    }
    Ok(lower)
}

/// What a value is a linear function of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Nothing: it is constant, not used or has no rule.
    Nothing,
    /// One value, perhaps itself.
    One(Value),
}

fn sources(tape: &Tape<'_>) -> Vec<Source> {
    let mut sources = vec![Source::Nothing; tape.entries.len()];
    for (value, node) in tape.graph.nodes().iter().enumerate() {
        if tape.entries[value].is_none() || matches!(node.op, Op::Constant) {
            continue;
        }
        let scattered = matches!(
            node.op,
            Op::Linear(Linear {
                consecutive: false,
                ..
            })
        );
        sources[value] = Source::One(value);
        if node.op.is_linear() && !matches!(node.op, Op::Input) && !scattered {
            let mut read = node.inputs.iter().map(|&i| sources[i]);
            let first = read.clone().find(|s| *s != Source::Nothing);
            match first {
                None => sources[value] = Source::Nothing,
                Some(one) if read.all(|s| s == one || s == Source::Nothing) => {
                    sources[value] = one;
                }
                Some(_) => {}
            }
        }
    }
    sources
}

/// The values at which linear parts end, with their sources: an output, or what something reads that
/// has another source.
fn ends(tape: &Tape<'_>, sources: &[Source]) -> Vec<(Value, Value)> {
    let graph = tape.graph;
    let used = graph.used();
    let mut ending = vec![false; used.len()];
    for &output in graph.outputs() {
        ending[output] = true;
    }
    for (value, node) in graph.nodes().iter().enumerate().filter(|(v, _)| used[*v]) {
        for &input in node
            .inputs
            .iter()
            .filter(|&&i| sources[i] != sources[value])
        {
            ending[input] = true;
        }
    }
    (0..used.len())
        .filter(|&v| used[v] && ending[v])
        .filter_map(|v| match sources[v] {
            Source::One(from) if from != v => Some((v, from)),
            _ => None,
        })
        .collect()
}

/// The nodes that `end` depends on, from its source on, in their order.
fn between(graph: &Graph, end: Value, from: Value, sources: &[Source]) -> Vec<Value> {
    let mut needed = vec![false; end + 1];
    needed[end] = true;
    for value in (from + 1..=end)
        .rev()
        .filter(|&v| sources[v] == Source::One(from))
    {
        if needed[value] {
            for &input in &graph.nodes()[value].inputs {
                needed[input] = true;
            }
        }
    }
    (from + 1..=end)
        .filter(|&v| needed[v] && sources[v] == Source::One(from))
        .collect()
}

/// Whether a node does more than to move elements.
fn acts(graph: &Graph, value: Value) -> bool {
    !matches!(graph.nodes()[value].op, Op::Identity | Op::Permute(_))
}

fn elements(graph: &Graph, nodes: &[Value]) -> usize {
    let sizes = nodes.iter().map(|&v| graph.nodes()[v].len());
    sizes.fold(0, usize::saturating_add)
}

fn is_network(graph: &Graph, end: Value, from: Value) -> bool {
    let is_input = |v: Value| matches!(graph.nodes()[v].op, Op::Input);
    let inputs = (0..graph.nodes().len()).filter(|&v| is_input(v)).count();
    graph.outputs() == [end] && is_input(from) && inputs == 1
}
