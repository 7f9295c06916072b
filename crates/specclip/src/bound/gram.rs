//! The Gram iteration (Delattre et al., ICML 2023).
//!
//! With G_0 = W and G_(t+1) = G_t' G_t, ||W|| = ||G_t||^(2^-t) <= ||G_t||_F^(2^-t): after t products
//! the bound is the Schatten norm of order 2^(t+1), which exceeds ||W|| by a factor of at most
//! n^(2^-(t+1)). The scale of each G_t, a power of two, is taken out and put back at the end.
//!
//! *Rounding.* The product that is computed is G_t' G_t + E with ||E|| at most gamma times
//! ||G_t||_F^2, so ||G_t||^2 <= ||G_(t+1)|| + ||E||. The bound of the last ||G_t|| is carried back
//! through these inequalities, each rounded up.

use faer::linalg::matmul::triangular::{BlockStructure, matmul_with_conj};
use faer::{Accum, Conj, Mat, MatRef, Par};

use super::rounding::{Scalar, frobenius_above, power_of_two, product_error, up};

/// No less than the largest singular value, from `products` Gram products.
pub(super) fn norm<E: Scalar>(a: MatRef<'_, E>, products: usize, par: Par) -> f64 {
    norm_above(a, products, 0.0, par)
}

/// As [`norm`] where that is above `known`; else any bound that is not above `known`, from fewer
/// products: each product lowers the bound.
pub(super) fn norm_above<E: Scalar>(
    a: MatRef<'_, E>,
    products: usize,
    known: f64,
    par: Par,
) -> f64 {
    let size = frobenius_above(a);
    if size <= known || size == 0.0 || !size.is_finite() {
        return size;
    }
    let first = power_of_two(size);
    let mut matrix = scaled(a, 1.0 / first);
    let mut size = frobenius_above(matrix.as_ref());
    let mut steps = Vec::with_capacity(products);
    let mut bound = size * first;
    for _ in 0..products {
        let inner = matrix.nrows().max(matrix.ncols());
        let error = up(product_error::<E>(inner) * size * size);
        let product = gram(matrix.as_ref(), par);
        let unit = power_of_two(frobenius_above(product.as_ref()));
        matrix = scaled(product.as_ref(), 1.0 / unit);
        steps.push((unit, error));
        size = frobenius_above(matrix.as_ref());
        let back = |norm: f64, &(unit, error): &(f64, f64)| up((unit * norm + error).sqrt());
        bound = steps.iter().rev().fold(size, back) * first;
        if bound <= known {
            break;
        }
    }
    bound
}

/// The product of a matrix with its adjoint on the smaller side.
pub(super) fn gram<E: Scalar>(a: MatRef<'_, E>, par: Par) -> Mat<E> {
    let wide = a.nrows() < a.ncols();
    let n = a.nrows().min(a.ncols());
    let mut product = Mat::<E>::zeros(n, n);
    let (lhs, conj_lhs, rhs, conj_rhs) = if wide {
        (a, Conj::No, a.transpose(), Conj::Yes)
    } else {
        (a.transpose(), Conj::Yes, a, Conj::No)
    };
    matmul_with_conj(
        product.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Replace,
        lhs,
        BlockStructure::Rectangular,
        conj_lhs,
        rhs,
        BlockStructure::Rectangular,
        conj_rhs,
        E::real(1.0),
        par,
    );
    mirror(&mut product);
    product
}

/// Makes a matrix Hermitian from its lower triangle.
pub(super) fn mirror<E: Scalar>(matrix: &mut Mat<E>) {
    for j in 0..matrix.ncols() {
        for i in j + 1..matrix.nrows() {
            matrix[(j, i)] = matrix[(i, j)].conjugate();
        }
    }
}

pub(super) fn scaled<E: Scalar>(a: MatRef<'_, E>, factor: f64) -> Mat<E> {
    Mat::from_fn(a.nrows(), a.ncols(), |i, j| a[(i, j)].scaled(factor))
}
