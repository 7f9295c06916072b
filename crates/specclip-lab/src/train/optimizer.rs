//! Optimisers whose state has the names of the network's parameters, so that a checkpoint can hold it.
//!
//! The rules are Burn's; its own `ModuleOptimizer` keeps the state under identities that are drawn
//! anew with every network.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdamConfig, DynOptimizer, DynState, GradientsParams, SgdConfig, StateSink, StateSource,
};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::parameters::{Path, Stored};
use crate::error::Error;
use crate::network::Network;

/// How gradients move weights. Weight decay is added to the gradient, as PyTorch's `SGD` and `Adam` do,
/// for all parameters alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Stochastic gradient descent with momentum, without dampening.
    Sgd {
        /// The share of the last move that is kept, 0 to below 1.
        momentum: f64,
        /// Factor of the weights in the gradient.
        weight_decay: f64,
    },
    /// Adam (Kingma & Ba 2015) with the usual constants 0.9, 0.999 and 1e-8.
    Adam {
        /// Factor of the weights in the gradient.
        weight_decay: f64,
    },
}

impl OptimizerConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |setting, problem| Err(Error::Setting { setting, problem });
        let (momentum, decay) = match *self {
            Self::Sgd {
                momentum,
                weight_decay,
            } => (momentum, weight_decay),
            Self::Adam { weight_decay } => (0.0, weight_decay),
        };
        if !(0.0..1.0).contains(&momentum) {
            let problem = format!("{momentum} is not a number from 0 to below 1");
            return refuse("momentum", problem);
        }
        if !(decay.is_finite() && decay >= 0.0) {
            let problem = format!("{decay} is not a number from 0 on");
            return refuse("weight decay", problem);
        }
        Ok(())
    }

    /// The tensors that it keeps of each parameter, by the names of Burn's states.
    fn kept(&self) -> &'static [&'static str] {
        match *self {
            Self::Sgd { momentum, .. } if momentum > 0.0 => &["momentum.velocity"],
            Self::Sgd { .. } => &[],
            Self::Adam { .. } => &["momentum.moment_1", "momentum.moment_2"],
        }
    }

    fn rule(&self) -> Box<dyn DynOptimizer> {
        let decay = |factor: f64| (factor > 0.0).then(|| WeightDecayConfig::new(factor as f32));
        match *self {
            Self::Sgd {
                momentum,
                weight_decay,
            } => {
                let momentum = (momentum > 0.0).then(|| {
                    let config = MomentumConfig::new().with_momentum(momentum);
                    config.with_dampening(0.0)
                });
                let config = SgdConfig::new().with_momentum(momentum);
                Box::new(config.with_weight_decay(decay(weight_decay)).build())
            }
            Self::Adam { weight_decay } => {
                let config = AdamConfig::new().with_epsilon(1e-8);
                Box::new(config.with_weight_decay(decay(weight_decay)).build())
            }
        }
    }
}

/// An optimiser and what it remembers of each parameter.
pub(super) struct Optimizer {
    rule: Box<dyn DynOptimizer>,
    kept: &'static [&'static str],
    states: BTreeMap<String, DynState>,
}

/// What an optimiser remembers, by name.
pub(super) struct Memory {
    /// As large as the parameters.
    pub tensors: BTreeMap<String, Stored>,
    /// Numbers of steps.
    pub counts: BTreeMap<String, u64>,
}

impl Optimizer {
    pub fn new(config: &OptimizerConfig) -> Self {
        Self {
            rule: config.rule(),
            kept: config.kept(),
            states: BTreeMap::new(),
        }
    }

    /// Moves each parameter that has a gradient.
    pub fn step(&mut self, rate: f64, network: Network, gradients: GradientsParams) -> Network {
        network.map(&mut Step {
            optimizer: self,
            gradients,
            rate,
            path: Path::default(),
        })
    }

    pub fn memory(&self) -> Memory {
        let mut sink = StateSink::default();
        for (name, state) in &self.states {
            self.rule.state_flatten(name, state, &mut sink);
        }
        let tensors = sink.tensors.into_iter().map(|(name, data)| {
            let stored = Stored::from(data);
            (name, stored)
        });
        // These rules count steps, and nothing else that is not a tensor.
        let count = |(name, scalar)| Some((name, u64::try_from(scalar).ok()?));
        Memory {
            tensors: tensors.collect(),
            counts: sink.scalars.into_iter().filter_map(count).collect(),
        }
    }

    /// Goes on from a memory, which must be that of a network with the same parameters.
    pub fn restore(&mut self, network: &Network, memory: Memory) -> Result<(), String> {
        let counts = memory.counts.into_iter();
        let mut restore = Restore {
            optimizer: self,
            source: StateSource::new(counts.map(|(name, n)| (name, n.into())).collect()),
            shapes: BTreeMap::new(),
            path: Path::default(),
            problem: None,
        };
        for (name, stored) in memory.tensors {
            restore.shapes.insert(name.clone(), stored.shape.clone());
            restore.source.insert_tensor(name, stored.into());
        }
        network.visit(&mut restore);
        let left = restore.shapes.into_keys().next();
        restore.problem = restore.problem.or(left);
        match restore.problem {
            Some(name) => Err(format!(
                "what the optimiser keeps as {name} is not there, of another shape, or too much"
            )),
            None => Ok(()),
        }
    }
}

