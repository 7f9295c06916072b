//! Reference results from PyTorch in f64 and a dense SVD of the materialised operator.
//!
//! Reads every `*.json` of the folder named by `SPECCLIP_GOLDEN_DIR`, else of `tests/golden`.

mod common;

use std::path::PathBuf;

use common::{adjoint, apply, distance, dot, norm};
use serde::Deserialize;
use specclip::operator::{
    BoxedOperator, Compose, Conv, ConvParams, ConvTranspose, ConvTransposeParams, Dense, Diagonal,
    PaddingMode,
};
use specclip::svd::{Method, Params, Shift, full_spectrum, singular_values};
use specclip::{Error, LinearOperator, Real};

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    kind: String,
    note: String,
    input: Vec<usize>,
    #[serde(default)]
    in_channels: usize,
    #[serde(default)]
    out_channels: usize,
    #[serde(default)]
    kernel: Vec<usize>,
    #[serde(default)]
    stride: Vec<usize>,
    #[serde(default)]
    padding: Vec<usize>,
    #[serde(default)]
    output_padding: Vec<usize>,
    #[serde(default)]
    padding_mode: Option<String>,
    #[serde(default)]
    dilation: Vec<usize>,
    #[serde(default)]
    groups: usize,
    #[serde(default)]
    in_features: usize,
    #[serde(default)]
    out_features: usize,
    #[serde(default)]
    weight: Vec<f64>,
    batch_norm: Option<BatchNorm>,
    matrix_shape: [usize; 2],
    singular_values: Vec<f64>,
    frobenius: f64,
    x: Vec<f64>,
    y: Vec<f64>,
    #[serde(rename = "Ax")]
    mx: Option<Vec<f64>>,
    #[serde(rename = "y_dot_Ax")]
    y_dot_mx: f64,
}

#[derive(Deserialize)]
struct BatchNorm {
    gamma: Vec<f64>,
    running_var: Vec<f64>,
    eps: f64,
}

impl Case {
    fn weight<T: Real>(&self) -> Vec<T> {
        self.weight.iter().map(|&w| T::from_f64(w)).collect()
    }

    fn padding(&self) -> Vec<(usize, usize)> {
        self.padding.iter().map(|&p| (p, p)).collect()
    }

    fn conv<T: Real>(&self) -> Conv<T> {
        let mut shape = vec![self.out_channels, self.in_channels / self.groups];
        shape.extend(&self.kernel);
        let params = ConvParams {
            stride: self.stride.clone(),
            padding: self.padding(),
            mode: match self.padding_mode.as_deref() {
                None | Some("zeros") => PaddingMode::Zeros,
                Some("circular") => PaddingMode::Circular,
                Some("reflect") => PaddingMode::Reflect,
                Some("replicate") => PaddingMode::Replicate,
                Some(other) => panic!("unknown padding mode {other}"),
            },
            dilation: self.dilation.clone(),
            groups: self.groups,
        };
        Conv::new(self.weight(), &shape, &self.input, &params).unwrap()
    }

    fn conv_transpose<T: Real>(&self) -> ConvTranspose<T> {
        let mut shape = vec![self.in_channels, self.out_channels / self.groups];
        shape.extend(&self.kernel);
        let params = ConvTransposeParams {
            stride: self.stride.clone(),
            padding: self.padding(),
            output_padding: self.output_padding.clone(),
            dilation: self.dilation.clone(),
            groups: self.groups,
        };
        ConvTranspose::new(self.weight(), &shape, &self.input, &params).unwrap()
    }

    fn batch_norm<T: Real>(&self, shape: &[usize]) -> Diagonal<T> {
        let bn = self.batch_norm.as_ref().unwrap();
        Diagonal::batch_norm(&bn.gamma, &bn.running_var, bn.eps, shape).unwrap()
    }

    fn operator<T: Real>(&self) -> BoxedOperator<T> {
        match self.kind.as_str() {
            "conv1d" | "conv2d" | "conv3d" => Box::new(self.conv()),
            "conv1d+batch_norm" | "conv2d+batch_norm" | "conv3d+batch_norm" => {
                let conv = self.conv();
                let batch_norm = self.batch_norm(conv.output_shape());
                Box::new(Compose::new(batch_norm, conv).unwrap())
            }
            "conv_transpose1d" | "conv_transpose2d" | "conv_transpose3d" => {
                Box::new(self.conv_transpose())
            }
            "linear" => {
                Box::new(Dense::new(self.weight(), self.out_features, self.in_features).unwrap())
            }
            "batch_norm" => Box::new(self.batch_norm(&self.input)),
            other => panic!("unknown case kind {other}"),
        }
    }
}

fn cases() -> Vec<Case> {
    let folder = std::env::var_os("SPECCLIP_GOLDEN_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
        PathBuf::from,
    );
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let file: File = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        cases.extend(file.cases);
    }
    assert!(!cases.is_empty(), "no golden case in {}", folder.display());
    cases
}

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

impl Case {
    /// Written from the definition, apart from the library: every output reads a whole kernel of
    /// samples of a periodic input, and the stride keeps the period.
    fn is_circulant(&self) -> bool {
        if !self.kind.starts_with("conv") {
            return false;
        }
        // A transposed convolution pads zeros; without padding and with single taps it is periodic.
        let transposed = self.kind.starts_with("conv_transpose");
        (0..self.kernel.len()).all(|i| {
            let extent = self.dilation[i] * (self.kernel[i] - 1) + 1;
            let circular = self.padding_mode.as_deref() == Some("circular") && !transposed;
            let size = if transposed {
                (self.input[i + 1] - 1) * self.stride[i] + extent + self.output_padding[i]
                    - 2 * self.padding[i]
            } else {
                self.input[i + 1]
            };
            2 * self.padding[i] == extent - 1
                && (circular || extent == 1)
                && size.is_multiple_of(self.stride[i])
                && (!transposed || size == self.input[i + 1] * self.stride[i])
        })
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
