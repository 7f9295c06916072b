//! What `specclip compare` found.

/// What `specclip compare` was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Largest relative residual of sigma_1 that counts as converged.
    pub tolerance: f64,
}

/// The methods' values of the layers.
pub type Report = super::Report<Asked, Comparison>;

/// A layer and the methods' values.
pub type Row = super::Row<Comparison>;

/// The methods, in the order of their columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Miyato et al. 2018.
    Reshaped,
    /// Sedghi et al. 2019, Senderovich et al. 2022.
    Circular,
    /// Delattre et al. 2023.
    Gram,
    /// Araujo et al. 2021.
    LipGrid,
    /// Singla & Feizi 2021.
    FantasticFour,
    /// The upper end of this program's own interval.
    Proven,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Reshaped,
        Self::Circular,
        Self::Gram,
        Self::LipGrid,
        Self::FantasticFour,
        Self::Proven,
    ];

    /// The name in tables and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reshaped => "reshaped",
            Self::Circular => "circular",
            Self::Gram => "gram",
            Self::LipGrid => "lipgrid",
            Self::FantasticFour => "fantastic-four",
            Self::Proven => "proven",
        }
    }

    /// Whether its authors claim that it bounds the norm.
    pub fn claims_bound(self) -> bool {
        !matches!(self, Self::Reshaped | Self::Circular)
    }
}

/// sigma_1 and what the methods say it is.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Of the operator that runs.
    pub sigma_1: f64,
    /// Whether it met the tolerance.
    pub converged: bool,
    /// The distance that rounding may leave between a value and sigma_1, relative to it.
    pub rounding: f64,
    /// The methods' values; none where a method does not exist for the layer.
    pub values: [Option<f64>; Method::ALL.len()],
}

impl Comparison {
    /// What a method says.
    pub fn value(&self, method: Method) -> Option<f64> {
        self.values[method as usize]
    }

    /// The method's value less sigma_1, divided by sigma_1; none where there is no value or sigma_1 is 0.
    pub fn error(&self, method: Method) -> Option<f64> {
        let value = self.value(method)?;
        (self.sigma_1 > 0.0).then(|| value / self.sigma_1 - 1.0)
    }

    /// Whether the method claims a bound and is below sigma_1 by more than rounding. A sigma_1 that has not converged
    /// is too small, so what is below it is below the true one.
    pub fn broken(&self, method: Method) -> bool {
        let below = |value| value < self.sigma_1 * (1.0 - self.rounding);
        method.claims_bound() && self.value(method).is_some_and(below)
    }
}

impl Report {
    /// Layers whose sigma_1 missed the tolerance.
    pub fn missed(&self) -> usize {
        self.values()
            .filter(|(_, values)| !values.converged)
            .count()
    }

    /// Layers for which a method claims a bound and is below sigma_1.
    pub fn broken(&self, method: Method) -> usize {
        self.values()
            .filter(|(_, values)| values.broken(method))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bounds_below_sigma_1_are_broken() {
        let comparison = Comparison {
            sigma_1: 2.0,
            converged: true,
            rounding: 1e-12,
            values: [
                Some(1.0),
                Some(1.0),
                Some(1.9),
                Some(2.0 - 1e-13),
                None,
                Some(2.5),
            ],
        };
        let broken = Method::ALL.map(|method| comparison.broken(method));
        assert_eq!(broken, [false, false, true, false, false, false]);
        assert_eq!(comparison.error(Method::Proven), Some(0.25));
        assert_eq!(comparison.error(Method::FantasticFour), None);
    }
}
