//! The constants of all values, as formulas that can be evaluated again.

use super::factor::{Factor, Rule, rule};
use super::{Ends, Layers, NAME, NetworkBound, Outcome, Reason, Step, Stop, compose, regions};
use crate::bound::Params;
use crate::bound::rounding::times;
use crate::error::Error;
use crate::graph::{Graph, Node, Op, Value};

/// The rule of one value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub rule: Rule,
    /// The probability that a random bound which was looked at, and is not part of the rule, is
    /// wrong: the choice of the smaller of two may be a wrong one when either is.
    pub other_failure: f64,
}

/// The rules of all values that the outputs depend on.
pub(super) struct Tape<'g> {
    pub graph: &'g Graph,
    /// None where the value is not used, or depends on something without a rule.
    pub entries: Vec<Option<Entry>>,
    stops: Vec<Stop>,
    /// A lower end of the constant of the whole network.
    lower: Option<f64>,
}

/// `x` raised by more than the rounding errors of a sum of `terms` products.
fn up(x: f64, terms: usize) -> f64 {
    x * (1.0 + (terms + 4) as f64 * f64::EPSILON)
}

impl<'g> Tape<'g> {
    /// Finds a rule for every value that the outputs depend on.
    pub(super) fn record<L: Layers + ?Sized>(
        graph: &'g Graph,
        layers: &mut L,
        params: &Params,
    ) -> Result<Self, L::Error> {
        let used = graph.used();
        let mut tape = Self {
            graph,
            entries: vec![None; used.len()],
            stops: Vec::new(),
            lower: None,
        };
        for (value, node) in graph.nodes().iter().enumerate() {
            let known = node.inputs.iter().all(|&i| tape.entries[i].is_some());
            let unknown = matches!(node.op, Op::Unknown { .. });
            if !used[value] || !(known || unknown) {
                continue;
            }
            match rule(graph, value, layers, params)? {
                Ok(rule) => tape.entries[value] = Some(Entry::new(rule)),
                Err(reason) => tape.stops.push(Stop {
                    name: node.name.clone(),
                    operator: node.operator.clone(),
                    reason,
                }),
            }
        }
        // Where there is no bound, a smaller one of the steps before is not worth the work.
        if tape.stops.is_empty() {
            let chain = compose::improve(&mut tape, layers, params)?;
            tape.lower = regions::improve(&mut tape, layers, params, chain)?;
        }
        Ok(tape)
    }

    /// The constant of every value; that of values without a rule is NaN.
    pub(super) fn constants(&self, changed: Option<Value>) -> Vec<f64> {
        let mut constants = vec![f64::NAN; self.entries.len()];
        for (value, entry) in self.entries.iter().enumerate() {
            let Some(entry) = entry else { continue };
            constants[value] = match &entry.rule {
                Rule::Given(constant) => *constant,
                Rule::Same(from) => constants[*from],
                Rule::Times { from, .. } if changed == Some(value) => constants[*from],
                Rule::Times { factor, from, .. } => up(times(factor.upper, constants[*from]), 1),
                Rule::Sum(terms) => {
                    let sum = terms.iter().map(|&(f, v)| times(f, constants[v])).sum();
                    up(sum, terms.len())
                }
                Rule::Root(values) => root(values, &constants),
            };
        }
        constants
    }

    /// The value whose rule gives the constant of `value`: itself, or the one that it is the same as. Values
    /// that are the same as another are not steps, so what their choice fails by counts there.
    pub(super) fn origin(&self, mut value: Value) -> Value {
        while let Some(Rule::Same(from)) = self.entries[value].as_ref().map(|e| &e.rule) {
            value = *from;
        }
        value
    }

    /// The constant of all outputs stacked.
    fn total(&self, constants: &[f64]) -> f64 {
        match self.graph.outputs() {
            [only] => constants[*only],
            several => root(several, constants),
        }
    }

    /// Which values the constants of `ends` depend on.
    pub(super) fn reached(&self, ends: &[Value]) -> Vec<bool> {
        let mut reached = vec![false; self.entries.len()];
        for &end in ends {
            reached[end] = true;
        }
        for value in (0..reached.len()).rev() {
            let Some(entry) = self.entries[value].as_ref().filter(|_| reached[value]) else {
                continue;
            };
            entry.rule.reads().iter().for_each(|&v| reached[v] = true);
        }
        reached
    }

    /// The steps and the outcome.
    pub(super) fn finish<E: From<Error>>(self) -> Result<NetworkBound, E> {
        let constants = self.constants(None);
        let stopped = !self.stops.is_empty();
        let ends = if stopped {
            self.before_stops()
        } else {
            self.graph.outputs().to_vec()
        };
        let reached = self.reached(&ends);
        self.check_finite(&constants, &reached)?;
        let total = self.total(&constants);
        let mut steps: Vec<Step> = (0..reached.len())
            .filter(|&v| reached[v])
            .filter_map(|v| self.step(v, &constants, (!stopped).then_some(total)))
            .collect();
        if stopped {
            let outcome = Outcome::Stopped(self.stops);
            return Ok(NetworkBound { outcome, steps });
        }
        let failure = steps.iter().map(|s| s.failure_probability).sum();
        steps.extend(self.stacked(&constants));
        let outcome = Outcome::Bounded(Ends {
            lower: self.lower,
            upper: total,
            failure_probability: failure,
        });
        Ok(NetworkBound { outcome, steps })
    }

