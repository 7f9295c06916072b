//! Convolutions in one, two and three dimensions.

use pulp::Arch;

use super::{FilterBank, LinearOperator, PaddingMode, Structure, check_action, check_shape};
use crate::Real;
use crate::block::Columns;
use crate::error::Error;
use crate::kernel::convolution::Convolution;
use crate::kernel::geometry::{AXES, Axis, Geometry, check_padded, check_padding};
use crate::weight::{
    IndependentPart, Parametric, check_gradient, check_weights, consecutive_parts,
};

const NAME: &str = "convolution";

/// Everything about a convolution but its weights and its input: one entry for each spatial axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvParams {
    /// Distance between neighbouring outputs, in input samples.
    pub stride: Vec<usize>,
    /// Samples added before the first and after the last.
    pub padding: Vec<(usize, usize)>,
    /// What the added samples are.
    pub mode: PaddingMode,
    /// Distance between neighbouring taps, in input samples.
    pub dilation: Vec<usize>,
    /// Groups of channels that do not mix; as many as input channels for a depthwise convolution.
    pub groups: usize,
}

impl ConvParams {
    /// Stride 1, no padding, dilation 1, one group, for `axes` spatial axes.
    pub fn new(axes: usize) -> Self {
        Self {
            stride: vec![1; axes],
            padding: vec![(0, 0); axes],
            mode: PaddingMode::Zeros,
            dilation: vec![1; axes],
            groups: 1,
        }
    }

    /// The same padding on both sides of every axis.
    #[must_use]
    pub fn padding(mut self, padding: usize, mode: PaddingMode) -> Self {
        self.padding.fill((padding, padding));
        self.mode = mode;
        self
    }

    /// The same stride along every axis.
    #[must_use]
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride.fill(stride);
        self
    }

    /// The same dilation along every axis.
    #[must_use]
    pub fn dilation(mut self, dilation: usize) -> Self {
        self.dilation.fill(dilation);
        self
    }

    /// Groups of channels.
    #[must_use]
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }
}

/// A convolution as the operator that runs: with its padding, stride, dilation, groups and input
/// size. "Convolution" in the sense of deep learning: taps are not reversed.
#[derive(Clone)]
pub struct Conv<T> {
    weight_shape: Vec<usize>,
    input_shape: Vec<usize>,
    output_shape: Vec<usize>,
    geometry: Geometry,
    kernel: Convolution<T>,
}

impl<T: Real> Conv<T> {
    /// A convolution with `weight` of shape (output channels, input channels / groups, taps...),
    /// row-major, on inputs of shape (channels, sizes...), with one to three spatial axes.
    ///
    /// # Errors
    /// When shapes and parameters do not fit each other, something is empty, the kernel is larger
    /// than the padded input, reflect padding has too few samples, or a weight is not finite.
    ///
    /// ```
    /// use specclip::operator::{Conv, ConvParams, LinearOperator, PaddingMode};
    ///
    /// let params = ConvParams::new(2).padding(1, PaddingMode::Reflect).stride(2);
    /// let conv = Conv::<f32>::new(vec![1.0; 8 * 3 * 9], &[8, 3, 3, 3], &[3, 32, 32], &params)?;
    /// assert_eq!(conv.output_shape(), [8, 16, 16]);
    /// # Ok::<(), specclip::Error>(())
    /// ```
    pub fn new(
        weight: Vec<T>,
        weight_shape: &[usize],
        input_shape: &[usize],
        params: &ConvParams,
    ) -> Result<Self, Error> {
        let geometry = geometry(weight_shape, input_shape, params)?;
        check_weights(NAME, weight_shape, &weight)?;
        let mut output_shape = vec![geometry.out_channels];
        output_shape.extend(used_axes(&geometry, input_shape.len() - 1).map(|a| a.output));
        check_shape(NAME, &output_shape)?;
        Ok(Self {
            kernel: Convolution::new(&geometry, weight, Arch::new()),
            weight_shape: weight_shape.to_vec(),
            input_shape: input_shape.to_vec(),
            output_shape,
            geometry,
        })
    }
}

impl Conv<f64> {
    /// The convolution of a filter bank, with all three spatial axes.
    pub(crate) fn of_bank(bank: &FilterBank) -> Self {
        let g = &bank.geometry;
        let shape = |first: &[usize], of: fn(&Axis) -> usize| {
            let axes = g.axes.iter().map(of);
            first.iter().copied().chain(axes).collect::<Vec<_>>()
        };
        Self {
            weight_shape: shape(&[g.out_channels, g.in_per_group()], |axis| axis.kernel),
            input_shape: shape(&[g.in_channels], |axis| axis.input),
            output_shape: shape(&[g.out_channels], |axis| axis.output),
            kernel: Convolution::new(g, bank.weight.clone(), Arch::new()),
            geometry: g.clone(),
        }
    }
}

