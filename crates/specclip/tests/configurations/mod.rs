//! Random configurations of every operator, each held as plain data so that a failure can be read.

#![allow(dead_code, unused_imports)] // each test file uses its own part

mod strategies;

use specclip::operator::{
    Adjoint, BoxedOperator, Compose, Conv, ConvParams, ConvTranspose, ConvTransposeParams, Dense,
    Diagonal, Function, PaddingMode, PoolParams, ResampleParams, Scaled, Separable, Sum,
};
use specclip::{LinearOperator, Real};

pub use strategies::{combination, conv, conv_transpose, layer, pad, pool, weighted, wide_conv};

/// Numbers in (-1, 1) that look random, are exact in both precisions and are never zero.
pub fn values(count: usize, seed: u64) -> Vec<f64> {
    (1..=count as u64)
        .map(|i| {
            // splitmix64
            let mut z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            ((z >> 41) as f64 + 0.5) / 4_194_304.0 - 1.0
        })
        .collect()
}

fn cast<T: Real>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&x| T::from_f64(x)).collect()
}

/// A dense layer.
#[derive(Debug, Clone)]
pub struct DenseConfig {
    pub outputs: usize,
    pub inputs: usize,
    pub weight: Vec<f64>,
}

impl DenseConfig {
    pub fn build<T: Real>(&self) -> Dense<T> {
        Dense::new(cast(&self.weight), self.outputs, self.inputs).unwrap()
    }
}

/// A convolution; shapes as [`Conv::new`] takes them.
#[derive(Debug, Clone)]
pub struct ConvConfig {
    pub input: Vec<usize>,
    pub weight_shape: Vec<usize>,
    pub params: ConvParams,
    pub weight: Vec<f64>,
}

impl ConvConfig {
    pub fn build<T: Real>(&self) -> Conv<T> {
        let weight = cast(&self.weight);
        Conv::new(weight, &self.weight_shape, &self.input, &self.params).unwrap()
    }
}

/// A transposed convolution; shapes as [`ConvTranspose::new`] takes them.
#[derive(Debug, Clone)]
pub struct ConvTransposeConfig {
    pub input: Vec<usize>,
    pub weight_shape: Vec<usize>,
    pub params: ConvTransposeParams,
    pub weight: Vec<f64>,
}

impl ConvTransposeConfig {
    pub fn build<T: Real>(&self) -> ConvTranspose<T> {
        let weight = cast(&self.weight);
        ConvTranspose::new(weight, &self.weight_shape, &self.input, &self.params).unwrap()
    }
}

/// One factor for each channel.
#[derive(Debug, Clone)]
pub struct DiagonalConfig {
    pub shape: Vec<usize>,
    pub factors: Vec<f64>,
}

impl DiagonalConfig {
    pub fn build<T: Real>(&self) -> Diagonal<T> {
        Diagonal::new(cast(&self.factors), &self.shape).unwrap()
    }
}

/// A convolution and the factors of its output channels.
#[derive(Debug, Clone)]
pub struct ConvNormConfig {
    pub conv: ConvConfig,
    pub factors: Vec<f64>,
}

impl ConvNormConfig {
    pub fn build<T: Real>(&self) -> Compose<Diagonal<T>, Conv<T>> {
        let conv = self.conv.build::<T>();
        let norm = Diagonal::new(cast(&self.factors), conv.output_shape()).unwrap();
        Compose::new(norm, conv).unwrap()
    }
}

/// Average pooling.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    pub input: Vec<usize>,
    pub params: PoolParams,
}

impl PoolConfig {
    pub fn build<T: Real>(&self) -> Separable<T> {
        Separable::average_pool(&self.input, &self.params).unwrap()
    }
}

/// Resampling to `sizes`.
#[derive(Debug, Clone)]
pub struct ResampleConfig {
    pub input: Vec<usize>,
    pub sizes: Vec<usize>,
    pub params: ResampleParams,
}

impl ResampleConfig {
    pub fn build<T: Real>(&self) -> Separable<T> {
        Separable::resample(&self.input, &self.sizes, &self.params).unwrap()
    }
}

/// Padding alone.
#[derive(Debug, Clone)]
pub struct PadConfig {
    pub input: Vec<usize>,
    pub padding: Vec<(usize, usize)>,
    pub mode: PaddingMode,
}

impl PadConfig {
    pub fn build<T: Real>(&self) -> Separable<T> {
        Separable::pad(&self.input, &self.padding, self.mode).unwrap()
    }
}

/// Closures: W x + b and W' y.
#[derive(Debug, Clone)]
pub struct FunctionConfig {
    pub inputs: usize,
    pub weight: Vec<f64>,
    /// One entry for each output.
    pub bias: Vec<f64>,
}

impl FunctionConfig {
    pub fn build<T: Real>(&self) -> BoxedOperator<T> {
        let inputs = self.inputs;
        let (weight, bias) = (cast::<T>(&self.weight), cast::<T>(&self.bias));
        let same_weight = weight.clone();
        let forward = move |x: &[T], y: &mut [T]| {
            let rows = weight.chunks_exact(inputs);
            for ((y, row), &b) in y.iter_mut().zip(rows).zip(&bias) {
                *y = b;
                for (&w, &x) in row.iter().zip(x) {
                    *y += w * x;
                }
            }
        };
        let adjoint = move |y: &[T], x: &mut [T]| {
            x.fill(T::ZERO);
            for (&y, row) in y.iter().zip(same_weight.chunks_exact(inputs)) {
                for (x, &w) in x.iter_mut().zip(row) {
                    *x += w * y;
                }
            }
        };
        let outputs = self.bias.len();
        Box::new(Function::new(&[inputs], &[outputs], forward, adjoint).unwrap())
    }
}

