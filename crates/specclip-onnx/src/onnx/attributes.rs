//! Reading a node's attributes; a missing or ill-typed one has its default.

use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};

impl NodeProto {
    pub(crate) fn attr(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|a| a.name == name)
    }

    /// An integer attribute.
    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        self.attr(name).map(|a| a.i)
    }

    /// Whether an integer attribute is there and not zero.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.int(name).unwrap_or(0) != 0
    }

    pub(crate) fn float(&self, name: &str) -> Option<f64> {
        self.attr(name).map(|a| f64::from(a.f))
    }

    pub(crate) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attr(name).map(|a| a.ints.as_slice())
    }

    /// A list of non-negative integers.
    pub(crate) fn sizes(&self, name: &str) -> Result<Option<Vec<usize>>, String> {
        let Some(list) = self.ints(name) else {
            return Ok(None);
        };
        list.iter()
            .map(|&x| usize::try_from(x))
            .collect::<Result<_, _>>()
            .map(Some)
            .map_err(|_| format!("its attribute {name} = {list:?} has a negative number"))
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.attr(name).and_then(|a| str::from_utf8(&a.s).ok())
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&TensorProto> {
        self.attr(name).and_then(|a| a.t.as_ref())
    }

    /// Every graph that the node holds: branches and loop bodies.
    pub(crate) fn bodies(&self) -> impl Iterator<Item = &GraphProto> {
        self.attribute
            .iter()
            .flat_map(|a| a.g.iter().chain(&a.graphs))
    }

    /// The name of input `i`; `None` when it is left out.
    pub(crate) fn input_name(&self, i: usize) -> Option<&str> {
        self.input
            .get(i)
            .map(String::as_str)
            .filter(|s| !s.is_empty())
    }

    /// Whether the operator belongs to the ONNX standard itself.
    pub(crate) fn is_standard(&self) -> bool {
        matches!(self.domain.as_str(), "" | "ai.onnx")
    }

    /// What messages call the operator: `Conv`, `com.microsoft.FusedConv`.
    pub(crate) fn op(&self) -> String {
        if self.is_standard() {
            self.op_type.clone()
        } else {
            format!("{}.{}", self.domain, self.op_type)
        }
    }

    /// What messages call the node: its name, else its first output.
    pub(crate) fn label(&self) -> &str {
        if self.name.is_empty() {
            self.output
                .iter()
                .find(|o| !o.is_empty())
                .map_or("", String::as_str)
        } else {
            &self.name
        }
    }
}
