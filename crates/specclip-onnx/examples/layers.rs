//! Lists the layers of a model: `cargo run --release -p specclip-onnx --example layers -- model.onnx 1x3x224x224`.

use specclip::LinearOperator;
use specclip_onnx::{Error, Options, load};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_default();
    let inputs = arguments.map(|a| a.parse()).collect::<Result<_, _>>()?;
    let start = std::time::Instant::now();
    let model = load(path.as_ref(), &Options { inputs })?;
    let seconds = start.elapsed().as_secs_f64();
    for (i, layer) in model.layers.iter().enumerate() {
        let frobenius = match model.operator::<f64>(i) {
            Ok(operator) => format!("{:?}", operator.frobenius()),
            Err(error) => error.to_string(),
        };
        println!(
            "{:40} {:18} {:?} -> {:?} x{} bn {:?} norm {frobenius}",
            layer.name,
            layer.kind,
            layer.input_shape,
            layer.output_shape,
            layer.multiplicity,
            layer.batch_norm
        );
    }
    for skipped in &model.skipped {
        println!(
            "skipped {} ({}): {}",
            skipped.name, skipped.op, skipped.reason
        );
    }
    println!(
        "{} layers, {} skipped, loaded in {seconds:.3} s",
        model.layers.len(),
        model.skipped.len()
    );
    Ok(())
}
