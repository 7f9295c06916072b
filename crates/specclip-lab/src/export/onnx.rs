//! A recorded network as an ONNX model.

use specclip::operator::{ConvParams, PaddingMode};
use specclip_onnx::build::Builder;

use super::recording::{Op, Recording, Step};

const OUTPUT: &str = "logits";

pub(super) fn model(network: &Recording) -> Vec<u8> {
    let mut model = Builder::new("specclip");
    for parameter in &network.parameters {
        model.floats(&parameter.name, &parameter.shape, &parameter.values);
    }
    let last = network.steps.len() - 1;
    for (i, step) in network.steps.iter().enumerate() {
        let inputs: Vec<&str> = step
            .inputs
            .iter()
            .map(|&i| network.steps[i].name.as_str())
            .collect();
        let output = if i == last { OUTPUT } else { &step.name };
        add(&mut model, step, &inputs, output);
    }
    model.output(OUTPUT, &network.steps[last].shape);
    model.finish()
}

fn add(model: &mut Builder, step: &Step, inputs: &[&str], output: &str) {
    let with = |parameters: &[&str]| -> Vec<String> {
        let own = parameters.iter().map(|p| format!("{}.{p}", step.name));
        inputs.iter().map(|&i| i.to_owned()).chain(own).collect()
    };
    let biased = |bias: bool| {
        if bias {
            &["weight", "bias"][..]
        } else {
            &["weight"]
        }
    };
    match &step.op {
        Op::Input => model.input(&step.name, &step.shape),
        Op::Conv { params, bias } => conv(model, step, params, with(biased(*bias)), output),
        Op::BatchNorm { eps } => {
            let inputs = with(&["weight", "bias", "running_mean", "running_var"]);
            model
                .node("BatchNormalization", &texts(&inputs), output)
                .float("epsilon", *eps as f32);
        }
        Op::Dense { bias } => {
            model
                .node("Gemm", &texts(&with(biased(*bias))), output)
                .int("transB", 1);
        }
        Op::Scale(factor) => {
            let name = format!("{}.factor", step.name);
            model.floats(&name, &[], &[*factor as f32]);
            model.node("Mul", &[inputs, &[&name]].concat(), output);
        }
        Op::Concat => {
            model.node("Concat", inputs, output).int("axis", 1);
        }
        Op::Flatten => {
            model.node("Flatten", inputs, output).int("axis", 1);
        }
        Op::Relu => drop(model.node("Relu", inputs, output)),
        Op::Add => drop(model.node("Add", inputs, output)),
        Op::Average => drop(model.node("GlobalAveragePool", inputs, output)),
    }
}

fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// A convolution; any padding but that with zeros is a node before it.
fn conv(
    model: &mut Builder,
    step: &Step,
    params: &ConvParams,
    mut inputs: Vec<String>,
    output: &str,
) {
    let (begins, ends): (Vec<usize>, Vec<usize>) = params.padding.iter().copied().unzip();
    let mut sides = [begins.clone(), ends.clone()].concat();
    let mode = match params.mode {
        PaddingMode::Zeros => None,
        PaddingMode::Reflect => Some("reflect"),
        PaddingMode::Replicate => Some("edge"),
        PaddingMode::Circular => Some("wrap"),
    };
    if let Some(mode) = mode.filter(|_| sides.iter().any(|&n| n > 0)) {
        let padded = format!("{}.padded", step.name);
        let pads = format!("{}.padding", step.name);
        // The batch axis and the channels come first.
        let all = [&[0, 0], &begins[..], &[0, 0], &ends[..]].concat();
        let all: Vec<i64> = all.into_iter().map(|n| n as i64).collect();
        model.integers(&pads, &all);
        model
            .node("Pad", &[&inputs[0], &pads], &padded)
            .text("mode", mode);
        inputs[0] = padded;
        sides.fill(0);
    }
    model
        .node("Conv", &texts(&inputs), output)
        .ints("pads", sides)
        .ints("strides", params.stride.iter().copied())
        .ints("dilations", params.dilation.iter().copied())
        .int("group", params.groups as i64);
}
