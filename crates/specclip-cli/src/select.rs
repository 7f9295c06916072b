//! Which rows there will be: batch norms folded if asked, then the layers that the patterns name.

use std::collections::HashSet;

use specclip_onnx::Model;

use crate::error::Error;
use crate::options::{Network, Pattern};
use crate::record::{Identity, Skipped};

/// How many names an error lists before it stops.
const NAMES_SHOWN: usize = 8;

/// A row to be: a layer alone, or a convolution with its batch norm.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The layer's place in the model.
    pub layer: usize,
    /// Whether the batch norm after it is folded in.
    pub composed: bool,
    /// What the row is called.
    pub identity: Identity,
    /// The names it answers to.
    names: Vec<String>,
}

impl Unit {
    /// Whether the pattern means this row.
    pub fn answers_to(&self, pattern: &Pattern) -> bool {
        self.names.iter().any(|name| pattern.matches(name))
    }
}

/// The rows to be, and what has none.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// In network order.
    pub units: Vec<Unit>,
    /// Layers that the reader could not take, as far as the patterns ask for them.
    pub skipped: Vec<Skipped>,
}

/// Chooses the layers, or says why there are none.
pub fn choose(model: &Model, network: &Network) -> Result<Chosen, Error> {
    let mut units = units(model, network.compose);
    let mut skipped: Vec<Skipped> = model
        .skipped
        .iter()
        .map(|skipped| Skipped {
            name: skipped.name.clone(),
            op: skipped.op.clone(),
            reason: skipped.reason.clone(),
        })
        .collect();
    if units.is_empty() {
        return Err(Error::NothingToAnalyse {
            model: network.source.name(),
            why: why_nothing(&skipped),
        });
    }
    for pattern in &network.layers {
        check(pattern, &units, &skipped)?;
    }
    if !network.layers.is_empty() {
        let wanted = |name: &str| network.layers.iter().any(|pattern| pattern.matches(name));
        units.retain(|unit| {
            network
                .layers
                .iter()
                .any(|pattern| unit.answers_to(pattern))
        });
        skipped.retain(|skipped| wanted(&skipped.name));
    }
    Ok(Chosen { units, skipped })
}

fn units(model: &Model, compose: bool) -> Vec<Unit> {
    let partner = |index: usize| {
        model
            .layers
            .get(index)
            .and_then(|layer| layer.batch_norm)
            .filter(|_| compose)
    };
    let folded: HashSet<usize> = (0..model.layers.len()).filter_map(partner).collect();
    let layers = model
        .layers
        .iter()
        .enumerate()
        .filter(|(index, _)| !folded.contains(index));
    layers
        .map(|(index, layer)| {
            let norm = partner(index).and_then(|norm| model.layers.get(norm));
            let identity = Identity {
                name: norm.map_or_else(
                    || layer.name.clone(),
                    |norm| format!("{}+{}", layer.name, norm.name),
                ),
                kind: norm.map_or_else(|| layer.kind.to_string(), |_| format!("{}+bn", layer.kind)),
                input_shape: layer.input_shape.clone(),
                output_shape: layer.output_shape.clone(),
                weight: layer
                    .weight
                    .as_ref()
                    .map(|weight| (weight.name.clone(), weight.shape.clone())),
                multiplicity: layer.multiplicity,
            };
            let alone = [Some(layer.name.clone()), norm.map(|norm| norm.name.clone())];
            let names = alone
                .into_iter()
                .flatten()
                .chain([identity.name.clone()])
                .collect();
            Unit {
                layer: index,
                composed: norm.is_some(),
                identity,
                names,
            }
        })
        .collect()
}

fn why_nothing(skipped: &[Skipped]) -> String {
    if skipped.is_empty() {
        return "no linear layer with constant weights in this model (convolution, Gemm, MatMul, batch norm, average \
                pooling, resize); export it with its weights inside"
            .into();
    }
    format!(
        "no layer of this model can be analysed; {}",
        reasons(skipped.iter())
    )
}

fn check(pattern: &Pattern, units: &[Unit], skipped: &[Skipped]) -> Result<(), Error> {
    if units.iter().any(|unit| unit.answers_to(pattern)) {
        return Ok(());
    }
    let mut unusable = skipped
        .iter()
        .filter(|skipped| pattern.matches(&skipped.name))
        .peekable();
    let hint = if unusable.peek().is_some() {
        format!(" that can be analysed: {}", reasons(unusable))
    } else {
        let names: Vec<&str> = units
            .iter()
            .map(|unit| unit.identity.name.as_str())
            .collect();
        format!("; the layers are {}", some_of(&names))
    };
    Err(Error::NoMatch {
        glob: pattern.text.clone(),
        hint,
    })
}

fn reasons<'a>(skipped: impl Iterator<Item = &'a Skipped>) -> String {
    let reasons: Vec<String> = skipped
        .map(|skipped| format!("{:?} ({}: {})", skipped.name, skipped.op, skipped.reason))
        .collect();
    some_of(&reasons)
}

fn some_of<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_SHOWN).map(AsRef::as_ref).collect();
    let more = names.len() - shown.len();
    match more {
        0 => shown.join(", "),
        _ => format!("{} and {more} more", shown.join(", ")),
    }
}