struct Step<'a> {
    optimizer: &'a mut Optimizer,
    gradients: GradientsParams,
    rate: f64,
    path: Path,
}

impl ModuleMapper for Step<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let Some(gradient) = self.gradients.remove::<D>(id) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let name = self.path.name();
        let state = self.optimizer.states.remove(&name);
        let (tensor, state) = self.optimizer.rule.step_dyn(
            D,
            self.rate,
            tensor.inner().into_bridge(),
            gradient.into_bridge(),
            state,
        );
        if let Some(state) = state {
            self.optimizer.states.insert(name, state);
        }
        let tensor = Tensor::from_inner(Tensor::from_bridge(tensor)).require_grad();
        Param::from_mapped_value(id, tensor, mapper)
    }
}

struct Restore<'a> {
    optimizer: &'a mut Optimizer,
    source: StateSource,
    shapes: BTreeMap<String, Vec<usize>>,
    path: Path,
    /// The first parameter whose state is not there.
    problem: Option<String>,
}

impl ModuleVisitor for Restore<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.val().is_require_grad() {
            return;
        }
        let name = self.path.name();
        let shape = param.val().dims();
        let mut fits = true;
        for kept in self.optimizer.kept {
            let stored = self.shapes.remove(&format!("{name}.{kept}"));
            fits &= stored.is_some_and(|stored| stored[..] == shape);
        }
        let device = Device::flex();
        let rule = &self.optimizer.rule;
        match rule.state_unflatten(D, &name, &mut self.source, &device) {
            Some(state) if fits => {
                self.optimizer.states.insert(name, state);
            }
            _ => self.problem = self.problem.take().or(Some(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{NetworkConfig, SimpleConvConfig};

    /// Three steps with the same gradients in PyTorch 2: `torch.optim.SGD(lr=0.1, momentum=0.9,
    /// weight_decay=5e-4)` and `torch.optim.Adam(lr=1e-2, weight_decay=1e-4)`.
    #[test]
    fn steps_are_those_of_pytorch() {
        let start = [0.5, -1.25, 2.0, 0.75];
        let gradients = [
            [0.1, -0.2, 0.3, 1e-6],
            [0.4, 0.25, -0.5, -1e-3],
            [-0.3, 0.05, 0.2, 2.0],
        ];
        let sgd = OptimizerConfig::Sgd {
            momentum: 0.9,
            weight_decay: 5e-4,
        };
        let adam = OptimizerConfig::Adam { weight_decay: 1e-4 };
        let expected = [
            [0.426_763_65, -1.247_952_1, 1.993_142_2, 0.549_979_3],
            [0.479_387_13, -1.243_844_7, 1.992_998_1, 0.740_484_2f32],
        ];
        for ((config, rate), expected) in [(sgd, 0.1), (adam, 1e-2)].into_iter().zip(expected) {
            let rule = config.rule();
            let mut state = None;
            let device = Device::flex();
            let mut weights = Tensor::<1>::from_floats(start, &device);
            for gradient in gradients {
                let gradient = Tensor::<1>::from_floats(gradient, &device);
                let (moved, kept) = rule.step_dyn(
                    1,
                    rate,
                    weights.into_bridge(),
                    gradient.into_bridge(),
                    state,
                );
                (weights, state) = (Tensor::from_bridge(moved), kept);
            }
            let weights: Vec<f32> = weights.into_data().iter::<f32>().collect();
            for (w, e) in weights.iter().zip(expected) {
                assert!((w - e).abs() < 1e-6, "{config:?}: {weights:?}");
            }
        }
    }

    /// What one optimiser remembers lets another go on, and a memory of other shapes is refused.
    #[test]
    fn a_memory_is_of_one_network() {
        let device = Device::flex().autodiff();
        let network = |channels| {
            let config = SimpleConvConfig {
                channels,
                ..SimpleConvConfig::default()
            };
            NetworkConfig::SimpleConv(config).init(&device).unwrap()
        };
        let small = network(2);
        let x = Tensor::<4>::ones([1, 1, 28, 28], &device);
        let gradients = GradientsParams::from_grads(small.forward(x).sum().backward(), &small);
        let mut optimizer = Optimizer::new(&OptimizerConfig::Adam { weight_decay: 0.0 });
        let small = optimizer.step(0.1, small, gradients);
        let memory = optimizer.memory();
        assert_eq!((memory.tensors.len(), memory.counts.len()), (8, 4));
        let mut other = Optimizer::new(&OptimizerConfig::Adam { weight_decay: 0.0 });
        let problem = other.restore(&network(3), optimizer.memory()).unwrap_err();
        assert!(problem.contains("conv.conv.weight"), "{problem}");
        other.restore(&small, memory).unwrap();
        let (a, b) = (optimizer.memory(), other.memory());
        assert_eq!((a.tensors, a.counts), (b.tensors, b.counts));
    }
}
