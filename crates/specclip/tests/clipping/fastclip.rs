//! What FastClip alone does.

use specclip::operator::Scaled;

use super::refused::refused;
use super::*;

/// The warm start of FastClip has no part of the second singular vector, ever: only a fresh solve
/// sees it.
#[test]
fn fastclip_is_not_fooled_by_its_warm_start() {
    let sigma = [1.0, 0.9, 0.8, 0.3];
    let weight = (0..16).map(|i| if i % 5 == 0 { sigma[i / 5] } else { 0.0 });
    let mut op = Dense::new(weight.collect(), 4, 4).unwrap();
    let report = checked(&mut op, 0.5, &Params::new(fastclip(Step::Automatic)));
    assert!(report.reached && report.factor == 1.0);
    for (found, expected) in spectrum(&op).iter().zip([0.5, 0.5, 0.5, 0.3]) {
        assert!((found - expected).abs() < 1e-3, "{found} {expected}");
    }
    let nearest = (0.25_f64 + 0.16 + 0.09).sqrt();
    assert!((report.distance / nearest - 1.0).abs() < 2e-3);
}

/// For a dense layer the nearest one has the singular values min(sigma_i, c).
#[test]
fn fastclip_finds_the_nearest_dense_layer() {
    let spectra = [
        (0..20).map(|i| 0.9_f64.powi(i)).collect::<Vec<_>>(),
        vec![1.0; 20],
        (0..20).map(|i| 1.0 / f64::from(1 + i / 4)).collect(),
        (0..20).map(|i| if i < 3 { 1.0 } else { 0.0 }).collect(),
    ];
    for (seed, sigma) in spectra.iter().enumerate() {
        for unit in [1e-4, 1.0, 1e4] {
            let scaled: Vec<f64> = sigma.iter().map(|s| s * unit).collect();
            let c = 0.6 * unit;
            let mut op = with_spectrum(24, 20, &scaled, seed as u64);
            let report = checked(&mut op, c, &Params::new(fastclip(Step::Automatic)));
            let over = scaled.iter().map(|s| (s - c).max(0.0).powi(2)).sum::<f64>();
            assert!(report.reached, "{report:?}");
            let ratio = report.distance / over.sqrt();
            assert!((ratio - 1.0).abs() < 5e-3, "{ratio}: {report:?}");
            let mut other = with_spectrum(24, 20, &scaled, seed as u64);
            let scale = checked(&mut other, c, &Params::new(Method::Scale));
            assert!(report.distance <= scale.distance * (1.0 + 5e-3));
        }
    }
}

#[test]
fn fastclip_on_the_layers_of_figure_1() {
    for (i, op) in figure_1(28).into_iter().enumerate() {
        let [automatic, reference] = [Step::Automatic, Step::Reference].map(|step| {
            let mut op = op.clone();
            let report = clip(&mut op, 1.0, &Params::new(fastclip(step))).unwrap();
            let truth = full_norm(&op);
            assert!(report.reached && report.factor == 1.0, "{i}: {report:?}");
            assert!((truth - 1.0).abs() < 1e-2 && truth <= 1.001, "{i}: {truth}");
            report
        });
        assert!(automatic.rounds < reference.rounds, "{i}");
        // Many small steps stay nearer than few large ones.
        let scaling = norm(&flat(&op)) * (1.0 - 1.0 / reference.before.sigma);
        assert!(reference.distance < scaling, "{i}");
        assert!(reference.distance < automatic.distance, "{i}");
    }
}

