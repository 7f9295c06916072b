//! Clipping the layers of a network while it is trained.

use std::collections::HashSet;

use burn::module::{Module, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};
use specclip::clip::{Method, Params, Projection, Warm};

use crate::error::Error;
use crate::layer::{Read, Unit, Values, Write};
use crate::trace::{Kind, TracedLayer, trace};

/// What happens to batch normalisations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchNorms {
    /// Neither measured nor clipped.
    Keep,
    /// Clipped by themselves.
    Clip,
    /// A convolution and the batch normalisation that alone reads its output are clipped as one
    /// operator; others by themselves.
    Compose,
}

/// What a clipper found of one layer, and did to it, at the last clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// The layer's path in the module; of a composition both paths.
    pub name: String,
    /// conv, conv_transpose, dense, batch_norm or conv+batch_norm.
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

/// All that a clipper carries from step to step, for checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClipperState {
    steps: u64,
    layers: Vec<LayerState>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct LayerState {
    name: String,
    seed: u64,
    /// The singular vector that FastClip follows.
    vector: Option<Vec<f32>>,
}

/// Watches the linear layers of a network and clips them to a spectral norm.
///
/// ```
/// use burn::module::Module;
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::{Device, Tensor};
/// use specclip_burn::Clipper;
///
/// #[derive(Module, Debug)]
/// struct Net {
///     first: Linear,
///     second: Linear,
/// }
///
/// let device = Device::flex().autodiff();
/// let mut net = Net {
///     first: LinearConfig::new(20, 30).init(&device),
///     second: LinearConfig::new(30, 5).init(&device),
/// };
/// let mut clipper = Clipper::trace(&net, &[20], |net, x: Tensor<2>| {
///     net.second.forward(net.first.forward(x))
/// })?
/// .norm(0.5)?
/// .every(1)?;
/// // After each step of the optimiser:
/// net = clipper.step(net)?;
/// assert!(clipper.report().iter().all(|layer| layer.after <= 0.5 * (1.0 + 1e-3)));
/// # Ok::<(), specclip_burn::Error>(())
/// ```
pub struct Clipper {
    traced: Vec<TracedLayer>,
    watched: Vec<Watched>,
    batch_norms: BatchNorms,
    /// Later ones go before earlier ones.
    targets: Vec<(GlobMatcher, f64)>,
    params: Params,
    every: u64,
    steps: u64,
    report: Vec<LayerReport>,
}

struct Watched {
    unit: Unit,
    target: Option<f64>,
    warm: Warm<f32>,
}

impl Clipper {
    /// A clipper for every linear layer of a module, found by recording one forward pass on an example
    /// of `input_shape`: by projection, every 50 steps, batch normalisations kept. Without
    /// [`norm`](Self::norm) it only watches.
    ///
    /// # Errors
    /// As [`trace`].
    pub fn trace<M, const D: usize, const E: usize>(
        module: &M,
        input_shape: &[usize],
        forward: impl FnOnce(&M, Tensor<D>) -> Tensor<E>,
    ) -> Result<Self, Error>
    where
        M: Module,
    {
        let mut clipper = Self {
            traced: trace(module, input_shape, forward)?,
            watched: Vec::new(),
            batch_norms: BatchNorms::Keep,
            targets: Vec::new(),
            params: Params::new(Method::Projection(Projection::default())),
            every: 50,
            steps: 0,
            report: Vec::new(),
        };
        clipper.arrange();
        Ok(clipper)
    }

    /// Makes the units that are clipped of the layers.
    fn arrange(&mut self) {
        let composed = |layer: &TracedLayer| match self.batch_norms {
            BatchNorms::Compose if matches!(layer.kind, Kind::Conv(_)) => layer.batch_norm,
            _ => None,
        };
        let inside: HashSet<usize> = self.traced.iter().filter_map(composed).collect();
        let taken = |(i, layer): &(usize, &TracedLayer)| match layer.kind {
            Kind::BatchNorm { .. } => self.batch_norms != BatchNorms::Keep && !inside.contains(i),
            _ => true,
        };
        // A layer that runs many times in the same way, as in a recurrent network, is clipped once.
        let mut seen = Vec::new();
        let mut new = |layer: &TracedLayer| {
            let place = (
                layer.weight,
                layer.kind.clone(),
                layer.input_shape.clone(),
                composed(layer),
            );
            let new = !seen.contains(&place);
            seen.push(place);
            new
        };
        let units = self
            .traced
            .iter()
            .enumerate()
            .filter(taken)
            .filter(|(_, layer)| new(layer));
        let watched = units.enumerate().map(|(place, (_, layer))| Watched {
            unit: Unit {
                layer: layer.clone(),
                batch_norm: composed(layer).map(|i| self.traced[i].clone()),
            },
            target: None,
            // Far apart: a solve takes the next one.
            warm: Warm::new((place as u64) << 32),
        });
        self.watched = watched.collect();
        for (matcher, c) in &self.targets {
            for watched in &mut self.watched {
                if watched.is_named(matcher) {
                    watched.target = Some(*c);
                }
            }
        }
    }

