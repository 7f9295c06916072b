//! Clipping the layers of a network while it is trained.

use std::collections::{HashMap, HashSet};

use burn::module::{Module, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use globset::{Glob, GlobMatcher};
use specclip::clip::{self, EachStep, Params, Projection, Warm};

use crate::error::Error;
use crate::layer::{Parameters, Unit, Values, Write};
use crate::trace::{Kind, TracedLayer, trace};

mod gradients;
mod layers;
mod method;
mod spectral_norm;
mod state;
mod watched;

use gradients::{Change, replace};
use layers::each;
pub use method::Method;
pub use state::ClipperState;
pub use watched::LayerReport;
use watched::Watched;

/// A clip has reached its target when the norm is at most c times 1 plus this.
const TOLERANCE: f64 = 1e-3;

/// What happens to batch normalisations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchNorms {
    /// Neither measured nor clipped.
    Keep,
    /// Clipped by themselves.
    Clip,
    /// A convolution and the batch normalisation that alone reads its output are clipped as one operator; others by
    /// themselves. Gamma moves and the convolution is held: what that lost, the statistics of the next steps would give back,
    /// and until then running statistics would not be those of its output. (The paper moves both.) The Gram penalty, which
    /// moves nothing itself, has gradients for both; methods that are for convolutions or dense layers are not for compositions.
    Compose,
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
///
/// A training step that serves every [`Method`], those among them that change the forward pass or the loss:
///
/// ```
/// # use burn::module::Module;
/// # use burn::nn::{Linear, LinearConfig};
/// # use burn::optim::{GradientsParams, SgdConfig};
/// # use burn::tensor::{Device, Tensor};
/// # use specclip_burn::{Clipper, Method};
/// # let device = Device::flex().autodiff();
/// # let mut net: Linear = LinearConfig::new(20, 5).init(&device);
/// # let x = Tensor::<2>::ones([4, 20], &device);
/// let mut clipper = Clipper::trace(&net, &[20], |net: &Linear, x: Tensor<2>| net.forward(x))?
///     .norm(0.5)?
///     .method(Method::SpectralNorm);
/// # let mut optimizer = SgdConfig::new().init();
/// for _ in 0..3 {
///     let used = clipper.before_forward(&net)?;
///     let loss = used.forward(x.clone()).powi_scalar(2).mean();
///     let gradients = GradientsParams::from_grads(loss.backward(), &used);
///     drop(used);
///     let gradients = clipper.gradients(&net, gradients)?;
///     net = optimizer.step(0.1, net, gradients);
///     net = clipper.step(net)?;
/// }
/// // What was trained, as it is to be used:
/// let net = clipper.effective(&net)?;
/// # drop(net);
/// # Ok::<(), specclip_burn::Error>(())
/// ```
pub struct Clipper {
    traced: Vec<TracedLayer>,
    watched: Vec<Watched>,
    batch_norms: BatchNorms,
    /// Later ones go before earlier ones.
    targets: Vec<(GlobMatcher, f64)>,
    method: Method,
    every: u64,
    steps: u64,
    /// How many of the two hooks were called in this step.
    hooks: u8,
    report: Vec<LayerReport>,
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
            method: clip::Method::Projection(Projection::default()).into(),
            every: 50,
            steps: 0,
            hooks: 0,
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
            division: None,
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

    /// How norms are held down. [`check`](Self::check) tells whether the method is for the kinds of layers that have
    /// a norm. [`Method::SpectralNorm`] and [`Method::GramPenalty`] work in the forward pass and in the gradients: with them,
    /// [`before_forward`](Self::before_forward) and [`gradients`](Self::gradients) belong to every step, as in the example above.
    #[must_use]
    pub fn method(mut self, method: impl Into<Method>) -> Self {
        self.method = method.into();
        self
    }

    /// Refuses a method that is not for the kind of a layer with a norm; all that works on modules does so too.
    ///
    /// # Errors
    /// [`Error::Setting`] with the layer's name, or for a penalty with a weight that is not positive.
    pub fn check(&self) -> Result<(), Error> {
        if let Method::GramPenalty { weight } = self.method
            && !(weight.is_finite() && weight > 0.0)
        {
            let problem = format!("the weight of the penalty, {weight}, is not a positive number");
            return Err(setting("method", problem));
        }
        for watched in &self.watched {
            if let Some(problem) = watched.misfit(&self.method) {
                let (name, kind) = (watched.unit.name(), watched.unit.kind());
                let problem = format!("it does not apply to {name} ({kind}): {problem}");
                return Err(setting("method", problem));
            }
        }
        Ok(())
    }

    /// Clips with every `steps`-th step of the optimiser; with a method that does not clip now and then, measures.
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

    /// The module to run forward and backward in a step of training: with
    /// [`Method::SpectralNorm`] one with weights that are divided by their norms, else the module itself. Drop it before
    /// the optimiser's step: while a second owner of a weight lives, the optimiser has to copy it.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn before_forward<M: Module>(&mut self, module: &M) -> Result<M, Error> {
        self.check()?;
        self.hooks = 1;
        divided(module, &self.method, &mut self.watched)
    }

    /// What the optimiser is to be given for the gradients of the module that
    /// [`before_forward`](Self::before_forward) returned: with [`Method::SpectralNorm`] the gradients through the division,
    /// with [`Method::GramPenalty`] those of the penalty added.
    ///
    /// # Errors
    /// As [`step`](Self::step), and [`Error::Setting`] where there is no Gram bound of a layer, or it takes too long, and
    /// where [`before_forward`](Self::before_forward) was not called.
    pub fn gradients<M: Module>(
        &mut self,
        module: &M,
        gradients: GradientsParams,
    ) -> Result<GradientsParams, Error> {
        if !self.method.needs_hooks() {
            return Ok(gradients);
        }
        self.hook(1, "before_forward")?;
        let values = read(&self.watched, module, Watched::has_target);
        let mut changes: HashMap<ParamId, Change<'_>> = HashMap::new();
        if let Method::GramPenalty { weight } = self.method {
            for (id, penalty) in penalties(&mut self.watched, &values, weight)? {
                let add = move |old: &[f32]| old.iter().zip(&penalty).map(|(a, b)| a + b).collect();
                changes.insert(id, Box::new(add));
            }
        } else {
            for Watched { unit, division, .. } in &self.watched {
                if let Some(division) = division {
                    let weight = unit.weight(&values)?;
                    let pull_back =
                        move |old: &[f32]| division.pull_back(&unit.layer, &weight, old);
                    changes.insert(unit.layer.weight, Box::new(pull_back));
                }
            }
        }
        Ok(replace(module, gradients, changes))
    }

    /// The network as it is used and measured: with [`Method::SpectralNorm`] one with weights that are divided by
    /// their norms, else the module itself.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn effective<M: Module>(&self, module: &M) -> Result<M, Error> {
        self.check()?;
        // What is followed in training stays where it is.
        divided(module, &self.method, &mut self.watched.clone())
    }

    /// To be called after each step of the optimiser. Parameters keep their identity, so that the
    /// optimiser's state is not touched; frozen ones obey too. Where the network must outlive an error, pass a clone: its
    /// parameters are shared, not copied.
    ///
    /// # Errors
    /// [`Error::Layer`] when a layer cannot be measured (its weights are not finite, for instance),
    /// [`Error::Changed`] for another module than the traced one, [`Error::Setting`] where the method needs
    /// [`gradients`](Self::gradients) and the step had none, and as [`check`](Self::check). The layers that were worked on by then
    /// have counted on: to go on after an error, [`restore`](Self::restore) the state from before.
    pub fn step<M: Module>(&mut self, mut module: M) -> Result<M, Error> {
        self.check()?;
        if self.method.needs_hooks() {
            self.hook(2, "gradients")?;
            self.hooks = 0;
        }
        self.steps += 1;
        let due = self.steps.is_multiple_of(self.every);
        match &self.method {
            Method::Clip(clip::Method::FastClip(_)) if !due => {
                let values = read(&self.watched, &module, Watched::has_target);
                let follow = |watched: &mut Watched| watched.follow(&values);
                for (_, followed) in each(&mut self.watched, Watched::has_target, follow) {
                    followed?;
                }
            }
            &Method::EachStep(how) => module = self.each_step(module, how)?,
            _ => {}
        }
        if due { self.clip(module) } else { Ok(module) }
    }

    /// Refuses a step of training in which a hook was left out.
    fn hook(&mut self, called: u8, name: &str) -> Result<(), Error> {
        if self.hooks == called {
            self.hooks += 1;
            return Ok(());
        }
        let problem = format!(
            "it works in the forward pass and in the gradients, so {name} has to be called before this, in every step"
        );
        Err(setting("method", problem))
    }

    fn each_step<M: Module>(&mut self, module: M, how: EachStep) -> Result<M, Error> {
        let mut values = read(&self.watched, &module, Watched::has_target);
        let work =
            |watched: &mut Watched, values: &Parameters| Ok(((), watched.each_step(values, how)?));
        let (changed, _) = self.move_each(&mut values, Watched::has_target, work)?;
        Ok(Write::to(module, values.changed(&changed)))
    }

    /// Clips now; [`step`](Self::step) does it in its time. With a method that does not clip now and then, the
    /// layers are measured as they are [used](Self::effective).
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn clip<M: Module>(&mut self, module: M) -> Result<M, Error> {
        self.check()?;
        let Method::Clip(method) = &self.method else {
            let values = read(&self.watched, &self.effective(&module)?, |_| true);
            let reports = each(
                &mut self.watched,
                |_| true,
                |watched| watched.measure(&values),
            );
            self.report = reports
                .into_iter()
                .map(|(_, report)| report)
                .collect::<Result<_, _>>()?;
            return Ok(module);
        };
        let params = params(method.clone());
        let mut values = read(&self.watched, &module, |_| true);
        let work = |watched: &mut Watched, values: &Parameters| watched.clip(values, &params);
        let (mut changed, mut reports) = self.move_each(&mut values, |_| true, work)?;
        self.settle_shared(&mut values, &mut changed, &mut reports)?;
        self.report = reports;
        Ok(Write::to(module, values.changed(&changed)))
    }

    /// What the last clip found and did, layer by layer in the order of the forward pass.
    pub fn report(&self) -> &[LayerReport] {
        &self.report
    }

    /// Every linear layer of the network, in the order of the forward pass.
    pub fn layers(&self) -> &[TracedLayer] {
        &self.traced
    }
}

