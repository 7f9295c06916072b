//! What `specclip clip` did.

use std::path::PathBuf;

use specclip::clip::{Method, Norm, Params};

/// What `specclip clip` was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The largest norm allowed.
    pub norm: f64,
    /// How, and what counts as obeyed.
    pub params: Params,
    /// The file with the clipped model; none in a dry run.
    pub output: Option<PathBuf>,
}

/// The layers before and after.
pub type Report = super::Report<Asked, Values>;

/// A layer and what was done to it.
pub type Row = super::Row<Values>;

/// A layer before and after.
#[derive(Clone, Debug)]
pub struct Values {
    /// Its norm in the model.
    pub before: Norm,
    /// Its norm with the weights as they are written.
    pub after: Norm,
    /// Whether they are other weights than before.
    pub changed: bool,
    /// Whether the norm is as asked.
    pub reached: bool,
    /// ||W - W_0||_F.
    pub distance: f64,
    /// ||W_0||_F.
    pub weight: f64,
    /// No weights that obey are nearer than this.
    pub least_distance: Option<f64>,
    /// Rounds of the method.
    pub rounds: usize,
    /// Products with M, its adjoint and its weight gradient, each on one vector.
    pub matvecs: usize,
    /// How often it was clipped: again where rounding or another use of the weight asked for it.
    pub clips: usize,
}

impl Values {
    /// How far the weights moved, in units of their own norm; none for zero weights.
    pub fn relative_distance(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.distance / self.weight)
    }

    /// How much farther they moved than was necessary, at most. Weights that are rounded to a norm within the tolerance
    /// above the target may lie nearer than any that are below it; that is no gap.
    pub fn gap(&self) -> Option<f64> {
        let least = self.least_distance.filter(|&least| least > 0.0)?;
        Some((self.distance - least).max(0.0) / least)
    }

    /// The word for what happened.
    pub fn state(&self) -> &'static str {
        match (self.reached, self.changed) {
            (false, _) => "missed",
            (true, true) => "clipped",
            (true, false) => "kept",
        }
    }
}

impl Report {
    /// How many layers do not obey, or are not known to.
    pub fn missed(&self) -> usize {
        self.values().filter(|(_, values)| !values.reached).count()
    }

    /// How many layers have new weights.
    pub fn changed(&self) -> usize {
        self.values().filter(|(_, values)| values.changed).count()
    }

    /// Products of all layers together.
    pub fn matvecs(&self) -> usize {
        self.values().map(|(_, values)| values.matvecs).sum()
    }
}

/// The name of a method, on the command line and in records.
pub fn method_name(method: &Method) -> &'static str {
    match method {
        Method::Scale => "scale",
        Method::FastClip(_) => "fastclip",
        Method::Projection(_) => "projection",
        Method::Frequency { .. } => "frequency",
    }
}