/// The axes that the user named: the last ones.
pub(super) fn used_axes(g: &Geometry, axes: usize) -> impl Iterator<Item = &Axis> {
    g.axes[AXES - axes..].iter()
}

/// Refuses lists of parameters of the wrong length and zeros where there must be none.
pub(super) fn check_params(
    operation: &'static str,
    axes: usize,
    lists: [(&str, &[usize], bool); 3],
) -> Result<(), Error> {
    for (name, list, positive) in lists {
        if list.len() != axes {
            return Err(Error::invalid(
                operation,
                format!(
                    "{name} {list:?} has {} entries for {axes} spatial axes",
                    list.len()
                ),
            ));
        }
        if positive && list.contains(&0) {
            return Err(Error::invalid(
                operation,
                format!("{name} {list:?} must be at least 1 along every axis"),
            ));
        }
    }
    Ok(())
}

/// Refuses weights and inputs that cannot belong to one convolution; returns the spatial axes.
pub(super) fn check_shapes(
    operation: &'static str,
    weight_shape: &[usize],
    input_shape: &[usize],
    groups: usize,
) -> Result<usize, Error> {
    check_shape(operation, weight_shape)?;
    check_shape(operation, input_shape)?;
    let axes = input_shape.len() - 1;
    if axes == 0 || axes > AXES || weight_shape.len() != axes + 2 {
        return Err(Error::invalid(
            operation,
            format!(
                "a weight of shape {weight_shape:?} does not fit an input of shape \
                 {input_shape:?}; an input has channels and 1 to 3 sizes, a weight one axis more"
            ),
        ));
    }
    if groups == 0 || !weight_shape[0].is_multiple_of(groups) {
        return Err(Error::invalid(
            operation,
            format!("{groups} groups do not divide {} channels", weight_shape[0]),
        ));
    }
    Ok(axes)
}

pub(super) fn geometry(
    weight_shape: &[usize],
    input_shape: &[usize],
    params: &ConvParams,
) -> Result<Geometry, Error> {
    let axes = check_shapes(NAME, weight_shape, input_shape, params.groups)?;
    check_params(
        NAME,
        axes,
        [
            ("stride", &params.stride, true),
            ("dilation", &params.dilation, true),
            (
                "padding",
                &params.padding.iter().map(|p| p.0).collect::<Vec<_>>(),
                false,
            ),
        ],
    )?;
    if weight_shape[1].checked_mul(params.groups) != Some(input_shape[0]) {
        return Err(Error::shape(
            "convolution's input channels",
            &[weight_shape[1].saturating_mul(params.groups)],
            &input_shape[..1],
        ));
    }
    let mut all = [Axis::UNIT; AXES];
    for i in 0..axes {
        let (input, padding) = (input_shape[i + 1], params.padding[i]);
        check_padding(NAME, i, input, padding, params.mode)?;
        let axis = Axis {
            input,
            kernel: weight_shape[i + 2],
            stride: params.stride[i],
            dilation: params.dilation[i],
            padding,
            mode: params.mode,
            output: 0,
        };
        let output = output_size(i, &axis)?;
        let axis = Axis { output, ..axis }.with_least_stride();
        check_padded(NAME, i, &axis)?;
        all[AXES - axes + i] = axis;
    }
    Ok(Geometry {
        in_channels: input_shape[0],
        out_channels: weight_shape[0],
        groups: params.groups,
        axes: all,
    })
}

fn output_size(i: usize, axis: &Axis) -> Result<usize, Error> {
    let padded = axis.input + axis.padding.0 + axis.padding.1;
    let extent = (axis.kernel - 1)
        .checked_mul(axis.dilation)
        .and_then(|e| e.checked_add(1));
    match extent {
        Some(extent) if extent <= padded => Ok((padded - extent) / axis.stride + 1),
        _ => Err(Error::invalid(
            NAME,
            format!(
                "{} taps with dilation {} do not fit the {padded} padded samples of spatial axis \
                 {i}; use a larger input or more padding",
                axis.kernel, axis.dilation
            ),
        )),
    }
}

impl<T: Real> LinearOperator for Conv<T> {
    type Block = Columns<T>;

    fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }
    fn output_shape(&self) -> &[usize] {
        &self.output_shape
    }
    fn input_block(&self, k: usize) -> Columns<T> {
        Columns::zeros(self.inputs(), k)
    }
    fn output_block(&self, k: usize) -> Columns<T> {
        Columns::zeros(self.outputs(), k)
    }

    fn apply(&self, x: &Columns<T>, y: &mut Columns<T>) -> Result<(), Error> {
        check_action("convolution", (self.inputs(), x), (self.outputs(), &*y))?;
        self.kernel
            .forward(x.cols(), x.as_slice(), y.as_mut_slice());
        Ok(())
    }

    fn adjoint(&self, y: &Columns<T>, x: &mut Columns<T>) -> Result<(), Error> {
        check_action(
            "convolution's adjoint",
            (self.outputs(), y),
            (self.inputs(), &*x),
        )?;
        self.kernel
            .input_gradient(y.cols(), y.as_slice(), x.as_mut_slice());
        Ok(())
    }

    fn structure(&self) -> Structure {
        Structure::Filters(FilterBank {
            geometry: self.geometry.clone(),
            weight: self.kernel.weight().iter().map(|w| w.to_f64()).collect(),
            transposed: false,
        })
    }
}

