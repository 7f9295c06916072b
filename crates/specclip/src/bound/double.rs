//! Operators in `f64`, made anew from what is known about them, and the rounding errors of their actions.
//!
//! A sum of K products has an error of at most gamma_K times the sum of their absolute values, so an action's
//! error is at most gamma_K || |M| || ||x||, and || |M| || is at most sqrt(||M||_1 ||M||_inf), which is the same
//! for the transpose. K is here the larger of the two actions'.

use super::rounding::{ENTRY, FAST, gamma, up};
use super::schur::{most_uses, schur};
use crate::block::Columns;
use crate::error::Error;
use crate::operator::{
    Adjoint, BoxedOperator, Compose, Conv, Dense, Diagonal, LinearOperator, Part, Separable,
    Structure, Sum,
};

/// What bounds the actions of an operator in `f64`, on vectors of norm 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sizes {
    /// No less than the norm of |M|, the matrix of absolute values.
    pub(super) norm: f64,
    /// No less than the norm of the error of M x, or of M' y.
    pub(super) error: f64,
}

impl Sizes {
    /// Those of an operator; none where the structure is not known.
    pub(super) fn of(structure: &Structure) -> Option<Self> {
        match structure {
            Structure::Product(parts) => {
                let one = Self {
                    norm: 1.0,
                    error: 0.0,
                };
                parts.iter().try_fold(one, |inner, part| {
                    let outer = Self::of(&part.structure)?;
                    let images = up(inner.norm + inner.error);
                    Some(Self {
                        norm: up(outer.norm * inner.norm),
                        error: up(outer.error * images + outer.norm * inner.error),
                    })
                })
            }
            Structure::Sum(terms) => {
                let sizes: Option<Vec<Self>> = terms.iter().map(Self::of).collect();
                let sizes = sizes?;
                let sum = |of: fn(&Self) -> f64| sizes.iter().map(of).sum::<f64>();
                let (norm, error) = (sum(|s| s.norm), sum(|s| s.error));
                let more = 1.0 + gamma(2 * terms.len());
                Some(Self {
                    norm: up(norm * more),
                    error: up((error + gamma(terms.len()) * (norm + error)) * more),
                })
            }
            leaf => {
                let norm = schur(leaf)?;
                Some(Self {
                    norm,
                    error: up(norm * (gamma(operations(leaf)) + ENTRY)),
                })
            }
        }
    }
}

/// No fewer than the roundings behind one entry of an image of M or of M'.
fn operations(leaf: &Structure) -> usize {
    match leaf {
        Structure::Matrix(m) => m.nrows().max(m.ncols()) + 8,
        Structure::Filters(bank) => {
            let g = &bank.geometry;
            let terms = (g.in_per_group() * g.taps()).max(most_uses(bank));
            terms.saturating_add(64).saturating_mul(FAST)
        }
        Structure::Axes(axes) => {
            let longest = |rows: &[Vec<_>]| rows.iter().map(Vec::len).max().unwrap_or(0) + 1;
            let terms = axes.iter().map(|axis| {
                let other = axis.transpose();
                longest(axis.rows()).max(longest(other.rows()))
            });
            terms.sum()
        }
        _ => 1,
    }
}

/// The operator in `f64`, with the same shapes; none where the structure is not known.
///
/// # Errors
/// What the operators refuse.
pub(super) fn rebuilt(part: &Part) -> Result<Option<BoxedOperator<f64>>, Error> {
    let operator: BoxedOperator<f64> = match &part.structure {
        Structure::Unknown => return Ok(None),
        Structure::Matrix(m) => {
            let (rows, cols) = m.shape();
            let entries = (0..rows * cols).map(|i| m[(i / cols, i % cols)]);
            Box::new(Dense::new(entries.collect(), rows, cols)?)
        }
        Structure::Filters(bank) if bank.transposed => Box::new(Adjoint(Conv::of_bank(bank))),
        Structure::Filters(bank) => Box::new(Conv::of_bank(bank)),
        Structure::Channels(factors) => {
            Box::new(Diagonal::new(factors.clone(), &part.input_shape)?)
        }
        Structure::Axes(axes) => {
            let name = "operator along axes";
            Box::new(Separable::from_axes(name, &part.input_shape, axes.clone())?)
        }
        Structure::Product(parts) => {
            let mut product: Option<BoxedOperator<f64>> = None;
            for part in parts {
                let Some(outer) = rebuilt(part)? else {
                    return Ok(None);
                };
                product = Some(match product {
                    None => outer,
                    Some(inner) => Box::new(Compose::new(outer, inner)?),
                });
            }
            return Ok(product);
        }
        Structure::Sum(terms) => {
            let terms = terms.iter().map(|term| rebuilt(&part.term(term)));
            let terms: Result<Option<Vec<_>>, Error> = terms.collect();
            let Some(terms) = terms? else {
                return Ok(None);
            };
            Box::new(Sum::new(terms)?)
        }
    };
    Ok(Some(Box::new(Shaped {
        operator,
        input_shape: part.input_shape.clone(),
        output_shape: part.output_shape.clone(),
    })))
}

