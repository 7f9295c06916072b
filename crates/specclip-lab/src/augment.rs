//! Random crops and flips, and pixels as numbers.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::data::{DatasetKind, Normalization};

/// How images are changed at random before a network learns from them.
///
/// As torchvision's `RandomCrop(side, padding)` and `RandomHorizontalFlip()` do it, in this order: an image is surrounded by
/// `padding` black pixels, a part of the image's own size is cut out of that, all places being equally likely, and it is
/// mirrored with probability 1/2. Black is 0 before the normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// The number of black pixels on each side.
    pub padding: usize,
    /// Whether images are mirrored.
    pub flip: bool,
}

impl Augmentation {
    /// Images as they are.
    pub const NONE: Self = Self {
        padding: 0,
        flip: false,
    };

    /// What recipes do with a data set: padding 4 and flips for CIFAR-10, nothing for the others.
    pub fn usual(kind: DatasetKind) -> Self {
        match kind {
            DatasetKind::Mnist | DatasetKind::FashionMnist => Self::NONE,
            DatasetKind::Cifar10 => Self {
                padding: 4,
                flip: true,
            },
        }
    }

    /// Draws a crop and a flip.
    pub(crate) fn draw(self, random: &mut ChaCha8Rng) -> Change {
        let mut offset = || random.random_range(0..=2 * self.padding as u32);
        let (row, column) = (offset(), offset());
        Change {
            down: row as isize - self.padding as isize,
            right: column as isize - self.padding as isize,
            flip: self.flip && random.random::<bool>(),
        }
    }
}

/// What happens to one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// The row of the image that becomes the first.
    pub down: isize,
    /// The column of the image that becomes the first.
    pub right: isize,
    /// Whether columns are then reversed.
    pub flip: bool,
}

impl Change {
    pub const NONE: Self = Self {
        down: 0,
        right: 0,
        flip: false,
    };
}

/// The number that stands for each pixel value in each channel.
#[derive(Debug, Clone)]
pub(crate) struct Levels([[f32; 256]; 3]);

impl Levels {
    /// (p / 255 - mean) / std in `f32`, operation by operation as PyTorch computes it.
    pub fn new(normalization: &Normalization) -> Self {
        let Normalization { mean, std } = normalization;
        Self(std::array::from_fn(|channel| {
            std::array::from_fn(|p| (p as f32 / 255.0 - mean[channel]) / std[channel])
        }))
    }

    /// Writes the changed and normalised image (CHW) to `out`, which has the same size.
    pub fn write(&self, image: &[u8], shape: [usize; 3], change: Change, out: &mut [f32]) {
        let [_, height, width] = shape;
        let planes = image
            .chunks_exact(height * width)
            .zip(out.chunks_exact_mut(height * width));
        for ((plane, out), levels) in planes.zip(&self.0) {
            for (row, out) in out.chunks_exact_mut(width).enumerate() {
                let source = row as isize + change.down;
                let inside = (0..height as isize).contains(&source);
                let pixels = inside.then(|| &plane[source as usize * width..][..width]);
                write_row(pixels, change, levels, out);
            }
        }
    }
}

/// One row of a plane; `None` is a black one.
fn write_row(pixels: Option<&[u8]>, change: Change, levels: &[f32; 256], out: &mut [f32]) {
    let pixels = pixels.unwrap_or_default();
    for (column, out) in out.iter_mut().enumerate() {
        // A column left of the image wraps to a huge number and is outside like one on the right.
        let source = (column as isize + change.right) as usize;
        let pixel = pixels.get(source).copied().unwrap_or(0);
        *out = levels[usize::from(pixel)];
    }
    if change.flip {
        out.reverse();
    }
}
