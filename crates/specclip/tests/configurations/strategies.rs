//! How the configurations are drawn. Parameters that do not fit each other are cut down, so that
//! no draw is thrown away.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use specclip::LinearOperator;
use specclip::operator::{
    ConvParams, ConvTransposeParams, Coordinates, NearestRounding, PaddingMode, PoolParams,
    ResampleMode, ResampleParams,
};

use super::{
    ConvConfig, ConvNormConfig, ConvTransposeConfig, DenseConfig, DiagonalConfig, FunctionConfig,
    Layer, PadConfig, PoolConfig, ResampleConfig, values,
};

fn mode() -> impl Strategy<Value = PaddingMode> {
    select(vec![
        PaddingMode::Zeros,
        PaddingMode::Circular,
        PaddingMode::Reflect,
        PaddingMode::Replicate,
    ])
}

/// Padding, different on both sides; none in every third draw.
fn sides(most: usize) -> impl Strategy<Value = (usize, usize)> {
    prop_oneof![
        1 => Just((0_usize, 0_usize)),
        2 => (0..=most, 0..=most),
    ]
}

/// A stride or a dilation.
fn step(most: usize) -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(1_usize), 1 => 1..=most]
}

/// Groups, input and output channels of a group: mixed, depthwise, wide.
fn channels() -> impl Strategy<Value = (usize, usize, usize)> {
    prop_oneof![
        2 => (1..=3_usize, 1..=3_usize, 1..=3_usize),
        1 => (2..=5_usize, Just(1_usize), 1..=2_usize),
        1 => (Just(1_usize), 1..=9_usize, 1..=12_usize),
    ]
}

/// What the mode allows: reflect padding is smaller than the input.
fn allowed(mode: PaddingMode, size: usize, (before, after): (usize, usize)) -> (usize, usize) {
    match mode {
        PaddingMode::Reflect => (before.min(size - 1), after.min(size - 1)),
        _ => (before, after),
    }
}

fn shape(channels: usize, sizes: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut shape = vec![channels];
    shape.extend(sizes);
    shape
}

/// Size, taps, stride, dilation, padding of one axis.
type Axis = (usize, usize, usize, usize, (usize, usize));

/// A convolution in one to three dimensions. Small sizes with much padding are over-padded: a
/// circular axis is then read several times over.
pub fn conv() -> BoxedStrategy<ConvConfig> {
    (1..=3_usize)
        .prop_flat_map(|axes| {
            let (size, taps, padding): (usize, usize, usize) =
                [(24, 7, 9), (7, 4, 5), (3, 3, 3)][axes - 1];
            let axis = (1..=size, 1..=taps, step(4), step(3), sides(padding));
            let pointwise = proptest::bool::weighted(0.15);
            (vec(axis, axes), channels(), mode(), pointwise, any::<u64>())
        })
        .prop_map(|(axes, channels, mode, pointwise, seed)| {
            let axes = axes.into_iter().map(|axis| {
                if pointwise {
                    (axis.0, 1, 1, axis.3, (0, 0))
                } else {
                    axis
                }
            });
            conv_from(&axes.collect::<Vec<_>>(), channels, mode, seed)
        })
        .boxed()
}

/// A convolution of 3 x 3 taps with many channels, which runs by other products than the rest.
pub fn wide_conv() -> impl Strategy<Value = ConvConfig> {
    let axis = (6..=11_usize, Just(3_usize), Just(1), Just(1), sides(3));
    let channels = (Just(1_usize), 16..=19_usize, 16..=21_usize);
    (vec(axis, 2), channels, mode(), any::<u64>())
        .prop_map(|(axes, channels, mode, seed)| conv_from(&axes, channels, mode, seed))
}

fn conv_from(
    axes: &[Axis],
    (groups, ins, outs): (usize, usize, usize),
    mode: PaddingMode,
    seed: u64,
) -> ConvConfig {
    let mut params = ConvParams::new(axes.len()).groups(groups);
    params.mode = mode;
    let mut weight_shape = vec![groups * outs, ins];
    for (i, &(size, taps, stride, dilation, padding)) in axes.iter().enumerate() {
        let (before, after) = allowed(mode, size, padding);
        let padded = size + before + after;
        weight_shape.push(1 + (taps - 1).min((padded - 1) / dilation));
        params.padding[i] = (before, after);
        params.stride[i] = stride;
        params.dilation[i] = dilation;
    }
    ConvConfig {
        input: shape(groups * ins, axes.iter().map(|a| a.0)),
        weight: values(weight_shape.iter().product(), seed),
        weight_shape,
        params,
    }
}

/// A transposed convolution in one to three dimensions.
pub fn conv_transpose() -> BoxedStrategy<ConvTransposeConfig> {
    (1..=3_usize)
        .prop_flat_map(|axes| {
            let (size, taps, padding): (usize, usize, usize) =
                [(12, 6, 6), (4, 4, 4), (2, 3, 3)][axes - 1];
            let axis = (1..=size, 1..=taps, step(3), step(3), sides(padding));
            let output_padding = vec(0..=2_usize, axes);
            (vec(axis, axes), output_padding, channels(), any::<u64>())
        })
        .prop_map(|(axes, output_padding, channels, seed)| {
            conv_transpose_from(&axes, &output_padding, channels, seed)
        })
        .boxed()
}

