//! The published data sets themselves. Run where `scripts/fetch-data` has put them:
//!
//! ```text
//! scripts/fetch-data && cargo test --release -p specclip-lab --test published -- --ignored
//! ```
//!
//! `SPECCLIP_DATA` names another folder than `data`.

use std::path::PathBuf;

use specclip_lab::{Dataset, DatasetKind, Split};

fn load(below: &str, split: Split) -> Dataset {
    let data = std::env::var_os("SPECCLIP_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../data"),
        PathBuf::from,
    );
    Dataset::load(&data.join(below), split).expect("scripts/fetch-data was run")
}

/// How many images each class has.
fn counts(data: &Dataset) -> [usize; 10] {
    let mut counts = [0; 10];
    for &label in data.labels() {
        counts[usize::from(label)] += 1;
    }
    counts
}

/// Mean and standard deviation of all pixels of a channel, scaled to 0 to 1.
fn moments(data: &Dataset, channel: usize) -> (f64, f64) {
    let [channels, height, width] = data.kind().shape();
    let planes = data.images().chunks_exact(height * width);
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for plane in planes.skip(channel).step_by(channels) {
        for &pixel in plane {
            let x = f64::from(pixel) / 255.0;
            (count, sum, squares) = (count + 1.0, sum + x, squares + x * x);
        }
    }
    let mean = sum / count;
    (mean, (squares / count - mean * mean).sqrt())
}

fn check(below: &str, kind: DatasetKind, train: [usize; 10], test: [usize; 10], first: &[u8]) {
    let data = load(below, Split::Train);
    assert_eq!(data.kind(), kind);
    assert_eq!(counts(&data), train);
    assert_eq!(&data.labels()[..first.len()], first);
    let constants = kind.normalization();
    for channel in 0..kind.shape()[0] {
        let (mean, std) = moments(&data, channel);
        let close = |x: f64, y: f32| (x - f64::from(y)).abs() < 5.1e-5;
        assert!(close(mean, constants.mean[channel]), "mean {mean}");
        assert!(close(std, constants.std[channel]), "std {std}");
    }
    let data = load(below, Split::Test);
    assert_eq!(data.kind(), kind);
    assert_eq!(counts(&data), test);
}

#[test]
#[ignore = "needs scripts/fetch-data"]
fn mnist() {
    let train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949];
    let test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009];
    check("MNIST", DatasetKind::Mnist, train, test, &[5, 0, 4, 1, 9]);
}

#[test]
#[ignore = "needs scripts/fetch-data"]
fn fashion_mnist() {
    let (train, test) = ([6000; 10], [1000; 10]);
    let first = [9, 0, 0, 3, 0];
    check(
        "FashionMNIST",
        DatasetKind::FashionMnist,
        train,
        test,
        &first,
    );
}

#[test]
#[ignore = "needs scripts/fetch-data"]
fn cifar10() {
    let (train, test) = ([5000; 10], [1000; 10]);
    let first = [6, 9, 9, 4, 1, 1, 2, 7, 8, 3];
    let below = "cifar-10-batches-bin";
    check(below, DatasetKind::Cifar10, train, test, &first);
}
