//! Clipping one layer again and again, as training does.

mod common;

use specclip::clip::{FastClip, Method, Params, Projection, Warm};
use specclip::operator::{Conv, ConvParams, Dense, PaddingMode};
use specclip::svd::{self, singular_values};
use specclip::{BoxedParametric, Parametric};

fn wave(count: usize, seed: f64) -> Vec<f64> {
    (0..count)
        .map(|i| (seed + i as f64 * 0.77).sin() * (1.3 * i as f64 + seed).cos())
        .collect()
}

fn layers() -> Vec<BoxedParametric<f64>> {
    let mut layers: Vec<BoxedParametric<f64>> = Vec::new();
    for mode in [
        PaddingMode::Zeros,
        PaddingMode::Reflect,
        PaddingMode::Circular,
    ] {
        let params = ConvParams::new(2).padding(1, mode).stride(2);
        let conv = Conv::new(wave(8 * 4 * 9, 0.3), &[8, 4, 3, 3], &[4, 16, 16], &params).unwrap();
        layers.push(Box::new(conv));
    }
    layers.push(Box::new(Dense::new(wave(60 * 40, 0.8), 60, 40).unwrap()));
    layers
}

fn sigma(op: &BoxedParametric<f64>) -> f64 {
    let params = svd::Params {
        tolerance: 1e-8,
        seed: 77,
        ..svd::Params::default()
    };
    singular_values(op, 1, &params).unwrap().sigma[0]
}

/// A step of training: every weight moves a little.
fn disturb(op: &mut BoxedParametric<f64>, step: usize) {
    let mut weights: Vec<Vec<f64>> = op.weights().iter().map(|w| w.to_vec()).collect();
    for weight in &mut weights {
        let noise = wave(weight.len(), 10.0 + step as f64);
        let size: f64 = weight.iter().map(|w| w * w).sum::<f64>().sqrt();
        for (w, n) in weight.iter_mut().zip(noise) {
            *w += 0.02 * size * n / (weight_count(60, 40) as f64).sqrt();
        }
    }
    op.set_weights(&weights).unwrap();
}

fn weight_count(rows: usize, cols: usize) -> usize {
    rows * cols
}

#[test]
fn every_clip_of_many_obeys() {
    for method in [
        Method::Scale,
        Method::Projection(Projection::default()),
        Method::FastClip(FastClip::default()),
    ] {
        for mut op in layers() {
            let c = 0.7 * sigma(&op);
            let mut warm = Warm::new(3);
            for step in 0..6 {
                let before = sigma(&op);
                let report = warm.clip(&mut op, c, &Params::new(method.clone())).unwrap();
                let after = sigma(&op);
                assert!(report.converged, "{method:?}");
                assert!((report.before / before - 1.0).abs() < 1e-3, "{method:?}");
                assert!((report.after / after - 1.0).abs() < 1e-3, "{method:?}");
                assert!(
                    after <= c * (1.0 + 1e-3),
                    "{method:?}: step {step}: {after} above {c}"
                );
                if before > c * (1.0 + 1e-3) && !matches!(method, Method::FastClip(_)) {
                    assert!(
                        after >= c * (1.0 - 1e-3),
                        "{method:?}: step {step}: {after} below {c}"
                    );
                }
                disturb(&mut op, step);
            }
        }
    }
}

#[test]
fn what_obeys_stays_bit_for_bit() {
    for mut op in layers() {
        let before: Vec<Vec<f64>> = op.weights().iter().map(|w| w.to_vec()).collect();
        let c = 1.01 * sigma(&op);
        let report = Warm::new(0)
            .clip(&mut op, c, &Params::new(Method::Scale))
            .unwrap();
        assert_eq!((report.distance, report.before), (0.0, report.after));
        assert!(op.weights().iter().zip(&before).all(|(a, b)| a == b));
    }
}

/// The vectors of the first clip do not see a direction that has grown since: the solve must.
#[test]
fn a_new_direction_is_found() {
    let mut weight = vec![0.0; 40 * 40];
    for i in 0..40 {
        weight[i * 41] = if i < 6 { 2.0 } else { 0.5 };
    }
    let mut op: BoxedParametric<f64> = Box::new(Dense::new(weight.clone(), 40, 40).unwrap());
    let mut warm = Warm::new(0);
    assert!((warm.measure(&op, 1e-3).unwrap().0 - 2.0).abs() < 1e-6);
    weight[39 * 41] = 3.0;
    op.set_weights(&[weight]).unwrap();
    assert!((warm.measure(&op, 1e-3).unwrap().0 - 3.0).abs() < 1e-6);
}

/// Nearer than scaling, by a lot: only a few directions stand out.
#[test]
fn the_projection_moves_less_than_scaling() {
    for op in layers() {
        let c = 0.9 * sigma(&op);
        let distance = |method: Method| {
            let mut copy = rebuilt(&op);
            Warm::new(0)
                .clip(&mut copy, c, &Params::new(method))
                .unwrap()
                .distance
        };
        let (near, far) = (
            distance(Method::Projection(Projection::default())),
            distance(Method::Scale),
        );
        assert!(near < 0.8 * far, "{near} {far}");
    }
}

fn rebuilt(op: &BoxedParametric<f64>) -> BoxedParametric<f64> {
    let mut others = layers();
    let same = |other: &BoxedParametric<f64>| {
        other.weights() == op.weights() && (sigma(other) / sigma(op) - 1.0).abs() < 1e-9
    };
    let at = others.iter().position(same).unwrap();
    others.swap_remove(at)
}

#[test]
fn following_approaches_the_norm() {
    let op = layers().swap_remove(1);
    let mut warm = Warm::new(0);
    let mut last = 0.0;
    for _ in 0..300 {
        last = warm.follow(&op).unwrap();
    }
    assert!((last / sigma(&op) - 1.0).abs() < 1e-4, "{last}");
}
