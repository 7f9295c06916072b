//! Crops and flips: what they are of, and how often.

use std::collections::BTreeMap;

use proptest::prelude::*;
use specclip_lab::{Augmentation, Dataset, DatasetKind, Sampling};

use crate::images::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_crop_is_a_part_of_the_padded_image(
        kind in prop_oneof![Just(DatasetKind::Mnist), Just(DatasetKind::Cifar10)],
        padding in 0_usize..=6, flip: bool, seed: u64,
    ) {
        let data = numbered(kind, 3);
        let sampling = Sampling { augmentation: Augmentation { padding, flip }, ..plain(3, seed) };
        let order = numbers(&data, &epoch(&data, &plain(3, seed), 0));
        let batch = &epoch(&data, &sampling, 0)[0];
        let len: usize = kind.shape().iter().product();
        for (out, &i) in batch.images.chunks_exact(len).zip(&order) {
            let image = &data.images()[i * len..][..len];
            let out: Vec<u8> = out.iter().map(|x| x.round() as u8).collect();
            prop_assert_eq!(places(image, kind.shape(), padding, &out, flip).len(), 1);
        }
    }
}

/// All crops of the padded image, perhaps mirrored, that are `out`: row, column and whether it is mirrored.
pub fn places(
    image: &[u8],
    [channels, height, width]: [usize; 3],
    padding: usize,
    out: &[u8],
    flip: bool,
) -> Vec<(usize, usize, bool)> {
    let (rows, columns) = (height + 2 * padding, width + 2 * padding);
    let mut padded = vec![0; channels * rows * columns];
    for c in 0..channels {
        for y in 0..height {
            let from = &image[(c * height + y) * width..][..width];
            padded[(c * rows + y + padding) * columns + padding..][..width].copy_from_slice(from);
        }
    }
    let crop = |top: usize, left: usize, mirrored: bool| -> Vec<u8> {
        let pixel = |c: usize, y: usize, x: usize| {
            let x = if mirrored { width - 1 - x } else { x };
            padded[(c * rows + top + y) * columns + left + x]
        };
        let row = |c, y| (0..width).map(move |x| (c, y, x));
        (0..channels)
            .flat_map(|c| (0..height).map(move |y| (c, y)))
            .flat_map(|(c, y)| row(c, y))
            .map(|(c, y, x)| pixel(c, y, x))
            .collect()
    };
    let flips: &[bool] = if flip { &[false, true] } else { &[false] };
    let mut found = Vec::new();
    for top in 0..=2 * padding {
        for left in 0..=2 * padding {
            let matching = flips.iter().filter(|&&flip| crop(top, left, flip) == out);
            found.extend(matching.map(|&flip| (top, left, flip)));
        }
    }
    found
}

/// Where the only white pixel of an image goes shows its crop, or its flip.
#[test]
fn all_crops_and_flips_are_equally_likely() {
    const COUNT: usize = 20_000;
    let mut image = vec![0; 3072];
    image[15 * 32 + 12] = 255;
    let data = Dataset::new(DatasetKind::Cifar10, image.repeat(COUNT), vec![0; COUNT]).unwrap();
    let crop = Augmentation {
        padding: 4,
        flip: false,
    };
    let flip = Augmentation {
        padding: 0,
        flip: true,
    };
    for (augmentation, cells) in [(crop, 81), (flip, 2)] {
        let sampling = Sampling {
            augmentation,
            ..plain(1000, 1)
        };
        let mut counts = BTreeMap::new();
        for batch in epoch(&data, &sampling, 0) {
            for image in batch.images.chunks_exact(3072) {
                let place = image.iter().position(|&x| x > 128.0);
                *counts.entry(place).or_insert(0_u32) += 1;
            }
        }
        assert_eq!(counts.len(), cells);
        // Pearson's statistic has mean d and variance 2d for d degrees of freedom.
        let expected = COUNT as f64 / cells as f64;
        let statistic: f64 = counts
            .values()
            .map(|&n| (f64::from(n) - expected).powi(2) / expected)
            .sum();
        let d = (cells - 1) as f64;
        assert!(statistic < d + 5.0 * (2.0 * d).sqrt(), "{statistic}");
    }
}

#[test]
fn crop_and_flip_are_independent() {
    // The pixels of this image tell all crops and flips apart.
    let data = numbered(DatasetKind::Cifar10, 1);
    let mut seen = BTreeMap::new();
    for number in 0..400 {
        let batch = &epoch(&data, &crops(1, 3), number)[0];
        let out: Vec<u8> = batch.images.iter().map(|x| x.round() as u8).collect();
        let found = places(data.images(), [3, 32, 32], 4, &out, true);
        let [(top, left, flip)] = found[..] else {
            panic!("{found:?} is not one place");
        };
        *seen.entry((top < 4, left < 4, flip)).or_insert(0) += 1;
    }
    // Eight cells of 400 draws; the smallest expected is 400 * (4/9)^2 / 2 = 39.5, 6 standard deviations are 36.
    assert_eq!(seen.len(), 8);
    assert!(seen.values().all(|&n| n > 3 && n < 110), "{seen:?}");
}