#[test]
fn raising_is_asked_for() {
    let start = || with_spectrum(6, 5, &[0.5, 0.4, 0.3, 0.2, 0.1], 3);
    for method in [Method::Scale, fastclip(Step::Automatic)] {
        let mut op = start();
        let report = checked(&mut op, 1.0, &Params::new(method));
        assert!(report.reached && flat(&op) == flat(&start()));
    }
    let mut op = start();
    let report = checked(&mut op, 1.0, &Params::new(raising()));
    assert!(report.reached, "{report:?}");
    assert!((spectrum(&op)[0] - 1.0).abs() <= 2e-3);
    // What is below by less is left alone, what is above is lowered as ever.
    let mut op = start();
    let report = checked(&mut op, 0.54, &Params::new(raising()));
    assert!(report.reached && flat(&op) == flat(&start()));
    let report = checked(&mut op, 0.35, &Params::new(raising()));
    assert!(report.reached && (spectrum(&op)[0] - 0.35).abs() < 1e-3);
    // Nothing leads from zero to anywhere.
    let mut zero = Dense::new(vec![0.0; 12], 3, 4).unwrap();
    let report = checked(&mut zero, 1.0, &Params::new(raising()));
    assert!(!report.reached && flat(&zero) == [0.0; 12]);
}

/// All weights in other units: the same rounds, the same distance in these units.
fn has_no_scale<T: Real>(make: fn() -> BoxedParametric<T>, units: &[f64]) {
    let start = owned(&make());
    let run = |unit: f64| {
        let mut op = make();
        let scaled: Vec<Vec<T>> = start
            .iter()
            .map(|w| w.iter().map(|x| T::from_f64(x.to_f64() * unit)).collect())
            .collect();
        op.set_weights(&scaled).unwrap();
        let before = materialise(&op).unwrap().singular_values().unwrap()[0];
        let params = Params {
            seed: 4,
            ..Params::new(fastclip(Step::Automatic))
        };
        let report = clip(&mut op, 0.5 * before, &params).unwrap();
        assert!(
            report.reached && report.factor > 0.998,
            "{unit}: {report:?}"
        );
        let (before, after) = (scaled.concat(), owned(&op).concat());
        let pairs = after.iter().zip(&before);
        let moved = pairs.map(|(a, b)| (a.to_f64() - b.to_f64()) / unit);
        (report.rounds, norm(&moved.collect::<Vec<f64>>()))
    };
    let (rounds, distance) = run(1.0);
    for &unit in units {
        let (others, other) = run(unit);
        assert!(rounds.abs_diff(others) <= 2, "{unit}: {rounds}, {others}");
        assert!(
            (other / distance - 1.0).abs() < 0.02,
            "{unit}: {distance} {other}"
        );
    }
}

fn numbers<T: Real>(count: usize, seed: u64) -> Vec<T> {
    values(count, seed).into_iter().map(T::from_f64).collect()
}

fn dense<T: Real>() -> BoxedParametric<T> {
    Box::new(Dense::new(numbers(7 * 9, 3), 7, 9).unwrap())
}

fn composition<T: Real>() -> BoxedParametric<T> {
    let params = ConvParams::new(2).padding(1, PaddingMode::Zeros);
    let conv = Conv::new(numbers(4 * 3 * 9, 1), &[4, 3, 3, 3], &[3, 6, 6], &params).unwrap();
    let norm = Diagonal::new(numbers(4, 2), &[4, 6, 6]).unwrap();
    Box::new(Compose::new(norm, conv).unwrap())
}

#[test]
fn fastclip_has_no_scale() {
    for make in [dense, composition] {
        has_no_scale::<f32>(make, &[1e-9, 1e-4, 1e4, 1e9]);
    }
    for make in [dense, composition] {
        has_no_scale::<f64>(make, &[1e-60, 1e-20, 1e20, 1e60]);
    }
}

/// A convolution and factors of quite another size, where products of gradients and weights leave the range of the type.
#[test]
fn the_parts_of_a_composition_may_differ_in_size() {
    for unit in [1e-18, 1e-9, 1e9, 1e18] {
        let mut op = composition::<f32>();
        let mut weights = owned(&op);
        weights[0].iter_mut().for_each(|w| *w *= unit);
        op.set_weights(&weights).unwrap();
        let before = materialise(&op).unwrap().singular_values().unwrap()[0];
        let params = Params::new(fastclip(Step::Automatic));
        let report = clip(&mut op, 0.5 * before, &params).unwrap();
        assert!(
            report.reached && report.factor > 0.998,
            "{unit}: {report:?}"
        );
    }
}

