//! Finds the padding in front of a convolution, however the exporter wrote it.
//!
//! A `Pad` node is the plain case. PyTorch's older exporter writes circular padding as slices of the input
//! concatenated with it, axis after axis. All of these only move samples along axes, so the padded value is described
//! exactly by one list of source indices for each axis, and such a list either is one of the four paddings or is not.

use specclip::operator::PaddingMode;

use super::fact::axis_index;
use super::network::Network;
use super::proto::NodeProto;
use super::shapes::{pad_amounts, slice_ranges};
use crate::spec::Padding;

/// Longer axes are not followed.
const LONGEST: usize = 1 << 22;
/// How many nodes a padding may consist of, counted along one path.
const DEEPEST: usize = 8;
/// Values that are looked at for one padding; a path may be shared, and a hostile file shares it often.
const MOST_VISITS: usize = 512;
/// A sample that is a constant, not a copy.
const ZERO: i64 = -1;

/// For each axis, the source index of every sample.
type Maps = Vec<Vec<i64>>;

/// A convolution's input seen as a padded source.
#[derive(Debug)]
pub(crate) struct Padded<'a> {
    /// The value that is padded.
    pub source: &'a str,
    /// What is done to it, in any order (the steps act on different axes).
    pub steps: Vec<Padding>,
    /// The nodes that do it.
    pub nodes: Vec<usize>,
}

/// The source of `value`, if it is a padded copy that only convolutions read.
pub(crate) fn find<'a>(network: &Network<'a>, value: &'a str) -> Option<Padded<'a>> {
    let readers = network.only_readers(value)?;
    readers
        .iter()
        .all(|(_, n)| n.op_type == "Conv" && n.is_standard())
        .then_some(())?;
    let mut sources = Vec::new();
    collect_sources(network, value, DEEPEST, &mut sources);
    // The furthest source first: a padding of several nodes is one padding.
    for source in sources.into_iter().rev() {
        let mut trace = Trace {
            network,
            source,
            nodes: Vec::new(),
            visits: 0,
        };
        if let Some(steps) = trace
            .maps(value, DEEPEST)
            .and_then(|m| recognise(network, source, &m))
        {
            let mut nodes = trace.nodes;
            nodes.sort_unstable();
            nodes.dedup();
            return Some(Padded {
                source,
                steps,
                nodes,
            });
        }
    }
    None
}

fn moves_samples(node: &NodeProto) -> bool {
    node.is_standard()
        && matches!(
            node.op_type.as_str(),
            "Pad" | "Slice" | "Concat" | "Identity"
        )
}

/// Every value that `value` is made of by moving samples, nearest first.
fn collect_sources<'a>(
    network: &Network<'a>,
    value: &'a str,
    depth: usize,
    sources: &mut Vec<&'a str>,
) {
    let Some((_, node)) = network.producer(value) else {
        return;
    };
    // A concatenation of many things is no padding.
    if depth == 0 || !moves_samples(node) || node.input.len() > 5 {
        return;
    }
    let inputs = if node.op_type == "Concat" {
        node.input.len()
    } else {
        1
    };
    let new: Vec<&str> = node.input[..inputs.min(node.input.len())]
        .iter()
        .map(String::as_str)
        .filter(|name| !sources.contains(name))
        .collect();
    sources.extend(&new);
    for input in new {
        collect_sources(network, input, depth - 1, sources);
    }
}

struct Trace<'a, 'n> {
    network: &'n Network<'a>,
    source: &'a str,
    nodes: Vec<usize>,
    visits: usize,
}

impl Trace<'_, '_> {
    /// The index lists of `value` with respect to the source; `None` when it is anything but moved samples.
    fn maps(&mut self, value: &str, depth: usize) -> Option<Maps> {
        self.visits += 1;
        (self.visits <= MOST_VISITS).then_some(())?;
        if value == self.source {
            let dims = self.network.fact(value)?.known_dims().ok()?;
            dims.iter().all(|&n| n <= LONGEST).then_some(())?;
            self.charge(dims.iter().sum())?;
            return Some(dims.iter().map(|&n| (0..n as i64).collect()).collect());
        }
        let (index, node) = self.network.producer(value)?;
        (depth > 0 && moves_samples(node)).then_some(())?;
        let inner = |trace: &mut Self, i: usize| trace.maps(node.input.get(i)?, depth - 1);
        let maps = match node.op_type.as_str() {
            "Identity" => inner(self, 0)?,
            "Pad" => {
                let maps = inner(self, 0)?;
                padded(maps, self.network, node)?
            }
            "Slice" => {
                let mut maps = inner(self, 0)?;
                let ranges = slice_ranges(&self.network.analysis.call(node)).ok()?;
                for (map, range) in maps.iter_mut().zip(ranges) {
                    let range = range?;
                    let at = |i: usize| range.start as i64 + i as i64 * range.step as i64;
                    *map = (0..range.count)
                        .map(|i| map.get(usize::try_from(at(i)).ok()?).copied())
                        .collect::<Option<_>>()?;
                }
                maps
            }
            _ => {
                let parts: Vec<Maps> = (0..node.input.len())
                    .map(|i| inner(self, i))
                    .collect::<Option<_>>()?;
                joined(parts, node)?
            }
        };
        self.nodes.push(index);
        maps.iter().all(|m| m.len() <= LONGEST).then_some(())?;
        self.charge(maps.iter().map(Vec::len).sum())?;
        Some(maps)
    }

