//! What a network computes in inference, as a list of steps with shapes and weights.

use burn::nn::{BatchNorm, Linear};
use burn::tensor::Tensor;
use specclip::operator::{ConvKernel, ConvParams};
use specclip_burn::PaddedConv;

use crate::error::Error;

/// A step's result: its place among the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value(usize);

impl Value {
    /// The batch of examples.
    pub(crate) const INPUT: Self = Self(0);
}

/// What a step does with what it reads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    /// The examples.
    Input,
    /// A convolution with the weight, and the bias if there is one, that are named after the step.
    Conv { params: ConvParams, bias: bool },
    /// Batch normalisation with running statistics.
    BatchNorm { eps: f64 },
    /// A dense layer with weight and bias.
    Dense { bias: bool },
    /// Negative numbers become zero.
    Relu,
    /// The sum of two values.
    Add,
    /// Everything times a number.
    Scale(f64),
    /// Channels of several values, one after the other.
    Concat,
    /// The mean of every channel.
    Average,
    /// All axes in one.
    Flatten,
}

/// A step: an operation, what it reads, and the shape of one example of its result.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) op: Op,
    pub(crate) inputs: Vec<usize>,
    pub(crate) shape: Vec<usize>,
}

/// A parameter or running statistic, row-major, as PyTorch lays it out.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// The steps of a network in the order in which they run; the first is its input, the last its output.
#[derive(Debug)]
pub struct Recording {
    pub(crate) steps: Vec<Step>,
    pub(crate) parameters: Vec<Parameter>,
    path: Vec<String>,
}

impl Recording {
    pub(crate) fn new(input_shape: [usize; 3]) -> Result<Self, Error> {
        if input_shape.contains(&0) {
            return Err(Error::Export(format!(
                "an example has channels, height and width, each at least 1, not {input_shape:?}"
            )));
        }
        let input = Step {
            name: "image".to_owned(),
            op: Op::Input,
            inputs: Vec::new(),
            shape: input_shape.to_vec(),
        };
        Ok(Self {
            steps: vec![input],
            parameters: Vec::new(),
            path: Vec::new(),
        })
    }

    /// Steps of the part of the network that has this name in the part around it.
    pub(crate) fn within(
        &mut self,
        name: impl Into<String>,
        steps: impl FnOnce(&mut Self) -> Result<Value, Error>,
    ) -> Result<Value, Error> {
        self.path.push(name.into());
        let value = steps(self);
        self.path.pop();
        value
    }

    fn named(&self, name: &str) -> String {
        let parts: Vec<&str> = self.path.iter().map(String::as_str).collect();
        [&parts[..], &[name]].concat().join(".")
    }

    fn shape(&self, x: Value) -> &[usize] {
        &self.steps[x.0].shape
    }

    fn step(&mut self, name: String, op: Op, inputs: &[Value], shape: Vec<usize>) -> Value {
        self.steps.push(Step {
            name,
            op,
            inputs: inputs.iter().map(|value| value.0).collect(),
            shape,
        });
        Value(self.steps.len() - 1)
    }

    fn parameter<const D: usize>(&mut self, layer: &str, name: &str, tensor: Tensor<D>) {
        let shape = tensor.dims().to_vec();
        let values = tensor.into_data().iter::<f32>().collect();
        self.parameters.push(Parameter {
            name: format!("{layer}.{name}"),
            shape,
            values,
        });
    }

    pub(crate) fn conv(
        &mut self,
        name: &str,
        conv: &PaddedConv<4>,
        x: Value,
    ) -> Result<Value, Error> {
        let name = self.named(name);
        let weight = conv.weight.val();
        let shape = ConvKernel::<f32>::output_shape(&weight.dims(), self.shape(x), &conv.params)?;
        self.parameter(&name, "weight", weight);
        if let Some(bias) = &conv.bias {
            self.parameter(&name, "bias", bias.val());
        }
        let op = Op::Conv {
            params: conv.params.clone(),
            bias: conv.bias.is_some(),
        };
        Ok(self.step(name, op, &[x], shape))
    }

    pub(crate) fn batch_norm(
        &mut self,
        name: &str,
        norm: &BatchNorm,
        x: Value,
    ) -> Result<Value, Error> {
        let name = self.named(name);
        let shape = self.shape(x).to_vec();
        let channels = norm.gamma.dims()[0];
        if shape[0] != channels {
            return Err(Error::Export(format!(
                "the batch normalisation {name} of {channels} channels reads {}",
                shape[0]
            )));
        }
        self.parameter(&name, "weight", norm.gamma.val());
        self.parameter(&name, "bias", norm.beta.val());
        self.parameter(&name, "running_mean", norm.running_mean.value_sync());
        self.parameter(&name, "running_var", norm.running_var.value_sync());
        let op = Op::BatchNorm { eps: norm.epsilon };
        Ok(self.step(name, op, &[x], shape))
    }

    pub(crate) fn dense(&mut self, name: &str, layer: &Linear, x: Value) -> Result<Value, Error> {
        let name = self.named(name);
        let [inputs, outputs] = layer.weight.dims();
        if self.shape(x) != [inputs] {
            return Err(Error::Export(format!(
                "the dense layer {name} of {inputs} inputs reads {:?}; give the shape of the examples that the \
                 network was made for",
                self.shape(x)
            )));
        }
        self.parameter(&name, "weight", layer.weight.val().transpose());
        if let Some(bias) = &layer.bias {
            self.parameter(&name, "bias", bias.val());
        }
        let op = Op::Dense {
            bias: layer.bias.is_some(),
        };
        Ok(self.step(name, op, &[x], vec![outputs]))
    }

    pub(crate) fn relu(&mut self, x: Value) -> Value {
        let name = format!("{}.relu", self.steps[x.0].name);
        self.step(name, Op::Relu, &[x], self.shape(x).to_vec())
    }

    pub(crate) fn add(&mut self, a: Value, b: Value) -> Result<Value, Error> {
        let name = self.named("sum");
        if self.shape(a) != self.shape(b) {
            return Err(Error::Export(format!(
                "{name} adds {:?} and {:?}",
                self.shape(a),
                self.shape(b)
            )));
        }
        Ok(self.step(name, Op::Add, &[a, b], self.shape(a).to_vec()))
    }

    /// Nothing is noted for a factor of 1.
    pub(crate) fn scale(&mut self, x: Value, factor: f64) -> Value {
        if factor == 1.0 {
            return x;
        }
        let name = format!("{}.scaled", self.steps[x.0].name);
        self.step(name, Op::Scale(factor), &[x], self.shape(x).to_vec())
    }

    pub(crate) fn concat(&mut self, values: &[Value]) -> Value {
        let name = self.named("joined");
        let mut shape = values
            .first()
            .map_or(Vec::new(), |&x| self.shape(x).to_vec());
        if let Some(channels) = shape.first_mut() {
            *channels = values.iter().map(|&x| self.shape(x)[0]).sum();
        }
        self.step(name, Op::Concat, values, shape)
    }

    pub(crate) fn average(&mut self, x: Value) -> Value {
        let name = self.named("average");
        let channels = self.shape(x)[0];
        let mean = self.step(name, Op::Average, &[x], vec![channels, 1, 1]);
        self.flatten(mean)
    }

    pub(crate) fn flatten(&mut self, x: Value) -> Value {
        let name = format!("{}.flat", self.steps[x.0].name);
        let elements = self.shape(x).iter().product();
        self.step(name, Op::Flatten, &[x], vec![elements])
    }
}
