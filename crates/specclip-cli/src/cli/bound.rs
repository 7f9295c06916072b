//! The arguments of `specclip bound`.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use specclip::bound::Argument;

use super::shared::{FoldArgs, NetworkArgs, RecordArgs, RunArgs};

const ABOUT: &str = "Prove an interval for the spectral norm of every linear layer, and a bound for the whole network

The norm of each layer lies between the two ends: they are proven, with rounding accounted for. An upper end by krylov is \
proven up to a failure probability, which is stated; all others are certain. The network's bound is an upper bound of its \
Lipschitz constant in the 2-norm, for all inputs; it is shown step by step. A network with an operator that has no such \
constant, or that is not understood, has no bound: the operator is named, and the layers' intervals stand all the same. \
Linear steps that follow each other are bounded as one where that is affordable, with or without --compose.

With --precision f32 a layer's interval is that of the layer with its weights and factors rounded to f32; the network's \
bound is always of the weights as they are.";

const COLUMNS: &str = "Columns:
  input -> output  channels first, without the batch axis
  kind             xN: a product applied at N positions
  lower, upper     ends of the interval, rounded outwards
  gap              upper / lower - 1
  lower by         why the lower end holds
  upper by         why the upper end holds: one of the arguments
  may fail         probability that the upper end is too low

Columns of the network:
  factor           what the step multiplies the bound by at most
  by               why: an argument, lipschitz (of an activation), overlap (of
                   pooling windows), copies, scale, axes, sum or root (of the
                   sum of squares) where values join
  bound            of the value that the step computes
  share            how many times smaller the network's bound would be if the
                   factor were 1

Arguments:
  gram             Gram iteration on a matrix (Delattre et al. 2023)
  cholesky         M'M below a multiple of the identity, by a Cholesky
                   factorisation (Rump 2006)
  frequency        largest frequency block of a circular convolution that
                   contains the layer
  lipgrid          supremum over all frequencies, from a grid (Araujo et al.
                   2021)
  fantastic-four   the same by four reshaped norms (Singla & Feizi 2021)
  schur            sqrt(||M||_1 ||M||_inf)
  frobenius        ||M||_F
  channels         largest factor of a layer that multiplies channels
  axes             product of the norms along the axes (pooling, resizing,
                   padding)
  composition      product of the bounds of the parts
  sum              sum of the bounds of the terms
  krylov           random start vectors (Kuczynski & Wozniakowski 1992); may
                   fail";

const EXAMPLES: &str = "Examples:
  specclip bound                                    a small network built in
  specclip bound net.onnx                           every layer, and the network
  specclip bound net.onnx --layer 'layer4.*'        these layers only, no network
  specclip bound net.onnx --failure-probability 0   certain arguments only
  specclip bound net.onnx --argument lipgrid --argument gram
  specclip bound net.onnx --json=bounds.json

Exit codes: 0 done, also where the network has no bound; 1 a layer has none; 2 bad usage or bad input.";

/// The arguments of `specclip bound`.
#[derive(Args, Debug)]
#[command(
    about = "Prove an interval for the norm of every layer, and bound the network",
    long_about = ABOUT,
    after_help = EXAMPLES,
    after_long_help = format!("{COLUMNS}\n\n{EXAMPLES}"),
    mut_arg("csv", |arg| arg.help("Write one CSV row a layer to FILE, or print them in place of the table")),
    mut_arg("precision", |arg| arg.default_value("f64"))
)]
pub struct BoundArgs {
    #[command(flatten)]
    pub network: NetworkArgs,

    /// Probability with which an upper end may fail; 0 for certain arguments only
    #[arg(long, value_name = "P", default_value = "1e-9", value_parser = parse_probability, allow_hyphen_values = true)]
    pub failure_probability: f64,

    /// Only this argument for upper ends, the tightest where several are named; repeatable [default: the tightest affordable]
    #[arg(long, value_name = "NAME", value_parser = argument_parser())]
    pub argument: Vec<Argument>,

    #[command(flatten)]
    pub fold: FoldArgs,

    #[command(flatten)]
    pub run: RunArgs,

    #[command(flatten)]
    pub records: RecordArgs,
}

fn argument_parser() -> impl TypedValueParser<Value = Argument> {
    PossibleValuesParser::new(Argument::UPPER.map(Argument::name)).try_map(|name| {
        let mut all = Argument::UPPER.into_iter();
        all.find(|argument| argument.name() == name)
            .ok_or("there is no such argument")
    })
}

fn parse_probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..1.0).contains(&value) => Ok(value),
        _ => Err("it must be a probability: at least 0, such as 1e-9, and less than 1".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_less_than_1() {
        assert_eq!(parse_probability("0"), Ok(0.0));
        assert_eq!(parse_probability("1e-9"), Ok(1e-9));
        for bad in ["1", "-0.1", "nan", "inf", "", "1%"] {
            assert!(parse_probability(bad).is_err(), "{bad}");
        }
    }
}