    /// What happens to batch normalisations.
    #[must_use]
    pub fn batch_norms(mut self, batch_norms: BatchNorms) -> Self {
        self.batch_norms = batch_norms;
        self.arrange();
        self
    }

    /// Clips every layer to spectral norm `c`.
    ///
    /// # Errors
    /// [`Error::Setting`] unless c is positive and finite.
    pub fn norm(self, c: f64) -> Result<Self, Error> {
        self.norm_of("*", c)
    }

    /// Clips the layers whose names match a glob, such as `layer1.*`, to spectral norm `c`.
    ///
    /// # Errors
    /// [`Error::Setting`] when c is not positive and finite, or no layer matches.
    pub fn norm_of(mut self, glob: &str, c: f64) -> Result<Self, Error> {
        if !(c.is_finite() && c > 0.0) {
            return Err(setting("norm", format!("{c} is not a positive number")));
        }
        let matcher = Glob::new(glob).map_err(|error| setting("glob", error.to_string()))?;
        let matcher = matcher.compile_matcher();
        if self
            .watched
            .iter()
            .any(|watched| watched.is_named(&matcher))
        {
            self.targets.push((matcher, c));
            self.arrange();
            return Ok(self);
        }
        let names: Vec<String> = self.watched.iter().map(|w| w.unit.name()).collect();
        Err(setting(
            "glob",
            format!("no layer matches {glob}; there are {}", names.join(", ")),
        ))
    }

