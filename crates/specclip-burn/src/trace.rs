//! Finding the linear layers of a module, with their shapes, by recording one forward pass.
//!
//! Burn's recording device notes every operation without computing it. The weights of convolutions,
//! transposed convolutions, dense layers and batch normalisations are matched to the parameters of
//! the module by the tensors that hold them.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::backend::Capture;
use burn::backend::ir::{
    BaseOperationIr, FloatOperationIr, GraphIr, ModuleOperationIr, NumericOperationIr, OperationIr,
    PadModeIr, PadOpIr, ScalarIr, ShapeOpIr, TensorId, TensorIr,
};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Device, Tensor};
use specclip::operator::{ConvParams, ConvTransposeParams, PaddingMode};

use crate::conv::recorded;
use crate::error::Error;

/// What a layer does with its weight.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A convolution.
    Conv(ConvParams),
    /// A transposed convolution.
    ConvTranspose(ConvTransposeParams),
    /// A dense layer; its weight has the shape (inputs, outputs).
    Dense,
    /// Batch normalisation with running statistics; its weight is gamma.
    BatchNorm {
        /// The running variance.
        variance: ParamId,
        /// What is added to the variance.
        eps: f64,
    },
}

impl Kind {
    /// Its name in reports: `conv2d`, `conv_transpose1d`, `dense`, `batch_norm`.
    pub fn name(&self) -> String {
        match self {
            Self::Conv(params) => format!("conv{}d", params.stride.len()),
            Self::ConvTranspose(params) => format!("conv_transpose{}d", params.stride.len()),
            Self::Dense => "dense".to_owned(),
            Self::BatchNorm { .. } => "batch_norm".to_owned(),
        }
    }
}

/// A linear layer of a module.
#[derive(Debug, Clone)]
pub struct TracedLayer {
    /// The path of the module that the weight belongs to, such as `layer1.0.conv2`.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// The weight, or gamma.
    pub weight: ParamId,
    /// The shape of the weight.
    pub weight_shape: Vec<usize>,
    /// The shape of one input, channels first.
    pub input_shape: Vec<usize>,
    /// The batch normalisation that reads this convolution's output alone, as a place in the list of
    /// layers.
    pub batch_norm: Option<usize>,
}

/// Every use of a layer with a weight of its own, in the order of the forward pass.
///
/// `input_shape` is that of one example. A module may be the one in training: it is recorded as it
/// is for inference.
///
/// # Errors
/// [`Error::Trace`] when the forward pass cannot be recorded (it reads values in between, or takes
/// another shape), no layer is found, a layer's weight is computed from parameters, or is not F32.
pub fn trace<M, const D: usize, const E: usize>(
    module: &M,
    input_shape: &[usize],
    forward: impl FnOnce(&M, Tensor<D>) -> Tensor<E>,
) -> Result<Vec<TracedLayer>, Error>
where
    M: Module,
{
    if input_shape.len() + 1 != D || input_shape.contains(&0) {
        return Err(Error::Trace(format!(
            "the forward pass takes {D} dimensions, so an example has {}, each at least 1, not {input_shape:?}",
            D - 1
        )));
    }
    // The original's running statistics would follow a clone to another device.
    let module = module.valid();
    let capture = Device::capture();
    let shape: [usize; D] = std::array::from_fn(|i| if i == 0 { 1 } else { input_shape[i - 1] });
    let mut names = Names::default();
    let record = || {
        capture.capture_scope(|scope| {
            let module = module.to_device(&capture);
            module.visit(&mut names);
            let x = Tensor::<D>::zeros(shape, &Device::flex()).to_device(&capture);
            let input = id(&x);
            let output = forward(&module, x);
            scope.complete(input, id(&output))
        })
    };
    // Burn's layers say by panicking that an input does not fit, or that a value is not there to read.
    let recorded = catch_unwind(AssertUnwindSafe(record)).map_err(|panic| refused(&*panic))?;
    let captured = recorded.map_err(|error| Error::Trace(format!("{error:?}")))?;
    let layers = Reader::new(&names, &captured.graph).layers()?;
    if layers.is_empty() {
        return Err(Error::Trace(
            "the forward pass has no convolution, transposed convolution, dense layer or batch \
             normalisation whose weight is a parameter of the module"
                .to_owned(),
        ));
    }
    Ok(layers)
}

fn refused(panic: &(dyn Any + Send)) -> Error {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason was given");
    Error::Trace(format!(
        "the forward pass cannot be recorded on an example of this shape: {message}"
    ))
}

fn id<const D: usize>(tensor: &Tensor<D>) -> Option<TensorId> {
    Some(tensor.clone().try_into_primitive::<Capture>().ok()?.id())
}

/// The parameters of a module, by the tensors that hold them on the recording device.
#[derive(Default)]
struct Names {
    path: Vec<String>,
    parameters: HashMap<TensorId, (String, ParamId)>,
}

impl ModuleVisitor for Names {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(id) = id(&param.val()) {
            let module = &self.path[..self.path.len().saturating_sub(1)];
            self.parameters.insert(id, (module.join("."), param.id));
        }
    }
}

