//! What `specclip spectrum` found.

use specclip::svd::Method;

/// What `specclip spectrum` was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method asked for.
    pub method: &'static str,
    /// Largest relative residual that counts as converged.
    pub tolerance: f64,
    /// How many values were asked for.
    pub top: usize,
    /// Whether the whole spectrum was asked for.
    pub full: bool,
}

/// Leading or whole spectra of the layers.
pub type Report = super::Report<Asked, Values>;

/// A layer and its spectrum.
pub type Row = super::Row<Values>;

/// The values of a layer.
#[derive(Clone, Debug)]
pub struct Values {
    /// The method that ran.
    pub method: &'static str,
    /// Descending.
    pub singular_values: Vec<f64>,
    /// `||M'u - sigma v||` of each value, in the unit of the values; empty for a whole spectrum.
    pub residuals: Vec<f64>,
    /// Whether each value met the tolerance.
    pub converged: Vec<bool>,
    /// The Frobenius norm, where it is known.
    pub frobenius: Option<f64>,
    /// Products with M and with its adjoint, together, each on one vector.
    pub matvecs: usize,
}

impl Values {
    /// The spectral norm; none for an operator without a single value.
    pub fn sigma_1(&self) -> Option<f64> {
        self.singular_values.first().copied()
    }

    /// Whether every value met the tolerance.
    pub fn all_converged(&self) -> bool {
        self.converged.iter().all(|&converged| converged)
    }

    /// Frobenius^2 / sigma_1^2: a smooth count of the directions that matter. None for a zero operator.
    pub fn stable_rank(&self) -> Option<f64> {
        let (frobenius, sigma_1) = (self.frobenius?, self.sigma_1()?);
        // Divided first: the square of a tiny norm would underflow.
        (sigma_1 > 0.0).then(|| (frobenius / sigma_1).powi(2))
    }

    /// The largest residual divided by sigma_1; none where none was measured.
    pub fn relative_residual(&self) -> Option<f64> {
        let largest = self.residuals.iter().copied().reduce(f64::max)?;
        match self.sigma_1()? {
            sigma_1 if sigma_1 > 0.0 => Some(largest / sigma_1),
            _ => (largest == 0.0).then_some(0.0),
        }
    }
}

impl Report {
    /// How many layers have a value that missed the tolerance.
    pub fn missed(&self) -> usize {
        self.values()
            .filter(|(_, values)| !values.all_converged())
            .count()
    }

    /// Products of all layers together.
    pub fn matvecs(&self) -> usize {
        self.values().map(|(_, values)| values.matvecs).sum()
    }
}

/// The name of a solver, on the command line and in records.
pub fn method_name(method: Method) -> &'static str {
    match method {
        Method::Auto => "auto",
        Method::Lanczos => "lanczos",
        Method::PowerQr => "power-qr",
        Method::Dense => "dense",
        Method::Circulant => "circulant",
        Method::Structured => "structured",
    }
}