/// An operator with other shapes of as many elements.
struct Shaped {
    operator: BoxedOperator<f64>,
    input_shape: Vec<usize>,
    output_shape: Vec<usize>,
}

impl LinearOperator for Shaped {
    type Block = Columns<f64>;

    fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }
    fn output_shape(&self) -> &[usize] {
        &self.output_shape
    }
    fn input_block(&self, k: usize) -> Columns<f64> {
        self.operator.input_block(k)
    }
    fn output_block(&self, k: usize) -> Columns<f64> {
        self.operator.output_block(k)
    }
    fn apply(&self, x: &Columns<f64>, y: &mut Columns<f64>) -> Result<(), Error> {
        self.operator.apply(x, y)
    }
    fn adjoint(&self, y: &Columns<f64>, x: &mut Columns<f64>) -> Result<(), Error> {
        self.operator.adjoint(y, x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Block;
    use crate::operator::{ConvParams, ConvTranspose, ConvTransposeParams, PaddingMode, Scaled};
    use crate::random::Random;
    use crate::real::norm;

    fn weights(count: usize) -> Vec<f64> {
        (0..count).map(|i| (i as f64 * 1.3).sin()).collect()
    }

    fn conv(params: &ConvParams) -> Conv<f64> {
        let shape = [4, 4 / params.groups, 3, 3];
        Conv::new(weights(shape.iter().product()), &shape, &[4, 9, 8], params).unwrap()
    }

    /// One operator of each structure, transposes and products and sums among them.
    fn operators() -> Vec<BoxedOperator<f64>> {
        let reflect = ConvParams::new(2).padding(1, PaddingMode::Reflect);
        let strided = reflect.clone().stride(2).groups(2);
        // The output padding adds whole outputs, which the convolution of the other direction would read.
        let upsampling = ConvTransposeParams {
            stride: vec![2, 1],
            dilation: vec![3, 3],
            output_padding: vec![2, 2],
            ..ConvTransposeParams::new(2)
        };
        let transposed =
            ConvTranspose::new(weights(4 * 3 * 9), &[4, 3, 3, 3], &[4, 5, 4], &upsampling);
        let pad = || Separable::pad(&[4, 9, 8], &[(2, 0), (1, 3)], PaddingMode::Circular).unwrap();
        let dense = Dense::new(weights(5 * 4 * 9 * 8), 5, 4 * 9 * 8).unwrap();
        let flattened = Compose::new(dense, conv(&reflect)).unwrap();
        let factors = || Diagonal::new(vec![0.5, -2.0, 1.5, 1.0], &[4, 9, 8]).unwrap();
        let terms: Vec<BoxedOperator<f64>> = vec![
            Box::new(conv(&reflect)),
            Box::new(factors()),
            Box::new(Scaled::new(conv(&reflect), -0.4).unwrap()),
        ];
        vec![
            Box::new(Dense::new(weights(35), 7, 5).unwrap()),
            Box::new(conv(&strided)),
            Box::new(Adjoint(conv(&strided))),
            Box::new(transposed.unwrap()),
            Box::new(factors()),
            Box::new(pad()),
            Box::new(Adjoint(pad())),
            Box::new(flattened),
            Box::new(Sum::new(terms).unwrap()),
        ]
    }

    #[test]
    fn what_is_rebuilt_is_the_operator() {
        for (i, op) in operators().into_iter().enumerate() {
            let part = Part::new(&op);
            let sizes = Sizes::of(&part.structure).unwrap();
            let again = rebuilt(&part).unwrap().unwrap();
            assert_eq!(again.input_shape(), op.input_shape());
            assert_eq!(again.output_shape(), op.output_shape());
            assert!(
                sizes.error > 0.0 && sizes.error < 1e-9 * sizes.norm,
                "{i}: {sizes:?}"
            );
            let mut random = Random::new(i as u64);
            for _ in 0..3 {
                let (mut x, mut y) = (op.input_block(1), op.output_block(1));
                random.fill(&mut x);
                random.fill(&mut y);
                let apart = |action: &dyn Fn(&BoxedOperator<f64>) -> Columns<f64>| {
                    let (a, b) = (action(&op), action(&again));
                    let pairs = a.as_slice().iter().zip(b.as_slice());
                    (
                        norm(&pairs.map(|(a, b)| a - b).collect::<Vec<_>>()),
                        a.norms()[0],
                    )
                };
                let forward = apart(&|op| {
                    let mut image = op.output_block(1);
                    op.apply(&x, &mut image).unwrap();
                    image
                });
                let back = apart(&|op| {
                    let mut image = op.input_block(1);
                    op.adjoint(&y, &mut image).unwrap();
                    image
                });
                for ((apart, image), from) in [(forward, &x), (back, &y)] {
                    assert!(apart <= 2.0 * sizes.error * from.norms()[0], "{i}: {apart}");
                    assert!(image <= sizes.norm * from.norms()[0], "{i}: {image}");
                }
            }
        }
    }
}
