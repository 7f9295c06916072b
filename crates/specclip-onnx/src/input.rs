//! What the user says about a model's inputs.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// Choices made when a model is loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Shapes of the model's inputs, batch axis included. Inputs whose shape is fixed in the file need none.
    pub inputs: Vec<InputShape>,
}

/// The shape of one input, batch axis included: `1x3x224x224`, or `name=1x3x224x224`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputShape {
    /// The input; it may be left out when the model has a single one.
    pub name: Option<String>,
    /// The dimensions, all at least 1.
    pub shape: Vec<usize>,
}

impl FromStr for InputShape {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::InputSyntax {
            text: text.to_owned(),
            problem,
        };
        // Input names may contain '=' and 'x'; a shape contains no '='.
        let (name, shape) = match text.rsplit_once('=') {
            Some((name, shape)) => (Some(name.trim()), shape),
            None => (None, text),
        };
        if name == Some("") {
            return Err(refuse("the name before '=' is empty"));
        }
        let shape = shape
            .trim()
            .split(['x', 'X', ','])
            .map(|part| match part.trim().parse::<usize>() {
                Ok(0) => Err(refuse("a dimension is 0")),
                Ok(n) => Ok(n),
                Err(_) => Err(refuse("a dimension is not a positive whole number")),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if element_count(&shape).is_none() {
            return Err(refuse(
                "the dimensions multiply to more than can be addressed",
            ));
        }
        Ok(Self {
            name: name.map(str::to_owned),
            shape,
        })
    }
}

impl fmt::Display for InputShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}=")?;
        }
        f.write_str(&shape_text(&self.shape))
    }
}

/// `1x3x224x224`.
pub(crate) fn shape_text(shape: &[usize]) -> String {
    let parts: Vec<String> = shape.iter().map(usize::to_string).collect();
    parts.join("x")
}

/// The number of elements, unless eight bytes each could not be addressed. Empty axes do not excuse the others.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    let product = shape
        .iter()
        .try_fold(1_usize, |product, &n| product.checked_mul(n.max(1)))
        .filter(|&n| n <= isize::MAX as usize / 8)?;
    Some(if shape.contains(&0) { 0 } else { product })
}
