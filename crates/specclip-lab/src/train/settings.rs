//! What a run is, in a form that files keep.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use specclip::clip::{self, EachStep, FastClip, Projection};
use specclip_burn::{Clipper, Method};

use super::figures::Position;
use super::optimizer::OptimizerConfig;
use crate::augment::Augmentation;
use crate::batches::Sampling;
use crate::data::{DatasetKind, Normalization};
use crate::error::Error;
use crate::network::{Network, NetworkConfig};

/// All that decides about a run, but for the images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Which network.
    pub network: NetworkConfig,
    /// Passes over the images.
    pub epochs: u32,
    /// After how many steps the run ends even if there are epochs left.
    pub steps: Option<u64>,
    /// Images in a batch.
    pub batch: usize,
    /// How gradients move weights.
    pub optimizer: OptimizerConfig,
    /// At the beginning.
    pub learning_rate: f64,
    /// How the learning rate falls; it stays without one.
    pub schedule: Option<Schedule>,
    /// How images are changed at random.
    pub augmentation: Augmentation,
    /// How pixels become numbers.
    pub normalization: Normalization,
    /// What is clipped, and how.
    pub clipping: Clipping,
    /// What the first weights, the order of the images and their changes are drawn from.
    pub seed: u64,
    /// Threads at work: sums are divided among them, so that their number decides about the last bits.
    pub threads: usize,
}

/// Steps of the learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// After every so many epochs
    pub epochs: u32,
    /// the learning rate is multiplied by this.
    pub factor: f64,
}

/// How norms are held down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClipMethod {
    /// Not at all; norms are measured at the end of each epoch, as they are with the others.
    #[default]
    None,
    /// The paper's: one iteration of PowerQR with every step, gradient steps when it clips, of a size of our own
    /// ([`clip::Step::Automatic`]).
    #[serde(rename = "fastclip")]
    FastClip,
    /// The nearest weights that obey.
    Projection,
    /// All weights of the layer times one factor.
    Scale,
    /// Singular values clipped at each frequency of the grid, cropped to the kernel.
    Frequency,
    /// All weights times one factor after every step, by a norm that one iteration of the power method follows (Gouk et
    /// al. 2021).
    ScaleEachStep,
    /// The kernel, reshaped to a matrix, divided by its norm in every forward pass (Miyato et al. 2018).
    SpectralNorm,
    /// What the Gram bound is above the norm, added to the loss (Delattre et al. 2023).
    GramPenalty,
    /// Dense layers: a polynomial that lowers large singular values, after every step (Newhouse et al. 2025).
    SoftCap,
    /// Dense layers: the largest singular value becomes the norm, after every step (Newhouse et al. 2025).
    Hammer,
}

impl ClipMethod {
    /// Its name, as settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::FastClip => "fastclip",
            Self::Projection => "projection",
            Self::Scale => "scale",
            Self::Frequency => "frequency",
            Self::ScaleEachStep => "scale-each-step",
            Self::SpectralNorm => "spectral-norm",
            Self::GramPenalty => "gram-penalty",
            Self::SoftCap => "soft-cap",
            Self::Hammer => "hammer",
        }
    }

    /// Whether it clips with every so many-th step, and at the end of each epoch; the others do something with every
    /// step, or nothing.
    pub fn clips_now_and_then(self) -> bool {
        match self {
            Self::FastClip | Self::Projection | Self::Scale | Self::Frequency => true,
            Self::None
            | Self::ScaleEachStep
            | Self::SpectralNorm
            | Self::GramPenalty
            | Self::SoftCap
            | Self::Hammer => false,
        }
    }

    /// The clipper's method; none where nothing is clipped.
    fn method(self, clipping: &Clipping) -> Option<Method> {
        Some(match self {
            Self::None => return None,
            Self::FastClip => clip::Method::FastClip(FastClip {
                max_rounds: clipping.fastclip_rounds,
                ..FastClip::default()
            })
            .into(),
            Self::Projection => clip::Method::Projection(Projection::default()).into(),
            Self::Scale => clip::Method::Scale.into(),
            Self::Frequency => clip::Method::Frequency { crop: true }.into(),
            Self::ScaleEachStep => EachStep::Scale.into(),
            Self::SpectralNorm => Method::SpectralNorm,
            Self::GramPenalty => Method::GramPenalty {
                weight: clipping.penalty_weight,
            },
            Self::SoftCap => EachStep::SoftCap.into(),
            Self::Hammer => EachStep::Hammer.into(),
        })
    }
}

