//! What `specclip bound` found.

use specclip::bound::Interval;
use specclip::bound::network::NetworkBound;

/// What `specclip bound` was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The arguments that might be used; empty for the tightest.
    pub arguments: Vec<&'static str>,
    /// The probability with which each upper end may fail.
    pub failure_probability: f64,
}

/// The intervals of the layers.
pub type Layers = super::Report<Asked, Interval>;

/// A layer and its interval.
pub type Row = super::Row<Interval>;

/// Layers and network.
#[derive(Clone, Debug)]
pub struct Report {
    /// The layers.
    pub layers: Layers,
    /// The network; none where only some layers were asked for.
    pub network: Option<Network>,
}

/// What is known about the network.
#[derive(Clone, Debug)]
pub enum Network {
    /// A bound, or the operators that stand in its way.
    Bound {
        /// With its steps.
        bound: NetworkBound,
        /// The names of the model's layers, which the steps number.
        names: Vec<String>,
    },
    /// Nothing, for this reason.
    Unavailable(String),
}

/// The width relative to the lower end; none where that is 0 and the upper end is not.
pub fn gap(interval: &Interval) -> Option<f64> {
    let gap = interval.gap();
    gap.is_finite().then_some(gap)
}

impl Layers {
    /// The probability that any of the upper ends fails is at most this.
    pub fn failure_probability(&self) -> f64 {
        self.values()
            .map(|(_, interval)| interval.failure_probability)
            .sum()
    }
}
