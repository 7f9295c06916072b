//! One layer that a clipper watches.

use burn::module::ParamId;
use globset::GlobMatcher;
use serde::{Deserialize, Serialize};
use specclip::bound::{GRAM_PRODUCTS, Gradient, gram_gradient, norm_gradient};
use specclip::clip::{self, EachStep, Params, Warm};
use specclip::svd;

use super::spectral_norm::{Division, normalise};
use super::{Method, TOLERANCE, layer_error, setting};
use crate::error::Error;
use crate::layer::{Parameters, Unit, Values};
use crate::trace::Kind;

/// What a clipper found of one layer, and did to it, at the last clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// The layer's path in the module; of a composition both paths.
    pub name: String,
    /// [`Kind::name`]; with `+bn` for a composition.
    pub kind: String,
    /// The norm asked for; none where the layer is only watched.
    pub target: Option<f64>,
    /// sigma_1 before.
    pub before: f64,
    /// sigma_1 afterwards.
    pub after: f64,
    /// Whether the solves behind both have converged; an unconverged value is a lower estimate.
    pub converged: bool,
    /// ||W - W_0||_F.
    pub distance: f64,
    /// Actions of the operator and of its transpose and weight gradients, each of one vector.
    pub matvecs: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub(super) unit: Unit,
    pub(super) target: Option<f64>,
    pub(super) warm: Warm<f32>,
    /// What the weight was divided by in the last forward pass.
    pub(super) division: Option<Division>,
}

impl Watched {
    /// By its own name, or by that of its convolution.
    pub(super) fn is_named(&self, matcher: &GlobMatcher) -> bool {
        matcher.is_match(self.unit.name()) || matcher.is_match(&self.unit.layer.name)
    }

    /// Whether its norm is held down.
    pub(super) fn has_target(&self) -> bool {
        self.target.is_some()
    }

    /// Why a method does not apply to it, if it has a target and the method does not.
    pub(super) fn misfit(&self, method: &Method) -> Option<&'static str> {
        self.target?;
        let dense = self.unit.layer.kind == Kind::Dense;
        let convolution = matches!(self.unit.layer.kind, Kind::Conv(_) | Kind::ConvTranspose(_));
        let normalises = self.unit.batch_norm.is_some()
            || matches!(self.unit.layer.kind, Kind::BatchNorm { .. });
        match method {
            Method::EachStep(how) if how.is_for_dense_layers() && !dense => Some(
                "soft cap and hammer lower the singular values of the weight matrix, which are those of the layer \
                 only where it is dense; give norms to dense layers alone, by their names",
            ),
            Method::SpectralNorm if normalises => Some(
                "spectral normalisation reshapes the kernel of a layer, and a batch normalisation has none; keep \
                 batch normalisations as they are",
            ),
            Method::Clip(clip::Method::Frequency { .. }) if normalises || !convolution => Some(
                "the frequency clip is for convolutions without a batch normalisation; give norms to these alone, by their names, \
                 and keep batch normalisations as they are",
            ),
            _ => None,
        }
    }

    fn report(&self) -> LayerReport {
        LayerReport {
            name: self.unit.name(),
            kind: self.unit.kind(),
            target: self.target,
            before: 0.0,
            after: 0.0,
            converged: false,
            distance: 0.0,
            matvecs: 0,
        }
    }

    /// Measures the layer as it is.
    pub(super) fn measure(&mut self, values: &Parameters) -> Result<LayerReport, Error> {
        let operator = self.unit.operator(values)?;
        let measured = self.warm.measure(&operator, TOLERANCE);
        let (sigma, converged) = measured.map_err(|source| layer_error(&self.unit, source))?;
        Ok(LayerReport {
            before: sigma,
            after: sigma,
            converged,
            ..self.report()
        })
    }

    /// Clips, or measures where there is no target; returns what was found and the parameters that have
    /// moved.
    pub(super) fn clip(
        &mut self,
        values: &Parameters,
        params: &Params,
    ) -> Result<(LayerReport, Values), Error> {
        let Some(target) = self.target else {
            return Ok((self.measure(values)?, Values::new()));
        };
        let mut operator = self.unit.operator(values)?;
        let done = self.warm.clip(&mut operator, target, params);
        let done = done.map_err(|source| layer_error(&self.unit, source))?;
        let report = LayerReport {
            before: done.before,
            after: done.after,
            converged: done.converged,
            distance: done.distance,
            matvecs: done.matvecs,
            ..self.report()
        };
        if done.distance == 0.0 {
            return Ok((report, Values::new()));
        }
        let updates = self.unit.parameters_of(&operator, values)?;
        Ok((report, updates))
    }

    /// What is done after each step of the optimiser; returns the parameters that have moved.
    pub(super) fn each_step(
        &mut self,
        values: &Parameters,
        how: EachStep,
    ) -> Result<Values, Error> {
        let Some(target) = self.target else {
            return Ok(Values::new());
        };
        let mut operator = self.unit.operator(values)?;
        let moved = self.warm.each_step(&mut operator, target, how);
        if moved.map_err(|source| layer_error(&self.unit, source))? {
            self.unit.parameters_of(&operator, values)
        } else {
            Ok(Values::new())
        }
    }

    /// One iteration of PowerQR.
    pub(super) fn follow(&mut self, values: &Parameters) -> Result<(), Error> {
        let operator = self.unit.operator(values)?;
        let followed = self.warm.follow(&operator);
        followed.map_err(|source| layer_error(&self.unit, source))?;
        Ok(())
    }

    /// The weight that spectral normalisation makes of the module's; remembers how.
    pub(super) fn normalise(
        &mut self,
        values: &Parameters,
    ) -> Result<Option<(ParamId, Vec<f32>)>, Error> {
        self.division = None;
        let Some(target) = self.target else {
            return Ok(None);
        };
        let weight = self.unit.weight(values)?;
        let (weight, division) = normalise(&self.unit.layer, &weight, target, &mut self.warm)
            .map_err(|source| layer_error(&self.unit, source))?;
        self.division = division;
        Ok(Some((self.unit.layer.weight, weight)))
    }

    /// The gradients of `weight` times what the Gram bound is above the target; none where it is not.
    pub(super) fn penalty(&self, values: &Parameters, weight: f64) -> Result<Values, Error> {
        let Some(target) = self.target else {
            return Ok(Values::new());
        };
        let operator = self.unit.operator(values)?;
        let gradient = match self.unit.layer.kind {
            // Its largest factor is its norm.
            Kind::BatchNorm { .. } => norm_gradient(&operator, &svd::Params::default()),
            _ => gram_gradient(&operator, GRAM_PRODUCTS),
        };
        let Gradient { value, weights, .. } = gradient.map_err(|source| match source {
            specclip::Error::NotApplicable { reason, .. } => setting(
                "method",
                format!(
                    "the Gram penalty does not apply to {}: {reason}; give it no norm",
                    self.unit.name()
                ),
            ),
            source => layer_error(&self.unit, source),
        })?;
        if value <= target {
            return Ok(Values::new());
        }
        let scaled: Vec<Vec<f32>> = weights
            .into_iter()
            .map(|g| {
                g.into_iter()
                    .map(|g| (f64::from(g) * weight) as f32)
                    .collect()
            })
            .collect();
        self.unit.gradients_of(&scaled, values)
    }
}
