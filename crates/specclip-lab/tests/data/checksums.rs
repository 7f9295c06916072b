//! Files against the sums that lie beside them.

use specclip_lab::Error;

use crate::files::*;

#[test]
fn checksums_are_verified() {
    let (images, labels) = (gzip(&images(1)), labels(&[1]));
    let name = format!("{IMAGES}.gz");
    // Text and binary marks, upper case, line ends of Windows, empty lines and files that are not there are usual.
    let sums = format!(
        "{}  {name}\r\n\n{} *{LABELS}\n{}  elsewhere",
        sum(&images),
        sum(&labels).to_uppercase(),
        sum(b"")
    );
    let good: [(&str, &[u8]); 3] = [
        (&name, &images),
        (LABELS, &labels),
        ("SHA256SUMS", sums.as_bytes()),
    ];
    assert_eq!(train(folder(&good).path()).unwrap().len(), 1);

    for (changed, file) in [(0, &name[..]), (1, LABELS)] {
        let mut bytes = good[changed].1.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let mut files = good;
        files[changed].1 = &bytes;
        let (found, expected) = (sum(&bytes), sum(good[changed].1));
        assert_eq!(
            refusal(&files),
            format!(
                "DATA/{file} is not the file that was fetched: its SHA-256 sum is {found}, but DATA/SHA256SUMS says \
                 {expected}; fetch it again, for example with scripts/fetch-data"
            )
        );
    }
}

#[test]
fn checksums_of_cifar_batches_are_verified() {
    let folder = folder(&[]);
    let mut sums = String::new();
    for i in 1..=5 {
        let batch = cifar_batch(&[i]);
        put(folder.path(), &format!("data_batch_{i}.bin"), &batch);
        sums += &format!("{}  data_batch_{i}.bin\n", sum(&batch));
    }
    put(folder.path(), "SHA256SUMS", sums.as_bytes());
    assert_eq!(train(folder.path()).unwrap().len(), 5);
    put(folder.path(), "data_batch_4.bin", &cifar_batch(&[9]));
    let error = train(folder.path()).unwrap_err();
    assert!(matches!(&error, Error::Checksum { path, .. } if path.ends_with("data_batch_4.bin")));
}

#[test]
fn checksum_files_that_are_none_are_refused() {
    let good = format!("{}  a\n", sum(b""));
    for (bad, line) in [
        ("hello\n".to_owned(), 1),
        (format!("{good}{}  \n", sum(b"")), 2),
        (format!("{good}{good}{} a\n", sum(b"")), 3),
        (format!("\n{}g  a", &sum(b"")[1..]), 2),
        (format!("{}  a", &sum(b"")[1..]), 1),
        (format!("{}ö  a", &sum(b"")[1..]), 1),
    ] {
        let message = refusal(&[
            (IMAGES, &images(1)),
            (LABELS, &labels(&[1])),
            ("SHA256SUMS", bad.as_bytes()),
        ]);
        let start = format!("line {line} of DATA/SHA256SUMS is not a SHA-256 sum and a file name");
        assert!(message.starts_with(&start), "{message}");
    }
    let not_text: &[u8] = &[0xff; 70];
    let message = refusal(&[(LABELS, &labels(&[1])), ("SHA256SUMS", not_text)]);
    assert!(message.starts_with("line 1 of"), "{message}");
}
