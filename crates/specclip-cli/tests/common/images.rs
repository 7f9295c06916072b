//! Images to train with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Batches of 10 images: 20 steps an epoch.
pub const TRAIN: usize = 200;
pub const TEST: usize = 50;

/// The program, with a run on the images in a folder.
pub fn train(data: &Path, out: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("specclip"));
    command.arg("train").arg("--data").arg(data);
    command.arg("--out").arg(out).args(arguments);
    command
}

/// A folder with images of 28x28 pixels in MNIST's layout: bright rows where the label says, and noise.
pub fn images(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    fs::create_dir_all(&data).expect("a folder");
    for (name, count) in [("train", TRAIN), ("t10k", TEST)] {
        let (pixels, labels) = digits(count);
        let header = |magic: u32, sizes: &[usize]| {
            let mut bytes = magic.to_be_bytes().to_vec();
            bytes.extend(sizes.iter().flat_map(|&s| (s as u32).to_be_bytes()));
            bytes
        };
        let mut file = header(0x803, &[count, 28, 28]);
        file.extend(pixels);
        fs::write(data.join(format!("{name}-images-idx3-ubyte")), file).expect("images");
        let mut file = header(0x801, &[count]);
        file.extend(labels);
        fs::write(data.join(format!("{name}-labels-idx1-ubyte")), file).expect("labels");
    }
    data
}

fn digits(count: usize) -> (Vec<u8>, Vec<u8>) {
    let mut noise = 1u32;
    let mut pixels = Vec::new();
    let labels: Vec<u8> = (0..count).map(|i| (i * 7 % 10) as u8).collect();
    for &label in &labels {
        for place in 0..28 * 28 {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let bright = place / 28 / 2 == usize::from(label) + 2;
            pixels.push((noise >> 26) as u8 + if bright { 150 } else { 0 });
        }
    }
    (pixels, labels)
}
