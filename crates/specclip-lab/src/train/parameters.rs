//! The parameters of a network by name: out of it, and into it.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::network::Network;

/// A tensor of `f32` in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    pub shape: Vec<usize>,
    /// Little-endian.
    pub bytes: Vec<u8>,
}

impl From<TensorData> for Stored {
    fn from(data: TensorData) -> Self {
        Self {
            shape: data.shape().to_vec(),
            bytes: data.iter::<f32>().flat_map(f32::to_le_bytes).collect(),
        }
    }
}

impl From<Stored> for TensorData {
    fn from(stored: Stored) -> Self {
        let values = stored.bytes.chunks_exact(4);
        // Chunks of 4 bytes have 4 bytes.
        let values = values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        Self::new(values.collect::<Vec<f32>>(), stored.shape)
    }
}

/// Where a walk through a network is. The choice between networks is left out of names.
#[derive(Debug, Default)]
pub(super) struct Path(Vec<String>);

impl Path {
    pub fn enter(&mut self, name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.push(name.to_owned());
        }
    }

    pub fn exit(&mut self, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.pop();
        }
    }

    pub fn name(&self) -> String {
        self.0.join(".")
    }
}

/// All parameters, and the running statistics of batch normalisations as inference would use them.
pub(super) fn save(network: &Network) -> BTreeMap<String, Stored> {
    let mut save = Save::default();
    network.valid().visit(&mut save);
    save.tensors
}

#[derive(Default)]
struct Save {
    path: Path,
    tensors: BTreeMap<String, Stored>,
}

impl ModuleVisitor for Save {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let data = param.val().into_data();
        self.tensors.insert(self.path.name(), data.into());
    }
}

/// Puts stored parameters into a new network, which it takes from the map; those of other names stay there.
/// Nothing of the network's size is allocated unless all are there in their shapes.
pub(super) fn load(
    network: Network,
    tensors: &mut BTreeMap<String, Stored>,
) -> Result<Network, String> {
    let mut compare = Compare {
        path: Path::default(),
        tensors,
        problem: None,
    };
    network.visit(&mut compare);
    if let Some(problem) = compare.problem {
        return Err(problem);
    }
    Ok(network.map(&mut Load {
        path: Path::default(),
        tensors,
    }))
}

struct Compare<'a> {
    path: Path,
    tensors: &'a BTreeMap<String, Stored>,
    problem: Option<String>,
}

impl ModuleVisitor for Compare<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.name();
        let expected = param.lazy_shape();
        let problem = match self.tensors.get(&name) {
            None => format!("it has no tensor {name}"),
            Some(stored) if stored.shape[..] != expected[..] => {
                let (found, expected) = (&stored.shape, &expected[..]);
                format!("its tensor {name} has the shape {found:?}, and the network's {expected:?}")
            }
            Some(_) => return,
        };
        self.problem.get_or_insert(problem);
    }
}

struct Load<'a> {
    path: Path,
    tensors: &'a mut BTreeMap<String, Stored>,
}

impl ModuleMapper for Load<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(stored) = self.tensors.remove(&self.path.name()) else {
            return param;
        };
        param.map(|old| {
            let device = old.device();
            let new = Tensor::from_data(TensorData::from(stored), (&device, DType::F32));
            new.set_require_grad(old.is_require_grad())
        })
    }
}

/// Draws the weights that are still to be drawn, from a seed. Burn has one source of random numbers
/// for all threads, so that one network at a time is drawn.
pub(super) fn drawn<E>(
    seed: u64,
    device: &Device,
    network: impl FnOnce() -> Result<Network, E>,
) -> Result<Network, E> {
    static SOURCE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _source = SOURCE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    device.seed(seed);
    let network = network()?;
    network.visit(&mut Draw);
    Ok(network)
}

struct Draw;

impl ModuleVisitor for Draw {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // A value that is asked for is drawn.
        drop(param.val());
    }
}
