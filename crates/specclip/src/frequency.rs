//! Convolutions in the frequency domain: the blocks that the discrete Fourier transform leaves.
//!
//! A convolution with circular padding of a whole period maps each frequency to itself (Sedghi,
//! Gupta & Long 2019). With a stride s, the s^d input frequencies that alias to one output
//! frequency form one block of c_out x (s^d c_in) entries (Senderovich et al. 2022). The operator
//! is real, so the blocks of opposite frequencies are conjugate. Groups have blocks of their own.
//! Kernels larger than the grid wrap, as the operator itself does.

use faer::{Mat, c64};

use crate::error::Error;
use crate::kernel::geometry::{AXES, Axis, Geometry, unravel};
use crate::operator::{FilterBank, PaddingMode};

/// The blocks of a convolution that is block diagonal in frequency.
pub(crate) struct Frequencies {
    bank: FilterBank,
    /// The weights once more, as blocks are made from them: (group, tap, input channel of the
    /// group, output channel of the group).
    by_tap: Vec<f64>,
    /// Sizes of the input grid.
    pub(crate) input: [usize; AXES],
    /// Sizes of the output grid: those of the input over the strides.
    pub(crate) output: [usize; AXES],
}

impl Frequencies {
    /// The convolution as it is.
    ///
    /// # Errors
    /// [`Error::NotApplicable`] unless padding is circular and one period, and the stride divides
    /// the input.
    pub(crate) fn circulant(bank: FilterBank) -> Result<Self, Error> {
        for axis in &bank.geometry.axes {
            check(axis)?;
        }
        Ok(Self::on_grid(bank))
    }

    /// The convolution with the sizes of `bank`, read as periodic, whatever its padding is.
    pub(crate) fn on_grid(bank: FilterBank) -> Self {
        Self {
            input: bank.geometry.axes.each_ref().map(|a| a.input),
            output: bank.geometry.axes.each_ref().map(|a| a.input / a.stride),
            by_tap: by_tap(&bank),
            bank,
        }
    }

    /// Row-major (output channel, input channel of the group, taps).
    pub(crate) fn weight(&self) -> &[f64] {
        &self.bank.weight
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.bank.geometry
    }

    /// Output frequencies: blocks of each group.
    pub(crate) fn count(&self) -> usize {
        self.output.iter().product()
    }

    /// One of each pair of opposite frequencies, and those that are their own opposites.
    pub(crate) fn half(&self) -> Vec<usize> {
        let one_of_two = |&g: &usize| g <= self.opposite(g);
        (0..self.count()).filter(one_of_two).collect()
    }

    /// The index of the output frequency -g; its block is the conjugate of that of g, with the
    /// aliases in another order.
    pub(crate) fn opposite(&self, g: usize) -> usize {
        let at = unravel(g, &self.output);
        let mirrored: [usize; AXES] =
            std::array::from_fn(|i| (self.output[i] - at[i]) % self.output[i]);
        (mirrored[0] * self.output[1] + mirrored[1]) * self.output[2] + mirrored[2]
    }

    /// The input frequencies that alias to output frequency `g`.
    pub(crate) fn aliases(&self, g: usize) -> Vec<[usize; AXES]> {
        let at = unravel(g, &self.output);
        let strides: [usize; AXES] = std::array::from_fn(|i| self.input[i] / self.output[i]);
        (0..strides.iter().product())
            .map(|alias| {
                let copy = unravel(alias, &strides);
                std::array::from_fn(|i| at[i] + copy[i] * self.output[i])
            })
            .collect()
    }

    /// The block of output frequency `g` and a group: rows are output channels of the group,
    /// columns are (alias, input channel of the group). Its entries are sums over the taps of
    /// weights times [`tap_wave`](Self::tap_wave), over the root of the number of aliases.
    pub(crate) fn block(&self, g: usize, group: usize) -> Mat<c64> {
        self.block_of(&self.waves(g), group)
    }

    /// What the blocks of all groups at output frequency `g` share: for each alias and tap, the
    /// number that its weights are multiplied by.
    pub(crate) fn waves(&self, g: usize) -> Vec<Vec<c64>> {
        let aliases = self.aliases(g);
        let scale = (1.0 / aliases.len() as f64).sqrt();
        let taps = self.bank.geometry.taps();
        let wave = |&f: &[usize; AXES]| (0..taps).map(|t| self.tap_wave(f, t) * scale).collect();
        aliases.iter().map(wave).collect()
    }

    /// The block of the frequency that `waves` are of, and a group.
    pub(crate) fn block_of(&self, waves: &[Vec<c64>], group: usize) -> Mat<c64> {
        let g = &self.bank.geometry;
        let (rows, channels, taps) = (g.out_per_group(), g.in_per_group(), g.taps());
        let mut block = Mat::<c64>::zeros(rows, waves.len() * channels);
        for (column, channel) in (0..waves.len() * channels).zip((0..channels).cycle()) {
            let target = block.col_as_slice_mut(column);
            for (t, &wave) in waves[column / channels].iter().enumerate() {
                let start = ((group * taps + t) * channels + channel) * rows;
                let weights = &self.by_tap[start..start + rows];
                for (x, w) in target.iter_mut().zip(weights) {
                    x.re += wave.re * w;
                    x.im += wave.im * w;
                }
            }
        }
        block
    }

