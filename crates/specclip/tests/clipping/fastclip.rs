//! What FastClip alone does.

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
