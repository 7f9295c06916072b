//! The innermost product: a panel of packed weights times a tile of packed source samples, with
//! the sums in registers.

use pulp::Simd;

use crate::Real;

/// Adds `a` (depth x M, row by row) transposed times `b` (depth x N registers, row by row) into
/// `sums` (M rows of N registers), overwriting when `first`.
#[inline(always)]
pub(super) fn product<T: Real, S: Simd, const M: usize, const N: usize>(
    simd: S,
    a: &[T],
    b: &[T],
    sums: &mut [T],
    first: bool,
) {
    let zero = T::splat(simd, T::ZERO);
    let mut c = [[zero; N]; M];
    let b = T::as_vectors::<S>(b).0;
    for (a, b) in a.chunks_exact(M).zip(b.chunks_exact(N)) {
        for i in 0..M {
            let ai = T::splat(simd, a[i]);
            for j in 0..N {
                c[i][j] = T::mul_add(simd, ai, b[j], c[i][j]);
            }
        }
    }
    let sums = T::as_vectors_mut::<S>(sums).0;
    for (c, row) in c.iter().zip(sums.chunks_exact_mut(N)) {
        for (c, sum) in c.iter().zip(row) {
            *sum = if first {
                *c
            } else {
                T::add_vectors(simd, *sum, *c)
            };
        }
    }
}

/// [`product`] for a number of rows and registers known at run time only.
///
/// `rows` is 1, 2, 4, 6 or 8 and `registers` 1, 2 or 3: more do not fit in the register files.
#[inline(always)]
pub(super) fn product_of<T: Real, S: Simd>(
    simd: S,
    (rows, registers): (usize, usize),
    a: &[T],
    b: &[T],
    sums: &mut [T],
    first: bool,
) {
    match (rows, registers) {
        (1, 1) => product::<T, S, 1, 1>(simd, a, b, sums, first),
        (1, 2) => product::<T, S, 1, 2>(simd, a, b, sums, first),
        (1, 3) => product::<T, S, 1, 3>(simd, a, b, sums, first),
        (2, 1) => product::<T, S, 2, 1>(simd, a, b, sums, first),
        (2, 2) => product::<T, S, 2, 2>(simd, a, b, sums, first),
        (2, 3) => product::<T, S, 2, 3>(simd, a, b, sums, first),
        (4, 1) => product::<T, S, 4, 1>(simd, a, b, sums, first),
        (4, 2) => product::<T, S, 4, 2>(simd, a, b, sums, first),
        (4, 3) => product::<T, S, 4, 3>(simd, a, b, sums, first),
        (6, 1) => product::<T, S, 6, 1>(simd, a, b, sums, first),
        (6, 2) => product::<T, S, 6, 2>(simd, a, b, sums, first),
        (8, 1) => product::<T, S, 8, 1>(simd, a, b, sums, first),
        (8, 2) => product::<T, S, 8, 2>(simd, a, b, sums, first),
        (8, 3) => product::<T, S, 8, 3>(simd, a, b, sums, first),
        _ => unreachable!("panels have 1, 2, 4, 6 or 8 rows and tiles 1, 2 or 3 registers"),
    }
}