    /// How layers are clipped. FastClip also makes one iteration of PowerQR with every step, and starts
    /// from the vector that this has found, as the paper does. The projection makes a few rounds of cuts
    /// ([`Warm::clip`]); its gap and its time limit have no meaning here.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.params.method = method;
        self
    }

    /// Clips with every `steps`-th step of the optimiser.
    ///
    /// # Errors
    /// [`Error::Setting`] for 0.
    pub fn every(mut self, steps: u64) -> Result<Self, Error> {
        if steps == 0 {
            return Err(setting(
                "every",
                "clipping every 0 steps; use 1 or more".to_owned(),
            ));
        }
        self.every = steps;
        Ok(self)
    }

    /// The module to run forward and backward in a step of training: with every method so far the
    /// module itself; one that trains a reparametrisation gives others weights here. Drop it before the
    /// optimiser's step: while a second owner of a weight lives, the optimiser has to copy it.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn before_forward<M: Module>(&mut self, module: &M) -> Result<M, Error> {
        Ok(module.clone())
    }

    /// What the optimiser is to be given for the gradients of the module that
    /// [`before_forward`](Self::before_forward) returned: with every method so far the same; one that
    /// penalises adds its own here.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn gradients<M: Module>(
        &mut self,
        _module: &M,
        gradients: GradientsParams,
    ) -> Result<GradientsParams, Error> {
        Ok(gradients)
    }

    /// To be called after each step of the optimiser. Parameters keep their identity, so that the
    /// optimiser's state is not touched. Where the network must outlive an error, pass a clone: its
    /// parameters are shared, not copied.
    ///
    /// # Errors
    /// [`Error::Layer`] when a layer cannot be measured (its weights are not finite, for instance) and
    /// [`Error::Changed`] for another module than the traced one.
    pub fn step<M: Module>(&mut self, module: M) -> Result<M, Error> {
        self.steps += 1;
        if self.steps.is_multiple_of(self.every) {
            return self.clip(module);
        }
        if matches!(self.params.method, Method::FastClip(_)) {
            let values = self.read(&module);
            for watched in self.watched.iter_mut().filter(|w| w.target.is_some()) {
                let operator = watched.unit.operator(&values)?;
                let followed = watched.warm.follow(&operator);
                followed.map_err(|source| layer_error(&watched.unit, source))?;
            }
        }
        Ok(module)
    }

    /// Clips now; [`step`](Self::step) does it in its time.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn clip<M: Module>(&mut self, module: M) -> Result<M, Error> {
        let mut values = self.read(&module);
        let mut changed = HashSet::new();
        let mut reports = Vec::new();
        for watched in &mut self.watched {
            let (report, updates) = watched.clip(&values, &self.params)?;
            reports.push(report);
            changed.extend(updates.keys().copied());
            values.extend(updates);
        }
        self.settle_shared(&mut values, &changed, &mut reports)?;
        self.report = reports;
        if changed.is_empty() {
            return Ok(module);
        }
        values.retain(|id, _| changed.contains(id));
        Ok(module.map(&mut Write { values }))
    }

    /// Weights that several layers use obey the tightest: what one use has moved is measured again in
    /// all of them, and multiplied down.
    fn settle_shared(
        &mut self,
        values: &mut Values,
        changed: &HashSet<ParamId>,
        reports: &mut [LayerReport],
    ) -> Result<(), Error> {
        let scale = Params {
            method: Method::Scale,
            ..self.params.clone()
        };
        let weights: Vec<_> = self.watched.iter().map(|w| w.unit.weights()).collect();
        let uses = |id| weights.iter().filter(|all| all.contains(id)).count();
        for (i, watched) in self.watched.iter_mut().enumerate() {
            let moved = |id| uses(id) > 1 && changed.contains(id);
            if !weights[i].iter().any(moved) {
                continue;
            }
            let (report, updates) = watched.clip(values, &scale)?;
            reports[i].after = report.after;
            reports[i].converged &= report.converged;
            reports[i].matvecs += report.matvecs;
            // Only weights that have moved already are moved here.
            values.extend(updates);
        }
        Ok(())
    }

    fn read<M: Module>(&self, module: &M) -> Values {
        let wanted: Vec<_> = self
            .watched
            .iter()
            .flat_map(|w| w.unit.parameters())
            .collect();
        Read::from(module, &wanted)
    }

    /// What the last clip found and did, layer by layer in the order of the forward pass.
    pub fn report(&self) -> &[LayerReport] {
        &self.report
    }

    /// Every linear layer of the network, in the order of the forward pass.
    pub fn layers(&self) -> &[TracedLayer] {
        &self.traced
    }

    /// What has to be kept so that a run goes on as if it had not been interrupted.
    pub fn state(&self) -> ClipperState {
        let layers = self.watched.iter().map(|watched| {
            let (vector, seed) = watched.warm.state();
            LayerState {
                name: watched.unit.name(),
                seed,
                vector: vector.map(<[f32]>::to_vec),
            }
        });
        ClipperState {
            steps: self.steps,
            layers: layers.collect(),
        }
    }

    /// Goes on from a state of the same network with the same settings.
    ///
    /// # Errors
    /// [`Error::Setting`] when the state is of other layers.
    pub fn restore(&mut self, state: ClipperState) -> Result<(), Error> {
        let names = self.watched.iter().map(|w| w.unit.name());
        if !names.eq(state.layers.iter().map(|layer| layer.name.clone())) {
            return Err(setting(
                "state",
                "it is of a network with other layers; restore the checkpoint into the network that it \
                 was made with"
                    .to_owned(),
            ));
        }
        for (watched, layer) in self.watched.iter_mut().zip(state.layers) {
            watched.warm = Warm::restore(layer.vector, layer.seed);
        }
        self.steps = state.steps;
        Ok(())
    }
}

impl Watched {
    /// By its own name, or by that of its convolution.
    fn is_named(&self, matcher: &GlobMatcher) -> bool {
        matcher.is_match(self.unit.name()) || matcher.is_match(&self.unit.layer.name)
    }

    /// Clips or measures; returns what was found and the parameters that have moved.
    fn clip(&mut self, values: &Values, params: &Params) -> Result<(LayerReport, Values), Error> {
        let mut operator = self.unit.operator(values)?;
        let mut report = LayerReport {
            name: self.unit.name(),
            kind: self.unit.kind().to_owned(),
            target: self.target,
            before: 0.0,
            after: 0.0,
            converged: false,
            distance: 0.0,
            matvecs: 0,
        };
        let error = |source| layer_error(&self.unit, source);
        let Some(target) = self.target else {
            let (sigma, converged) = self
                .warm
                .measure(&operator, params.tolerance)
                .map_err(error)?;
            (report.before, report.after, report.converged) = (sigma, sigma, converged);
            return Ok((report, Values::new()));
        };
        let done = self.warm.clip(&mut operator, target, params);
        let done = done.map_err(error)?;
        report.before = done.before;
        report.after = done.after;
        report.converged = done.converged;
        report.distance = done.distance;
        report.matvecs = done.matvecs;
        if done.distance == 0.0 {
            return Ok((report, Values::new()));
        }
        let updates = self.unit.parameters_of(&operator, values)?;
        Ok((report, updates))
    }
}

fn layer_error(unit: &Unit, source: specclip::Error) -> Error {
    Error::Layer {
        layer: unit.name(),
        source,
    }
}

fn setting(setting: &'static str, problem: String) -> Error {
    Error::Setting { setting, problem }
}
