//! Resampling against the matrices that onnxruntime's Resize applies along one axis;
//! scripts/make_resampling_reference.py made them.

use faer::Mat;
use serde::Deserialize;
use specclip::operator::{
    Coordinates, NearestRounding, ResampleMode, ResampleParams, Separable, materialise,
};

#[derive(Deserialize)]
struct Case {
    inputs: usize,
    outputs: usize,
    scale: Option<f64>,
    mode: String,
    coordinates: String,
    rounding: Option<String>,
    matrix: Vec<f64>,
}

impl Case {
    fn params(&self) -> ResampleParams {
        let mode = match (self.mode.as_str(), self.rounding.as_deref()) {
            ("linear", _) => ResampleMode::Linear,
            (_, Some("round_prefer_floor")) => {
                ResampleMode::Nearest(NearestRounding::RoundPreferFloor)
            }
            (_, Some("round_prefer_ceil")) => {
                ResampleMode::Nearest(NearestRounding::RoundPreferCeil)
            }
            (_, Some("floor")) => ResampleMode::Nearest(NearestRounding::Floor),
            (_, Some("ceil")) => ResampleMode::Nearest(NearestRounding::Ceil),
            other => panic!("unknown mode {other:?}"),
        };
        let coordinates = match self.coordinates.as_str() {
            "half_pixel" => Coordinates::HalfPixel,
            "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
            "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
            "align_corners" => Coordinates::AlignCorners,
            "asymmetric" => Coordinates::Asymmetric,
            "tf_half_pixel_for_nn" => Coordinates::TfHalfPixelForNn,
            other => panic!("unknown coordinates {other}"),
        };
        ResampleParams {
            mode,
            coordinates,
            scales: self.scale.map(|s| vec![s]),
        }
    }
}

#[test]
fn resampling_is_what_onnxruntime_does() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("reference/resampling.json")).unwrap();
    assert!(cases.len() > 200, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let op = Separable::<f64>::resample(&[1, case.inputs], &[case.outputs], &case.params());
        let found = materialise(&op.unwrap()).unwrap();
        let expected = Mat::from_fn(case.outputs, case.inputs, |i, j| {
            case.matrix[i * case.inputs + j]
        });
        // The reference is in single precision.
        if (found - expected).norm_max() > 1e-5 {
            wrong.push(format!(
                "{} -> {} (scale {:?}) {} {} {:?}",
                case.inputs, case.outputs, case.scale, case.mode, case.coordinates, case.rounding
            ));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
