//! MNIST and Fashion-MNIST.

use specclip_lab::{Dataset, DatasetKind, Split};

use crate::files::*;

#[test]
fn idx_files_are_found_where_they_may_lie() {
    for (below, kind) in [
        ("", DatasetKind::Mnist),
        ("raw/", DatasetKind::Mnist),
        ("MNIST/raw/", DatasetKind::Mnist),
        ("FashionMNIST/raw/", DatasetKind::FashionMnist),
    ] {
        let folder = folder(&[
            (&format!("{below}{IMAGES}"), &images(3)),
            (&format!("{below}{LABELS}"), &labels(&[5, 0, 9])),
            (&format!("{below}{TEST_IMAGES}"), &images(2)),
            (&format!("{below}{TEST_LABELS}"), &labels(&[7, 2])),
        ]);
        let data = train(folder.path()).unwrap();
        assert_eq!(data.kind(), kind);
        assert_eq!(data.len(), 3);
        assert_eq!(data.labels(), [5, 0, 9]);
        assert_eq!(data.images(), pixels(3));
        let data = Dataset::load(folder.path(), Split::Test).unwrap();
        assert_eq!(data.kind(), kind);
        assert_eq!(data.labels(), [7, 2]);
        assert_eq!(data.images(), pixels(2));
    }
}

#[test]
fn the_folder_itself_may_be_called_fashion() {
    for (name, kind) in [
        ("fashion", DatasetKind::FashionMnist),
        ("FashionMNIST/raw", DatasetKind::FashionMnist),
        ("Fashion-MNIST", DatasetKind::FashionMnist),
        ("fashion/other", DatasetKind::Mnist),
        ("fashion/MNIST/raw", DatasetKind::Mnist),
    ] {
        let folder = folder(&[
            (&format!("{name}/{IMAGES}"), &images(1)),
            (&format!("{name}/{LABELS}"), &labels(&[1])),
        ]);
        let data = train(&folder.path().join(name)).unwrap();
        assert_eq!(data.kind(), kind, "{name}");
    }
}

#[test]
fn gzipped_files_are_read() {
    let (zipped_images, zipped_labels) = (gzip(&images(2)), gzip(&labels(&[3, 4])));
    for (images_name, labels_name) in [
        (format!("{IMAGES}.gz"), format!("{LABELS}.gz")),
        // Some programs that fetch files leave the name without its end.
        (IMAGES.to_owned(), LABELS.to_owned()),
        (format!("{IMAGES}.gz"), LABELS.to_owned()),
    ] {
        let folder = folder(&[
            (&images_name, &zipped_images),
            (&labels_name, &zipped_labels),
        ]);
        let data = train(folder.path()).unwrap();
        assert_eq!(
            (data.images(), data.labels()),
            (&pixels(2)[..], &[3, 4][..])
        );
    }
}

#[test]
fn a_file_that_is_there_twice_is_read_unpacked() {
    let folder = folder(&[
        (IMAGES, &images(1)),
        (LABELS, &labels(&[3])),
        (&format!("{IMAGES}.gz"), b"not gzip"),
        (&format!("{LABELS}.gz"), b"not gzip"),
    ]);
    assert_eq!(train(folder.path()).unwrap().labels(), [3]);
}

#[test]
fn damaged_label_files_are_refused() {
    let whole = labels(&[1, 2, 3]);
    let mut changed = gzip(&whole);
    let end = changed.len();
    changed[end - 6] ^= 1;
    let cases: [(&[u8], &str); 12] = [
        (&[], "it ends within its header"),
        (&whole[..7], "it ends within its header"),
        (
            &whole[..10],
            "it ends after 2 of the 3 bytes that its header promises",
        ),
        (
            &[&whole[..], &[0]].concat(),
            "it has more than the 3 bytes that its header promises",
        ),
        (
            &images(3),
            "it begins with [00, 00, 08, 03], and an IDX file of labels begins with [00, 00, 08, 01]",
        ),
        (b"<!DOCTYPE html>", "it begins with [3c, 21, 44, 4f]"),
        (&idx(&[0], &[]), "its header promises 0 labels"),
        (
            &idx(&[u32::MAX], &[1, 2, 3]),
            "its header promises 4294967295 labels, far more than this data set",
        ),
        (
            &labels(&[0, 9, 10, 255]),
            "image 2 has the label 10, and labels are 0 to 9",
        ),
        (&gzip(&whole)[..9], "it ends within its header"),
        (&gzip(&whole)[..end - 3], "it cannot be unpacked"),
        (&changed, "it cannot be unpacked"),
    ];
    for (bytes, problem) in cases {
        let message = refusal(&[(LABELS, bytes), (IMAGES, &images(3))]);
        let start = format!("DATA/{LABELS} is damaged: {problem}");
        assert!(message.starts_with(&start), "{message}");
        assert!(message.ends_with("with scripts/fetch-data"), "{message}");
    }
}

#[test]
fn damaged_image_files_are_refused() {
    let whole = images(3);
    let cases: [(&[u8], &str); 9] = [
        (&whole[..15], "it ends within its header"),
        (
            &whole[..whole.len() - 1],
            "it ends after 2351 of the 2352 bytes that its header promises",
        ),
        (&labels(&[1, 2, 3]), "it begins with [00, 00, 08, 01]"),
        (
            &idx(&[3, 32, 32], &[0; 3072]),
            "its header promises images of 32x32 pixels, and those of MNIST have 28x28",
        ),
        (
            &idx(&[3, u32::MAX, u32::MAX], &[0; 3072]),
            "its header promises images of 4294967295x4294967295 pixels",
        ),
        (&idx(&[0, 28, 28], &[]), "its header promises 0 images"),
        (
            &idx(&[u32::MAX, 28, 28], &[0; 784]),
            "its header promises 4294967295 images, far more than this data set",
        ),
        (
            &images(2),
            "it has 2 images, but there are 3 labels in train-labels-idx1-ubyte",
        ),
        (
            &images(4),
            "it has 4 images, but there are 3 labels in train-labels-idx1-ubyte",
        ),
    ];
    for (bytes, problem) in cases {
        let name = format!("{IMAGES}.gz");
        let message = refusal(&[(&name, bytes), (LABELS, &labels(&[1, 2, 3]))]);
        let start = format!("DATA/{name} is damaged: {problem}");
        assert!(message.starts_with(&start), "{message}");
    }
}

#[test]
fn a_small_file_that_unpacks_without_end_is_not_unpacked() {
    // 256 MiB of zeros in 256 kB, where 3 labels are promised.
    let mut file = idx(&[3], &[1, 2, 3]);
    file.resize(1 << 28, 0);
    let message = refusal(&[(LABELS, &gzip(&file)), (IMAGES, &images(3))]);
    assert!(message.contains("more than the 3 bytes"), "{message}");
}