    /// The last values that have a rule: those that a node without one reads.
    fn before_stops(&self) -> Vec<Value> {
        let used = self.graph.used();
        let nodes = self.graph.nodes().iter().enumerate();
        let mut values: Vec<Value> = nodes
            .filter(|(v, _)| used[*v] && self.entries[*v].is_none())
            .flat_map(|(_, n)| n.inputs.iter().copied())
            .chain(self.graph.outputs().iter().copied())
            .filter(|&v| self.entries[v].is_some())
            .collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    fn check_finite(&self, constants: &[f64], reached: &[bool]) -> Result<(), Error> {
        let bad =
            |v: &usize| reached[*v] && self.entries[*v].is_some() && !constants[*v].is_finite();
        match (0..constants.len()).find(bad) {
            None => Ok(()),
            Some(value) => {
                let name = &self.graph.nodes()[value].name;
                let problem = format!(
                    "the constant up to node \"{name}\" is {}; scale the weights down",
                    constants[value]
                );
                Err(Error::invalid(NAME, problem))
            }
        }
    }

    /// The step that computes a value; none where there is nothing to show.
    fn step(&self, value: Value, constants: &[f64], total: Option<f64>) -> Option<Step> {
        let entry = self.entries[value].as_ref()?;
        let mut step = Step {
            constant: constants[value],
            failure_probability: entry.other_failure,
            inputs: entry.rule.reads().iter().map(|&v| constants[v]).collect(),
            ..self.named(&[value])
        };
        match &entry.rule {
            Rule::Given(_) | Rule::Same(_) => return None,
            Rule::Sum(_) => step.reason = Reason::Sum,
            Rule::Root(_) => step.reason = Reason::Root,
            Rule::Times { factor, nodes, .. } => {
                let named = self.named(nodes);
                (step.name, step.kind, step.layers) = (named.name, named.kind, named.layers);
                step.reason = factor.reason;
                step.factor = Some(factor.upper);
                step.failure_probability += factor.failure;
                step.contribution = total.map(|total| {
                    let without = self.total(&self.constants(Some(value)));
                    if without > 0.0 { total / without } else { 1.0 }
                });
            }
        }
        Some(step)
    }

    /// A step of some nodes with everything else still open.
    fn named(&self, values: &[Value]) -> Step {
        let nodes: Vec<&Node> = values.iter().map(|&v| &self.graph.nodes()[v]).collect();
        let joined = |part: fn(&Node) -> &str| {
            let parts: Vec<&str> = nodes.iter().map(|n| part(n)).collect();
            parts.join(" + ")
        };
        let layer = |n: &&Node| match &n.op {
            Op::Linear(linear) => Some(linear.layer),
            _ => None,
        };
        Step {
            name: joined(|n| &n.name),
            kind: joined(|n| &n.operator),
            layers: nodes.iter().filter_map(layer).collect(),
            factor: None,
            reason: Reason::Sum,
            inputs: Vec::new(),
            constant: 0.0,
            failure_probability: 0.0,
            contribution: None,
        }
    }

    /// The step that stacks several outputs.
    fn stacked(&self, constants: &[f64]) -> Option<Step> {
        let outputs = self.graph.outputs();
        (outputs.len() > 1).then(|| Step {
            name: "outputs".to_owned(),
            kind: "stacked".to_owned(),
            reason: Reason::Root,
            inputs: outputs.iter().map(|&v| constants[v]).collect(),
            constant: self.total(constants),
            ..self.named(&[])
        })
    }
}

/// The root of the sum of squares, without overflow on the way.
fn root(values: &[Value], constants: &[f64]) -> f64 {
    let norm = values.iter().fold(0.0, |n: f64, &v| n.hypot(constants[v]));
    // Each hypot is right to about one unit in the last place.
    up(norm, 2 * values.len())
}

impl Entry {
    fn new(rule: Rule) -> Self {
        Self {
            rule,
            other_failure: 0.0,
        }
    }

    /// The probability that the entry is wrong while those that it reads are right.
    pub(super) fn failure(&self) -> f64 {
        match &self.rule {
            Rule::Times { factor, .. } => factor.failure + self.other_failure,
            _ => self.other_failure,
        }
    }

    /// Replaces the rule.
    pub(super) fn replace(&mut self, factor: Factor, from: Value, nodes: Vec<Value>) {
        self.rule = Rule::Times {
            factor,
            from,
            nodes,
        };
    }
}

impl Rule {
    /// The values that it reads.
    pub(super) fn reads(&self) -> Vec<Value> {
        match self {
            Self::Given(_) => Vec::new(),
            Self::Same(from) | Self::Times { from, .. } => vec![*from],
            Self::Sum(terms) => terms.iter().map(|&(_, v)| v).collect(),
            Self::Root(values) => values.clone(),
        }
    }
}
