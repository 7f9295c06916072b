//! The shapes of the model's inputs: what the file says, what the user says, and a batch of 1.

use std::collections::HashMap;

use super::proto::{Dimension, TypeProto, ValueInfo};
use crate::Error;
use crate::input::{InputShape, element_count, shape_text};

/// Sizes that names of free dimensions (`batch`, `height`) have been given.
pub(crate) type Symbols = HashMap<String, usize>;

/// The inputs with their shapes, in the file's order.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    /// Tensors with a shape.
    pub shapes: Vec<(String, Vec<usize>)>,
    /// Sizes of the named dimensions.
    pub symbols: Symbols,
}

/// One dimension of an input as the file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Declared {
    Fixed(usize),
    Named(String),
    Free,
}

impl Declared {
    fn new(dimension: &Dimension) -> Self {
        match (&dimension.dim_value, &dimension.dim_param) {
            // Some exporters write 0 or -1 for a dimension that is not known.
            (Some(n), _) if *n > 0 => usize::try_from(*n).map_or(Self::Free, Self::Fixed),
            (_, Some(name)) if !name.is_empty() && name != "?" => Self::Named(name.clone()),
            _ => Self::Free,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Fixed(n) => n.to_string(),
            Self::Named(name) => name.clone(),
            Self::Free => "?".to_owned(),
        }
    }
}

fn text(dims: Option<&[Declared]>) -> String {
    match dims {
        None => "of unknown rank".to_owned(),
        Some(dims) => {
            let parts: Vec<String> = dims.iter().map(Declared::text).collect();
            parts.join("x")
        }
    }
}

struct Input {
    name: String,
    /// `None` when the file does not even give the rank.
    dims: Option<Vec<Declared>>,
}

/// The dimensions that a type declares; free ones are `None`, named ones are looked up.
pub(crate) fn declared_dims(r#type: &TypeProto, symbols: &Symbols) -> Option<Vec<Option<usize>>> {
    let shape = r#type.tensor_type.as_ref()?.shape.as_ref()?;
    let known = |d: &Dimension| match Declared::new(d) {
        Declared::Fixed(n) => Some(n),
        Declared::Named(name) => symbols.get(&name).copied(),
        Declared::Free => None,
    };
    Some(shape.dim.iter().map(known).collect())
}

/// Gives every tensor input a shape.
pub(crate) fn resolve(inputs: &[ValueInfo], given: &[InputShape]) -> Result<Inputs, Error> {
    let inputs: Vec<Input> = inputs
        .iter()
        .filter_map(|input| {
            let tensor = input.r#type.as_ref()?.tensor_type.as_ref()?;
            let dims = |s: &super::proto::TensorShape| s.dim.iter().map(Declared::new).collect();
            Some(Input {
                name: input.name.clone(),
                dims: tensor.shape.as_ref().map(dims),
            })
        })
        .collect();
    let chosen = assign(&inputs, given)?;
    let mut symbols = Symbols::new();
    for (input, shape) in inputs.iter().zip(&chosen) {
        if let Some(shape) = shape {
            check(input, shape)?;
            bind(input, shape, &mut symbols)?;
        }
    }
    bind_batch(&inputs, &chosen, &mut symbols);
    let mut shapes = Vec::with_capacity(inputs.len());
    for (input, shape) in inputs.iter().zip(&chosen) {
        let shape = match shape {
            Some(shape) => shape.to_vec(),
            None => default_shape(input, &symbols)?,
        };
        if element_count(&shape).is_none() {
            return Err(mismatch(
                input,
                &shape,
                "its dimensions multiply to more than can be addressed",
            ));
        }
        shapes.push((input.name.clone(), shape));
    }
    Ok(Inputs { shapes, symbols })
}