/// A part that no weight moves, and weights that are small beside it.
#[test]
fn the_identity_of_a_residual_sum_stays() {
    for size in [1.0, 1e-4] {
        let mix = Conv::new(values(64, 5), &[8, 8, 1], &[8, 1], &ConvParams::new(1)).unwrap();
        let identity = Separable::<f64>::pad(&[8, 1], &[(0, 0)], PaddingMode::Zeros).unwrap();
        let terms: Vec<BoxedParametric<f64>> = vec![
            Box::new(identity),
            Box::new(Scaled::new(mix, size).unwrap()),
        ];
        let mut sum = Sum::new(terms).unwrap();
        let before = spectrum(&sum)[0];
        let c = 1.0 + 0.6 * (before - 1.0);
        let params = Params {
            tolerance: 1e-6,
            ..Params::new(fastclip(Step::Automatic))
        };
        let report = checked(&mut sum, c, &params);
        assert!(report.reached && report.factor == 1.0, "{size}: {report:?}");
        // No multiple of the weights is a multiple of the sum.
        refused(
            &mut sum,
            0.9 * c,
            &Params::new(Method::Scale),
            "common factor",
        );
    }
}

/// Weights that can hardly be seen beside the identity, which is to become smaller.
#[test]
fn weights_far_below_a_fixed_part_move() {
    let weight: Vec<f32> = values(64, 5).iter().map(|&w| w as f32 * 1e-9).collect();
    let mix = Conv::new(weight, &[8, 8, 1], &[8, 1], &ConvParams::new(1)).unwrap();
    let identity = Separable::<f32>::pad(&[8, 1], &[(0, 0)], PaddingMode::Zeros).unwrap();
    let terms: Vec<BoxedParametric<f32>> = vec![Box::new(identity), Box::new(mix)];
    let mut sum = Sum::new(terms).unwrap();
    let report = clip(&mut sum, 0.5, &Params::new(fastclip(Step::Automatic))).unwrap();
    let after = materialise(&sum).unwrap().singular_values().unwrap()[0];
    assert!(report.reached && after < 0.501, "{after} {report:?}");
    assert!(report.rounds < 100, "{report:?}");
}

/// A product of tiny factors is raised by steps that its tangent takes for far longer.
#[test]
fn steps_that_are_too_long_are_halved() {
    let conv = Conv::new(
        values(4 * 3 * 9, 1),
        &[4, 3, 3, 3],
        &[3, 6, 6],
        &ConvParams::new(2),
    )
    .unwrap();
    let factors = Diagonal::new(values(4, 2), conv.output_shape()).unwrap();
    let mut op = Compose::new(factors, conv).unwrap();
    let tiny: Vec<Vec<f64>> = owned(&op)
        .into_iter()
        .map(|w| w.into_iter().map(|x| x * 1e-6).collect())
        .collect();
    op.set_weights(&tiny).unwrap();
    let report = clip(&mut op, 1.0, &Params::new(raising())).unwrap();
    let after = spectrum(&op)[0];
    let reached = report.reached && (after - 1.0).abs() < 2e-3;
    // By FastClip, which moves both, and not by one factor in the end.
    assert!(
        reached && (report.factor - 1.0).abs() < 2e-3,
        "{after} {report:?}"
    );
    let weights = owned(&op);
    let mut pairs = weights.iter().zip(&tiny);
    assert!(pairs.all(|(weight, tiny)| norm(weight) > 1e3 * norm(tiny)));
}

/// A round lowers several values at once where their vectors are good: six values take fewer rounds than one each.
#[test]
fn a_round_lowers_several_values() {
    let sigma: Vec<f64> = (0..20)
        .map(|i| {
            if i < 6 {
                2.0 - 0.1 * f64::from(i)
            } else {
                0.5_f64.powi(i - 5)
            }
        })
        .collect();
    for (rows, cols) in [(24, 20), (20, 20), (20, 33)] {
        let mut op = with_spectrum(rows, cols, &sigma, 3);
        let report = checked(&mut op, 1.0, &Params::new(fastclip(Step::Automatic)));
        assert!(report.reached && report.rounds <= 4, "{report:?}");
        let nearest = (0..6)
            .map(|i| (1.0 - 0.1 * f64::from(i)).powi(2))
            .sum::<f64>();
        assert!(
            (report.distance / nearest.sqrt() - 1.0).abs() < 5e-3,
            "{report:?}"
        );
    }
}