/// What happens to batch normalisations, if the network has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchNorms {
    /// Neither measured nor clipped.
    #[default]
    Keep,
    /// Clipped by themselves.
    Clip,
    /// Clipped together with the convolution before them, as one operator ([`specclip_burn::BatchNorms::Compose`]).
    Compose,
}

/// The norm that some layers are clipped to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// A glob that their names match.
    pub layers: String,
    /// The norm.
    pub norm: f64,
}

/// What is clipped, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clipping {
    /// By which method.
    pub method: ClipMethod,
    /// To which norms; later ones go before earlier ones.
    pub targets: Vec<Target>,
    /// With every so many-th step, where the method clips now and then.
    pub every: u64,
    /// Rounds of FastClip in one clip, at most; a solve in it counts for two. Where many singular values are above the norm, as in a large
    /// layer at the beginning, one clip cannot lower them all in reasonable time: a round lowers a few. The next clip goes on.
    #[serde(default = "usual_rounds")]
    pub fastclip_rounds: usize,
    /// The factor of the penalty, where the method is one.
    #[serde(default = "usual_penalty_weight")]
    pub penalty_weight: f64,
    /// What happens to batch normalisations.
    pub batch_norms: BatchNorms,
}

fn usual_rounds() -> usize {
    10
}

fn usual_penalty_weight() -> f64 {
    1.0
}

impl Default for Clipping {
    /// Nothing is clipped.
    fn default() -> Self {
        Self {
            method: ClipMethod::None,
            targets: Vec::new(),
            every: 100,
            fastclip_rounds: usual_rounds(),
            penalty_weight: usual_penalty_weight(),
            batch_norms: BatchNorms::Keep,
        }
    }
}

impl Settings {
    /// The learning rate in an epoch, counted from 0.
    pub fn learning_rate_in(&self, epoch: u32) -> f64 {
        match self.schedule {
            None => self.learning_rate,
            Some(schedule) => {
                let times = epoch / schedule.epochs.max(1);
                self.learning_rate * schedule.factor.powi(times.try_into().unwrap_or(i32::MAX))
            }
        }
    }

    pub(super) fn sampling(&self) -> Sampling {
        Sampling {
            batch: self.batch,
            seed: self.seed,
            augmentation: self.augmentation,
            normalization: self.normalization,
        }
    }

    /// Whether a run ends there.
    pub(super) fn is_over(&self, position: Position) -> bool {
        position.epoch >= self.epochs || self.steps.is_some_and(|steps| position.step >= steps)
    }

    /// Refuses what makes no run on these images.
    pub(super) fn check(&self, kind: DatasetKind) -> Result<(), Error> {
        let refuse = |setting, problem: String| Err(Error::Setting { setting, problem });
        let [c, h, w] = kind.shape();
        if self.network.input_shape() != kind.shape() {
            let name = kind.name();
            let [nc, nh, nw] = self.network.input_shape();
            return refuse(
                "network",
                format!("it takes images of {nc}x{nh}x{nw}, and those of {name} are {c}x{h}x{w}"),
            );
        }
        if self.network.classes() < kind.classes().len() {
            let (has, needed) = (self.network.classes(), kind.classes().len());
            return refuse(
                "network",
                format!("it has {has} outputs for {needed} classes"),
            );
        }
        if self.epochs == 0 || self.steps == Some(0) {
            return refuse(
                "length",
                "0 epochs or steps train nothing; use 1 or more".to_owned(),
            );
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            let rate = self.learning_rate;
            return refuse("learning rate", format!("{rate} is not a positive number"));
        }
        if let Some(Schedule { epochs, factor }) = self.schedule
            && (epochs == 0 || !(factor.is_finite() && factor > 0.0))
        {
            return refuse(
                "schedule",
                format!("times {factor} every {epochs} epochs is none; both must be above 0"),
            );
        }
        self.optimizer.check()?;
        self.clipping.check(self.network.batch_norm())
    }

    /// The first setting in which two runs differ, and both values.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let json = |settings| serde_json::to_value(settings).unwrap_or_default();
        let (a, b) = (json(self), json(other));
        // What differs with the network follows from it.
        difference("network", &a["network"], &b["network"]).or_else(|| difference("", &a, &b))
    }
}

fn difference(name: &str, a: &Value, b: &Value) -> Option<String> {
    if a == b {
        return None;
    }
    let (Value::Object(x), Value::Object(y)) = (a, b) else {
        return Some(format!("{name} is {a} there and {b} here"));
    };
    let inside = |key: &String| {
        let name = if name.is_empty() {
            key.clone()
        } else {
            format!("{name}.{key}")
        };
        let value = |object: &serde_json::Map<_, _>| object.get(key).cloned().unwrap_or_default();
        difference(&name, &value(x), &value(y))
    };
    x.keys().chain(y.keys()).find_map(inside)
}

