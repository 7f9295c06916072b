//! Batches of images as numbers, in an order and with changes that depend on nothing but seed, epoch and place.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::Error;
use crate::augment::{Augmentation, Change, Levels};
use crate::data::{Dataset, DatasetKind, Normalization};

/// How batches are made of a data set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// The number of images in a batch; the last batch of an epoch has what remains.
    pub batch: usize,
    /// What order, crops and flips are drawn from.
    pub seed: u64,
    /// How images are changed for training.
    pub augmentation: Augmentation,
    /// How pixels become numbers.
    pub normalization: Normalization,
}

impl Sampling {
    /// The augmentation and normalisation that recipes use for a data set.
    pub fn usual(kind: DatasetKind, batch: usize, seed: u64) -> Self {
        Self {
            batch,
            seed,
            augmentation: Augmentation::usual(kind),
            normalization: kind.normalization(),
        }
    }
}

/// Some images and their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The numbers of the images in NCHW order.
    pub images: Vec<f32>,
    /// The label of each image, 0 to 9.
    pub labels: Vec<u8>,
}

/// The batches of one pass through a data set.
///
/// A batch is made when it is asked for. It depends on the data, the [`Sampling`], the epoch and its own number only, not
/// on the batches before it: `batches.skip(b)` goes on where a run stopped after `b` batches, and makes none of the
/// first `b`. Seeds and epochs give independent streams of ChaCha8; order and changes are drawn from separate ones, and
/// each place in the order has its own position in the stream.
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    data: &'a Dataset,
    order: Vec<u32>,
    batch: usize,
    next: usize,
    levels: Levels,
    /// `None`: images are left as they are.
    changes: Option<(Augmentation, ChaCha8Rng)>,
}

impl<'a> Batches<'a> {
    /// All images in the order of this epoch, changed at random.
    ///
    /// # Errors
    /// When the batch size is 0, the padding is as large as the images, or the normalisation has a mean that is not finite
    /// or a standard deviation that is not a finite number above 0.
    pub fn training(data: &'a Dataset, sampling: &Sampling, epoch: u32) -> Result<Self, Error> {
        let mut batches = Self::evaluation(data, sampling)?;
        let [_, height, width] = data.kind().shape();
        let padding = sampling.augmentation.padding;
        if padding >= height.min(width) {
            return Err(Error::Sampling {
                problem: format!(
                    "a crop with padding {padding} can be all black, the images have {height}x{width} pixels; take less"
                ),
            });
        }
        batches
            .order
            .shuffle(&mut stream(sampling.seed, Purpose::Order, epoch));
        let changes = stream(sampling.seed, Purpose::Changes, epoch);
        batches.changes = Some((sampling.augmentation, changes));
        Ok(batches)
    }

    /// All images in their own order and as they are; seed and augmentation are not used.
    ///
    /// # Errors
    /// When the batch size is 0, or the normalisation has a mean that is not finite or a standard deviation that is not a
    /// finite number above 0.
    pub fn evaluation(data: &'a Dataset, sampling: &Sampling) -> Result<Self, Error> {
        let refuse = |problem: &str| {
            let problem = problem.to_owned();
            Err(Error::Sampling { problem })
        };
        if sampling.batch == 0 {
            return refuse("the batch size is 0; take 1 or more");
        }
        let Normalization { mean, std } = sampling.normalization;
        let usable =
            mean.iter().all(|m| m.is_finite()) && std.iter().all(|s| s.is_normal() && *s > 0.0);
        if !usable {
            return refuse("the normalisation needs finite means and standard deviations above 0");
        }
        let Ok(count) = u32::try_from(data.len()) else {
            return refuse("the data set has more than 4,294,967,295 images; take fewer");
        };
        Ok(Self {
            data,
            order: (0..count).collect(),
            batch: sampling.batch,
            next: 0,
            levels: Levels::new(&sampling.normalization),
            changes: None,
        })
    }

    fn make(&self, places: std::ops::Range<usize>) -> Batch {
        let (shape, len) = (self.data.kind().shape(), self.data.kind().image_len());
        let mut images = vec![0.0; places.len() * len];
        images
            .par_chunks_exact_mut(len)
            .zip(places.clone())
            .for_each(|(out, place)| {
                let image = self.data.image(self.order[place] as usize);
                self.levels.write(image, shape, self.change(place), out);
            });
        let labels = self.order[places]
            .iter()
            .map(|&i| self.data.labels()[i as usize])
            .collect();
        Batch { images, labels }
    }

    /// What happens to the image at a place in the order.
    fn change(&self, place: usize) -> Change {
        let Some((augmentation, random)) = &self.changes else {
            return Change::NONE;
        };
        let mut random = random.clone();
        random.set_word_pos(place as u128 * WORDS_PER_PLACE);
        augmentation.draw(&mut random)
    }
}

impl Iterator for Batches<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let start = self.next.checked_mul(self.batch)?;
        if start >= self.order.len() {
            return None;
        }
        let end = start.saturating_add(self.batch).min(self.order.len());
        self.next += 1;
        Some(self.make(start..end))
    }

    fn nth(&mut self, n: usize) -> Option<Batch> {
        self.next = self.next.saturating_add(n).min(self.order.len());
        self.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let all = self.order.len().div_ceil(self.batch);
        let left = all.saturating_sub(self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Batches<'_> {}

/// One block of ChaCha, 16 words, for each place: three numbers are drawn.
const WORDS_PER_PLACE: u128 = 16;

/// What random numbers are for.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Order = 1,
    Changes = 2,
}

/// The stream of random numbers for this purpose in this epoch.
fn stream(seed: u64, purpose: Purpose, epoch: u32) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream((purpose as u64) << 32 | u64::from(epoch));
    random
}