/// Any operator.
#[derive(Debug, Clone)]
pub enum Layer {
    Dense(DenseConfig),
    Conv(ConvConfig),
    ConvTranspose(ConvTransposeConfig),
    Diagonal(DiagonalConfig),
    ConvNorm(ConvNormConfig),
    Pool(PoolConfig),
    Resample(ResampleConfig),
    Pad(PadConfig),
    Function(FunctionConfig),
    /// The outer operator, then the inner one.
    Compose(Box<Layer>, Box<Layer>),
    Sum(Vec<Layer>),
    Scaled(f64, Box<Layer>),
    Adjoint(Box<Layer>),
}

impl Layer {
    pub fn build<T: Real>(&self) -> BoxedOperator<T> {
        match self {
            Self::Dense(c) => Box::new(c.build::<T>()),
            Self::Conv(c) => Box::new(c.build::<T>()),
            Self::ConvTranspose(c) => Box::new(c.build::<T>()),
            Self::Diagonal(c) => Box::new(c.build::<T>()),
            Self::ConvNorm(c) => Box::new(c.build::<T>()),
            Self::Pool(c) => Box::new(c.build::<T>()),
            Self::Resample(c) => Box::new(c.build::<T>()),
            Self::Pad(c) => Box::new(c.build::<T>()),
            Self::Function(c) => c.build::<T>(),
            Self::Compose(outer, inner) => {
                Box::new(Compose::new(outer.build::<T>(), inner.build::<T>()).unwrap())
            }
            Self::Sum(terms) => {
                let terms: Vec<BoxedOperator<T>> = terms.iter().map(|t| t.build::<T>()).collect();
                Box::new(Sum::new(terms).unwrap())
            }
            Self::Scaled(factor, inner) => {
                Box::new(Scaled::new(inner.build::<T>(), *factor).unwrap())
            }
            Self::Adjoint(inner) => Box::new(Adjoint(inner.build::<T>())),
        }
    }

    /// Changes every weight and factor.
    fn visit(&mut self, change: &mut dyn FnMut(&mut f64)) {
        match self {
            Self::Dense(c) => c.weight.iter_mut().for_each(change),
            Self::Conv(c) => c.weight.iter_mut().for_each(change),
            Self::ConvTranspose(c) => c.weight.iter_mut().for_each(change),
            Self::Diagonal(c) => c.factors.iter_mut().for_each(change),
            Self::ConvNorm(c) => {
                let weights = c.conv.weight.iter_mut();
                weights.chain(&mut c.factors).for_each(change);
            }
            Self::Pool(_) | Self::Resample(_) | Self::Pad(_) => {}
            Self::Function(c) => c.weight.iter_mut().for_each(change),
            Self::Compose(outer, inner) => {
                outer.visit(change);
                inner.visit(change);
            }
            Self::Sum(terms) => {
                for term in terms {
                    term.visit(change);
                }
            }
            Self::Scaled(factor, inner) => {
                change(factor);
                inner.visit(change);
            }
            Self::Adjoint(inner) => inner.visit(change),
        }
    }

    /// The operator with the absolute values of all weights: its action on absolute values bounds
    /// every term of a sum, and so the rounding error.
    pub fn absolute(&self) -> Self {
        let mut copy = self.clone();
        copy.visit(&mut |w| *w = w.abs());
        copy
    }

    /// The same shapes with other weights.
    pub fn with_other_weights(&self, seed: u64) -> Self {
        let (mut copy, mut next) = (self.clone(), seed);
        copy.visit(&mut |w| {
            next = next.wrapping_add(1);
            *w = values(1, next)[0];
        });
        copy
    }

    /// No element of a result is a sum of more terms, to first order.
    pub fn terms(&self) -> usize {
        match self {
            Self::Compose(outer, inner) => outer.terms() + inner.terms(),
            Self::Sum(terms) => terms.iter().map(Self::terms).sum(),
            Self::Scaled(_, inner) | Self::Adjoint(inner) => inner.terms() + 1,
            leaf => {
                let mut weights = 0;
                leaf.clone().visit(&mut |_| weights += 1);
                let op = leaf.build::<f64>();
                op.inputs() + op.outputs() + weights
            }
        }
    }

    /// Whether the Frobenius norm is promised.
    pub fn has_norm(&self) -> bool {
        match self {
            Self::Function(_) => false,
            Self::Compose(outer, inner) => {
                matches!(**outer, Self::Diagonal(_)) && inner.is_convolution()
            }
            Self::Sum(terms) => terms.len() == 1 && terms[0].has_norm(),
            Self::Scaled(_, inner) | Self::Adjoint(inner) => inner.has_norm(),
            _ => true,
        }
    }

    fn is_convolution(&self) -> bool {
        match self {
            Self::Conv(_) | Self::ConvTranspose(_) | Self::ConvNorm(_) => true,
            Self::Scaled(_, inner) | Self::Adjoint(inner) => inner.is_convolution(),
            _ => false,
        }
    }
}
