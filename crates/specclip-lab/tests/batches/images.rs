//! A data set whose images can be told apart, and its batches.

use specclip_lab::{Augmentation, Batch, Batches, Dataset, DatasetKind, Normalization, Sampling};

/// Images whose first two pixels are their number; all others differ from place to place.
pub fn numbered(kind: DatasetKind, count: usize) -> Dataset {
    let len: usize = kind.shape().iter().product();
    let image = |i: usize| {
        let start = [(i / 256) as u8, (i % 256) as u8];
        let rest = (2..len).map(move |p| (p * 31 % 241 + i % 7) as u8);
        start.into_iter().chain(rest)
    };
    let images = (0..count).flat_map(image).collect();
    let labels = (0..count).map(|i| (i % 10) as u8).collect();
    Dataset::new(kind, images, labels).expect("labels fit the images")
}

/// Pixel values as they are, up to 255.
pub const PIXELS: Normalization = Normalization {
    mean: [0.0; 3],
    std: [1.0 / 255.0; 3],
};

pub fn plain(batch: usize, seed: u64) -> Sampling {
    Sampling {
        batch,
        seed,
        augmentation: Augmentation::NONE,
        normalization: PIXELS,
    }
}

pub fn crops(batch: usize, seed: u64) -> Sampling {
    Sampling {
        augmentation: Augmentation::usual(DatasetKind::Cifar10),
        ..plain(batch, seed)
    }
}

pub fn epoch(data: &Dataset, sampling: &Sampling, epoch: u32) -> Vec<Batch> {
    Batches::training(data, sampling, epoch)
        .expect("the settings are good")
        .collect()
}

/// The numbers of the images in a list of batches.
pub fn numbers(data: &Dataset, batches: &[Batch]) -> Vec<usize> {
    let len: usize = data.kind().shape().iter().product();
    let images = batches.iter().flat_map(|b| b.images.chunks_exact(len));
    images
        .map(|image| image[0].round() as usize * 256 + image[1].round() as usize)
        .collect()
}
