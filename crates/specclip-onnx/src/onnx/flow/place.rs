//! Operators that move, pick, repeat and join elements.

use specclip::graph::{Op, Value};

use super::{Flow, Made, Stopped};
use crate::onnx::fact::axis_index;
use crate::onnx::proto::NodeProto;
use crate::onnx::shapes::{pad_amounts, slice_ranges};
use crate::tensor::ElementType;

impl<'a> Flow<'a> {
    /// Operators that change no number.
    pub(super) fn rearranged(
        &mut self,
        node: &'a NodeProto,
        place: usize,
        shape: &[usize],
    ) -> Option<Made> {
        let op = node.op_type.as_str();
        Some(match op {
            "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.same(node, shape),
            "Cast" => self.cast(node, shape),
            "Dropout" if place == 0 => self.dropout(node, shape),
            "Pad" => match pad_amounts(&self.network.analysis.call(node)) {
                Ok(amounts) if amounts.iter().all(|&p| p == (0, 0)) => self.same(node, shape),
                _ => return None,
            },
            "Transpose" => self.transpose(node, shape),
            "DepthToSpace" | "SpaceToDepth" => self.blocks(node, shape),
            "Slice" => self.slice(node),
            "Split" => self.split(node, place, shape),
            "Gather" => self.gather(node, shape),
            "Expand" => {
                let repeated = self.computed(node, 0);
                repeated.and_then(|v| self.repeat(node, v, shape))
            }
            "Tile" => self.tile(node, shape),
            "Concat" => self.concat(node, shape),
            _ => return None,
        })
    }

    fn same(&mut self, node: &NodeProto, shape: &[usize]) -> Made {
        let input = self.computed(node, 0)?;
        self.constants_from(node, 1)?;
        self.add(node, Op::Identity, &[input], shape)
    }

    fn cast(&mut self, node: &NodeProto, shape: &[usize]) -> Made {
        let to = node.int("to").and_then(|to| i32::try_from(to).ok());
        let float = to.is_some_and(|to| ElementType::from_onnx(to).is_float());
        if float {
            return self.same(node, shape);
        }
        Err("it rounds to another type, which jumps".into())
    }

    fn dropout(&mut self, node: &NodeProto, shape: &[usize]) -> Made {
        let training = match node.input_name(2) {
            None => false,
            Some(_) => self.numbers(node, 2)?.0.first().is_none_or(|&t| t != 0.0),
        };
        if training {
            return Err("it is in training form; export the model after model.eval()".into());
        }
        self.same(node, shape)
    }

    fn transpose(&mut self, node: &NodeProto, shape: &[usize]) -> Made {
        let input = self.computed(node, 0)?;
        let rank = shape.len();
        let axes: Vec<usize> = match node.ints("perm").filter(|p| !p.is_empty()) {
            Some(perm) => perm
                .iter()
                .map(|&p| axis_index(p, rank))
                .collect::<Result<_, _>>()?,
            None => (0..rank).rev().collect(),
        };
        self.add(node, Op::Permute(axes), &[input], shape)
    }

    /// Blocks of space to channels and back: the axes are split, permuted and joined.
    fn blocks(&mut self, node: &NodeProto, shape: &[usize]) -> Made {
        let input = self.computed(node, 0)?;
        let from = self.fact(node, 0)?.known_dims()?;
        let b = node.int("blocksize").and_then(|b| usize::try_from(b).ok());
        let (&[n, c, h, w], Some(b)) = (from.as_slice(), b.filter(|&b| b > 0)) else {
            return Err("it needs four axes and a positive block size".into());
        };
        let depth_first = node.text("mode").unwrap_or("DCR") == "DCR";
        let (split, axes) = match node.op_type.as_str() {
            "SpaceToDepth" => ([n, c, h / b, b, w / b, b], [0, 3, 5, 1, 2, 4]),
            _ if depth_first => ([n, b, b, c / (b * b), h, w], [0, 3, 4, 1, 5, 2]),
            _ => ([n, c / (b * b), b, b, h, w], [0, 1, 4, 2, 5, 3]),
        };
        let split_value = self.add(node, Op::Identity, &[input], &split)?;
        let permuted = axes.map(|a| split[a]);
        let op = Op::Permute(axes.to_vec());
        let moved = self.add(node, op, &[split_value], &permuted)?;
        self.add(node, Op::Identity, &[moved], shape)
    }

    /// Picks entries of one axis.
    fn pick(&mut self, node: &NodeProto, input: Value, axis: usize, indices: Vec<usize>) -> Made {
        let left = self.places_left.checked_sub(indices.len());
        self.places_left = left.ok_or("the network picks too many elements to be followed")?;
        let mut shape = self.graph.nodes()[input].shape.clone();
        if axis >= shape.len() {
            return Err(format!("its input has no axis {axis}").into());
        }
        if indices.iter().copied().eq(0..shape[axis]) {
            return Ok(input);
        }
        shape[axis] = indices.len();
        self.add(node, Op::Index { axis, indices }, &[input], &shape)
    }