impl Clipping {
    fn check(&self, batch_norm: bool) -> Result<(), Error> {
        let refuse = |problem: &str| {
            Err(Error::Setting {
                setting: "clipping",
                problem: problem.to_owned(),
            })
        };
        match (self.method, self.targets.is_empty()) {
            (ClipMethod::None, false) => refuse("a norm needs a method to get there; name one"),
            (ClipMethod::None, true) => Ok(()),
            (_, true) => refuse("a method needs a norm to clip to; give one"),
            (_, false) if self.every == 0 => {
                refuse("clipping every 0 steps is none; use 1 or more")
            }
            (_, false) => Ok(()),
        }?;
        if !batch_norm && self.batch_norms != BatchNorms::Keep {
            return refuse("the network has no batch normalisations to clip");
        }
        Ok(())
    }

    /// A clipper that follows this; where nothing is clipped, one that measures when it is told to clip.
    pub(super) fn clipper(&self, network: &Network, input: [usize; 3]) -> Result<Clipper, Error> {
        // The network in the choice of networks, so that names of layers do not begin with its type.
        let clipper = match network {
            Network::SimpleConv(net) => Clipper::trace(net, &input, |net, x| net.forward(x)),
            Network::ResNet18(net) => Clipper::trace(net, &input, |net, x| net.forward(x)),
            Network::Dla(net) => Clipper::trace(net, &input, |net, x| net.forward(x)),
        };
        self.configure(clipper?)
    }

    /// Gives a clipper these settings.
    ///
    /// # Errors
    /// When a norm is none or no layer has a name, or the method does not apply to a layer.
    pub fn configure(&self, clipper: Clipper) -> Result<Clipper, Error> {
        let batch_norms = match self.batch_norms {
            BatchNorms::Keep => specclip_burn::BatchNorms::Keep,
            BatchNorms::Clip => specclip_burn::BatchNorms::Clip,
            BatchNorms::Compose => specclip_burn::BatchNorms::Compose,
        };
        let clipper = clipper.batch_norms(batch_norms);
        let Some(method) = self.method.method(self) else {
            // It measures when it is told to.
            return Ok(clipper.every(u64::MAX)?);
        };
        let every = match self.method.clips_now_and_then() {
            true => self.every,
            false => u64::MAX,
        };
        let mut clipper = clipper.method(method).every(every)?;
        for target in &self.targets {
            clipper = clipper.norm_of(&target.layers, target.norm)?;
        }
        clipper.check()?;
        Ok(clipper)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Recipe;
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let a = Recipe::Simple.settings(DatasetKind::Mnist, 2);
        assert_eq!(a.difference(&a), None);
        let mut b = a.clone();
        b.optimizer = OptimizerConfig::Sgd {
            momentum: 0.5,
            weight_decay: 0.0,
        };
        let message = a.difference(&b).unwrap();
        assert_eq!(message, "optimizer.momentum is 0.9 there and 0.5 here");
    }

    #[test]
    fn names_of_methods_are_those_of_settings() {
        for method in [
            ClipMethod::None,
            ClipMethod::FastClip,
            ClipMethod::Projection,
            ClipMethod::Scale,
            ClipMethod::Frequency,
            ClipMethod::ScaleEachStep,
            ClipMethod::SpectralNorm,
            ClipMethod::GramPenalty,
            ClipMethod::SoftCap,
            ClipMethod::Hammer,
        ] {
            let json = serde_json::to_value(method).unwrap();
            assert_eq!(json, method.name());
        }
    }

    #[test]
    fn what_makes_no_run_is_refused() {
        let good = Recipe::Simple.settings(DatasetKind::Mnist, 2);
        let changes: [fn(&mut Settings); 8] = [
            |s| s.epochs = 0,
            |s| s.steps = Some(0),
            |s| s.learning_rate = f64::NAN,
            |s| {
                s.schedule = Some(Schedule {
                    epochs: 0,
                    factor: 0.1,
                })
            },
            |s| s.optimizer = OptimizerConfig::Adam { weight_decay: -1.0 },
            |s| s.clipping.method = ClipMethod::Scale,
            |s| s.clipping.batch_norms = BatchNorms::Compose,
            |s| {
                let target = Target {
                    layers: "*".to_owned(),
                    norm: 1.0,
                };
                s.clipping.targets.push(target);
            },
        ];
        for change in changes {
            let mut settings = good.clone();
            change(&mut settings);
            assert!(settings.check(DatasetKind::Mnist).is_err(), "{settings:?}");
        }
        assert!(good.check(DatasetKind::Cifar10).is_err());
    }
}
