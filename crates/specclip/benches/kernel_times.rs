//! Times the convolution kernel alone and prints one JSON line for each layer and batch.
//!
//! `cargo bench -p specclip --bench kernel_times`

use std::time::Instant;

use specclip::LinearOperator;
use specclip::operator::{Conv, ConvParams, PaddingMode};

fn main() -> Result<(), specclip::Error> {
    for (channels, size) in [(64, 32), (128, 16), (256, 8), (512, 4)] {
        let params = ConvParams::new(2).padding(1, PaddingMode::Zeros);
        let weight = (0..channels * channels * 9)
            .map(|i| (i as f32).sin())
            .collect();
        let conv = Conv::new(
            weight,
            &[channels, channels, 3, 3],
            &[channels, size, size],
            &params,
        )?;
        for batch in [1, 8] {
            let mut x = conv.input_block(batch);
            let mut y = conv.output_block(batch);
            for (i, x) in x.as_mut_slice().iter_mut().enumerate() {
                *x = (i as f32).cos();
            }
            conv.apply(&x, &mut y)?;
            let apply = median(|| conv.apply(&x, &mut y))?;
            let adjoint = median(|| conv.adjoint(&y, &mut x))?;
            println!(
                "{{\"layer\": \"{channels}->{channels}@{size}\", \"batch\": {batch}, \
                 \"apply_ms\": {:.4}, \"adjoint_ms\": {:.4}}}",
                apply, adjoint
            );
        }
    }
    Ok(())
}

/// Milliseconds of one call: the median of at least 30 calls and half a second.
fn median(
    mut call: impl FnMut() -> Result<(), specclip::Error> + Send,
) -> Result<f64, specclip::Error> {
    // On a thread of the pool, as the solvers do: entering the pool from outside costs more than
    // a small layer.
    rayon::scope(|_| {
        let mut times = Vec::new();
        let begin = Instant::now();
        while times.len() < 30 || begin.elapsed().as_secs_f64() < 0.5 {
            let start = Instant::now();
            call()?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    })
}
