//! What a run found, before any format: one row a layer, with everything needed to repeat the run.

use std::time::Duration;

use specclip::svd::Method;

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The model file as given, or the name of the built-in network.
    pub model: String,
    /// The shape of each input of the model, batch first.
    pub inputs: Vec<(String, Vec<usize>)>,
    /// f32 or f64.
    pub precision: &'static str,
    /// The method asked for.
    pub method: &'static str,
    /// Largest relative residual that counts as converged.
    pub tolerance: f64,
    /// Seed of the starting vectors.
    pub seed: u64,
    /// How many values were asked for.
    pub top: usize,
    /// Whether the whole spectrum was asked for.
    pub full: bool,
    /// Whether batch norms were folded into convolutions.
    pub compose: bool,
    /// The `--layer` patterns.
    pub globs: Vec<String>,
    /// Threads at work.
    pub threads: usize,
}

/// Everything a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was asked.
    pub settings: Settings,
    /// One row a layer, in network order.
    pub rows: Vec<Row>,
    /// Layers that could not be analysed whatever the method, in network order.
    pub skipped: Vec<Skipped>,
    /// The time of the whole analysis.
    pub elapsed: Duration,
}

/// What identifies a layer.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The layer's name.
    pub name: String,
    /// Its kind, in short words.
    pub kind: String,
    /// Channels first, without the batch axis.
    pub input_shape: Vec<usize>,
    /// Channels first, without the batch axis.
    pub output_shape: Vec<usize>,
    /// The weight in the file, if the layer has one: its name and shape.
    pub weight: Option<(String, Vec<usize>)>,
    /// How many positions the operator is applied to, each with these values.
    pub multiplicity: usize,
}

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which layer.
    pub layer: Identity,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a layer.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// There are values, converged or not.
    Values(Values),
    /// What was asked cannot be done on this layer, for this reason.
    Refused(String),
}

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
    /// Building the operator and solving.
    pub elapsed: Duration,
}

/// A layer that was not analysed.
#[derive(Clone, Debug)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// The operator type in the file, or the layer's kind.
    pub op: String,
    /// Why.
    pub reason: String,
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
    /// The rows that have values.
    pub fn values(&self) -> impl Iterator<Item = (&Identity, &Values)> {
        self.rows.iter().filter_map(|row| match &row.outcome {
            Outcome::Values(values) => Some((&row.layer, values)),
            Outcome::Refused(_) => None,
        })
    }

    /// How many layers have a value that missed the tolerance.
    pub fn missed(&self) -> usize {
        self.values()
            .filter(|(_, values)| !values.all_converged())
            .count()
    }

    /// How many layers refused what was asked.
    pub fn refused(&self) -> usize {
        self.rows.len() - self.values().count()
    }

    /// Products of all layers together.
    pub fn matvecs(&self) -> usize {
        self.values().map(|(_, values)| values.matvecs).sum()
    }

    /// Every layer without values and why: those that the reader could not take, and those that refused.
    pub fn all_skipped(&self) -> Vec<Skipped> {
        let refused = self.rows.iter().filter_map(|row| match &row.outcome {
            Outcome::Values(_) => None,
            Outcome::Refused(reason) => Some(Skipped {
                name: row.layer.name.clone(),
                op: row.layer.kind.clone(),
                reason: reason.clone(),
            }),
        });
        self.skipped.iter().cloned().chain(refused).collect()
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
