//! Figure 1: the norm of a convolution while networks are trained, by padding and method.

use serde::{Serialize, Serializer};
use specclip::operator::PaddingMode;
use specclip_lab::train::ClipMethod;

use super::Settings;

/// The whole figure.
#[derive(Clone, Debug, Serialize)]
pub struct Fig1 {
    /// What every record says.
    #[serde(flatten)]
    pub settings: Settings,
    /// Whether it is the short version: fewer epochs, and a part of the images.
    pub quick: bool,
    /// The norm that methods hold the convolution down to.
    pub target: f64,
    /// The name of the data set.
    pub data: String,
    /// Images that every network learns from.
    pub train_images: usize,
    /// Images that accuracies are measured with.
    pub test_images: usize,
    /// Passes over the images.
    pub epochs: u32,
    /// Images in a batch.
    pub batch: usize,
    /// Steps from clip to clip, for the methods that clip now and then.
    pub every: u64,
    /// One for each setting and method.
    pub runs: Vec<Run>,
}

/// One network, trained.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// The convolution.
    #[serde(flatten)]
    pub setting: Setting,
    /// How its norm is held down.
    pub method: ClipMethod,
    /// The folder of the run inside the figure's.
    pub folder: String,
    /// What it measured, an epoch after the other.
    pub norms: Vec<Epoch>,
    /// Seconds of all epochs spent on training, without clipping.
    pub training_seconds: f64,
    /// Seconds of all epochs spent on holding down the norm.
    pub clipping_seconds: f64,
}

/// What a run measured at the end of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Epoch {
    /// Which, from 1 on.
    pub epoch: u32,
    /// sigma_1 of the convolution.
    pub norm: f64,
    /// Whether its solve has converged; an unconverged value is a lower estimate.
    pub converged: bool,
    /// Share of the test images that was right, 0 to 1.
    pub test_accuracy: f64,
}

/// A convolution with one input channel and 64 output channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Taps along each axis.
    pub kernel: usize,
    /// Stride along both axes.
    pub stride: usize,
    /// Padding on all sides.
    pub padding: usize,
    /// `zeros`, `reflect`, `replicate` or `circular`.
    #[serde(serialize_with = "by_name")]
    pub padding_mode: PaddingMode,
}

fn by_name<S: Serializer>(mode: &PaddingMode, to: S) -> Result<S::Ok, S::Error> {
    mode.name().serialize(to)
}

impl Setting {
    /// In the order of the paper.
    pub const ALL: [Self; 4] = [
        Self::new(3, 1, 1, PaddingMode::Reflect),
        Self::new(3, 1, 1, PaddingMode::Zeros),
        Self::new(3, 2, 1, PaddingMode::Zeros),
        Self::new(5, 2, 2, PaddingMode::Replicate),
    ];

    const fn new(kernel: usize, stride: usize, padding: usize, padding_mode: PaddingMode) -> Self {
        Self {
            kernel,
            stride,
            padding,
            padding_mode,
        }
    }

    /// For tables and titles.
    pub fn label(self) -> String {
        let stride = match self.stride {
            1 => String::new(),
            n => format!(", stride {n}"),
        };
        format!(
            "{0} x {0}, {1} {2}{stride}",
            self.kernel,
            self.padding_mode.name(),
            self.padding
        )
    }

    /// For names of folders.
    pub fn name(self) -> String {
        let stride = match self.stride {
            1 => String::new(),
            n => format!("-stride{n}"),
        };
        format!("{0}x{0}-{1}{stride}", self.kernel, self.padding_mode.name())
    }
}

/// How the norm is held down, and what legends say of it: the paper's and this library's own last, where they lie above the
/// others.
pub const METHODS: [(ClipMethod, &str); 8] = [
    (ClipMethod::None, "none"),
    (
        ClipMethod::SpectralNorm,
        "spectral norm of the kernel (Miyato et al. 2018)",
    ),
    (ClipMethod::GramPenalty, "penalty (Delattre et al. 2023)"),
    (
        ClipMethod::ScaleEachStep,
        "scaling at every step (Gouk et al. 2021)",
    ),
    (
        ClipMethod::Frequency,
        "clipping by frequency (Senderovich et al. 2022)",
    ),
    (ClipMethod::Scale, "scaling at every clip"),
    (ClipMethod::FastClip, "FastClip (the paper's, own steps)"),
    (ClipMethod::Projection, "projection (this library's)"),
];

impl Fig1 {
    /// One run.
    pub fn run(&self, setting: Setting, method: ClipMethod) -> Option<&Run> {
        let mut runs = self.runs.iter();
        runs.find(|run| run.setting == setting && run.method == method)
    }

    /// Norms, of all runs and epochs, whose solve has not converged.
    pub fn not_converged(&self) -> usize {
        let norms = self.runs.iter().flat_map(|run| &run.norms);
        norms.filter(|epoch| !epoch.converged).count()
    }
}
