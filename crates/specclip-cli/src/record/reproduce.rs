//! What `specclip reproduce` found. The records are written out as they are.

#[cfg(feature = "lab")]
pub mod fig1;

use serde::Serialize;

/// What all figures were asked, and what they ran on.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// f32 or f64.
    pub precision: &'static str,
    /// Seed of the weights and of the starting vectors.
    pub seed: u64,
    /// Threads at work.
    pub threads: usize,
    /// Of the program.
    pub version: &'static str,
    /// Its name, or the architecture.
    pub processor: String,
}

/// Figure 5a.
#[derive(Clone, Debug, Serialize)]
pub struct Fig5a {
    /// What every record says.
    #[serde(flatten)]
    pub settings: Settings,
    /// Filters for each mean.
    pub filters: usize,
    /// Samples of the input along each axis.
    pub size: usize,
    /// Largest residual of sigma_1, relative to it, that counts as converged.
    pub tolerance: f64,
    /// One for each kernel size, number of channels and padding.
    pub cells: Vec<Cell>,
    /// All of the work.
    pub seconds: f64,
}

/// A mean over filters.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// Taps along each axis.
    pub kernel: usize,
    /// Input and output channels.
    pub channels: usize,
    /// `zeros`, `reflect`, `replicate` or `circular`.
    pub padding: &'static str,
    /// Mean of |sigma_1 - circulant value|.
    pub mean_difference: f64,
    /// Its standard deviation over the filters (n - 1 in the denominator); 0 for one filter.
    pub deviation: f64,
    /// The largest.
    pub largest_difference: f64,
    /// Mean of |sigma_1 - circulant value| / sigma_1.
    pub mean_relative_difference: f64,
    /// Mean of sigma_1.
    pub mean_sigma_1: f64,
    /// Filters whose sigma_1 missed the tolerance.
    pub not_converged: usize,
}

impl Fig5a {
    /// Filters whose sigma_1 missed the tolerance, in all cells.
    pub fn not_converged(&self) -> usize {
        self.cells.iter().map(|cell| cell.not_converged).sum()
    }
}

/// Figure 5b.
#[derive(Clone, Debug, Serialize)]
pub struct Fig5b {
    /// What every record says.
    #[serde(flatten)]
    pub settings: Settings,
    /// Runs of each method.
    pub repetitions: usize,
    /// Largest relative error of any of the k values.
    pub accuracy: f64,
    /// The converged values that errors are measured against, largest first.
    pub truth: Vec<f64>,
    /// One for each method and number of values.
    pub points: Vec<Point>,
    /// All of the work.
    pub seconds: f64,
}

/// A method at one number of values.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// Which method.
    pub method: Contender,
    /// How many values.
    pub k: usize,
    /// Median time of the runs, those that missed the accuracy among them.
    pub median_seconds: f64,
    /// Median of the products with M and with its adjoint, each on one vector.
    pub median_matvecs: usize,
    /// Largest relative error of a value in any of the runs.
    pub error: f64,
    /// Runs that reached the accuracy.
    pub reached: usize,
}

/// The methods of figure 5b.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// Power iteration, one value after the other.
    Deflation,
    /// The paper's Algorithm 1.
    PowerQr,
    /// The default method, its tolerance as loose as the accuracy allows.
    Lanczos,
    /// The default method with its default tolerance.
    Default,
}

impl Contender {
    /// In the order of legends.
    pub const ALL: [Self; 4] = [Self::Deflation, Self::PowerQr, Self::Default, Self::Lanczos];

    /// The name in tables, as in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deflation => "deflation",
            Self::PowerQr => "power-qr",
            Self::Lanczos => "lanczos",
            Self::Default => "default",
        }
    }

    /// What it is, in a legend.
    pub fn label(self) -> &'static str {
        match self {
            Self::Deflation => "power iteration with deflation",
            Self::PowerQr => "PowerQR, mu = 1",
            Self::Lanczos => "Lanczos, loosest tolerance",
            Self::Default => "Lanczos, default tolerance (1e-4)",
        }
    }
}

impl Fig5b {
    /// A method at a number of values.
    pub fn point(&self, method: Contender, k: usize) -> Option<&Point> {
        let mut points = self.points.iter();
        points.find(|point| point.method == method && point.k == k)
    }
}
