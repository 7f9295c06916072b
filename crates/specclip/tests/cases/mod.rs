//! Layers with results from PyTorch in f64 and a dense SVD of the materialised operator.
//!
//! Reads every `*.json` of the folder named by `SPECCLIP_GOLDEN_DIR`, else of `tests/golden`.

#![allow(dead_code)] // each test file uses its own part

use std::path::PathBuf;

use serde::Deserialize;
use specclip::operator::{
    BoxedOperator, Compose, Conv, ConvParams, ConvTranspose, ConvTransposeParams, Dense, Diagonal,
    PaddingMode,
};
use specclip::{BoxedParametric, LinearOperator, Real};

#[derive(Deserialize)]
struct File {
    cases: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
pub struct Case {
    pub kind: String,
    #[serde(default)]
    pub note: String,
    pub input: Vec<usize>,
    #[serde(default)]
    pub in_channels: usize,
    #[serde(default)]
    pub out_channels: usize,
    #[serde(default)]
    pub kernel: Vec<usize>,
    #[serde(default)]
    pub stride: Vec<usize>,
    #[serde(default)]
    pub padding: Vec<usize>,
    #[serde(default)]
    pub output_padding: Vec<usize>,
    #[serde(default)]
    pub padding_mode: Option<String>,
    #[serde(default)]
    pub dilation: Vec<usize>,
    #[serde(default)]
    pub groups: usize,
    #[serde(default)]
    pub in_features: usize,
    #[serde(default)]
    pub out_features: usize,
    #[serde(default)]
    pub weight: Vec<f64>,
    pub bias: Option<Vec<f64>>,
    pub batch_norm: Option<BatchNorm>,
    #[serde(default)]
    pub matrix_shape: [usize; 2],
    #[serde(default)]
    pub singular_values: Vec<f64>,
    #[serde(default)]
    pub frobenius: f64,
    #[serde(default)]
    pub x: Vec<f64>,
    #[serde(default)]
    pub y: Vec<f64>,
    #[serde(rename = "Ax")]
    pub mx: Option<Vec<f64>>,
    #[serde(rename = "y_dot_Ax", default)]
    pub y_dot_mx: f64,
}

#[derive(Deserialize)]
pub struct BatchNorm {
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
    pub running_mean: Vec<f64>,
    pub running_var: Vec<f64>,
    pub eps: f64,
}

impl Case {
    fn weight<T: Real>(&self) -> Vec<T> {
        self.weight.iter().map(|&w| T::from_f64(w)).collect()
    }

    fn padding(&self) -> Vec<(usize, usize)> {
        self.padding.iter().map(|&p| (p, p)).collect()
    }

    pub fn conv_params(&self) -> ConvParams {
        ConvParams {
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
        }
    }

    fn conv<T: Real>(&self) -> Conv<T> {
        let mut shape = vec![self.out_channels, self.in_channels / self.groups];
        shape.extend(&self.kernel);
        Conv::new(self.weight(), &shape, &self.input, &self.conv_params()).unwrap()
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

    pub fn operator<T: Real>(&self) -> BoxedOperator<T> {
        self.parametric::<T>()
    }

    pub fn parametric<T: Real>(&self) -> BoxedParametric<T> {
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

/// The operators' cases.
pub fn cases() -> Vec<Case> {
    read("SPECCLIP_GOLDEN_DIR", "tests/golden", "singular_values")
}

/// The cases with the field `result` in every `*.json` of the folder that `variable` names, else of
/// `folder`.
pub fn read<C: serde::de::DeserializeOwned>(variable: &str, folder: &str, result: &str) -> Vec<C> {
    let folder = std::env::var_os(variable).map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder),
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
        let content: File = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let wanted = content
            .cases
            .into_iter()
            .filter(|c| c.get(result).is_some());
        cases.extend(wanted.map(|case| {
            serde_json::from_value(case)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        }));
    }
    assert!(
        !cases.is_empty(),
        "no case with {result} in {}",
        folder.display()
    );
    cases
}

impl Case {
    /// Written from the definition, apart from the library: every output reads a whole kernel of
    /// samples of a periodic input, and the stride keeps the period.
    pub fn is_circulant(&self) -> bool {
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
