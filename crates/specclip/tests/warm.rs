//! Clipping one layer again and again, as training does.

mod common;

use specclip::block::{Block, Columns};
use specclip::clip::{EachStep, FastClip, Method, Params, Projection, Warm};
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

/// Six values are above the norm: three rounds are enough because a round lowers several.
#[test]
fn a_round_of_fastclip_lowers_several_values() {
    let mut weight = vec![0.0; 40 * 40];
    for i in 0..40 {
        weight[i * 41] = match i {
            0..6 => 2.0 - 0.1 * i as f64,
            _ => 0.5 - 0.01 * i as f64,
        };
    }
    let mut op: BoxedParametric<f64> = Box::new(Dense::new(weight, 40, 40).unwrap());
    let method = FastClip {
        max_rounds: 3,
        ..FastClip::default()
    };
    let params = Params::new(Method::FastClip(method));
    let report = Warm::new(0).clip(&mut op, 1.0, &params).unwrap();
    assert!(report.converged && report.after <= 1.001, "{report:?}");
    // The six come down to 1, and hardly anything else moves.
    let nearest = (0..6)
        .map(|i| (1.0 - 0.1 * f64::from(i)).powi(2))
        .sum::<f64>()
        .sqrt();
    assert!(report.distance < 1.05 * nearest, "{report:?} {nearest}");
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
        last = warm.follow(&op).unwrap().sigma;
    }
    assert!((last / sigma(&op) - 1.0).abs() < 1e-4, "{last}");
}

/// What was followed is one pair: u' M v is the value, u the image of the vector before.
#[test]
fn what_is_followed_belongs_together() {
    for op in layers() {
        let mut warm = Warm::new(0);
        let first = warm.follow(&op).unwrap();
        let second = warm.follow(&op).unwrap();
        let product = |u: &Columns<f64>, v: &Columns<f64>| {
            let mut image = op.output_block(1);
            op.apply(v, &mut image).unwrap();
            let pairs = image.as_slice().iter().zip(u.as_slice());
            pairs.map(|(a, b)| a * b).sum::<f64>()
        };
        assert!((product(&second.u, &second.v) - second.sigma).abs() < 1e-12 * second.sigma);
        let mut image = op.output_block(1);
        op.apply(&first.v, &mut image).unwrap();
        image.scale(&[1.0 / image.norms()[0]]);
        assert_eq!(image, second.u);
        assert!(second.sigma >= first.sigma * (1.0 - 1e-12));
        assert!(second.sigma <= sigma(&op) * (1.0 + 1e-12));
    }
}

/// An operator that is zero has no vector to follow, and one that is not any more has.
#[test]
fn zero_weights_can_be_followed() {
    let mut op: BoxedParametric<f64> = Box::new(Dense::new(vec![0.0; 12], 3, 4).unwrap());
    let mut warm = Warm::new(0);
    assert_eq!(warm.follow(&op).unwrap().sigma, 0.0);
    assert_eq!(warm.state().0, None);
    assert!(!warm.each_step(&mut op, 1.0, EachStep::Hammer).unwrap());
    op.set_weights(&[wave(12, 0.1)]).unwrap();
    assert!(warm.follow(&op).unwrap().sigma > 0.0);
}

fn singular_values_of(op: &BoxedParametric<f64>) -> Vec<f64> {
    svd::full_spectrum(op).unwrap().sigma
}

/// Again and again without other changes, every method ends at c, from below and above.
#[test]
fn each_step_ends_at_its_norm() {
    for how in [EachStep::Scale, EachStep::SoftCap, EachStep::Hammer] {
        for mut op in layers() {
            if how.is_for_dense_layers() && op.input_shape().len() > 1 {
                let before: Vec<Vec<f64>> = op.weights().iter().map(|w| w.to_vec()).collect();
                let c = 0.5 * sigma(&op);
                let refused = Warm::new(0).each_step(&mut op, c, how).unwrap_err();
                assert!(refused.to_string().contains("dense"), "{refused}");
                assert!(op.weights().iter().zip(&before).all(|(a, b)| a == b));
                continue;
            }
            let before = sigma(&op);
            let c = 0.6 * before;
            let mut warm = Warm::new(1);
            for _ in 0..400 {
                warm.each_step(&mut op, c, how).unwrap();
            }
            let after = sigma(&op);
            assert!(after <= c * (1.0 + 1e-3), "{how:?}: {after} {c}");
            assert!(after >= c * (1.0 - 2e-2), "{how:?}: {after} {c}");
            let weights: Vec<Vec<f64>> = op.weights().iter().map(|w| w.to_vec()).collect();
            assert!(!warm.each_step(&mut op, 2.0 * c, how).unwrap());
            assert!(op.weights().iter().zip(&weights).all(|(a, b)| a == b));
            assert!(warm.each_step(&mut op, f64::NAN, how).is_err());
        }
    }
}

/// A singular value that has grown to many times what is followed does no harm: no norm grows, not even where all
/// other singular values are at the norm that is asked for.
#[test]
fn a_norm_far_above_what_was_followed() {
    for how in [EachStep::Scale, EachStep::SoftCap, EachStep::Hammer] {
        for (level, grown) in [(0.5, 20.0), (0.6, 2.5), (0.6, 1.8), (0.99, 3.0)] {
            grown_far(how, level, grown);
        }
    }
}

