//! Actions and spectra against reference results (see `cases`).

mod cases;
mod common;

use cases::{Case, cases};
use common::{adjoint, apply, distance, dot, norm};
use specclip::svd::{Method, Params, Shift, full_spectrum, singular_values};
use specclip::{Error, LinearOperator, Real};

fn check_actions<T: Real>(case: &Case, tau: f64) {
    let op = case.operator::<T>();
    let note = format!("{} ({})", case.note, case.kind);
    assert_eq!([op.outputs(), op.inputs()], case.matrix_shape, "{note}");
    let mx = apply(&op, &case.x);
    if let Some(expected) = &case.mx {
        let error = distance(&mx, expected);
        assert!(
            error <= tau * norm(expected),
            "{note}: M x is off by {error:e}"
        );
    }
    let scale = norm(&case.y) * norm(&mx);
    let forward = dot(&case.y, &mx) - case.y_dot_mx;
    assert!(
        forward.abs() <= tau * scale,
        "{note}: <y, M x> is off by {forward:e}"
    );
    let backward = dot(&adjoint(&op, &case.y), &case.x) - case.y_dot_mx;
    assert!(
        backward.abs() <= tau * scale,
        "{note}: <M' y, x> is off by {backward:e}"
    );
    let frobenius = op.frobenius().unwrap() - case.frobenius;
    assert!(
        frobenius.abs() <= tau * case.frobenius,
        "{note}: the Frobenius norm is off by {frobenius:e}"
    );
}

const TAU_F64: f64 = 1e-11;
const TAU_F32: f64 = 2e-5;

#[test]
fn golden_actions() {
    for case in cases() {
        check_actions::<f64>(&case, TAU_F64);
        check_actions::<f32>(&case, TAU_F32);
    }
}

/// Each sigma within tau of sigma_1.
fn check_values(note: &str, method: Method, found: &[f64], expected: &[f64], tau: f64) {
    assert_eq!(found.len(), expected.len(), "{note}: {method:?}");
    for (i, (found, expected_i)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected_i).abs();
        assert!(
            error <= tau * expected[0],
            "{note}: {method:?} gives sigma_{} = {found}, not {expected_i}: off by {error:e}",
            i + 1
        );
    }
}

fn check_spectrum<T: Real>(case: &Case, tau: f64) {
    let op = case.operator::<T>();
    let note = format!("{} ({})", case.note, case.kind);
    let k = case.singular_values.len();
    for method in [Method::Auto, Method::Dense, Method::Lanczos] {
        let params = Params {
            method,
            tolerance: tau / 4.0,
            ..Params::default()
        };
        let top = singular_values(&op, k, &params).unwrap();
        assert!(top.converged(), "{note}: {method:?}: {:?}", top.residuals);
        check_values(&note, method, &top.sigma, &case.singular_values, tau);
    }
    let params = Params {
        method: Method::Circulant,
        tolerance: tau / 4.0,
        ..Params::default()
    };
    match singular_values(&op, k, &params) {
        Ok(top) => {
            assert!(case.is_circulant(), "{note}: circulant must refuse");
            assert!(top.converged(), "{note}: circulant: {:?}", top.residuals);
            check_values(
                &note,
                Method::Circulant,
                &top.sigma,
                &case.singular_values,
                tau,
            );
            let all = full_spectrum(&op).unwrap();
            assert!(
                [Method::Circulant, Method::Structured].contains(&all.method),
                "{note}"
            );
            assert_eq!(all.sigma.len(), op.inputs().min(op.outputs()), "{note}");
        }
        Err(Error::NotApplicable { .. }) => {
            assert!(!case.is_circulant(), "{note}: circulant must apply");
        }
        Err(other) => panic!("{note}: {other}"),
    }
}

#[test]
fn golden_spectra() {
    for case in cases() {
        check_spectrum::<f64>(&case, TAU_F64);
        check_spectrum::<f32>(&case, TAU_F32);
    }
}

/// Subspace iteration converges with the ratio of neighbouring values, so it is asked for four of
/// them, and for four digits.
#[test]
fn golden_power_qr() {
    let params = Params {
        method: Method::PowerQr,
        shift: Shift::Fixed(0.0),
        tolerance: 1e-4,
        max_matvecs: 400_000,
        ..Params::default()
    };
    for case in cases() {
        let op = case.operator::<f64>();
        let k = case.singular_values.len().min(4);
        let top = singular_values(&op, k, &params).unwrap();
        assert!(top.converged(), "{}: {:?}", case.note, top.residuals);
        check_values(
            &case.note,
            Method::PowerQr,
            &top.sigma,
            &case.singular_values[..k],
            1e-4,
        );
    }
}
