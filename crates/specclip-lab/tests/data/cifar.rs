//! CIFAR-10 in both its versions.

use specclip_lab::{Dataset, DatasetKind, Split};

use crate::files::*;

#[test]
fn cifar_batches_are_read_in_their_order() {
    for below in ["", "cifar-10-batches-bin/"] {
        let folder = folder(&[]);
        for i in 1..=5_u8 {
            let name = format!("{below}data_batch_{i}.bin");
            put(folder.path(), &name, &cifar_batch(&[i, 9 - i]));
        }
        put(
            folder.path(),
            &format!("{below}test_batch.bin"),
            &cifar_batch(&[8]),
        );
        let data = train(folder.path()).unwrap();
        assert_eq!(data.kind(), DatasetKind::Cifar10);
        assert_eq!(data.labels(), [1, 8, 2, 7, 3, 6, 4, 5, 5, 4]);
        assert_eq!(data.images().len(), 10 * 3072);
        assert_eq!(data.images()[..3072], cifar_batch(&[1])[1..]);
        assert_eq!(data.images()[9 * 3072..], cifar_batch(&[5, 4])[3074..]);
        let data = Dataset::load(folder.path(), Split::Test).unwrap();
        assert_eq!(data.labels(), [8]);
    }
}

#[test]
fn cifar_pickles_are_read_in_their_order() {
    for below in ["", "cifar-10-batches-py/"] {
        let folder = folder(&[]);
        for i in 1..=5_u8 {
            let name = format!("{below}data_batch_{i}");
            put(folder.path(), &name, &cifar_pickle(&[i, 9 - i]));
        }
        let many: Vec<u8> = (0..1200).map(|i| (i % 10) as u8).collect();
        let name = format!("{below}test_batch");
        put(folder.path(), &name, &cifar_pickle(&many));
        let data = train(folder.path()).unwrap();
        assert_eq!(data.kind(), DatasetKind::Cifar10);
        assert_eq!(data.labels(), [1, 8, 2, 7, 3, 6, 4, 5, 5, 4]);
        assert_eq!(data.images()[..3072], cifar_batch(&[1])[1..]);
        assert_eq!(data.images()[9 * 3072..], cifar_batch(&[5, 4])[3074..]);
        let data = Dataset::load(folder.path(), Split::Test).unwrap();
        assert_eq!(data.labels(), many);
    }
}

#[test]
fn cifar_pickles_of_other_programs_are_read() {
    // Protocol 5: a frame, the pixels before the labels, and another long string after them.
    let batch = cifar_batch(&[7, 3]);
    let pixels = [&batch[1..3073], &batch[3074..]].concat();
    let long = |bytes: &[u8]| [&(bytes.len() as u64).to_le_bytes(), bytes].concat();
    let file = [
        b"\x80\x05\x95\0\0\0\0\0\0\0\0}\x94(\x8c\x04data\x94\x8c\x05numpy\x94\x96".to_vec(),
        long(&pixels),
        b"\x8c\x04more\x8e".to_vec(),
        long(&[1; 3072]),
        b"\x8c\x06labels\x94](M\x07\0K\x03eu.".to_vec(),
    ]
    .concat();
    let folder = folder(&[("test_batch", &file)]);
    let data = Dataset::load(folder.path(), Split::Test).unwrap();
    assert_eq!(data.labels(), [7, 3]);
    assert_eq!(data.images(), pixels);
}

#[test]
fn damaged_cifar_batches_are_refused() {
    let whole = cifar_batch(&[1, 2]);
    let mut bad_label = whole.clone();
    bad_label[3073] = 10;
    let cases: [(&[u8], &str); 4] = [
        (
            &[],
            "it has 0 bytes, and a CIFAR-10 batch is made of records of 3073 bytes",
        ),
        (
            &whole[..6145],
            "it has 6145 bytes, and a CIFAR-10 batch is made of records of 3073 bytes",
        ),
        (
            &[&whole[..], &[0]].concat(),
            "it has 6147 bytes, and a CIFAR-10 batch is made of records of 3073 bytes",
        ),
        (
            &bad_label,
            "image 1 has the label 10, and labels are 0 to 9",
        ),
    ];
    for (bytes, problem) in cases {
        let message = refusal(&[
            ("data_batch_1.bin", &whole),
            ("data_batch_2.bin", bytes),
            ("data_batch_3.bin", &whole),
            ("data_batch_4.bin", &whole),
            ("data_batch_5.bin", &[]),
        ]);
        let start = format!("DATA/data_batch_2.bin is damaged: {problem}");
        assert!(message.starts_with(&start), "{message}");
    }
}

#[test]
fn damaged_cifar_pickles_are_refused() {
    let whole = cifar_pickle(&[1, 2]);
    let with_label = |label| {
        let at = whole.windows(4).position(|w| w == [b'K', 1, b'K', 2]);
        let mut file = whole.clone();
        file[at.unwrap() + 3] = label;
        file
    };
    let without_data: Vec<u8> = {
        let at = whole.windows(4).position(|w| w == b"data").unwrap();
        let mut file = whole.clone();
        file[at] = b'D';
        file
    };
    let cases: [(&[u8], &str); 8] = [
        (&[], "it ends within a pickle instruction"),
        (
            b".",
            "it has 0 labels and 0 pixels, and each image has one label and 3072 pixels",
        ),
        (&without_data, "it has 2 labels and 0 pixels"),
        (
            &with_label(10),
            "image 1 has the label 10, and labels are 0 to 9",
        ),
        (
            b"\x80\x02}(U\x06labels]J\x00\x01\0\0a",
            "it has the label 256, and labels are 0 to 9",
        ),
        (
            b"\x80\x02S'text'",
            "at byte 2 it has the pickle instruction 0x53",
        ),
        (
            b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff",
            "it ends within a pickle instruction",
        ),
        (b"cos\nsystem", "it ends within a pickle instruction"),
    ];
    for (bytes, problem) in cases {
        let message = refusal(&[("data_batch_1", bytes)]);
        let start = format!("DATA/data_batch_1 is damaged: {problem}");
        assert!(message.starts_with(&start), "{message}");
    }
    for end in (0..whole.len()).filter(|end| end % 97 == 0) {
        let message = refusal(&[("data_batch_1", &whole[..end])]);
        assert!(
            message.contains("it ends within a pickle instruction"),
            "{message}"
        );
    }
}
