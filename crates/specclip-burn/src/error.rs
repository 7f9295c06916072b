//! Errors of this crate.

/// Why a network could not be traced or clipped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The forward pass could not be recorded, or has nothing to clip.
    #[error("tracing the network: {0}")]
    Trace(String),
    /// A setting of the clipper that does not exist or fits no layer.
    #[error("the clipper's {setting}: {problem}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it, and what would be accepted.
        problem: String,
    },
    /// A layer could not be measured or clipped.
    #[error("layer {layer}: {source}")]
    Layer {
        /// The layer's name.
        layer: String,
        /// What the library says.
        source: specclip::Error,
    },
    /// The module is not the one that was traced.
    #[error(
        "the module has no parameter {parameter} with {expected} elements, which layer {layer} had when \
         the network was traced; trace it anew"
    )]
    Changed {
        /// The layer's name.
        layer: String,
        /// What was looked for.
        parameter: String,
        /// Its number of elements.
        expected: usize,
    },
}
