//! The methods that hold norms down in training.

use specclip::clip::{self, EachStep};

/// How a [`Clipper`](super::Clipper) holds the norms of layers down.
///
/// The methods of [`specclip::clip`] are made for that; the others are here to be compared with.
///
/// | method | what is held down | when | promises the norm |
/// |---|---|---|---|
/// | [`Clip`](Self::Clip) | the operator's norm | every so many steps | after a clip (FastClip and frequency: what their rounds reach) |
/// | [`EachStep`](Self::EachStep) | the operator's norm, followed from below | after every step | no |
/// | [`SpectralNorm`](Self::SpectralNorm) | the norm of the reshaped kernel | in every forward pass | no |
/// | [`GramPenalty`](Self::GramPenalty) | the Gram bound | in the loss | no |
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// Every so many steps ([`every`](super::Clipper::every)). FastClip also makes one iteration of PowerQR with every
    /// other step, and starts from the vector that this has found, as the paper does; it ends after
    /// [`max_rounds`](clip::FastClip::max_rounds) rounds, of which a few are enough where norms have grown a
    /// little since the last clip. The projection makes a few rounds of cuts ([`clip::Warm::clip`]); its gap and its
    /// time limit have no meaning here.
    Clip(clip::Method),
    /// After every step, with one iteration of the power method (Gouk et al. 2021, Newhouse et al. 2025).
    EachStep(EachStep),
    /// Weights are trained that the forward pass divides by the norm of their kernel, reshaped to a matrix with a row for each
    /// output channel, and multiplies by the target (Miyato et al. 2018; PyTorch's `spectral_norm`). One
    /// iteration of the power method follows that norm with every forward pass, and gradients go through the division.
    /// The network to use is [`effective`](super::Clipper::effective). Not for batch normalisations.
    SpectralNorm,
    /// The loss gets `weight` times the sum over the layers of what their bound by the Gram iteration is
    /// above the target (Delattre et al. 2023). The bounds are computed with every step, which takes long for layers with
    /// hundreds of channels on large inputs.
    GramPenalty {
        /// The factor of the penalty.
        weight: f64,
    },
}

impl Method {
    /// Whether it works in the forward pass or on the gradients.
    pub(super) fn needs_hooks(&self) -> bool {
        matches!(self, Self::SpectralNorm | Self::GramPenalty { .. })
    }
}

impl From<clip::Method> for Method {
    fn from(method: clip::Method) -> Self {
        Self::Clip(method)
    }
}

impl From<EachStep> for Method {
    fn from(how: EachStep) -> Self {
        Self::EachStep(how)
    }
}
