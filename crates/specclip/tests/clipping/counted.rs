//! Reports count the actions that a clip takes.

use std::sync::atomic::{AtomicUsize, Ordering};

use specclip::clip::Warm;

use super::*;

/// A dense layer that counts the vectors that it acts on, and its weight gradients.
struct Counting {
    layer: Dense<f64>,
    actions: AtomicUsize,
}

impl Counting {
    fn count(&self, vectors: &Columns<f64>) {
        self.actions.fetch_add(vectors.cols(), Ordering::Relaxed);
    }
}

impl LinearOperator for Counting {
    type Block = Columns<f64>;

    fn input_shape(&self) -> &[usize] {
        self.layer.input_shape()
    }
    fn output_shape(&self) -> &[usize] {
        self.layer.output_shape()
    }
    fn input_block(&self, k: usize) -> Columns<f64> {
        self.layer.input_block(k)
    }
    fn output_block(&self, k: usize) -> Columns<f64> {
        self.layer.output_block(k)
    }
    fn apply(&self, x: &Columns<f64>, y: &mut Columns<f64>) -> Result<(), Error> {
        self.count(x);
        self.layer.apply(x, y)
    }
    fn adjoint(&self, y: &Columns<f64>, x: &mut Columns<f64>) -> Result<(), Error> {
        self.count(y);
        self.layer.adjoint(y, x)
    }
}

impl Parametric for Counting {
    type Scalar = f64;

    fn weights(&self) -> Vec<&[f64]> {
        self.layer.weights()
    }
    fn weight_gradient(
        &self,
        lambda: &[f64],
        u: &Columns<f64>,
        v: &Columns<f64>,
    ) -> Result<Vec<Vec<f64>>, Error> {
        self.count(u);
        self.layer.weight_gradient(lambda, u, v)
    }
    fn set_weights(&mut self, weights: &[Vec<f64>]) -> Result<(), Error> {
        self.layer.set_weights(weights)
    }
}

#[test]
fn reports_count_every_action() {
    for method in [
        Method::Scale,
        fastclip(Step::Automatic),
        fastclip(Step::Reference),
        Method::Projection(Projection::default()),
    ] {
        let mut op = Counting {
            layer: Dense::new(values(300 * 250, 7), 300, 250).unwrap(),
            actions: AtomicUsize::new(0),
        };
        let before = spectrum(&op.layer)[0];
        let params = Params::new(method);
        let report = Warm::new(1).clip(&mut op, 0.9 * before, &params).unwrap();
        assert!(report.distance > 0.0);
        assert_eq!(report.matvecs, op.actions.into_inner(), "{params:?}");
    }
}
