//! The probabilistic bound: how often it fails, and what rounding does to it.

use specclip::bound::{Krylov, Params, krylov};
use specclip::operator::{Adjoint, Conv, ConvParams, Diagonal};

/// Eigenvalues 1 and n - 1 others, below `edge` and dense there, where they hide the largest best.
fn adversarial(n: usize, edge: f64, kind: usize) -> Vec<f64> {
    let others = (0..n - 1).map(|i| {
        let x = i as f64 / (n - 1) as f64;
        match kind {
            0 => edge * (1.0 - x * x),
            _ => edge * (1.0 + (std::f64::consts::PI * (x + 0.5 / n as f64)).cos()) / 2.0,
        }
    });
    std::iter::once(1.0).chain(others).collect()
}

/// Sums in which every term but the first is lost: 1 + 2^16 squares of half a rounding error each.
#[test]
fn rounding_of_the_krylov_bound_is_covered() {
    const N: usize = 1 << 16;
    let weights = |small: i32| {
        let mut weights = vec![2.0_f64.powi(small); N];
        weights[0] = 1.0;
        weights
    };
    let shape = ([1, N, 1], [N, 1], ConvParams::new(1));
    let size = Krylov {
        steps: 1_000_000_000,
        block: 1,
    };
    let params = Params {
        failure_probability: 0.5,
        ..Params::default()
    };
    assert!(size.deficit(1, 0.5) < 1e-17);
    let single = weights(-12).iter().map(|&w| w as f32).collect();
    let single = Conv::<f32>::new(single, &shape.0, &shape.1, &shape.2).unwrap();
    let double = Conv::<f64>::new(weights(-27), &shape.0, &shape.1, &shape.2).unwrap();
    let brackets = |bound: f64, terms: i32| {
        let truth = (1.0 + (N - 1) as f64 * 2.0_f64.powi(terms)).sqrt();
        assert!(bound >= truth && bound <= 1.0001 * truth, "{bound} {truth}");
    };
    brackets(krylov(&single, &size, &params).unwrap().value, -24);
    brackets(krylov(&Adjoint(single), &size, &params).unwrap().value, -24);
    brackets(krylov(&double, &size, &params).unwrap().value, -54);
    brackets(krylov(&Adjoint(double), &size, &params).unwrap().value, -54);
}

/// The bound fails no more often than it says; with a quarter of the deficit e it fails more often.
#[test]
fn the_krylov_bound_fails_as_rarely_as_stated() {
    const N: usize = 100;
    const RUNS: u64 = 1250;
    let params = |seed| Params {
        failure_probability: 0.1,
        seed,
        ..Params::default()
    };
    let (mut failures, mut failures_of_a_quarter, mut runs) = (0, 0, 0);
    for block in [1, 2] {
        let size = Krylov { steps: 6, block };
        let start = (1.648 * (N as f64).sqrt()).ln() + 10.0_f64.ln() / block as f64;
        let e = (start / 11.0).powi(2);
        assert!((size.deficit(N, 0.1) / e - 1.0).abs() < 1e-12);
        for (kind, edge) in [
            (0, 1.0 - e),
            (0, 1.0 - e / 3.9),
            (1, 1.0 - e),
            (1, 1.0 - e / 3.9),
        ] {
            let eigenvalues = adversarial(N, edge, kind);
            let factors = eigenvalues.iter().map(|x| x.sqrt()).collect();
            let op = Diagonal::<f64>::new(factors, &[N]).unwrap();
            for seed in 0..RUNS {
                let bound = krylov(&op, &size, &params(seed)).unwrap().value;
                let quarter = bound * ((1.0 - e) / (1.0 - e / 4.0)).sqrt();
                failures += u32::from(bound < 1.0);
                failures_of_a_quarter += u32::from(quarter < 1.0);
                runs += 1;
            }
        }
    }
    assert_eq!(runs, 10_000);
    assert!(failures <= runs / 10, "{failures} failures");
    assert!(
        failures_of_a_quarter > runs / 10,
        "{failures_of_a_quarter} failures"
    );
}
