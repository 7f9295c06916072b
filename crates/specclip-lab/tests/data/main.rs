//! Reading data sets: every place they may lie in, and everything that may be wrong with their files.

mod checksums;
mod cifar;
mod files;
mod idx;

use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;
use specclip_lab::{Dataset, DatasetKind};

use files::*;

#[test]
fn a_folder_without_a_data_set_is_told_what_was_looked_for() {
    let message = refusal(&[("notes.txt", b"")]);
    for part in [
        "no data set in DATA",
        IMAGES,
        "MNIST/raw and FashionMNIST/raw",
        "data_batch_1.bin",
        "cifar-10-batches-bin and cifar-10-batches-py",
        "scripts/fetch-data",
    ] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
}

#[test]
fn a_folder_that_cannot_be_read_is_named() {
    let folder = folder(&[("file", b"")]);
    for path in [folder.path().join("nowhere"), folder.path().join("file")] {
        let message = train(&path).unwrap_err().to_string();
        let start = format!("cannot read {}: ", path.display());
        assert!(message.starts_with(&start), "{message}");
    }
}

#[test]
fn several_data_sets_are_listed() {
    let message = refusal(&[
        (&format!("MNIST/raw/{LABELS}"), &labels(&[1])),
        (&format!("FashionMNIST/raw/{LABELS}"), &labels(&[1])),
        ("cifar-10-batches-bin/test_batch.bin", &cifar_batch(&[1])),
    ]);
    assert_eq!(
        message,
        "DATA has several data sets, in DATA/MNIST/raw, DATA/FashionMNIST/raw, DATA/cifar-10-batches-bin; give the \
         folder of one of them"
    );
}

#[test]
fn missing_files_are_named() {
    let message = refusal(&[(LABELS, &labels(&[1]))]);
    assert!(
        message.starts_with(&format!("cannot read DATA/{IMAGES}: ")),
        "{message}"
    );
    let message = refusal(&[(&format!("raw/{TEST_IMAGES}.gz"), b"")]);
    assert!(
        message.starts_with(&format!("cannot read DATA/raw/{LABELS}: ")),
        "{message}"
    );
    let message = refusal(&[
        ("data_batch_1.bin", &cifar_batch(&[1])),
        ("data_batch_2.bin", &cifar_batch(&[1])),
    ]);
    assert!(
        message.starts_with("cannot read DATA/data_batch_3.bin: "),
        "{message}"
    );
}

#[test]
fn what_is_not_a_file_is_not_waited_for() {
    let folder = folder(&[(IMAGES, &images(1))]);
    fs::create_dir(folder.path().join(LABELS)).unwrap();
    let message = train(folder.path()).unwrap_err().to_string();
    assert!(message.contains("it is not a file"), "{message}");
}

#[test]
fn parts_that_do_not_fit_are_no_data_set() {
    let kind = DatasetKind::Mnist;
    for (images, labels, problem) in [
        (0, vec![], "there are none"),
        (784, vec![], "there are none"),
        (783, vec![1], "783 pixels are not 1 images of 1x28x28"),
        (784, vec![1, 2], "784 pixels are not 2 images of 1x28x28"),
        (1568, vec![9, 10], "image 1 has the label 10"),
    ] {
        let message = Dataset::new(kind, vec![0; images], labels)
            .unwrap_err()
            .to_string();
        assert!(message.contains(problem), "{message}");
    }
}

#[test]
fn a_data_set_can_be_truncated() {
    let data = Dataset::new(DatasetKind::Mnist, pixels(3), vec![1, 2, 3]).unwrap();
    for (count, left) in [(0, 1), (1, 1), (2, 2), (3, 3), (4, 3), (usize::MAX, 3)] {
        let data = data.clone().truncated(count);
        assert_eq!(data.labels(), &[1, 2, 3][..left]);
        assert_eq!(data.images(), pixels(left));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A file may be anything; what comes is a data set or one sentence, never a panic.
    #[test]
    fn whatever_a_file_has_is_read_or_refused(
        start in prop_oneof![
            Just(vec![]), Just(vec![0, 0, 8, 1, 0, 0, 0]), Just(vec![0x1f, 0x8b, 8, 0]), Just(vec![0x80, 2, b'}']),
        ],
        rest in vec(
            prop_oneof![any::<u8>(), proptest::sample::select(b"(}]KMJUTXBcRqrhe\x8c\x8d\x8e\x95\x96".to_vec())],
            0..60,
        ),
    ) {
        let bytes = [start, rest].concat();
        let folder = folder(&[(LABELS, &bytes), (IMAGES, &bytes)]);
        if let Err(error) = train(folder.path()) {
            prop_assert!(error.to_string().contains("is damaged"), "{error}");
        }
        let folder = files::folder(&[("data_batch_1", &bytes)]);
        let error = train(folder.path()).expect_err("there is one batch of five");
        prop_assert!(error.to_string().contains("is damaged"), "{error}");
    }
}
