//! Models in several files: external data, safetensors with a layer description.

mod common;

use std::path::Path;

use common::{Builder, Message, tensor_head};
use safetensors::tensor::{Dtype, TensorView, serialize};
use specclip::LinearOperator;
use specclip_onnx::{LayerKind, Model, Options, load};
use tempfile::TempDir;

fn open(path: &Path) -> Result<Model, specclip_onnx::Error> {
    load(path, &Options::default())
}

fn entry(key: &str, value: &str) -> Message {
    Message::default().text(1, key).text(2, value)
}

/// A model whose weight (2 x 2, f32) is said to be at `location`.
fn external(location: &str, offset: &str, length: Option<&str>) -> Vec<u8> {
    let mut tensor = tensor_head("w", &[2, 2], 1)
        .message(13, &entry("location", location))
        .message(13, &entry("offset", offset));
    if let Some(length) = length {
        tensor = tensor.message(13, &entry("length", length));
    }
    Builder::new(&[1, 2])
        .tensor(tensor.int(14, 1))
        .node("MatMul", &["x", "w"], &["y"], &[])
        .bytes()
}

fn folder_with_data() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let numbers: Vec<u8> = [9.0_f32, 3.0, 0.0, 0.0, 4.0]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    std::fs::create_dir(folder.path().join("model")).unwrap();
    std::fs::write(folder.path().join("model/weights.bin"), &numbers).unwrap();
    std::fs::write(folder.path().join("secret.bin"), &numbers).unwrap();
    folder
}

#[test]
fn external_data() {
    let folder = folder_with_data();
    let path = folder.path().join("model/m.onnx");
    for length in [None, Some("16")] {
        std::fs::write(&path, external("weights.bin", "4", length)).unwrap();
        let operator = open(&path).unwrap().operator::<f64>(0).unwrap();
        assert!((operator.frobenius().unwrap() - 5.0).abs() < 1e-15);
    }
}

#[test]
fn external_data_that_cannot_be_used() {
    let folder = folder_with_data();
    let path = folder.path().join("model/m.onnx");
    let absolute = folder.path().join("secret.bin");
    let cases = [
        (
            "../secret.bin",
            "4",
            None,
            "leads out of the model's folder",
        ),
        (
            absolute.to_str().unwrap(),
            "4",
            None,
            "leads out of the model's folder",
        ),
        (
            "sub/../../secret.bin",
            "4",
            None,
            "leads out of the model's folder",
        ),
        ("", "4", None, "leads out of the model's folder"),
        (
            "missing.bin",
            "0",
            None,
            "keep the data file next to the model",
        ),
        ("weights.bin", "8", None, "too few"),
        ("weights.bin", "18446744073709551615", None, "too few"),
        ("weights.bin", "-4", None, "not a number of bytes"),
        ("weights.bin", "0", Some("12"), "a length of 12 bytes"),
    ];
    for (location, offset, length, expected) in cases {
        std::fs::write(&path, external(location, offset, length)).unwrap();
        let text = open(&path).unwrap_err().to_string();
        assert!(
            text.contains(expected) && text.contains("\"w\""),
            "{location}: {text}"
        );
    }
}

#[cfg(unix)]
#[test]
fn links_stay_inside_the_folder_where_the_model_lies() {
    use std::os::unix::fs::symlink;
    let folder = folder_with_data();
    let path = folder.path().join("model/m.onnx");
    symlink("../secret.bin", folder.path().join("model/link.bin")).unwrap();
    std::fs::write(&path, external("link.bin", "4", None)).unwrap();
    assert!(
        open(&path)
            .unwrap_err()
            .to_string()
            .contains("link that leads out")
    );
    // A store of files, as model hubs keep them: model and data are links into the same folder.
    let store = folder.path().join("store");
    std::fs::create_dir(&store).unwrap();
    std::fs::write(store.join("a1"), external("weights.bin", "4", None)).unwrap();
    std::fs::copy(folder.path().join("secret.bin"), store.join("b2")).unwrap();
    let snapshot = folder.path().join("snapshot");
    std::fs::create_dir(&snapshot).unwrap();
    symlink("../store/a1", snapshot.join("m.onnx")).unwrap();
    symlink("../store/b2", snapshot.join("weights.bin")).unwrap();
    open(&snapshot.join("m.onnx"))
        .unwrap()
        .operator::<f32>(0)
        .unwrap();
}

fn floats(n: usize) -> Vec<u8> {
    (0..n)
        .flat_map(|i| ((i % 7) as f32 - 2.5).to_le_bytes())
        .collect()
}

/// Weights of a small network, and its description.
fn described(description: &str) -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let shapes: [(&str, &[usize]); 6] = [
        ("conv.weight", &[4, 2, 3, 3]),
        ("bn.weight", &[4]),
        ("bn.running_var", &[4]),
        ("up.weight", &[4, 1, 2, 2]),
        ("fc.weight", &[5, 6]),
        ("bias", &[4]),
    ];
    let mut data: Vec<Vec<u8>> = shapes
        .iter()
        .map(|(_, s)| floats(s.iter().product()))
        .collect();
    data[2] = [1.0_f32, 2.0, 3.0, 4.0]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    let mut views: Vec<(&str, TensorView)> = shapes
        .iter()
        .zip(&data)
        .map(|((name, shape), data)| {
            (
                *name,
                TensorView::new(Dtype::F32, shape.to_vec(), data).unwrap(),
            )
        })
        .collect();
    let bytes = [1_u8; 30];
    views.push((
        "int.weight",
        TensorView::new(Dtype::I8, vec![5, 6], &bytes).unwrap(),
    ));
    std::fs::write(
        folder.path().join("net.safetensors"),
        serialize(views, None).unwrap(),
    )
    .unwrap();
    let path = folder.path().join("net.toml");
    std::fs::write(&path, description).unwrap();
    (folder, path)
}

