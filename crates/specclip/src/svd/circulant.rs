//! Exact spectra of convolutions with circular padding.
//!
//! Such a convolution maps each frequency to itself, so the discrete Fourier transform makes it
//! block diagonal (Sedghi, Gupta & Long 2019). With a stride s, the s^d input frequencies that
//! alias to one output frequency form one block of c_out x (s^d c_in) entries (Senderovich et al.
//! 2022). The input is real: the blocks of opposite frequencies are conjugate, so half of them are
//! decomposed and count twice, except those that are their own opposites. Groups have blocks of
//! their own. Kernels larger than the grid wrap, as the operator itself does.

use faer::{Mat, c64};
use rayon::prelude::*;

use super::exact::failed;
use super::{Method, Params, Triplets, finish};
use crate::block::Block;
use crate::error::Error;
use crate::frequency::{Frequencies, refuse, turn};
use crate::kernel::geometry::{AXES, unravel};
use crate::operator::{FilterBank, LinearOperator, Structure};

pub(super) fn solve<Op: LinearOperator + ?Sized>(
    op: &Op,
    k: usize,
    params: &Params,
) -> Result<Triplets<Op::Block>, Error> {
    let Structure::Filters(bank) = op.structure() else {
        let reason = "only convolutions have a decomposition by frequencies; use lanczos";
        return Err(refuse(reason));
    };
    let transposed = bank.transposed;
    let (sigma, wide, tall) = Circulant::new(bank)?.leading(k)?;
    let (outputs, inputs) = if transposed {
        (wide, tall)
    } else {
        (tall, wide)
    };
    let (mut u, mut v) = (op.output_block(k), op.input_block(k));
    u.upload(&outputs);
    v.upload(&inputs);
    finish(op, (u, sigma, v), params, 0, Method::Circulant)
}

/// A convolution that is block diagonal in frequency.
pub(super) struct Circulant {
    blocks: Frequencies,
}

/// One singular value and where it comes from.
struct Entry {
    sigma: f64,
    frequency: usize,
    group: usize,
    index: usize,
    /// It occurs at the opposite frequency as well.
    twice: bool,
}

/// The triplets of one block: columns of outputs and inputs in the frequency domain.
struct Decomposition {
    u: Mat<c64>,
    v: Mat<c64>,
}

impl Circulant {
    pub(super) fn new(bank: FilterBank) -> Result<Self, Error> {
        Frequencies::circulant(bank).map(|blocks| Self { blocks })
    }

    /// All singular values, in descending order.
    pub(super) fn spectrum(&self) -> Result<Vec<f64>, Error> {
        let entries = self.entries()?;
        let copies = |e: &Entry| if e.twice { 2 } else { 1 };
        Ok(entries
            .iter()
            .flat_map(|e| std::iter::repeat_n(e.sigma, copies(e)))
            .collect())
    }

    /// The `k` largest values, their inputs and their outputs, vector after vector.
    #[allow(clippy::type_complexity)] // a triple of plain vectors, used once
    fn leading(&self, k: usize) -> Result<(Vec<f64>, Vec<f64>, Vec<f64>), Error> {
        let (mut sigma, mut inputs, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
        for entry in self.entries()? {
            let parts = self.decompose(entry.frequency, entry.group)?;
            for part in 0..if entry.twice { 2 } else { 1 } {
                if sigma.len() == k {
                    return Ok((sigma, inputs, outputs));
                }
                sigma.push(entry.sigma);
                inputs.extend(self.input_wave(&entry, &parts, part));
                outputs.extend(self.output_wave(&entry, &parts, part));
            }
        }
        Ok((sigma, inputs, outputs))
    }

    /// Refuses what would take many minutes.
    fn check_cost(&self) -> Result<(), Error> {
        let g = self.blocks.geometry();
        let aliases = self.blocks.input.iter().product::<usize>() / self.blocks.count();
        let (rows, cols) = (g.out_per_group(), g.in_per_group() * aliases);
        let blocks = self.blocks.count().div_ceil(2) as f64 * g.groups as f64;
        let (small, large) = (rows.min(cols) as f64, rows.max(cols) as f64);
        // A complex multiplication is four real ones.
        let teraflop = 16.0 * blocks * small * small * large * 1e-12;
        if teraflop <= 1.0 {
            return Ok(());
        }
        Err(Error::TooExpensive {
            operation: "circulant decomposition",
            what: format!("{blocks} complex {rows} x {cols} matrices"),
            gigabytes: small * large * 16e-9,
            teraflop,
            limit: "1 Tflop",
        })
    }

    fn entries(&self) -> Result<Vec<Entry>, Error> {
        self.check_cost()?;
        let frequencies = self.blocks.half();
        let entries: Result<Vec<Vec<Entry>>, Error> = frequencies
            .par_iter()
            .map(|&frequency| {
                let twice = self.blocks.opposite(frequency) != frequency;
                let mut entries = Vec::new();
                for group in 0..self.blocks.geometry().groups {
                    let block = self.blocks.block(frequency, group);
                    let values = block.singular_values().map_err(failed)?;
                    entries.extend(values.into_iter().enumerate().map(|(index, sigma)| Entry {
                        sigma,
                        frequency,
                        group,
                        index,
                        twice,
                    }));
                }
                Ok(entries)
            })
            .collect();
        let mut entries: Vec<Entry> = entries?.into_iter().flatten().collect();
        entries.sort_by(|a, b| b.sigma.total_cmp(&a.sigma));
        Ok(entries)
    }

    /// Decomposes one block. A block that is its own opposite is real in the basis of cosines and
    /// sines of its aliases, and is decomposed there, so that its vectors are real.
    fn decompose(&self, g: usize, group: usize) -> Result<Decomposition, Error> {
        let block = self.blocks.block(g, group);
        if self.blocks.opposite(g) != g {
            let svd = block.thin_svd().map_err(failed)?;
            return Ok(Decomposition {
                u: svd.U().to_owned(),
                v: svd.V().to_owned(),
            });
        }
        let basis = self.real_basis(g);
        let product = &block * &basis;
        let real = Mat::from_fn(product.nrows(), product.ncols(), |i, j| product[(i, j)].re);
        let svd = real.thin_svd().map_err(failed)?;
        let complex = |m: faer::MatRef<'_, f64>| {
            Mat::from_fn(m.nrows(), m.ncols(), |i, j| c64::new(m[(i, j)], 0.0))
        };
        Ok(Decomposition {
            u: complex(svd.U()),
            v: &basis * complex(svd.V()),
        })
    }

