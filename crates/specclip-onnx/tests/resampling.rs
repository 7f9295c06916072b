//! Pooling and resizing.

mod common;

use common::{Attribute as A, Builder, apply, f32_tensor, load, only};
use specclip_onnx::LayerKind;

#[test]
fn pooling_and_resizing() {
    let pool = Builder::new(&[1, 2, 7, 7]).node(
        "AveragePool",
        &["x"],
        &["y"],
        &[
            A::Ints("kernel_shape", vec![3, 3]),
            A::Ints("strides", vec![2, 2]),
            A::Int("ceil_mode", 1),
        ],
    );
    assert_eq!(only(&load(&pool)).output_shape, [2, 3, 3]);
    let global = Builder::new(&[1, 2, 7, 7]).node("GlobalAveragePool", &["x"], &["y"], &[]);
    assert_eq!(only(&load(&global)).output_shape, [2, 1, 1]);
    assert_eq!(only(&load(&global)).name, "GlobalAveragePool_0");
    let mean = Builder::new(&[1, 2, 7, 7]).ints("axes", &[-1, -2]).node(
        "ReduceMean",
        &["x", "axes"],
        &["y"],
        &[A::Int("keepdims", 0)],
    );
    assert_eq!(only(&load(&mean)).kind, LayerKind::AvgPool);
    let resize = Builder::new(&[1, 2, 4, 5])
        .tensor(f32_tensor("scales", &[4], &[1.0, 1.0, 2.0, 1.5]))
        .node(
            "Resize",
            &["x", "", "scales"],
            &["y"],
            &[A::Text("mode", "linear")],
        );
    assert_eq!(only(&load(&resize)).output_shape, [2, 8, 7]);
    let mut upsample = Builder::new(&[1, 1, 1, 2])
        .tensor(f32_tensor("scales", &[4], &[1.0, 1.0, 1.0, 2.0]))
        .node("Upsample", &["x", "scales"], &["y"], &[]);
    upsample.opset = 9;
    assert_eq!(
        apply(&load(&upsample), 0, &[1.0, 5.0]),
        [1.0, 1.0, 5.0, 5.0]
    );
    let cubic = Builder::new(&[1, 2, 4, 5])
        .tensor(f32_tensor("scales", &[4], &[1.0, 1.0, 2.0, 2.0]))
        .node(
            "Resize",
            &["x", "", "scales"],
            &["y"],
            &[A::Text("mode", "cubic")],
        );
    let model = load(&cubic);
    assert_eq!(model.layers.len(), 0);
    assert_eq!(model.skipped[0].reason, "cubic resizing is not analysed");
}

/// Sizes that keep the aspect ratio are rounded; the samples are taken at the scale before rounding. The expected rows are
/// those of onnxruntime, for an input of squares.
#[test]
fn resizing_that_keeps_the_aspect_ratio() {
    let resized = |input: [i64; 2], sizes: [i64; 2], policy, coordinates| {
        let builder = Builder::new(&[1, 1, input[0], input[1]])
            .ints("sizes", &sizes)
            .node(
                "Resize",
                &["x", "", "", "sizes"],
                &["y"],
                &[
                    A::Ints("axes", vec![2, 3]),
                    A::Text("mode", "linear"),
                    A::Text("keep_aspect_ratio_policy", policy),
                    A::Text("coordinate_transformation_mode", coordinates),
                ],
            );
        let model = load(&builder);
        let squares: Vec<f64> = (0..input[0] * input[1]).map(|i| (i * i) as f64).collect();
        (
            only(&model).output_shape.clone(),
            apply(&model, 0, &squares),
        )
    };
    let close = |row: &[f64], expected: &[f64]| {
        let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-3;
        assert!(row.iter().zip(expected).all(near), "{row:?} {expected:?}");
    };
    let (shape, y) = resized([5, 6], [3, 9], "not_larger", "half_pixel");
    assert_eq!(shape, [1, 3, 4]);
    close(&y[..4], &[13.6667, 24.0, 40.3333, 57.0]);
    let (shape, y) = resized([5, 4], [5, 10], "not_smaller", "asymmetric");
    assert_eq!(shape, [1, 13, 10]);
    close(&y[..5], &[0.0, 0.4, 0.8, 1.6, 2.8]);
    close(&y[120..122], &[256.0, 269.2]);
}
