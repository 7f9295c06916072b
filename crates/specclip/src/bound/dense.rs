//! Norms of matrices, bounded by a Cholesky factorisation.
//!
//! For any s and any triangular matrix L, M'M = s I - L L' + E with E = M'M + L L' - s I, and L L'
//! is positive semidefinite. So the largest eigenvalue of M'M is at most s + ||E||. With s a little
//! above that eigenvalue and L the Cholesky factor of s I - M'M, ||E|| is of the size of rounding
//! errors; it is computed here from L, so nothing is assumed about how the factorisation rounds. A
//! factorisation that breaks down says that s is too small. (Verified positive definiteness by
//! Cholesky: Rump, BIT 46 (2006), with an error bound in the place of the computed E.)

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{BlockStructure, matmul_with_conj};
use faer::{Accum, Conj, Mat, MatRef, Par, Side};

use super::gram::{gram, mirror, scaled};
use super::rounding::{Scalar, U, frobenius_above, gamma, product_error, unit, up};

/// How far above an estimate of the largest eigenvalue s is tried, relative to it.
const MARGINS: [f64; 5] = [1e-9, 1e-6, 1e-3, 0.03, 0.3];

/// Steps of the estimate of the largest eigenvalue.
const STEPS: usize = 80;

/// No less than the largest singular value of `a`. With a `hint` that is not below it, that is
/// what is proven where it can be, and no time is spent on finding a better one.
pub(super) fn norm<E: Scalar>(a: MatRef<'_, E>, hint: Option<f64>, par: Par) -> f64 {
    let unit = unit(a);
    if unit != 1.0 {
        let hint = hint.map(|hint| hint / unit);
        return norm(scaled(a, 1.0 / unit).as_ref(), hint, par) * unit;
    }
    Gram::of(a, par).norm(hint, par)
}

/// An estimate of the largest singular value, from below.
pub(super) fn estimate<E: Scalar>(a: MatRef<'_, E>, par: Par) -> f64 {
    let gram = Gram::of(a, par);
    if gram.frobenius == 0.0 {
        return 0.0;
    }
    gram.largest(par).max(0.0).sqrt()
}

/// The product of a matrix with its adjoint, on the smaller side.
pub(super) struct Gram<E> {
    /// Both triangles.
    matrix: Mat<E>,
    /// No less than the norm of what rounding did to the matrix.
    error: f64,
    /// No less than the Frobenius norm of the factor.
    frobenius: f64,
}

impl<E: Scalar> Gram<E> {
    /// A Gram matrix that was computed otherwise, of which only the lower triangle counts, and no
    /// less than the norm of its error.
    pub(super) fn new(mut matrix: Mat<E>, error: f64) -> Self {
        mirror(&mut matrix);
        let n = matrix.nrows();
        // The trace is the square of the factor's Frobenius norm.
        let trace: f64 = (0..n).map(|i| matrix[(i, i)].re()).sum();
        let trace = trace * (1.0 + gamma(n + 4)) + n as f64 * error;
        Self {
            matrix,
            error,
            // What is no number must not be taken for 0.
            frobenius: if trace < 0.0 { 0.0 } else { up(trace.sqrt()) },
        }
    }

    fn of(a: MatRef<'_, E>, par: Par) -> Self {
        let matrix = gram(a, par);
        let inner = a.nrows().max(a.ncols());
        let frobenius = frobenius_above(a);
        Self {
            matrix,
            // || |A|' |A| || is at most the square of the Frobenius norm.
            error: up(product_error::<E>(inner) * frobenius * frobenius),
            frobenius,
        }
    }

    /// No less than the norm of the factor; the hint is that of [`norm`].
    pub(super) fn norm(&self, hint: Option<f64>, par: Par) -> f64 {
        if self.frobenius == 0.0 {
            return 0.0;
        }
        let proven = hint.and_then(|hint| self.below(hint * hint, par));
        let proven = proven.or_else(|| {
            let estimate = self.largest(par);
            let tried = MARGINS.iter().map(|margin| estimate * (1.0 + margin));
            tried.into_iter().find_map(|s| self.below(s, par))
        });
        match proven {
            Some(square) => up(square.sqrt()).min(self.frobenius),
            None => self.frobenius,
        }
    }