    /// exp(2 pi i f . (position of tap t relative to the output) / n), to 32 u in modulus: see [`turns`].
    pub(crate) fn tap_wave(&self, f: [usize; AXES], t: usize) -> c64 {
        let at = self.bank.geometry.tap(t);
        turn(turns(std::array::from_fn(|i| {
            let axis = &self.bank.geometry.axes[i];
            let n = axis.input;
            let position = (at[i] * axis.dilation + n - axis.padding.0 % n) % n;
            // Reduced before the division: exact, for an axis has fewer than 2^30 samples.
            ((f[i] as u64 * position as u64) % n as u64) as f64 / n as f64
        })))
    }
}

fn by_tap(bank: &FilterBank) -> Vec<f64> {
    let g = &bank.geometry;
    let (rows, channels, taps) = (g.out_per_group(), g.in_per_group(), g.taps());
    let per_group = rows * channels * taps;
    let groups = bank.weight.chunks_exact(per_group);
    groups
        .flat_map(|weight| {
            (0..per_group).map(move |i| {
                let (tap, channel, row) = (i / rows / channels, i / rows % channels, i % rows);
                weight[(row * channels + channel) * taps + tap]
            })
        })
        .collect()
}

/// The sum of parts of a turn, each rounded once and less than one, without the whole turns.
///
/// It is right to 3.5 u with u = 2^-53: a half for each part and one for each of two sums, which are below 2;
/// what is taken off is exact. An angle of so many turns, and its sine and cosine, are known to 32 u: 2 pi makes
/// 22 u of that, the product with 2 pi adds 4 u and the constant itself 2.2 u, and the sine and the cosine
/// together 2 u where each is right to a unit in the last place.
pub(crate) fn turns(parts: [f64; AXES]) -> f64 {
    parts.iter().fold(0.0, |sum, part| (sum + part).fract())
}

pub(crate) fn turn(turns: f64) -> c64 {
    let (sin, cos) = (std::f64::consts::TAU * turns).sin_cos();
    c64::new(cos, sin)
}

pub(crate) fn refuse(reason: impl Into<String>) -> Error {
    Error::NotApplicable {
        method: "circulant",
        reason: reason.into(),
    }
}

fn check(axis: &Axis) -> Result<(), Error> {
    let padding = axis.padding.0 + axis.padding.1;
    if padding + 1 != axis.extent() {
        return Err(refuse(format!(
            "padding {:?} is not the {} samples that a kernel extent of {} needs to be periodic; \
             use lanczos",
            axis.padding,
            axis.extent() - 1,
            axis.extent()
        )));
    }
    if padding > 0 && axis.mode != PaddingMode::Circular {
        return Err(refuse(format!(
            "the padding mode is {:?}, not circular; use lanczos",
            axis.mode
        )));
    }
    if axis.output * axis.stride != axis.input {
        return Err(refuse(format!(
            "{} outputs at stride {} are not one period of {} samples; use lanczos",
            axis.output, axis.stride, axis.input
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sin and cos of 2 pi `numerator` / `denominator`, reduced to an eighth of a turn in integers: right to
    /// two units of 2^-53.
    fn exactly(numerator: u64, denominator: u64) -> c64 {
        let eighths = 8 * numerator / denominator;
        // The nearest quarter turn and what is missing to it, or beyond it, in parts of 4 `denominator`.
        let quarter = eighths.div_ceil(2);
        let beyond = 4 * numerator as i64 - (quarter * denominator) as i64;
        let angle = std::f64::consts::FRAC_PI_2 * (beyond as f64 / denominator as f64);
        let (sin, cos) = angle.sin_cos();
        match quarter % 4 {
            0 => c64::new(cos, sin),
            1 => c64::new(-sin, cos),
            2 => c64::new(-cos, -sin),
            _ => c64::new(sin, -cos),
        }
    }

    /// Sums of three parts of turns on grids of different sizes, against integers.
    #[test]
    fn waves_of_three_axes_are_right_to_32_roundings() {
        let (a, b, c) = (97_u64, 89, 83);
        let mut worst = 0.0_f64;
        for i in 0..a {
            for j in (0..b).step_by(2) {
                for k in (0..c).step_by(3) {
                    let parts = [(i, a), (j, b), (k, c)].map(|(x, n)| x as f64 / n as f64);
                    let all = (i * b * c + j * a * c + k * a * b) % (a * b * c);
                    let difference = turn(turns(parts)) - exactly(all, a * b * c);
                    worst = worst.max(difference.norm());
                }
            }
        }
        let roundings = worst / (f64::EPSILON / 2.0);
        assert!(roundings <= 32.0 - 2.0, "{roundings}");
        assert!(roundings >= 5.0, "the sums are rounded: {roundings}");
    }
}
