//! Settings, methods and targets that are refused.

use super::*;

/// Refused, with this in the message, and nothing is changed.
pub fn refused<P: Parametric + ?Sized>(op: &mut P, c: f64, params: &Params, words: &str) {
    let before = owned(op);
    let message = clip(op, c, params).unwrap_err().to_string();
    assert!(message.contains(words), "{message}");
    assert!(owned(op) == before);
}

#[test]
fn senseless_settings_are_refused() {
    let mut op = with_spectrum(5, 4, &[1.0, 0.5], 1);
    let scale = Params::new(Method::Scale);
    for c in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        refused(&mut op, c, &scale, "must be a positive number");
    }
    for tolerance in [-1e-3, f64::NAN, f64::INFINITY] {
        let params = Params {
            tolerance,
            ..scale.clone()
        };
        refused(&mut op, 0.5, &params, "must not be negative");
    }
    let settings = |settings: FastClip| Params::new(Method::FastClip(settings));
    for step in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let step = Step::Fixed(step);
        let params = settings(FastClip {
            step,
            ..FastClip::default()
        });
        refused(&mut op, 0.5, &params, "must be a positive number");
    }
    let params = settings(FastClip {
        inner_steps: 0,
        ..FastClip::default()
    });
    refused(&mut op, 0.5, &params, "at least one round");
    let params = settings(FastClip {
        max_rounds: 0,
        ..FastClip::default()
    });
    refused(&mut op, 0.5, &params, "at least one round");
    let params = Params {
        proven: true,
        ..Params::new(raising())
    };
    refused(&mut op, 0.5, &params, "ask for one of the two");
    // A step that diverges, slowly or beyond the largest number.
    for step in [3.0, 1e300] {
        let step = Step::Fixed(step);
        let params = settings(FastClip {
            step,
            ..FastClip::default()
        });
        refused(&mut op, 0.5, &params, "makes the loss grow");
    }
}

#[test]
fn methods_that_do_not_apply_are_refused() {
    let cropped = Params::new(Method::Frequency { crop: true });
    let whole = Params::new(Method::Frequency { crop: false });
    let mut dense = with_spectrum(5, 4, &[1.0, 0.5], 1);
    refused(&mut dense, 0.5, &cropped, "not a convolution");
    let conv = |stride| {
        let params = ConvParams::new(1)
            .padding(1, PaddingMode::Circular)
            .stride(stride);
        Conv::new(vec![1.0; 3], &[1, 1, 3], &[1, 8], &params).unwrap()
    };
    refused(&mut conv(1), 0.5, &whole, "full_grid");
    refused(&mut conv(3), 0.5, &cropped, "does not divide");
    let norm = Diagonal::new(vec![2.0], &[1, 8]).unwrap();
    let mut both = Compose::new(norm, conv(1)).unwrap();
    refused(&mut both, 0.5, &cropped, "part of a composition");
    let zeros = ConvParams::new(1).padding(1, PaddingMode::Zeros);
    let zeros = Conv::new(vec![1.0; 3], &[1, 1, 3], &[1, 8], &zeros).unwrap();
    assert!(matches!(
        full_grid(&zeros),
        Err(Error::NotApplicable { .. })
    ));
    let mut pad = Separable::<f64>::pad(&[1, 4], &[(1, 1)], PaddingMode::Replicate).unwrap();
    refused(&mut pad, 0.5, &Params::new(Method::Scale), "has no weights");
    assert!(
        clip(&mut pad, 2.0, &Params::new(Method::Scale))
            .unwrap()
            .reached
    );
}