/// Which of the given shapes is for which input.
fn assign<'a>(
    inputs: &[Input],
    given: &'a [InputShape],
) -> Result<Vec<Option<&'a [usize]>>, Error> {
    let list = || {
        let all: Vec<String> = inputs
            .iter()
            .map(|i| format!("\"{}\" ({})", i.name, text(i.dims.as_deref())))
            .collect();
        all.join(", ")
    };
    let mut chosen = vec![None; inputs.len()];
    for shape in given {
        let place =
            match &shape.name {
                Some(name) => inputs.iter().position(|i| i.name == *name).ok_or_else(|| {
                    Error::UnknownInput {
                        name: name.clone(),
                        inputs: list(),
                    }
                })?,
                None if inputs.len() == 1 && given.len() == 1 => 0,
                None => return Err(Error::AmbiguousInput { inputs: list() }),
            };
        if let Some(earlier) = chosen[place].replace(shape.shape.as_slice()) {
            let problem = format!("{} was given for it before", shape_text(earlier));
            return Err(mismatch(&inputs[place], &shape.shape, &problem));
        }
    }
    Ok(chosen)
}

fn mismatch(input: &Input, given: &[usize], problem: &str) -> Error {
    Error::InputMismatch {
        name: input.name.clone(),
        declared: text(input.dims.as_deref()),
        given: shape_text(given),
        problem: problem.to_owned(),
    }
}

fn check(input: &Input, given: &[usize]) -> Result<(), Error> {
    let Some(dims) = &input.dims else {
        return Ok(());
    };
    if dims.len() != given.len() {
        let problem = format!(
            "it has {} dimensions instead of {} (the batch axis counts)",
            given.len(),
            dims.len()
        );
        return Err(mismatch(input, given, &problem));
    }
    for (axis, (declared, &n)) in dims.iter().zip(given).enumerate() {
        if let Declared::Fixed(fixed) = declared
            && *fixed != n
        {
            let problem = format!("dimension {axis} is fixed at {fixed} in the file");
            return Err(mismatch(input, given, &problem));
        }
    }
    Ok(())
}

fn bind(input: &Input, given: &[usize], symbols: &mut Symbols) -> Result<(), Error> {
    for (declared, &n) in input.dims.iter().flatten().zip(given) {
        if let Declared::Named(name) = declared
            && let Some(&earlier) = symbols.get(name)
            && earlier != n
        {
            let problem = format!("the dimension \"{name}\" is {earlier} elsewhere");
            return Err(mismatch(input, given, &problem));
        } else if let Declared::Named(name) = declared {
            symbols.insert(name.clone(), n);
        }
    }
    Ok(())
}

/// A free first dimension is the batch axis: 1.
fn bind_batch(inputs: &[Input], chosen: &[Option<&[usize]>], symbols: &mut Symbols) {
    for (input, shape) in inputs.iter().zip(chosen) {
        let first = input.dims.as_ref().and_then(|d| d.first());
        if let (None, Some(Declared::Named(name))) = (shape, first) {
            symbols.entry(name.clone()).or_insert(1);
        }
    }
}

fn default_shape(input: &Input, symbols: &Symbols) -> Result<Vec<usize>, Error> {
    let free = |declared: String, free: String, example: String| Error::FreeDimension {
        name: input.name.clone(),
        declared,
        free,
        example,
    };
    let Some(dims) = &input.dims else {
        let example = format!("\"{}=1x3x224x224\"", input.name);
        return Err(free(text(None), "every dimension".to_owned(), example));
    };
    let size = |(axis, declared): (usize, &Declared)| match declared {
        Declared::Fixed(n) => Some(*n),
        Declared::Named(name) => symbols.get(name).copied(),
        Declared::Free if axis == 0 => Some(1),
        Declared::Free => None,
    };
    let sizes: Vec<Option<usize>> = dims.iter().enumerate().map(size).collect();
    if let Some(axis) = sizes.iter().position(Option::is_none) {
        let name = match &dims[axis] {
            Declared::Named(name) => format!("\"{name}\" (dimension {axis})"),
            _ => format!("dimension {axis}"),
        };
        let filled: Vec<usize> = sizes.iter().map(|n| n.unwrap_or(224)).collect();
        let example = format!("\"{}={}\"", input.name, shape_text(&filled));
        return Err(free(text(Some(dims)), name, example));
    }
    Ok(sizes.into_iter().flatten().collect())
}
