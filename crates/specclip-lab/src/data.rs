//! Data sets of small labelled images, as they lie in folders.

mod checksums;
mod cifar;
mod file;
mod idx;
mod layout;
mod pickle;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;
use layout::Format;

/// Every data set here has ten classes, so labels are 0 to 9.
const CLASSES: u8 = 10;

/// Which part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// The images to learn from.
    Train,
    /// The images to measure with.
    Test,
}

/// The data sets that are known, each with 10 classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatasetKind {
    /// Handwritten digits: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition".
    Mnist,
    /// Pieces of clothing: Xiao, Rasul & Vollgraf 2017, "Fashion-MNIST", arXiv:1708.07747.
    FashionMnist,
    /// Animals and vehicles: Krizhevsky 2009, "Learning multiple layers of features from tiny images".
    Cifar10,
}

/// What is subtracted from the pixels of each channel, scaled to 0 to 1, and what they are then divided by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// The mean of red, green and blue; grey images use the first.
    pub mean: [f32; 3],
    /// The standard deviation of red, green and blue; grey images use the first.
    pub std: [f32; 3],
}

impl Normalization {
    /// Pixels from 0 to 1, as torchvision's `ToTensor` leaves them.
    pub const UNIT: Self = Self {
        mean: [0.0; 3],
        std: [1.0; 3],
    };
}

impl DatasetKind {
    /// The name as its authors write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mnist => "MNIST",
            Self::FashionMnist => "Fashion-MNIST",
            Self::Cifar10 => "CIFAR-10",
        }
    }

    /// Channels, height and width of an image.
    pub fn shape(self) -> [usize; 3] {
        match self {
            Self::Mnist | Self::FashionMnist => [1, 28, 28],
            Self::Cifar10 => [3, 32, 32],
        }
    }

    /// What the labels mean, from label 0 on.
    pub fn classes(self) -> [&'static str; CLASSES as usize] {
        match self {
            Self::Mnist => ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            Self::FashionMnist => [
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ],
            Self::Cifar10 => [
                "airplane",
                "automobile",
                "bird",
                "cat",
                "deer",
                "dog",
                "frog",
                "horse",
                "ship",
                "truck",
            ],
        }
    }

    /// Mean and standard deviation of all pixels of the training images, to four digits: the constants that recipes for
    /// these data sets use.
    pub fn normalization(self) -> Normalization {
        let (mean, std) = match self {
            Self::Mnist => ([0.1307; 3], [0.3081; 3]),
            Self::FashionMnist => ([0.2860; 3], [0.3530; 3]),
            Self::Cifar10 => ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
        };
        Normalization { mean, std }
    }
}

/// Labelled images, all of one size, in memory. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    kind: DatasetKind,
    images: Vec<u8>,
    labels: Vec<u8>,
}

impl Dataset {
    /// Reads one part of the data set that a folder has, and finds out which it is.
    ///
    /// - **MNIST and Fashion-MNIST**: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the two files that begin
    ///   with `t10k`, gzipped (then perhaps with `.gz` after the name) or not, in the folder or below it in `raw`,
    ///   `MNIST/raw` or `FashionMNIST/raw`. The two differ in nothing but their contents: it is Fashion-MNIST if the
    ///   labels are its own, and for other labels if the folder's name has "fashion" in it.
    /// - **CIFAR-10**: the binary version, `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, in the folder
    ///   or below it in `cifar-10-batches-bin`; or the Python version, the same names without `.bin`, in the folder or
    ///   below it in `cifar-10-batches-py`, where torchvision puts it.
    ///
    /// Where a file `SHA256SUMS` lies beside the data, files that it names must have those sums.
    ///
    /// # Errors
    /// When the folder has no data set, or several; a file cannot be read, does not have its checksum, is truncated, has
    /// more than its header says, images of another size, a label above 9, or as many labels as there are not images.
    pub fn load(folder: &Path, split: Split) -> Result<Self, Error> {
        let place = layout::find(folder)?;
        match place.format {
            Format::Idx => idx::load(&place.folder, split),
            Format::Cifar(version) => cifar::load(&place.folder, version, split),
        }
    }

    /// A data set from images in NCHW order, of the kind's shape, and a label for each.
    ///
    /// # Errors
    /// When there is no image, the numbers of images and labels differ, or a label is above 9.
    pub fn new(kind: DatasetKind, images: Vec<u8>, labels: Vec<u8>) -> Result<Self, Error> {
        let problem = if labels.is_empty() {
            Some("there are none".to_owned())
        } else if labels.len().checked_mul(kind.image_len()) != Some(images.len()) {
            let [c, h, w] = kind.shape();
            let (pixels, count) = (images.len(), labels.len());
            Some(format!(
                "{pixels} pixels are not {count} images of {c}x{h}x{w}"
            ))
        } else {
            bad_label(&labels)
        };
        match problem {
            Some(problem) => Err(Error::Parts { problem }),
            None => Ok(Self {
                kind,
                images,
                labels,
            }),
        }
    }

    /// The data set without all images after the first `count`, which is at least 1.
    pub fn truncated(mut self, count: usize) -> Self {
        let count = count.max(1);
        self.labels.truncate(count);
        self.images
            .truncate(count.saturating_mul(self.kind.image_len()));
        self
    }

    /// Which data set it is.
    pub fn kind(&self) -> DatasetKind {
        self.kind
    }

    /// The number of images, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a data set is never empty")]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// All pixels, in NCHW order.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// The label of each image, 0 to 9.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The pixels of image `i`, which is less than [`Dataset::len`], in CHW order.
    pub(crate) fn image(&self, i: usize) -> &[u8] {
        let len = self.kind.image_len();
        &self.images[i * len..(i + 1) * len]
    }
}

impl DatasetKind {
    pub(crate) fn image_len(self) -> usize {
        self.shape().iter().product()
    }
}

/// Says where the first label is that no class has.
fn bad_label(labels: &[u8]) -> Option<String> {
    let index = labels.iter().position(|&label| label >= CLASSES)?;
    let label = labels[index];
    Some(format!(
        "image {index} has the label {label}, and labels are 0 to 9"
    ))
}
