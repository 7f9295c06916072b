//! The clip at each frequency.

use super::*;

#[test]
fn frequencies_without_the_crop_give_the_nearest_circular_convolution() {
    for (stride, groups) in [(1, 1), (2, 1), (1, 2), (3, 2)] {
        let params = ConvParams::new(2)
            .padding(1, PaddingMode::Circular)
            .stride(stride)
            .groups(groups);
        let weight = values(4 * (4 / groups) * 9, 11);
        let shape = [4, 4 / groups, 3, 3];
        let conv = Conv::new(weight, &shape, &[4, 6, 6], &params).unwrap();
        let mut full = full_grid(&conv).unwrap();
        let same = materialise(&full).unwrap() - materialise(&conv).unwrap();
        assert!(same.norm_max() < 1e-12);
        let before = spectrum(&conv);
        let c = 0.5 * before[0];
        let params = Params::new(Method::Frequency { crop: false });
        let report = checked(&mut full, c, &params);
        assert!(report.reached && report.factor == 1.0, "{report:?}");
        for (found, sigma) in spectrum(&full).iter().zip(&before) {
            assert!((found - sigma.min(c)).abs() < 1e-10, "{found} {sigma} {c}");
        }
        // Every weight is once in the matrix for each output position.
        let positions = (36 / (stride * stride)) as f64;
        let over = before.iter().map(|s| (s - c).max(0.0).powi(2)).sum::<f64>();
        assert!((report.distance - (over / positions).sqrt()).abs() < 1e-10);

        // The crop drops the taps that the kernel does not have.
        let mut cropped = conv.clone();
        let report = checked(
            &mut cropped,
            c,
            &Params::new(Method::Frequency { crop: true }),
        );
        // Windows that do not overlap are one matrix, and it is clipped where the kernel is.
        assert!(
            report.reached && (report.factor < 1.0) == (stride < 3),
            "{report:?}"
        );
        let whole = flat(&full);
        for (i, w) in flat(&cropped).iter().enumerate() {
            let (filter, y, x) = (i / 9, i / 3 % 3, i % 3);
            let tap = whole[filter * 36 + (y + 5) % 6 * 6 + (x + 5) % 6];
            assert!((w - tap * report.factor).abs() < 1e-10);
        }
    }
}

/// Taps that the grid folds onto one sample share what is taken away.
#[test]
fn frequencies_of_kernels_larger_than_the_grid() {
    let params = ConvParams::new(1).padding(2, PaddingMode::Circular);
    let mut op = Conv::new(values(2 * 2 * 5, 4), &[2, 2, 5], &[2, 3], &params).unwrap();
    let before = spectrum(&op);
    let c = 0.6 * before[0];
    let report = checked(&mut op, c, &Params::new(Method::Frequency { crop: false }));
    assert!(report.reached && report.factor == 1.0);
    for (found, sigma) in spectrum(&op).iter().zip(&before) {
        assert!((found - sigma.min(c)).abs() < 1e-10, "{found} {sigma} {c}");
    }
}

#[test]
fn frequencies_are_a_baseline_for_other_paddings() {
    for mut op in figure_1(14) {
        let report = clip(&mut op, 1.0, &Params::new(Method::Frequency { crop: true })).unwrap();
        let norm = full_norm(&op);
        assert!(
            report.reached && norm <= 1.001 && norm > 0.9,
            "{norm} {report:?}"
        );
    }
    let params = ConvTransposeParams {
        stride: vec![2],
        output_padding: vec![1],
        ..ConvTransposeParams::new(1)
    };
    let mut op = ConvTranspose::new(values(2 * 3 * 3, 2), &[2, 3, 3], &[2, 5], &params).unwrap();
    let c = 0.5 * spectrum(&op)[0];
    let report = checked(&mut op, c, &Params::new(Method::Frequency { crop: true }));
    assert!(report.reached && report.distance > 0.0, "{report:?}");
}