    fn slice(&mut self, node: &NodeProto) -> Made {
        let mut value = self.computed(node, 0)?;
        self.constants_from(node, 1)?;
        let ranges = slice_ranges(&self.network.analysis.call(node))?;
        for (axis, range) in ranges.into_iter().enumerate() {
            let range = range.ok_or("where it cuts depends on the data")?;
            let at = |i: usize| {
                range
                    .start
                    .checked_add_signed(range.step.checked_mul(i as isize)?)
            };
            self.afford(range.count)?;
            let indices: Option<Vec<usize>> = (0..range.count).map(at).collect();
            let indices = indices.ok_or("it cuts outside its input")?;
            value = self.pick(node, value, axis, indices)?;
        }
        Ok(value)
    }

    /// Refuses lists that are too long before they are made.
    fn afford(&self, places: usize) -> Result<(), Stopped> {
        if places <= self.places_left {
            return Ok(());
        }
        Err("the network picks too many elements to be followed".into())
    }

    fn split(&mut self, node: &NodeProto, place: usize, shape: &[usize]) -> Made {
        let input = self.computed(node, 0)?;
        self.constants_from(node, 1)?;
        let axis = axis_index(node.int("axis").unwrap_or(0), shape.len())?;
        let before = node.output.iter().filter(|o| !o.is_empty()).take(place);
        // Outputs without a name would hide how long they are.
        if node.output.iter().any(String::is_empty) {
            return Err("one of its outputs has no name".into());
        }
        let mut start = 0_usize;
        for output in before {
            start += self.shape(output)?[axis];
        }
        self.afford(shape[axis])?;
        self.pick(node, input, axis, (start..start + shape[axis]).collect())
    }

    fn gather(&mut self, node: &NodeProto, shape: &[usize]) -> Made {
        let input = self.computed(node, 0)?;
        let from = self.fact(node, 0)?.known_dims()?;
        let axis = axis_index(node.int("axis").unwrap_or(0), from.len())?;
        if self.value(node, 1).is_some() {
            return Err("which elements it takes depends on the data".into());
        }
        let (numbers, _) = self.numbers(node, 1)?;
        let n = from[axis] as f64;
        let indices: Option<Vec<usize>> = numbers
            .iter()
            .map(|&i| if i < 0.0 { i + n } else { i })
            .map(|i| (0.0..n).contains(&i).then_some(i as usize))
            .collect();
        let indices = indices.ok_or("it takes elements that its input does not have")?;
        let picked = self.pick(node, input, axis, indices)?;
        self.add(node, Op::Identity, &[picked], shape)
    }

    /// Repeats a value along axes of length 1, and new ones in front, until it has `shape`.
    pub(super) fn repeat(&mut self, node: &NodeProto, value: Value, shape: &[usize]) -> Made {
        let from = self.graph.nodes()[value].shape.clone();
        if from == shape {
            return Ok(value);
        }
        let missing = shape.len().checked_sub(from.len());
        let missing = missing.ok_or("its input has more axes than its output")?;
        let mut value = value;
        if missing > 0 {
            let full = [vec![1; missing], from].concat();
            value = self.add(node, Op::Identity, &[value], &full)?;
        }
        for (axis, &n) in shape.iter().enumerate() {
            if self.graph.nodes()[value].shape[axis] != n {
                self.afford(n)?;
                value = self.pick(node, value, axis, vec![0; n])?;
            }
        }
        Ok(value)
    }

    fn tile(&mut self, node: &NodeProto, shape: &[usize]) -> Made {
        let mut value = self.computed(node, 0)?;
        self.constants_from(node, 1)?;
        let from = self.fact(node, 0)?.known_dims()?;
        for (axis, (&n, &total)) in from.iter().zip(shape).enumerate() {
            if total != n {
                self.afford(total)?;
                value = self.pick(node, value, axis, (0..total).map(|i| i % n).collect())?;
            }
        }
        Ok(value)
    }

    fn concat(&mut self, node: &NodeProto, shape: &[usize]) -> Made {
        let axis = axis_index(node.int("axis").unwrap_or(1), shape.len())?;
        let mut parts = Vec::new();
        for i in 0..node.input.len() {
            parts.push(match self.value(node, i) {
                Some(value) => value,
                None => {
                    let dims = self.fact(node, i)?.known_dims()?;
                    if dims.contains(&0) {
                        continue;
                    }
                    self.add(node, Op::Constant, &[], &dims)?
                }
            });
        }
        self.add(node, Op::Concat { axis }, &parts, shape)
    }
}