    /// An upper bound of the largest eigenvalue near `s`; none where `s` is too small.
    fn below(&self, s: f64, par: Par) -> Option<f64> {
        let n = self.matrix.nrows();
        let mut factor = Mat::<E>::zeros(n, n);
        for j in 0..n {
            for i in j..n {
                factor[(i, j)] = self.matrix[(i, j)].scaled(-1.0);
            }
            factor[(j, j)] = factor[(j, j)].plus(E::real(s));
        }
        let params = Default::default();
        let mut buffer = MemBuffer::new(cholesky_in_place_scratch::<E>(n, par, params));
        let stack = MemStack::new(&mut buffer);
        cholesky_in_place(factor.as_mut(), Default::default(), par, stack, params).ok()?;
        let mut residual = self.matrix.clone();
        for j in 0..n {
            residual[(j, j)] = residual[(j, j)].plus(E::real(-s));
            for i in 0..j {
                factor[(i, j)] = E::real(0.0);
            }
        }
        matmul_with_conj(
            residual.as_mut(),
            BlockStructure::TriangularLower,
            Accum::Add,
            factor.as_ref(),
            BlockStructure::TriangularLower,
            Conj::No,
            factor.as_ref().transpose(),
            BlockStructure::TriangularUpper,
            Conj::Yes,
            E::real(1.0),
            par,
        );
        mirror(&mut residual);
        let residual = frobenius_above(residual.as_ref());
        // The residual was itself rounded: a sum of n + 2 terms.
        let (l, g) = (
            frobenius_above(factor.as_ref()),
            frobenius_above(self.matrix.as_ref()),
        );
        let rounding = product_error::<E>(n + 2) * (l * l + g + s * (n as f64).sqrt());
        let bound = up(s + residual + rounding + self.error);
        bound.is_finite().then_some(bound)
    }

    /// The largest Ritz value of a Krylov space of the Gram matrix: from below, and near to the
    /// largest eigenvalue. (Lanczos with full reorthogonalisation.)
    fn largest(&self, par: Par) -> f64 {
        let n = self.matrix.nrows();
        let steps = STEPS.min(n);
        let mut basis = Mat::<E>::zeros(n, steps);
        for i in 0..n {
            // Entries that no symmetry of a layer shares.
            let x = ((i as f64 + 1.0) * 0.754_877_666_246_692_8).fract() - 0.5;
            basis[(i, 0)] = E::real(x + if x < 0.0 { -0.1 } else { 0.1 });
        }
        normalise(&mut basis, 0);
        let mut small = Mat::<f64>::zeros(steps, steps);
        let (mut value, mut used) = (0.0, 0);
        while used < steps {
            let j = used;
            let mut image = Mat::<E>::zeros(n, 1);
            product(
                image.as_mut(),
                self.matrix.as_ref(),
                basis.as_ref().subcols(j, 1),
                par,
            );
            let mut diagonal = 0.0;
            for pass in 0..2 {
                let known = basis.as_ref().subcols(0, j + 1);
                let mut coefficients = Mat::<E>::zeros(j + 1, 1);
                matmul(
                    coefficients.as_mut(),
                    Accum::Replace,
                    known.adjoint(),
                    image.as_ref(),
                    E::real(1.0),
                    par,
                );
                matmul(
                    image.as_mut(),
                    Accum::Add,
                    known,
                    coefficients.as_ref(),
                    E::real(-1.0),
                    par,
                );
                if pass == 0 {
                    diagonal = coefficients[(j, 0)].re();
                }
            }
            small[(j, j)] = diagonal;
            used += 1;
            let beta = (0..n).map(|i| image[(i, 0)].square()).sum::<f64>().sqrt();
            let last = used == steps || beta <= 4.0 * U * self.frobenius * self.frobenius;
            if used % 8 == 0 || last {
                let part = small.as_ref().submatrix(0, 0, used, used);
                let Ok(eigenvalues) = part.self_adjoint_eigenvalues(Side::Lower) else {
                    return value;
                };
                let before = value;
                value = eigenvalues.last().copied().unwrap_or(0.0);
                if last || value - before <= 1e-11 * value {
                    break;
                }
            }
            small[(j + 1, j)] = beta;
            for i in 0..n {
                basis[(i, j + 1)] = image[(i, 0)].scaled(1.0 / beta);
            }
        }
        value
    }
}

fn product<E: Scalar>(target: faer::MatMut<'_, E>, a: MatRef<'_, E>, x: MatRef<'_, E>, par: Par) {
    matmul(target, Accum::Replace, a, x, E::real(1.0), par);
}

fn normalise<E: Scalar>(basis: &mut Mat<E>, j: usize) {
    let norm = (0..basis.nrows())
        .map(|i| basis[(i, j)].square())
        .sum::<f64>()
        .sqrt();
    for i in 0..basis.nrows() {
        basis[(i, j)] = basis[(i, j)].scaled(1.0 / norm);
    }
}