    /// The unitary change from aliases to cosines and sines, for each input channel.
    fn real_basis(&self, g: usize) -> Mat<c64> {
        let aliases = self.blocks.aliases(g);
        let channels = self.blocks.geometry().in_per_group();
        let size = aliases.len() * channels;
        let mut basis = Mat::zeros(size, size);
        let half = 0.5_f64.sqrt();
        for (a, f) in aliases.iter().enumerate() {
            let mirrored: [usize; AXES] =
                std::array::from_fn(|i| (self.blocks.input[i] - f[i]) % self.blocks.input[i]);
            // The opposite of an alias of a frequency that is its own opposite is an alias.
            let b = aliases.iter().position(|f| *f == mirrored).unwrap_or(a);
            for channel in 0..channels {
                let (i, j) = (a * channels + channel, b * channels + channel);
                match a.cmp(&b) {
                    std::cmp::Ordering::Equal => basis[(i, i)] = c64::new(1.0, 0.0),
                    std::cmp::Ordering::Less => {
                        basis[(i, i)] = c64::new(half, 0.0);
                        basis[(j, i)] = c64::new(half, 0.0);
                        basis[(i, j)] = c64::new(0.0, -half);
                        basis[(j, j)] = c64::new(0.0, half);
                    }
                    std::cmp::Ordering::Greater => {}
                }
            }
        }
        basis
    }

    /// A right singular vector on the input grid: the real or the imaginary part of its wave.
    fn input_wave(&self, entry: &Entry, parts: &Decomposition, part: usize) -> Vec<f64> {
        let g = self.blocks.geometry();
        let aliases = self.blocks.aliases(entry.frequency);
        let channels = g.in_per_group();
        let coefficient = |alias: usize, c: usize| parts.v[(alias * channels + c, entry.index)];
        let waves = Waves {
            sizes: self.blocks.input,
            frequencies: &aliases,
            channels,
        };
        waves.vector(g.in_channels, entry, part, coefficient)
    }

    fn output_wave(&self, entry: &Entry, parts: &Decomposition, part: usize) -> Vec<f64> {
        let g = self.blocks.geometry();
        let waves = Waves {
            sizes: self.blocks.output,
            frequencies: &[unravel(entry.frequency, &self.blocks.output)],
            channels: g.out_per_group(),
        };
        let coefficient = |_: usize, c: usize| parts.u[(c, entry.index)];
        waves.vector(g.out_channels, entry, part, coefficient)
    }
}

/// Waves on a grid.
struct Waves<'a> {
    sizes: [usize; AXES],
    frequencies: &'a [[usize; AXES]],
    /// Channels of a group.
    channels: usize,
}

impl Waves<'_> {
    /// The sum of coefficients times waves, with norm 1: real part, or imaginary part.
    fn vector(
        &self,
        all_channels: usize,
        entry: &Entry,
        part: usize,
        coefficient: impl Fn(usize, usize) -> c64,
    ) -> Vec<f64> {
        let plane: usize = self.sizes.iter().product();
        let copies = if entry.twice { 2.0 } else { 1.0 };
        let scale = (copies / plane as f64).sqrt();
        let mut vector = vec![0.0; all_channels * plane];
        let first = entry.group * self.channels * plane;
        for (position, at) in (0..plane).map(|p| (p, unravel(p, &self.sizes))) {
            for (k, f) in self.frequencies.iter().enumerate() {
                let turns: f64 = (0..AXES)
                    .map(|i| ((f[i] * at[i]) % self.sizes[i]) as f64 / self.sizes[i] as f64)
                    .sum();
                let wave = turn(turns);
                for channel in 0..self.channels {
                    let value = coefficient(k, channel) * wave * scale;
                    vector[first + channel * plane + position] +=
                        if part == 0 { value.re } else { value.im };
                }
            }
        }
        vector
    }
}