    /// `None` when so many samples are more than are looked at in one model.
    fn charge(&self, samples: usize) -> Option<()> {
        let left = self.network.samples.get();
        // Nothing is left for later either, or each would start and stop again.
        self.network.samples.set(left.saturating_sub(samples));
        (samples <= left).then_some(())
    }
}

/// The index lists after a `Pad` node.
fn padded(maps: Maps, network: &Network, node: &NodeProto) -> Option<Maps> {
    let mode = pad_mode(node)?;
    let amounts = pad_amounts(&network.analysis.call(node)).ok()?;
    let pad = |(map, (begin, end)): (Vec<i64>, (i64, i64))| {
        let n = map.len() as i64;
        let total = n.checked_add(begin)?.checked_add(end)?;
        (0..=LONGEST as i64).contains(&total).then_some(())?;
        (0..total)
            .map(|i| match source_index(i - begin, n, mode)? {
                Some(j) => map.get(usize::try_from(j).ok()?).copied(),
                None => Some(ZERO),
            })
            .collect::<Option<Vec<i64>>>()
    };
    (maps.len() == amounts.len()).then_some(())?;
    maps.into_iter().zip(amounts).map(pad).collect()
}

/// The mode of a `Pad` node.
pub(crate) fn pad_mode(node: &NodeProto) -> Option<PaddingMode> {
    match node.text("mode").unwrap_or("constant") {
        "constant" => Some(PaddingMode::Zeros),
        "reflect" => Some(PaddingMode::Reflect),
        "edge" => Some(PaddingMode::Replicate),
        "wrap" => Some(PaddingMode::Circular),
        _ => None,
    }
}

/// Which of `n` samples stands at `position` (negative or beyond the end in the padding): `Some(None)` is a constant,
/// `None` a position that the mode cannot fill.
fn source_index(position: i64, n: i64, mode: PaddingMode) -> Option<Option<i64>> {
    if (0..n).contains(&position) {
        return Some(Some(position));
    }
    match mode {
        PaddingMode::Zeros => Some(None),
        _ if n == 0 => None,
        PaddingMode::Replicate => Some(Some(position.clamp(0, n - 1))),
        PaddingMode::Circular => Some(Some(position.rem_euclid(n))),
        PaddingMode::Reflect => {
            let reflected = if position < 0 {
                -position
            } else {
                2 * (n - 1) - position
            };
            (0..n).contains(&reflected).then_some(Some(reflected))
        }
    }
}

/// The index lists of a concatenation of parts of one source.
fn joined(parts: Vec<Maps>, node: &NodeProto) -> Option<Maps> {
    let mut parts = parts.into_iter();
    let mut maps = parts.next()?;
    let axis = axis_index(node.int("axis")?, maps.len()).ok()?;
    for part in parts {
        (part.len() == maps.len()).then_some(())?;
        for (a, (map, other)) in maps.iter_mut().zip(part).enumerate() {
            if a == axis {
                map.extend(other);
            } else if *map != other {
                return None;
            }
        }
    }
    Some(maps)
}

const MODES: [PaddingMode; 4] = [
    PaddingMode::Zeros,
    PaddingMode::Circular,
    PaddingMode::Reflect,
    PaddingMode::Replicate,
];

/// The paddings that do what the index lists say, if only spatial axes are padded and something is.
fn recognise(network: &Network, source: &str, maps: &Maps) -> Option<Vec<Padding>> {
    let dims = network.fact(source)?.known_dims().ok()?;
    (dims.len() >= 3 && dims.len() == maps.len()).then_some(())?;
    let unchanged =
        |a: usize| is_padding(&maps[a], dims[a], 0, PaddingMode::Zeros) && maps[a].len() == dims[a];
    (unchanged(0) && unchanged(1)).then_some(())?;
    let axes = dims.len() - 2;
    let changed: Vec<usize> = (0..axes).filter(|a| !unchanged(a + 2)).collect();
    (!changed.is_empty()).then_some(())?;
    let amounts = |mode: PaddingMode, a: usize| amounts(&maps[a + 2], dims[a + 2], mode);
    // One mode for all axes where that is possible (short axes fit several), else the first that fits.
    let common = MODES
        .into_iter()
        .find(|&m| changed.iter().all(|&a| amounts(m, a).is_some()));
    let mut steps: Vec<Padding> = Vec::new();
    for a in changed {
        let mode = common.or_else(|| MODES.into_iter().find(|&m| amounts(m, a).is_some()))?;
        let place = steps
            .iter()
            .position(|s| s.mode == mode)
            .unwrap_or_else(|| {
                steps.push(Padding {
                    amounts: vec![(0, 0); axes],
                    mode,
                });
                steps.len() - 1
            });
        steps[place].amounts[a] = amounts(mode, a)?;
    }
    Some(steps)
}

/// How many samples were added before and after `n` samples, if `map` is such a padding.
fn amounts(map: &[i64], n: usize, mode: PaddingMode) -> Option<(usize, usize)> {
    let room = map.len().checked_sub(n)?;
    (n > 0).then_some(())?;
    let begin = (0..=room)
        .filter(|&b| map[b] == 0 && map[b + n - 1] == n as i64 - 1)
        // A padding longer than the input repeats it; a few places are enough to look at.
        .take(4)
        .find(|&b| is_padding(map, n, b, mode))?;
    Some((begin, room - begin))
}

fn is_padding(map: &[i64], n: usize, begin: usize, mode: PaddingMode) -> bool {
    map.iter().enumerate().all(|(i, &index)| {
        let expected = source_index(i as i64 - begin as i64, n as i64, mode);
        expected.map(|e| e.unwrap_or(ZERO)) == Some(index)
    })
}
