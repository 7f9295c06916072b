//! `Resize` and `Upsample`: output sizes, and which axes they change.

use super::{Call, Inferred};
use crate::onnx::fact::{Dims, Fact, axis_index};

/// What a resize does to each axis of its input.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    /// The output's dimensions.
    pub dims: Dims,
    /// The factors, when they are not the quotients of the sizes: the model states them, or keeps the aspect ratio.
    pub scales: Option<Vec<f64>>,
}

/// Reads scales or sizes of a `Resize` (input 1 is the region of interest since operator set 11) or `Upsample`.
pub(crate) fn target(call: &Call) -> Result<Target, String> {
    let dims = call.dims(0)?;
    let new_form = call.node.op_type == "Resize" && call.opset >= 11;
    let (scales, sizes) = if new_form { (2, Some(3)) } else { (1, None) };
    let axes: Vec<usize> = match call.node.ints("axes") {
        Some(axes) if !axes.is_empty() => axes
            .iter()
            .map(|&a| axis_index(a, dims.len()))
            .collect::<Result<_, _>>()?,
        _ => (0..dims.len()).collect(),
    };
    let present = |i: usize| {
        call.optional(i)
            .filter(|f| f.known_dims().ok() != Some(vec![0]))
    };
    if let Some(fact) = sizes.and_then(present) {
        let sizes = fact
            .value
            .as_ref()
            .ok_or("its sizes depend on the data")?
            .to_ints();
        return sized(call, dims, &axes, &sizes);
    }
    let scales = match (present(scales), call.node.attr("scales")) {
        (Some(fact), _) => fact.floats().ok_or("its scales depend on the data")?,
        (None, Some(attribute)) => attribute.floats.iter().map(|&s| f64::from(s)).collect(),
        (None, None) => return Err("it has neither scales nor sizes".to_owned()),
    };
    scaled(dims, &axes, &scales)
}

fn scaled(dims: &Dims, axes: &[usize], scales: &[f64]) -> Result<Target, String> {
    if scales.len() != axes.len() {
        return Err(format!(
            "its {} scales do not fit {} axes",
            scales.len(),
            axes.len()
        ));
    }
    let mut out = dims.clone();
    let mut all = vec![1.0; dims.len()];
    for (&axis, &scale) in axes.iter().zip(scales) {
        if !(scale > 0.0 && scale.is_finite()) {
            return Err(format!("its scale {scale} is not a positive number"));
        }
        all[axis] = scale;
        // Runtimes multiply in single precision, so that 3 * 1.6666666 is 5.
        out[axis] = dims[axis].map(|n| (n as f32 * scale as f32).floor() as usize);
    }
    Ok(Target {
        dims: out,
        scales: Some(all),
    })
}

fn sized(
    call: &Call,
    dims: &Dims,
    axes: &[usize],
    sizes: &[Option<i64>],
) -> Result<Target, String> {
    if sizes.len() != axes.len() {
        return Err(format!(
            "its {} sizes do not fit {} axes",
            sizes.len(),
            axes.len()
        ));
    }
    let mut sizes: Vec<Option<usize>> = sizes
        .iter()
        .map(|n| n.and_then(|n| usize::try_from(n).ok()))
        .collect();
    let policy = call
        .node
        .text("keep_aspect_ratio_policy")
        .unwrap_or("stretch");
    let mut scales = None;
    if policy != "stretch" {
        let ratios = axes
            .iter()
            .zip(&sizes)
            .map(|(&a, size)| Some((*size)? as f64 / dims[a]? as f64));
        let ratios: Vec<f64> = ratios
            .collect::<Option<_>>()
            .ok_or("its sizes depend on the data")?;
        let smaller = policy == "not_larger";
        let scale = ratios
            .iter()
            .copied()
            .reduce(|a, b| if smaller { a.min(b) } else { a.max(b) })
            .unwrap_or(1.0);
        for (&a, size) in axes.iter().zip(&mut sizes) {
            // Halves are rounded up, as the standard says.
            *size = dims[a].map(|n| (scale * n as f64 + 0.5).floor() as usize);
        }
        // The coordinates follow the common scale, not the sizes that were rounded from it.
        let mut all = vec![1.0; dims.len()];
        axes.iter().for_each(|&a| all[a] = scale);
        scales = Some(all);
    }
    let mut out = dims.clone();
    axes.iter()
        .zip(&sizes)
        .for_each(|(&a, size)| out[a] = *size);
    Ok(Target { dims: out, scales })
}

pub(super) fn infer(call: &Call) -> Inferred {
    Ok(vec![Fact::shaped(target(call)?.dims)])
}
