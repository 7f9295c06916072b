//! Clips one layer of a model, and judges it with the weights that the file stores.

use specclip::clip::{ClipReport, Method, Params, clip};
use specclip::{BoxedParametric, Parametric, Real};
use specclip_onnx::Model;

use crate::analyse::is_not_finite;
use crate::error::Error;
use crate::options::clip::Options;
use crate::record::clip::Values;
use crate::select::Unit;

/// Clips of one layer before it is given up: rounding to 16 bits seldom asks for a third.
const MOST_CLIPS: usize = 12;
/// What a target is lowered by beyond what the last result was above it, at first and at most. Each rounding moves the
/// norm anew, so the margin is doubled until it is larger than that.
const MARGINS: (f64, f64) = (1e-5, 1e-2);

/// Why a layer was not clipped.
pub enum Stop {
    /// It cannot be done on this layer; the others go on.
    Refused(String),
    /// The file is broken.
    Broken(Error),
}

impl From<specclip_onnx::Error> for Stop {
    fn from(error: specclip_onnx::Error) -> Self {
        if is_not_finite(&error) {
            Self::Broken(error.into())
        } else {
            Self::Refused(error.to_string())
        }
    }
}

impl From<specclip::Error> for Stop {
    fn from(error: specclip::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

/// The model that is clipped, as it was, and how.
pub struct Clipper<'a> {
    model: &'a mut Model,
    original: &'a Model,
    norm: f64,
    params: Params,
}

impl<'a> Clipper<'a> {
    /// Clips layers of `model`, which was `original` before any of them.
    pub fn new(model: &'a mut Model, original: &'a Model, options: &Options) -> Self {
        Self {
            model,
            original,
            norm: options.norm,
            params: options.params.clone(),
        }
    }

    /// Leaves the method asked for.
    pub fn only_scale(&mut self) {
        self.params.method = Method::Scale;
    }

    /// Clips a layer until the weights that the file stores obey; `known` is what earlier clips of it found. Also
    /// says whether weights have changed. When the layer is refused, none have.
    pub fn clip<T: Real>(
        &mut self,
        unit: &Unit,
        known: Option<Values>,
    ) -> Result<(Values, bool), Stop> {
        let saved = self.model.clone();
        let done = self.attempt::<T>(unit, known);
        if done.is_err() {
            *self.model = saved;
        }
        done
    }

    fn attempt<T: Real>(
        &mut self,
        unit: &Unit,
        known: Option<Values>,
    ) -> Result<(Values, bool), Stop> {
        let original = weights(&operator::<T>(self.original, unit)?);
        let (mut found, mut target, mut changed) = (known, self.norm, false);
        // Not rounded: clipped again, it is rounded to other numbers, and errors do not add up.
        let mut op = operator::<T>(self.model, unit)?;
        for attempt in 0..MOST_CLIPS {
            let old = weights(&op);
            let report = clip(&mut op, target, &self.params)?;
            let new = weights(&op);
            let mut values = match found.take() {
                Some(values) => values,
                None => self.first::<T>(unit, &original, &old, &report)?,
            };
            values.rounds += report.rounds;
            values.matvecs += report.matvecs;
            // What is a bound for this use of the weight is one for all its uses together.
            if let Some(certificate) = report.certificate
                && old == original
                && target == self.norm
            {
                values.least_distance = Some(certificate.least_distance);
            }
            if new != old {
                self.store(unit, &new)?;
                changed = true;
                values.clips += 1;
            }
            let stored = operator::<T>(self.model, unit)?;
            let written = weights(&stored);
            values.changed = written != original;
            values.distance = distance(&written, &original);
            let next = if written == new {
                (values.after, values.reached) = (report.after, report.reached);
                None
            } else {
                // Rounding made other weights of those that were judged.
                self.judge(stored, &mut values)?;
                self.lowered(target, &values, attempt)
            };
            found = Some(values);
            match next {
                Some(lower) => target = lower,
                None => break,
            }
        }
        let values = found.ok_or_else(|| Stop::Refused("it was not looked at".to_owned()))?;
        Ok((values, changed))
    }

    /// What is known of a layer when it was clipped for the first time, from the weights `old`.
    fn first<T: Real>(
        &self,
        unit: &Unit,
        original: &[Vec<T>],
        old: &[Vec<T>],
        report: &ClipReport,
    ) -> Result<Values, Stop> {
        let mut values = Values {
            before: report.before,
            after: report.after,
            changed: false,
            reached: report.reached,
            distance: 0.0,
            weight: norm(original.iter().flatten().map(|w| w.to_f64())),
            least_distance: None,
            rounds: 0,
            matvecs: 0,
            clips: 0,
        };
        if old != original {
            // Another use of the weight was clipped before this one was looked at.
            self.judge(operator::<T>(self.original, unit)?, &mut values)?;
            values.before = values.after;
        }
        Ok(values)
    }

    /// Judges an operator as it is. The library judges before it scales; what it makes of the operator is dropped.
    fn judge<T: Real>(&self, mut op: BoxedParametric<T>, values: &mut Values) -> Result<(), Stop> {
        let params = Params {
            method: Method::Scale,
            ..self.params.clone()
        };
        let as_it_is = weights(&op);
        let report = clip(&mut op, self.norm, &params)?;
        values.matvecs += report.matvecs;
        values.after = report.before;
        values.reached = report.reached && weights(&op) == as_it_is;
        Ok(())
    }

    /// The next target for a layer that is above the norm: as far below the last one as the result was above it, and a
    /// little more.
    fn lowered(&self, target: f64, values: &Values, attempt: usize) -> Option<f64> {
        let found = if self.params.proven {
            values.after.interval.upper
        } else {
            values.after.sigma
        };
        let above = found > self.norm && (self.params.proven || values.after.converged);
        let margin = (MARGINS.0 * (1_u64 << attempt) as f64).min(MARGINS.1);
        let lower = target * (self.norm / found) * (1.0 - margin);
        (above && !values.reached && lower > 0.0).then_some(lower)
    }

    fn store<T: Real>(&mut self, unit: &Unit, weights: &[Vec<T>]) -> Result<(), Stop> {
        if unit.composed {
            self.model.set_composed_weights(unit.layer, weights)?;
        } else {
            self.model.set_weights(unit.layer, weights)?;
        }
        Ok(())
    }
}

fn operator<T: Real>(model: &Model, unit: &Unit) -> Result<BoxedParametric<T>, Stop> {
    Ok(if unit.composed {
        model.composed_parametric(unit.layer)?
    } else {
        model.parametric(unit.layer)?
    })
}

fn weights<T: Real>(op: &BoxedParametric<T>) -> Vec<Vec<T>> {
    op.weights().into_iter().map(<[T]>::to_vec).collect()
}

fn distance<T: Real>(a: &[Vec<T>], b: &[Vec<T>]) -> f64 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    norm(pairs.map(|(a, b)| a.to_f64() - b.to_f64()))
}

/// The Euclidean norm, relative to the largest number so that no square overflows.
fn norm(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(0.0, |m: f64, x| m.max(x.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    largest * values.map(|x| (x / largest).powi(2)).sum::<f64>().sqrt()
}