fn params(method: clip::Method) -> Params {
    Params {
        tolerance: TOLERANCE,
        ..Params::new(method)
    }
}

/// The parameters of the layers that `which` chooses.
fn read<M: Module>(
    watched: &[Watched],
    module: &M,
    which: impl Fn(&Watched) -> bool,
) -> Parameters {
    let chosen = watched.iter().filter(|watched| which(watched));
    let wanted: Vec<_> = chosen.flat_map(|w| w.unit.parameters()).collect();
    Parameters::of(module, &wanted)
}

/// A module with the weights that spectral normalisation makes, if that is the method. A weight that several layers use
/// is normalised by the first.
fn divided<M: Module>(module: &M, method: &Method, watched: &mut [Watched]) -> Result<M, Error> {
    if *method != Method::SpectralNorm {
        return Ok(module.clone());
    }
    let values = read(watched, module, Watched::has_target);
    let mut seen = HashSet::new();
    let first = |w: &Watched| w.has_target() && seen.insert(w.unit.layer.weight);
    let weights = each(watched, first, |w| w.normalise(&values)).into_iter();
    let weights: Result<Values, Error> = weights.filter_map(|(_, w)| w.transpose()).collect();
    Ok(Write::to(module.clone(), weights?))
}

/// The gradients of all penalties, added up where several layers use one parameter.
fn penalties(watched: &mut [Watched], values: &Parameters, weight: f64) -> Result<Values, Error> {
    let mut total = Values::new();
    let penalty = |watched: &mut Watched| watched.penalty(values, weight);
    for (_, gradients) in each(watched, Watched::has_target, penalty) {
        for (id, gradient) in gradients? {
            let sum = total.entry(id).or_insert_with(|| vec![0.0; gradient.len()]);
            for (sum, g) in sum.iter_mut().zip(&gradient) {
                *sum += g;
            }
        }
    }
    Ok(total)
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