fn conv_transpose_from(
    axes: &[Axis],
    output_padding: &[usize],
    (groups, ins, outs): (usize, usize, usize),
    seed: u64,
) -> ConvTransposeConfig {
    let mut params = ConvTransposeParams::new(axes.len());
    params.groups = groups;
    let mut weight_shape = vec![groups * ins, outs];
    for (i, &(size, taps, stride, dilation, (before, after))) in axes.iter().enumerate() {
        let added = output_padding[i].min(stride.max(dilation) - 1);
        let full = (size - 1) * stride + dilation * (taps - 1) + 1 + added;
        let before = before.min(full - 1);
        params.padding[i] = (before, after.min(full - 1 - before));
        params.output_padding[i] = added;
        params.stride[i] = stride;
        params.dilation[i] = dilation;
        weight_shape.push(taps);
    }
    ConvTransposeConfig {
        input: shape(groups * ins, axes.iter().map(|a| a.0)),
        weight: values(weight_shape.iter().product(), seed),
        weight_shape,
        params,
    }
}

/// Average pooling, dilated as ONNX has it.
pub fn pool() -> BoxedStrategy<PoolConfig> {
    (1..=3_usize)
        .prop_flat_map(|axes| {
            let size = [12_usize, 7, 3][axes - 1];
            let axis = (1..=size, 1..=4_usize, step(4), step(2), sides(3));
            (1..=3_usize, vec(axis, axes), any::<bool>(), any::<bool>())
        })
        .prop_map(|(channels, axes, ceil_mode, count_include_pad)| {
            let mut params = PoolParams::new(vec![1; axes.len()]);
            params.ceil_mode = ceil_mode;
            params.count_include_pad = count_include_pad;
            for (i, &(size, kernel, stride, dilation, (before, after))) in axes.iter().enumerate() {
                let fit = |kernel: usize| {
                    let extent = (kernel - 1) * dilation + 1;
                    let padding = (before.min(extent - 1), after.min(extent - 1));
                    (extent <= size + padding.0 + padding.1).then_some((kernel, padding))
                };
                let largest_inside = 1 + (kernel - 1).min((size - 1) / dilation);
                let (kernel, padding) = fit(kernel).or_else(|| fit(largest_inside)).unwrap();
                params.kernel[i] = kernel;
                params.padding[i] = padding;
                params.stride[i] = stride;
                params.dilation[i] = dilation;
            }
            PoolConfig {
                input: shape(channels, axes.iter().map(|a| a.0)),
                params,
            }
        })
        .boxed()
}

fn resample() -> impl Strategy<Value = ResampleConfig> {
    let mode = select(vec![
        ResampleMode::Linear,
        ResampleMode::Nearest(NearestRounding::RoundPreferFloor),
        ResampleMode::Nearest(NearestRounding::RoundPreferCeil),
        ResampleMode::Nearest(NearestRounding::Floor),
        ResampleMode::Nearest(NearestRounding::Ceil),
    ]);
    let coordinates = select(vec![
        Coordinates::HalfPixel,
        Coordinates::HalfPixelSymmetric,
        Coordinates::PytorchHalfPixel,
        Coordinates::AlignCorners,
        Coordinates::Asymmetric,
        Coordinates::TfHalfPixelForNn,
    ]);
    let axis = (1..=6_usize, 1..=8_usize, 0.3..3.0_f64);
    let axes = vec(axis, 1..=3_usize);
    (1..=3_usize, axes, any::<bool>(), mode, coordinates).prop_map(
        |(channels, axes, stated, mode, coordinates)| ResampleConfig {
            input: shape(channels, axes.iter().map(|a| a.0)),
            sizes: axes.iter().map(|a| a.1).collect(),
            params: ResampleParams {
                mode,
                coordinates,
                scales: stated.then(|| axes.iter().map(|a| a.2).collect()),
            },
        },
    )
}

/// Padding alone.
pub fn pad() -> BoxedStrategy<PadConfig> {
    let axes = vec((1..=5_usize, sides(6)), 1..=3_usize);
    (1..=2_usize, axes, mode())
        .prop_map(|(channels, axes, mode)| PadConfig {
            input: shape(channels, axes.iter().map(|a| a.0)),
            padding: axes.iter().map(|a| allowed(mode, a.0, a.1)).collect(),
            mode,
        })
        .boxed()
}

fn dense() -> impl Strategy<Value = DenseConfig> {
    (1..=24_usize, 1..=24_usize, any::<u64>()).prop_map(|(outputs, inputs, seed)| DenseConfig {
        outputs,
        inputs,
        weight: values(outputs * inputs, seed),
    })
}

fn diagonal() -> impl Strategy<Value = DiagonalConfig> {
    (vec(1..=5_usize, 1..=4_usize), any::<u64>()).prop_map(|(shape, seed)| DiagonalConfig {
        factors: values(shape[0], seed),
        shape,
    })
}