fn grown_far(how: EachStep, level: f64, grown: f64) {
    let mut weight = vec![0.0; 40 * 40];
    for i in 0..40 {
        weight[i * 41] = if i == 0 { 1.0 } else { level };
    }
    let mut op: BoxedParametric<f64> = Box::new(Dense::new(weight.clone(), 40, 40).unwrap());
    let mut warm = Warm::new(0);
    for _ in 0..60 {
        warm.follow(&op).unwrap();
    }
    weight[39 * 41] = grown;
    op.set_weights(&[weight]).unwrap();
    let mut last = grown;
    for _ in 0..200 {
        warm.each_step(&mut op, 0.6, how).unwrap();
        let now = sigma(&op);
        assert!(now <= last * (1.0 + 1e-9), "{how:?}: {now} {last}");
        last = now;
    }
    // A soft cap lowers large singular values together with the largest.
    let least = if how == EachStep::SoftCap { 0.85 } else { 0.99 };
    assert!(last <= 0.6 * 1.01 && last >= 0.6 * least, "{how:?}: {last}");
}

/// The square of the norm is beyond what single precision has, on both sides; the norm is not.
#[test]
fn very_large_and_very_small_norms_are_followed() {
    for scale in [1e-25, 1e25] {
        let weight: Vec<f32> = wave(12, 0.1).iter().map(|w| (w * scale) as f32).collect();
        let mut op: BoxedParametric<f32> = Box::new(Dense::new(weight, 3, 4).unwrap());
        let mut warm = Warm::new(0);
        for _ in 0..50 {
            warm.follow(&op).unwrap();
        }
        let found = warm.follow(&op).unwrap().sigma / scale;
        let expected =
            sigma(&(Box::new(Dense::new(wave(12, 0.1), 3, 4).unwrap()) as BoxedParametric<f64>));
        assert!((found / expected - 1.0).abs() < 1e-5, "{found} {expected}");
        assert!(
            warm.each_step(&mut op, 0.5 * scale * expected, EachStep::Scale)
                .unwrap()
        );
    }
    let mut op: BoxedParametric<f32> = Box::new(Dense::new(vec![1e-40; 12], 3, 4).unwrap());
    assert_eq!(Warm::new(0).follow(&op).unwrap().sigma, 0.0);
    assert!(
        !Warm::new(0)
            .each_step(&mut op, 1.0, EachStep::Scale)
            .unwrap()
    );
    let mut op: BoxedParametric<f32> = Box::new(Dense::new(vec![f32::MAX; 12], 3, 4).unwrap());
    let mut warm = Warm::new(0);
    assert!(warm.each_step(&mut op, 1.0, EachStep::Scale).is_err());
    assert_eq!(op.weights()[0], [f32::MAX; 12]);
    assert_eq!(warm.state().0, None);
}

/// With the pair of the largest singular value known, each method does to all singular values what it says.
#[test]
fn what_each_step_does_to_singular_values() {
    let dense =
        || -> BoxedParametric<f64> { Box::new(Dense::new(wave(30 * 20, 0.8), 30, 20).unwrap()) };
    let before = singular_values_of(&dense());
    let c = 0.9 * before[0];
    for how in [EachStep::Scale, EachStep::SoftCap, EachStep::Hammer] {
        let mut op = dense();
        let mut warm = Warm::new(0);
        for _ in 0..2000 {
            warm.follow(&op).unwrap();
        }
        assert!(warm.each_step(&mut op, c, how).unwrap());
        let after = singular_values_of(&op);
        let t = before[0] - c;
        let mut expected: Vec<f64> = match how {
            EachStep::Scale => before.iter().map(|s| s * 0.9).collect(),
            EachStep::Hammer => before
                .iter()
                .enumerate()
                .map(|(i, s)| if i == 0 { s - t } else { *s })
                .collect(),
            EachStep::SoftCap => {
                // The strength by another way: Newton's method on the polynomial.
                let mut x: f64 = 0.2;
                for _ in 0..50 {
                    let f = 1.0 - 3.0 * x.powi(2) + 3.0 * x.powi(3) - x.powi(4) - 0.9;
                    x -= f / (-6.0 * x + 9.0 * x.powi(2) - 4.0 * x.powi(3));
                }
                let a = x / before[0].powi(2);
                let cap = |s: &f64| {
                    let y = s - a * s.powi(3);
                    y + a * y.powi(3)
                };
                before.iter().map(cap).collect()
            }
        };
        expected.sort_by(|a, b| b.total_cmp(a));
        for (after, expected) in after.iter().zip(&expected) {
            assert!(
                (after - expected).abs() < 1e-9 * before[0],
                "{how:?}: {after} {expected}"
            );
        }
    }
}

/// Of a convolution with groups each group is moved by itself, and those that obey not at all.
#[test]
fn groups_are_clipped_one_by_one() {
    let mut weight = wave(6 * 2 * 9, 0.4);
    for w in &mut weight[2 * 2 * 9..4 * 2 * 9] {
        *w *= 0.1;
    }
    let params = ConvParams::new(2).padding(1, PaddingMode::Zeros).groups(3);
    let mut op: BoxedParametric<f64> =
        Box::new(Conv::new(weight.clone(), &[6, 2, 3, 3], &[6, 20, 20], &params).unwrap());
    let c = 0.6 * sigma(&op);
    let method = Method::Projection(Projection::default());
    let report = Warm::new(0).clip(&mut op, c, &Params::new(method)).unwrap();
    let after = sigma(&op);
    assert!(
        report.converged && (after / c - 1.0).abs() < 1e-3,
        "{after} {c}"
    );
    let after = op.weights()[0];
    let small = 2 * 2 * 9..4 * 2 * 9;
    // Multiplied down with the others, if at all.
    let factor = after[small.start] / weight[small.start];
    assert!(factor > 1.0 - 3e-3, "{factor}");
    for i in small {
        assert!((after[i] - factor * weight[i]).abs() < 1e-12);
    }
}