/// The example of docs/layer-description.md, on these weights.
const DESCRIPTION: &str = r#"
    [[layer]]
    kind = "conv"
    weight = "conv.weight"
    input = [2, 9, 8]
    stride = [2, 1]
    padding = [[1, 0], [1, 1]]
    padding_mode = "circular"

    [[layer]]
    kind = "batch_norm"
    weight = "bn.weight"
    running_var = "bn.running_var"
    input = [4, 4, 8]
    after = "conv"

    [[layer]]
    kind = "conv_transpose"
    weight = "up.weight"
    input = [4, 4, 8]
    stride = 2
    output_padding = [1, 0]
    groups = 4

    [[layer]]
    name = "head"
    kind = "linear"
    weight = "fc.weight"
    positions = 3

    [[layer]]
    kind = "linear"
    weight = "int.weight"
"#;

#[test]
fn described_weights() {
    let (_folder, path) = described(DESCRIPTION);
    for path in [path.clone(), path.with_extension("safetensors")] {
        let model = open(&path).unwrap();
        let rows: Vec<(&str, String, &[usize])> = model
            .layers
            .iter()
            .map(|l| {
                (
                    l.name.as_str(),
                    l.kind.to_string(),
                    l.output_shape.as_slice(),
                )
            })
            .collect();
        let expected: [(&str, &str, &[usize]); 4] = [
            ("conv", "conv2d", &[4, 4, 8]),
            ("bn", "batch_norm", &[4, 4, 8]),
            ("up", "conv_transpose2d", &[4, 9, 16]),
            ("head", "dense", &[5]),
        ];
        for (row, (name, kind, output)) in rows.iter().zip(expected) {
            assert_eq!((row.0, row.1.as_str(), row.2), (name, kind, output));
        }
        assert_eq!(model.layers[0].batch_norm, Some(1));
        assert_eq!(model.layers[3].multiplicity, 3);
        assert_eq!(model.layers[3].kind, LayerKind::Dense);
        assert_eq!(model.skipped[0].name, "int");
        assert!(model.skipped[0].reason.contains("int8"));
        for i in 0..model.layers.len() {
            model.composed::<f32>(i).unwrap();
        }
    }
}

#[test]
fn descriptions_that_are_wrong() {
    let cases = [
        (
            "[[layer]]\nkind = \"conv\"",
            "layer 1: missing field `weight`",
        ),
        (
            "[[layer]]\nkind = \"pool\"\nweight = \"a\"",
            "unknown variant `pool`",
        ),
        (
            "[[layer]]\nkind = \"linear\"\nweight = \"fc.weight\"\nstrid = 2",
            "unknown field `strid`",
        ),
        (
            "[[layer]]\nkind = \"linear\"\nweight = \"gone\"",
            "no tensor \"gone\"",
        ),
        (
            "[[layer]]\nkind = \"linear\"\nweight = \"fc.weight\"\ninput = [7]",
            "takes the input [6]",
        ),
        (
            "[[layer]]\nkind = \"linear\"\nweight = \"conv.weight\"",
            "is not a matrix",
        ),
        (
            "[[layer]]\nkind = \"conv\"\nweight = \"conv.weight\"\ninput = [3, 9, 9]",
            "does not fit 3 input channels",
        ),
        (
            "[[layer]]\nkind = \"conv\"\nweight = \"conv.weight\"\ninput = [1, 2, 9, 9]",
            "without a batch axis",
        ),
        (
            "[[layer]]\nkind = \"conv\"\nweight = \"conv.weight\"\ninput = [2, 1, 9]",
            "does not fit into 1",
        ),
        (
            "[[layer]]\nkind = \"conv\"\nweight = \"conv.weight\"\ninput = [2, 9, 9]\nstride = 0",
            "stride",
        ),
        (
            "[[layer]]\nkind = \"conv\"\nweight = \"conv.weight\"\ninput = [2, 9, 9]\nstride = \"2\"",
            "whole number",
        ),
        (
            "[[layer]]\nkind = \"conv\"\nweight = \"conv.weight\"\ninput = [2, 9, 9]\npadding = [1]",
            "2 axes",
        ),
        ("nonsense", "net.toml"),
        ("layers = 3", "unknown field `layers`"),
        ("weights = \"gone.safetensors\"", "gone.safetensors"),
    ];
    for (description, expected) in cases {
        let (_folder, path) = described(description);
        let text = open(&path).unwrap_err().to_string();
        assert!(text.contains(expected), "{description}: {text}");
        assert!(!text.contains('\n'), "{text}");
    }
}

#[test]
fn weights_without_a_description_say_how_to_write_one() {
    let (_folder, path) = described("");
    std::fs::remove_file(&path).unwrap();
    let text = open(&path.with_extension("safetensors"))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("docs/layer-description.md") && text.contains("conv.weight (4x2x3x3)"),
        "{text}"
    );
    assert!(open(&path).unwrap_err().to_string().contains("net.toml"));
}

#[test]
fn damaged_weights() {
    let (_folder, path) = described(DESCRIPTION);
    let weights = path.with_extension("safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    for n in (0..bytes.len()).step_by(7) {
        std::fs::write(&weights, &bytes[..n]).unwrap();
        assert!(open(&path).is_err(), "{n}");
    }
    for i in 0..bytes.len().min(700) {
        let mut damaged = bytes.clone();
        damaged[i] ^= 0x41;
        std::fs::write(&weights, &damaged).unwrap();
        if let Ok(model) = open(&path) {
            for layer in 0..model.layers.len() {
                let _ = model.operator::<f64>(layer);
            }
        }
    }
}
