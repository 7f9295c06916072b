//! The methods of others, as published: none of them looks at how a layer pads.

use specclip::bound::{self, Argument};
use specclip::operator::{Conv, Dense, FilterParts, PaddingMode, Structure};
use specclip::svd::{self, singular_values};
use specclip::{Error, LinearOperator};

use crate::record::compare::Method;

/// Largest residual of the values that are computed by iteration.
const TOLERANCE: f64 = 1e-9;

/// What a method says of a layer with this structure; none where it does not exist.
pub fn value(method: Method, structure: &Structure, seed: u64) -> Option<f64> {
    match structure {
        Structure::Filters(bank) => of_filters(method, &bank.parts(), seed),
        Structure::Matrix(matrix) => {
            let (rows, columns) = (matrix.nrows(), matrix.ncols());
            let entries = (0..rows).flat_map(|i| (0..columns).map(move |j| matrix[(i, j)]));
            let dense = Dense::new(entries.collect::<Vec<f64>>(), rows, columns).ok()?;
            match method {
                Method::Reshaped => sigma_1(&dense, svd::Method::Auto, seed).ok(),
                Method::Gram => upper(&dense, Argument::Gram),
                _ => None,
            }
        }
        _ => None,
    }
}

fn of_filters(method: Method, filters: &FilterParts, seed: u64) -> Option<f64> {
    let at_stride_1 = |argument| upper(&circular(filters, false).ok()?, argument);
    match method {
        Method::Reshaped => sigma_1(&reshaped(filters).ok()?, svd::Method::Auto, seed).ok(),
        Method::Circular => {
            sigma_1(&circular(filters, true).ok()?, svd::Method::Circulant, seed).ok()
        }
        Method::Gram => at_stride_1(Argument::Gram),
        Method::LipGrid => at_stride_1(Argument::LipGrid),
        Method::FantasticFour => at_stride_1(Argument::FantasticFour),
        Method::Proven => None,
    }
}

fn sigma_1(op: &impl LinearOperator, method: svd::Method, seed: u64) -> Result<f64, Error> {
    let params = svd::Params {
        method,
        tolerance: TOLERANCE,
        seed,
        ..svd::Params::default()
    };
    Ok(singular_values(op, 1, &params)?.sigma[0])
}

fn upper(op: &impl LinearOperator, argument: Argument) -> Option<f64> {
    let certain = bound::Params {
        failure_probability: 0.0,
        ..bound::Params::default()
    };
    Some(bound::upper(op, argument, &certain).ok()?.value)
}

/// The kernel as a matrix with one row for each output channel of the layer.
fn reshaped(filters: &FilterParts) -> Result<Dense<f64>, Error> {
    let [out, channels] = [filters.weight_shape[0], filters.weight_shape[1]];
    let taps: usize = filters.weight_shape[2..].iter().product();
    if !filters.transposed {
        return Dense::new(filters.weight.clone(), out, channels * taps);
    }
    // The output channels of a transposed layer are the input channels of its convolution, the second axis.
    let row = |channel: usize| {
        (0..out).flat_map(move |o| {
            let start = (o * channels + channel) * taps;
            filters.weight[start..start + taps].iter().copied()
        })
    };
    Dense::new((0..channels).flat_map(row).collect(), channels, out * taps)
}

/// The same filters with circular padding of one period on the same input.
fn circular(filters: &FilterParts, strided: bool) -> Result<Conv<f64>, Error> {
    let mut params = filters.params.clone();
    params.mode = PaddingMode::Circular;
    if !strided {
        params.stride.fill(1);
    }
    for (axis, padding) in params.padding.iter_mut().enumerate() {
        let beyond = params.dilation[axis] * (filters.weight_shape[axis + 2] - 1);
        *padding = (beyond / 2, beyond - beyond / 2);
    }
    Conv::new(
        filters.weight.clone(),
        &filters.weight_shape,
        &filters.input_shape,
        &params,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use specclip::operator::{ConvParams, ConvTranspose, ConvTransposeParams};

    fn of(method: Method, op: &impl LinearOperator) -> f64 {
        value(method, &op.structure(), 0).unwrap()
    }

    fn box_filter(stride: usize, mode: PaddingMode) -> Conv<f64> {
        let params = ConvParams::new(2).padding(1, mode).stride(stride);
        Conv::new(vec![1.0; 9], &[1, 1, 3, 3], &[1, 32, 32], &params).unwrap()
    }

    #[test]
    fn a_box_filter_whatever_its_padding() {
        for mode in [
            PaddingMode::Zeros,
            PaddingMode::Reflect,
            PaddingMode::Circular,
        ] {
            let conv = box_filter(1, mode);
            assert!((of(Method::Reshaped, &conv) - 3.0).abs() < 1e-9);
            for method in [
                Method::Circular,
                Method::Gram,
                Method::LipGrid,
                Method::FantasticFour,
            ] {
                let value = of(method, &conv);
                assert!(
                    (8.9999..9.05).contains(&value),
                    "{}: {value}",
                    method.name()
                );
            }
        }
    }

    #[test]
    fn a_stride_aliases_where_it_divides() {
        // 9 at frequency 0 with its three aliases, where the filter is 3 times -1 twice and 1 once, over 2.
        let aliased = (81.0_f64 + 9.0 + 9.0 + 1.0).sqrt() / 2.0;
        let conv = box_filter(2, PaddingMode::Zeros);
        assert!((of(Method::Circular, &conv) - aliased).abs() < 1e-9);
        assert!(
            value(
                Method::Circular,
                &box_filter(3, PaddingMode::Zeros).structure(),
                0
            )
            .is_none()
        );
        assert!((of(Method::Gram, &conv) - 9.0).abs() < 1e-2);
    }

    #[test]
    fn a_transposed_layer_has_a_row_for_each_of_its_outputs() {
        // One input, two outputs with kernels (3, 0) and (0, 4): rows are orthogonal.
        let params = ConvTransposeParams::new(1);
        let op = ConvTranspose::<f64>::new(vec![3.0, 0.0, 0.0, 4.0], &[1, 2, 2], &[1, 8], &params);
        assert!((of(Method::Reshaped, &op.unwrap()) - 4.0).abs() < 1e-9);
        // The convolution that it transposes would have one row, (3, 0, 0, 4).
    }
}