/// Reads the operations in their order.
struct Reader<'a> {
    names: &'a Names,
    graph: &'a GraphIr,
    /// Tensors that are made of parameters and constants alone.
    constant: HashSet<TensorId>,
    pads: HashMap<TensorId, &'a PadOpIr>,
    /// Parameters that are matrices, by the tensors with further axes in front through which they are read.
    views: HashMap<TensorId, &'a TensorIr>,
    /// How many operations read a tensor.
    readers: HashMap<TensorId, usize>,
    /// The convolution whose output a tensor is, a bias added or not.
    outputs: HashMap<TensorId, usize>,
    layers: Vec<TracedLayer>,
    /// Layers whose weight is computed from parameters.
    computed: usize,
}

impl<'a> Reader<'a> {
    fn new(names: &'a Names, graph: &'a GraphIr) -> Self {
        let mut readers = HashMap::new();
        for operation in &graph.operations {
            if !matches!(operation, OperationIr::Drop(_)) {
                for input in operation.inputs() {
                    *readers.entry(input.id).or_insert(0) += 1;
                }
            }
        }
        Self {
            names,
            graph,
            constant: names.parameters.keys().copied().collect(),
            pads: HashMap::new(),
            views: HashMap::new(),
            readers,
            outputs: HashMap::new(),
            layers: Vec::new(),
            computed: 0,
        }
    }

    fn layers(mut self) -> Result<Vec<TracedLayer>, Error> {
        for operation in &self.graph.operations {
            self.read(operation)?;
        }
        if self.computed > 0 {
            return Err(Error::Trace(format!(
                "{} layers apply a weight that is computed from parameters (transposed, merged or \
                 normalised in the forward pass) or several matrices at once, which a clip could not write back; let the layer read \
                 its parameter itself",
                self.computed
            )));
        }
        Ok(self.layers)
    }

    fn read(&mut self, operation: &'a OperationIr) -> Result<(), Error> {
        match operation {
            OperationIr::Module(module) => self.read_module(module)?,
            OperationIr::Custom(custom) => {
                if let (Some(params), [x, weight], [out]) =
                    (recorded(custom), &custom.inputs[..], &custom.outputs[..])
                {
                    self.conv(x, weight, out, params)?;
                }
            }
            OperationIr::BaseFloat(BaseOperationIr::Reshape(op) | BaseOperationIr::Expand(op)) => {
                self.view(op);
            }
            OperationIr::NumericFloat(_, NumericOperationIr::Pad(pad)) => {
                self.pads.insert(pad.out.id, pad);
            }
            OperationIr::NumericFloat(_, NumericOperationIr::Add(add)) => {
                // A bias: one side is a layer's output, the other made of parameters.
                for (a, b) in [(&add.lhs, &add.rhs), (&add.rhs, &add.lhs)] {
                    if self.constant.contains(&b.id)
                        && add.out.shape == a.shape
                        && self.is_read_once(a)
                        && let Some(&layer) = self.outputs.get(&a.id)
                    {
                        self.outputs.insert(add.out.id, layer);
                    }
                }
            }
            OperationIr::Float(_, FloatOperationIr::Matmul(product)) => {
                self.dense(&product.lhs, &product.rhs)?;
                if self.constant.contains(&product.lhs.id)
                    && !self.constant.contains(&product.rhs.id)
                {
                    self.computed += 1;
                }
            }
            _ => {}
        }
        // What no operation computes from the input is a constant: reshaped biases among them.
        let mut inputs = operation.inputs().peekable();
        if inputs.peek().is_some() && inputs.all(|input| self.constant.contains(&input.id)) {
            self.constant
                .extend(operation.outputs().map(|output| output.id));
        }
        Ok(())
    }