fn conv_norm() -> impl Strategy<Value = ConvNormConfig> {
    (conv(), any::<u64>()).prop_map(|(conv, seed)| ConvNormConfig {
        factors: values(conv.weight_shape[0], seed),
        conv,
    })
}

/// An affine function whose bias is none, as large as its weights or much larger.
fn function() -> impl Strategy<Value = FunctionConfig> {
    let bias = select(vec![0.0, 0.5, 50.0]);
    (1..=8_usize, 1..=8_usize, bias, any::<u64>()).prop_map(|(outputs, inputs, bias, seed)| {
        let entries = values(outputs, seed.wrapping_add(1));
        FunctionConfig {
            inputs,
            weight: values(outputs * inputs, seed),
            bias: entries.into_iter().map(|b| b * bias).collect(),
        }
    })
}

/// An operator that is made of no other one.
fn leaf() -> BoxedStrategy<Layer> {
    prop_oneof![
        2 => dense().prop_map(Layer::Dense),
        5 => conv().prop_map(Layer::Conv),
        4 => conv_transpose().prop_map(Layer::ConvTranspose),
        1 => diagonal().prop_map(Layer::Diagonal),
        1 => conv_norm().prop_map(Layer::ConvNorm),
        2 => pool().prop_map(Layer::Pool),
        2 => resample().prop_map(Layer::Resample),
        1 => pad().prop_map(Layer::Pad),
        1 => function().prop_map(Layer::Function),
    ]
    .boxed()
}

/// An operator with weights: each kind of `Parametric`.
pub fn weighted() -> BoxedStrategy<Layer> {
    prop_oneof![
        2 => dense().prop_map(Layer::Dense),
        4 => conv().prop_map(Layer::Conv),
        3 => conv_transpose().prop_map(Layer::ConvTranspose),
        1 => diagonal().prop_map(Layer::Diagonal),
        2 => conv_norm().prop_map(Layer::ConvNorm),
    ]
    .boxed()
}

fn scaled(inner: BoxedStrategy<Layer>) -> impl Strategy<Value = Layer> {
    (-3.0..3.0_f64, inner).prop_map(|(factor, inner)| Layer::Scaled(factor, Box::new(inner)))
}

fn adjoint(inner: BoxedStrategy<Layer>) -> impl Strategy<Value = Layer> {
    inner.prop_map(|inner| Layer::Adjoint(Box::new(inner)))
}

/// One to three operators with the shapes of the first; the identity where that fits.
fn sum() -> impl Strategy<Value = Layer> {
    (leaf(), 1..=3_usize, any::<bool>(), any::<u64>()).prop_map(|(first, count, residual, seed)| {
        let op = first.build::<f64>();
        let mut terms = vec![first.clone()];
        for i in 1..count {
            terms.push(first.with_other_weights(seed.wrapping_add(1000 * i as u64)));
        }
        if residual && op.input_shape() == op.output_shape() {
            terms.push(Layer::Diagonal(DiagonalConfig {
                factors: vec![1.0; op.input_shape()[0]],
                shape: op.input_shape().to_vec(),
            }));
        }
        Layer::Sum(terms)
    })
}

fn compose() -> impl Strategy<Value = Layer> {
    let inner = prop_oneof![
        3 => leaf(),
        1 => adjoint(leaf()),
        1 => scaled(leaf()),
    ];
    (inner, 0..5_usize, any::<u64>()).prop_map(|(inner, choice, seed)| {
        let outer = outer(&inner, choice, seed);
        Layer::Compose(Box::new(outer), Box::new(inner))
    })
}

/// Something that takes the outputs of `inner`.
fn outer(inner: &Layer, choice: usize, seed: u64) -> Layer {
    let op = inner.build::<f64>();
    let outputs = op.output_shape().to_vec();
    let axes = outputs.len() - 1;
    match choice {
        0 => Layer::Diagonal(DiagonalConfig {
            factors: values(outputs[0], seed),
            shape: outputs,
        }),
        1 => Layer::Adjoint(Box::new(inner.clone())),
        2 if axes > 0 => Layer::Pad(PadConfig {
            padding: vec![(1, 2); axes],
            input: outputs,
            mode: PaddingMode::Replicate,
        }),
        3 if (1..=3).contains(&axes) => {
            let axes: Vec<Axis> = outputs[1..].iter().map(|&n| (n, 2, 2, 1, (1, 0))).collect();
            let channels = (1, outputs[0], 2);
            Layer::Conv(conv_from(&axes, channels, PaddingMode::Circular, seed))
        }
        _ => Layer::Dense(DenseConfig {
            outputs: 3,
            inputs: op.outputs(),
            weight: values(3 * op.outputs(), seed),
        }),
    }
}

/// An operator that is made of others.
pub fn combination() -> BoxedStrategy<Layer> {
    prop_oneof![
        3 => compose(),
        2 => sum(),
        1 => scaled(leaf()),
        1 => adjoint(leaf()),
        1 => adjoint(compose().boxed()),
        1 => scaled(sum().boxed()),
    ]
    .boxed()
}

/// Any operator.
pub fn layer() -> BoxedStrategy<Layer> {
    prop_oneof![3 => leaf(), 1 => combination()].boxed()
}