/// Operators with fewer values than a round may lower.
#[test]
fn operators_with_few_dimensions() {
    for (rows, cols) in [(1, 1), (1, 7), (7, 1), (2, 9), (9, 3), (4, 4)] {
        let count = rows.min(cols);
        let sigma: Vec<f64> = (0..count).map(|i| 3.0 - 0.5 * i as f64).collect();
        let mut op = with_spectrum(rows, cols, &sigma, 5);
        let report = checked(&mut op, 1.0, &Params::new(fastclip(Step::Automatic)));
        let nearest = sigma.iter().map(|s| (s - 1.0).powi(2)).sum::<f64>().sqrt();
        assert!(report.reached, "{rows} x {cols}: {report:?}");
        assert!(
            (report.distance / nearest - 1.0).abs() < 5e-3,
            "{rows} x {cols}: {report:?}"
        );
    }
}

/// Terms whose weights have sizes far apart move together, as their gradients say.
#[test]
fn terms_of_different_sizes_move_together() {
    let weight = values(20 * 20, 8);
    let small: Vec<f64> = weight.iter().map(|w| w * 1e-9).collect();
    let large: Vec<f64> = weight.iter().rev().map(|w| w * 1e9).collect();
    let terms: Vec<BoxedParametric<f64>> = vec![
        Box::new(Dense::new(weight.clone(), 20, 20).unwrap()),
        Box::new(Scaled::new(Dense::new(small, 20, 20).unwrap(), 1e9).unwrap()),
        Box::new(Scaled::new(Dense::new(large, 20, 20).unwrap(), 1e-9).unwrap()),
    ];
    let mut sum = Sum::new(terms).unwrap();
    let before = materialise(&sum).unwrap().singular_values().unwrap()[0];
    let c = 0.6 * before;
    let report = clip(&mut sum, c, &Params::new(fastclip(Step::Automatic))).unwrap();
    let after = materialise(&sum).unwrap().singular_values().unwrap()[0];
    assert!(report.reached && report.factor == 1.0, "{report:?}");
    assert!((after / c - 1.0).abs() < 2e-3, "{after} {c} {report:?}");
    assert!(report.rounds < 40, "{report:?}");
}

/// Half of the operator is fixed and above the norm: what moves is left alone once it obeys.
#[test]
fn a_fixed_part_above_the_norm_takes_nothing_along() {
    let pad = || Separable::<f64>::pad(&[1, 4], &[(0, 4)], PaddingMode::Zeros).unwrap();
    let mut weight = vec![0.0; 16];
    for (i, w) in [0.2, 0.1, -0.3, -0.4].into_iter().enumerate() {
        weight[5 * i] = w;
    }
    let dense = Dense::new(weight, 4, 4).unwrap();
    let inner = Compose::new(dense, Adjoint(pad())).unwrap();
    let corner = Compose::new(pad(), inner).unwrap();
    let identity = Separable::<f64>::pad(&[1, 8], &[(0, 0)], PaddingMode::Zeros).unwrap();
    let terms: Vec<BoxedParametric<f64>> = vec![Box::new(identity), Box::new(corner)];
    let mut sum = Sum::new(terms).unwrap();
    let report = clip(&mut sum, 0.5, &Params::new(fastclip(Step::Automatic))).unwrap();
    let values = materialise(&sum).unwrap().singular_values().unwrap();
    assert!(!report.reached, "{report:?}");
    for (value, expected) in values.iter().zip([1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5]) {
        assert!((value - expected).abs() < 2e-3, "{values:?}");
    }
    assert!(report.rounds < 20, "{report:?}");
}