    fn read_module(&mut self, operation: &ModuleOperationIr) -> Result<(), Error> {
        macro_rules! conv {
            ($op:expr, $pair:expr) => {{
                let params = ConvParams {
                    stride: $op.options.stride.to_vec(),
                    padding: $op.options.padding.iter().map($pair).collect(),
                    mode: PaddingMode::Zeros,
                    dilation: $op.options.dilation.to_vec(),
                    groups: $op.options.groups,
                };
                self.conv(&$op.x, &$op.weight, &$op.out, params)?;
            }};
        }
        macro_rules! transposed {
            ($op:expr) => {{
                let params = ConvTransposeParams {
                    stride: $op.options.stride.to_vec(),
                    padding: $op.options.padding.iter().map(|&p| (p, p)).collect(),
                    output_padding: $op.options.padding_out.to_vec(),
                    dilation: $op.options.dilation.to_vec(),
                    groups: $op.options.groups,
                };
                self.add(
                    Kind::ConvTranspose(params),
                    &$op.x,
                    &$op.weight,
                    Some(&$op.out),
                )?;
            }};
        }
        match operation {
            ModuleOperationIr::Conv1d(op) => conv!(op, |&pair| pair),
            ModuleOperationIr::Conv2d(op) => conv!(op, |&pair| pair),
            ModuleOperationIr::Conv3d(op) => conv!(op, |&p| (p, p)),
            ModuleOperationIr::ConvTranspose1d(op) => transposed!(op),
            ModuleOperationIr::ConvTranspose2d(op) => transposed!(op),
            ModuleOperationIr::ConvTranspose3d(op) => transposed!(op),
            ModuleOperationIr::Linear(op) => self.dense(&op.x, &op.weight)?,
            ModuleOperationIr::BatchNorm(op) => {
                let variance = self.names.parameters.get(&op.variance.id);
                if let (Some((_, variance)), ScalarIr::Float(eps)) = (variance, &op.epsilon) {
                    let kind = Kind::BatchNorm {
                        variance: *variance,
                        eps: *eps,
                    };
                    if self.add(kind, &op.x, &op.gamma, None)? {
                        self.normalised(&op.x);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A convolution; a padding before it that nothing else reads is its own.
    fn conv(
        &mut self,
        x: &TensorIr,
        weight: &TensorIr,
        out: &TensorIr,
        mut params: ConvParams,
    ) -> Result<(), Error> {
        let mut source = x.clone();
        let axes = params.stride.len();
        if let Some(pad) = self.pads.get(&x.id)
            && params.padding.iter().all(|&pair| pair == (0, 0))
            && pad.padding.len() == axes + 2
            && pad.padding[..2] == [(0, 0); 2]
            && self.is_read_once(x)
            && let Some(mode) = padding_mode(&pad.mode)
        {
            params.padding = pad.padding[2..].to_vec();
            params.mode = mode;
            source = pad.input.clone();
        }
        self.add(Kind::Conv(params), &source, weight, Some(out))?;
        Ok(())
    }

    /// A matrix with axes of length 1 in front, or copied along them, is still one matrix: dense layers on inputs
    /// with further axes read theirs so.
    fn view(&mut self, op: &'a ShapeOpIr) {
        let seen = self.views.get(&op.input.id).copied();
        let matrix = seen.unwrap_or(&op.input);
        let (shape, viewed) = (matrix.shape.to_vec(), op.out.shape.to_vec());
        if self.names.parameters.contains_key(&matrix.id)
            && shape.len() == 2
            && viewed.ends_with(&shape)
        {
            self.views.insert(op.out.id, matrix);
        }
    }

    /// A product with a matrix of parameters, at one position or at many.
    fn dense(&mut self, x: &TensorIr, weight: &TensorIr) -> Result<(), Error> {
        let features = x.shape.num_dims() - 1;
        let mut one = x.clone();
        one.shape = vec![1, x.shape[features]].into();
        self.add(Kind::Dense, &one, weight, None)?;
        Ok(())
    }

    /// The batch normalisation that was added last reads the output of a layer.
    fn normalised(&mut self, x: &TensorIr) {
        if self.is_read_once(x)
            && let Some(&layer) = self.outputs.get(&x.id)
        {
            self.layers[layer].batch_norm = Some(self.layers.len() - 1);
        }
    }

    fn is_read_once(&self, tensor: &TensorIr) -> bool {
        self.readers.get(&tensor.id) == Some(&1) && !self.graph.outputs.contains(&tensor.id)
    }

    /// Adds a layer whose weight is a parameter; returns whether it is one.
    fn add(
        &mut self,
        kind: Kind,
        x: &TensorIr,
        weight: &TensorIr,
        out: Option<&TensorIr>,
    ) -> Result<bool, Error> {
        let viewed = self.views.get(&weight.id).filter(|_| kind == Kind::Dense);
        let weight = viewed.copied().unwrap_or(weight);
        // A product of parameters alone is no layer, nor is one of two values.
        if self.constant.contains(&x.id) || !self.constant.contains(&weight.id) {
            return Ok(false);
        }
        // A matrix for each entry of a further axis is no dense layer either.
        let matrices = kind == Kind::Dense && weight.shape.num_dims() != 2;
        let Some((name, id)) = self.names.parameters.get(&weight.id).filter(|_| !matrices) else {
            self.computed += 1;
            return Ok(false);
        };
        if weight.dtype != DType::F32 {
            return Err(Error::Trace(format!(
                "the weight of {name} is of type {:?}; clipping while training works on F32",
                weight.dtype
            )));
        }
        if let Some(out) = out {
            self.outputs.insert(out.id, self.layers.len());
        }
        self.layers.push(TracedLayer {
            name: name.clone(),
            kind,
            weight: *id,
            weight_shape: weight.shape.to_vec(),
            input_shape: x.shape[1..].to_vec(),
            batch_norm: None,
        });
        Ok(true)
    }
}

fn padding_mode(mode: &PadModeIr) -> Option<PaddingMode> {
    match mode {
        PadModeIr::Constant(ScalarIr::Float(0.0)) => Some(PaddingMode::Zeros),
        PadModeIr::Constant(_) => None,
        PadModeIr::Reflect => Some(PaddingMode::Reflect),
        PadModeIr::Edge => Some(PaddingMode::Replicate),
    }
}
