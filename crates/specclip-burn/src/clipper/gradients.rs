//! Gradients of parameters, changed on the host.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor, TensorData};

/// Replaces the gradients of some parameters; those without a gradient, which are not trained, stay without.
pub(super) fn replace<M: Module>(
    module: &M,
    gradients: GradientsParams,
    changes: HashMap<ParamId, Change<'_>>,
) -> GradientsParams {
    let mut replace = Replace { gradients, changes };
    module.visit(&mut replace);
    replace.gradients
}

/// Makes the new gradient of the old one.
pub(super) type Change<'a> = Box<dyn FnOnce(&[f32]) -> Vec<f32> + 'a>;

struct Replace<'a> {
    gradients: GradientsParams,
    changes: HashMap<ParamId, Change<'a>>,
}

impl ModuleVisitor for Replace<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // A parameter in several places has one gradient: its change is taken out.
        let Some(change) = self.changes.remove(&param.id) else {
            return;
        };
        let Some(gradient) = self.gradients.get::<D>(param.id) else {
            return;
        };
        let (shape, device) = (gradient.dims(), gradient.device());
        let old: Vec<f32> = gradient.into_data().iter::<f32>().collect();
        let new = TensorData::new(change(&old), shape);
        let new = Tensor::<D>::from_data(new, (&device, DType::F32));
        self.gradients.register(param.id, new);
    }
}