impl<T: Real> Parametric for Conv<T> {
    type Scalar = T;

    fn weights(&self) -> Vec<&[T]> {
        vec![self.kernel.weight()]
    }

    fn weight_gradient(
        &self,
        lambda: &[f64],
        u: &Columns<T>,
        v: &Columns<T>,
    ) -> Result<Vec<Vec<T>>, Error> {
        let lambda = check_gradient(self, lambda, u, v)?;
        let gradient = self
            .kernel
            .weight_gradient(&lambda, u.as_slice(), v.as_slice());
        Ok(vec![gradient])
    }

    fn apply_once(&self, x: &Columns<T>, y: &mut Columns<T>) -> Result<(), Error> {
        if x.cols() != 1 {
            return self.apply(x, y);
        }
        check_action("convolution", (self.inputs(), x), (self.outputs(), &*y))?;
        self.kernel.forward_once(x.as_slice(), y.as_mut_slice());
        Ok(())
    }

    fn adjoint_once(&self, y: &Columns<T>, x: &mut Columns<T>) -> Result<(), Error> {
        if y.cols() != 1 {
            return self.adjoint(y, x);
        }
        check_action(
            "convolution's adjoint",
            (self.outputs(), y),
            (self.inputs(), &*x),
        )?;
        self.kernel
            .input_gradient_once(y.as_slice(), x.as_mut_slice());
        Ok(())
    }

    fn set_weights(&mut self, weights: &[Vec<T>]) -> Result<(), Error> {
        let [weight] = weights else {
            return Err(Error::shape(
                "convolution's weights",
                &[1],
                &[weights.len()],
            ));
        };
        check_weights(NAME, &self.weight_shape, weight)?;
        self.kernel.set_weight(weight);
        Ok(())
    }

    /// The groups, whose channels and weights follow each other.
    fn independent_parts(&self) -> Option<Vec<IndependentPart<T>>> {
        let geometry = self.geometry.group()?;
        let group = |shape: &[usize]| {
            let mut shape = shape.to_vec();
            shape[0] /= self.geometry.groups;
            shape
        };
        Some(consecutive_parts(
            self.kernel.weight(),
            geometry.weights(),
            |weight| Self {
                kernel: Convolution::new(&geometry, weight.to_vec(), Arch::new()),
                weight_shape: group(&self.weight_shape),
                input_shape: group(&self.input_shape),
                output_shape: group(&self.output_shape),
                geometry: geometry.clone(),
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same numbers whichever instructions the processor has.
    #[test]
    fn every_instruction_set_agrees() {
        let strided = ConvParams::new(2)
            .padding(1, PaddingMode::Replicate)
            .stride(2);
        agree(&[10, 3, 3, 3], &[3, 9, 23], &strided);
        let wide = ConvParams::new(2).padding(1, PaddingMode::Reflect);
        agree(&[19, 17, 3, 3], &[17, 9, 11], &wide);
    }

    fn agree(weight_shape: &[usize], input_shape: &[usize], params: &ConvParams) {
        let weight: Vec<f64> = (0..weight_shape.iter().product::<usize>())
            .map(|i| (i as f64).sin())
            .collect();
        let conv = Conv::new(weight, weight_shape, input_shape, params).unwrap();
        let x: Vec<f64> = (0..2 * conv.inputs()).map(|i| (i as f64).cos()).collect();
        let y: Vec<f64> = (0..2 * conv.outputs()).map(|i| (i as f64).cos()).collect();
        let run = |arch: Arch| {
            let kernel = Convolution::new(&conv.geometry, conv.kernel.weight().to_vec(), arch);
            let (mut mx, mut my) = (vec![0.0; y.len()], vec![0.0; x.len()]);
            kernel.forward(2, &x, &mut mx);
            kernel.input_gradient(2, &y, &mut my);
            (mx, my)
        };
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-11);
        let best = run(Arch::new());
        let scalar = run(Arch::Scalar);
        assert!(near(&best.0, &scalar.0) && near(&best.1, &scalar.1));
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = pulp::x86::V3::try_new() {
            let avx2 = run(Arch::V3(avx2));
            assert!(near(&best.0, &avx2.0) && near(&best.1, &avx2.1));
        }
    }
}
