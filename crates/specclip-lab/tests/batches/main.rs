//! Batches: what an epoch has, and that it depends on nothing but its settings.

mod crops;
mod images;

use proptest::prelude::*;
use rayon::ThreadPoolBuilder;
use specclip_lab::{Augmentation, Batch, Batches, Dataset, DatasetKind, Normalization, Sampling};

use crops::places;
use images::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_image_is_there_once_with_its_label(
        count in 1_usize..400, batch in 1_usize..150, seed: u64, number: u32,
    ) {
        let data = numbered(DatasetKind::Mnist, count);
        let batches = epoch(&data, &plain(batch, seed), number);
        prop_assert_eq!(batches.len(), count.div_ceil(batch));
        for (i, b) in batches.iter().enumerate() {
            prop_assert_eq!(b.labels.len(), batch.min(count - i * batch));
        }
        let mut seen = numbers(&data, &batches);
        let labels = batches.iter().flat_map(|b| &b.labels);
        for (i, &label) in seen.iter().zip(labels) {
            prop_assert_eq!(usize::from(label), i % 10);
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn a_later_start_gives_the_same_batches(
        count in 1_usize..60, batch in 1_usize..20, seed: u64, number: u32, start in 0_usize..70,
    ) {
        let data = numbered(DatasetKind::Cifar10, count);
        let sampling = crops(batch, seed);
        let all = epoch(&data, &sampling, number);
        let mut later = Batches::training(&data, &sampling, number).unwrap().skip(start);
        prop_assert_eq!(later.len(), all.len().saturating_sub(start));
        let rest: Vec<Batch> = later.by_ref().collect();
        prop_assert_eq!(&rest[..], &all[start.min(all.len())..]);
        prop_assert!(later.next().is_none());
        let mut direct = Batches::training(&data, &sampling, number).unwrap();
        prop_assert_eq!(direct.nth(start), all.get(start).cloned());
        prop_assert_eq!(direct.len(), all.len().saturating_sub(start + 1));
    }

    #[test]
    fn images_do_not_depend_on_the_batch_size(
        count in 1_usize..40, sizes in (1_usize..50, 1_usize..50), seed: u64, number: u32,
    ) {
        let data = numbered(DatasetKind::Cifar10, count);
        let images = |batch| -> Vec<f32> {
            let batches = epoch(&data, &crops(batch, seed), number);
            batches.into_iter().flat_map(|b| b.images).collect()
        };
        prop_assert_eq!(images(sizes.0), images(sizes.1));
    }
}

#[test]
fn threads_do_not_matter() {
    let data = numbered(DatasetKind::Cifar10, 300);
    let with = |threads| {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads can be started");
        pool.install(|| epoch(&data, &crops(128, 5), 2))
    };
    let one = with(1);
    assert_eq!(one, with(2));
    assert_eq!(one, with(7));
}

#[test]
fn seeds_and_epochs_give_other_orders_and_crops() {
    let data = numbered(DatasetKind::Cifar10, 200);
    let order = |seed, number| numbers(&data, &epoch(&data, &plain(50, seed), number));
    let first = order(0, 0);
    assert_ne!(first, (0..200).collect::<Vec<_>>());
    for (seed, number) in [(0, 1), (1, 0), (1 << 32, 0), (0, u32::MAX)] {
        let other = order(seed, number);
        // A random order has one image in its place on average.
        let same = first.iter().zip(&other).filter(|(a, b)| a == b).count();
        assert!(same < 10, "{same} of 200 are in the same place");
        assert_ne!(
            epoch(&data.clone().truncated(1), &crops(1, 0), 0),
            epoch(&data.clone().truncated(1), &crops(1, seed), number),
        );
    }
}

/// What a seed gives must not change from version to version: runs could not be repeated or resumed.
#[test]
fn the_first_images_of_a_seed_are_these() {
    let data = numbered(DatasetKind::Cifar10, 50_000);
    let sampling = plain(8, 42);
    let mut batches = Batches::training(&data, &sampling, 3).unwrap();
    let batch = batches.nth(100).unwrap();
    assert_eq!(numbers(&data, &[batch]), ORDER);
    let data = data.truncated(1);
    let drawn: Vec<_> = (0..6)
        .map(|number| {
            let batch = &epoch(&data, &crops(1, 42), number)[0];
            let out: Vec<u8> = batch.images.iter().map(|x| x.round() as u8).collect();
            places(data.images(), [3, 32, 32], 4, &out, true)[0]
        })
        .collect();
    assert_eq!(drawn, CROPS);
}

const ORDER: [usize; 8] = [29627, 9102, 23329, 3408, 48316, 28505, 26891, 30666];

const CROPS: [(usize, usize, bool); 6] = [
    (1, 2, false),
    (0, 4, false),
    (6, 0, false),
    (8, 4, false),
    (3, 7, true),
    (2, 6, true),
];

#[test]
fn evaluation_goes_through_the_images_as_they_are() {
    let data = numbered(DatasetKind::Cifar10, 10);
    let batches: Vec<Batch> = Batches::evaluation(&data, &crops(4, 9)).unwrap().collect();
    let images: Vec<u8> = batches
        .iter()
        .flat_map(|b| b.images.iter().map(|x| x.round() as u8))
        .collect();
    assert_eq!(images, data.images());
    let labels: Vec<u8> = batches.into_iter().flat_map(|b| b.labels).collect();
    assert_eq!(labels, data.labels());
}

/// The numbers are those of `torchvision.transforms.Normalize` after `ToTensor`, to the last bit.
#[test]
fn normalised_pixels_are_those_of_torchvision() {
    for (kind, bits) in NORMALISED {
        let [channels, height, width] = kind.shape();
        let pixels = [0, 1, 128, 255];
        let mut images = vec![0; channels * height * width];
        for plane in images.chunks_exact_mut(height * width) {
            plane[..4].copy_from_slice(&pixels);
        }
        let data = Dataset::new(*kind, images, vec![0]).unwrap();
        let sampling = Sampling::usual(*kind, 1, 0);
        let batch = Batches::evaluation(&data, &sampling)
            .unwrap()
            .next()
            .unwrap();
        for (plane, bits) in batch.images.chunks_exact(height * width).zip(*bits) {
            let found: Vec<u32> = plane[..4].iter().map(|x| x.to_bits()).collect();
            assert_eq!(found, bits, "{}", kind.name());
        }
    }
}

/// Bits of what PyTorch makes of the pixels 0, 1, 128 and 255 in each channel.
const NORMALISED: &[(DatasetKind, &[[u32; 4]])] = &[
    (
        DatasetKind::Mnist,
        &[[0xbed93271, 0xbed2ae20, 0x3f9a3d7a, 0x4034933d]],
    ),
    (
        DatasetKind::FashionMnist,
        &[[0xbf4f6929, 0xbf4c911b, 0x3f1c9e13, 0x4001734f]],
    ),
    (
        DatasetKind::Cifar10,
        &[
            [0xbffea713, 0xbffc9ed3, 0x3d2f2140, 0x4003c873],
            [0xbffd7a10, 0xbffb6a55, 0x3da633ae, 0x40081864],
            [0xbfda7891, 0xbfd88d5a, 0x3e591825, 0x400769b1],
        ],
    ),
];

#[test]
fn settings_that_make_no_sense_are_refused() {
    let data = numbered(DatasetKind::Cifar10, 2);
    let good = crops(2, 0);
    let sized = |batch| Sampling { batch, ..good };
    let padded = |padding| Sampling {
        augmentation: Augmentation {
            padding,
            flip: true,
        },
        ..good
    };
    let normalised = |mean, std| Sampling {
        normalization: Normalization {
            mean: [0.0, 0.0, mean],
            std: [1.0, 1.0, std],
        },
        ..good
    };
    for (sampling, problem) in [
        (sized(0), "the batch size is 0"),
        (padded(32), "padding 32"),
        (padded(usize::MAX), "padding 18446744073709551615"),
        (normalised(f32::NAN, 1.0), "finite means"),
        (normalised(0.0, 0.0), "above 0"),
        (normalised(0.0, -1.0), "above 0"),
        (normalised(0.0, f32::INFINITY), "above 0"),
    ] {
        let message = Batches::training(&data, &sampling, 0)
            .unwrap_err()
            .to_string();
        assert!(message.starts_with("batches cannot be made: "), "{message}");
        assert!(message.contains(problem), "{message}");
    }
    for good in [padded(31), sized(usize::MAX)] {
        assert_eq!(epoch(&data, &good, 0).len(), 1);
    }
}
