//! New weights for a model: what is read back, and that every other byte stays.

mod common;

use std::path::{Path, PathBuf};

use common::{Attribute, Builder, Message, f32_tensor, node, raw_tensor, tensor_head};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use specclip_onnx::{Error, Model, Options, load, load_bytes};
use tempfile::TempDir;

fn open(path: &Path) -> Model {
    load(path, &Options::default()).unwrap()
}

fn weights(model: &Model, layer: usize) -> Vec<f64> {
    model.parametric::<f64>(layer).unwrap().weights()[0].to_vec()
}

/// Gives the layer these weights.
fn set(model: &mut Model, layer: usize, weights: &[f64]) -> Result<(), Error> {
    model.set_weights(layer, &[weights.to_vec()])
}

/// The bytes of the model as it is written.
fn written(model: &Model) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.onnx");
    model.write(&path, false).unwrap();
    let names = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names, 1, "nothing but the model");
    std::fs::read(path).unwrap()
}

/// Where two files of equal length differ.
fn differences(a: &[u8], b: &[u8]) -> Vec<usize> {
    assert_eq!(a.len(), b.len());
    (0..a.len()).filter(|&i| a[i] != b[i]).collect()
}

/// The only place of `part` in `whole`.
fn place(whole: &[u8], part: &[u8]) -> std::ops::Range<usize> {
    let starts = whole.windows(part.len()).enumerate();
    let places: Vec<usize> = starts.filter(|(_, w)| *w == part).map(|(i, _)| i).collect();
    assert_eq!(places.len(), 1);
    places[0]..places[0] + part.len()
}

/// Halves the weights of the only layer, writes the model and reads it: the layer has the new weights (within `tolerance`),
/// and the original with the numbers of `tensor` put in by this test is what was written.
fn halves(builder: &Builder, tolerance: f64) -> (Vec<u8>, Vec<u8>) {
    let original = builder.bytes();
    let mut model = load_bytes(&original, &Options::default()).unwrap();
    assert_eq!(written(&model), original, "nothing was changed");
    let new: Vec<f64> = weights(&model, 0).iter().map(|w| w / 2.0 + 0.01).collect();
    set(&mut model, 0, &new).unwrap();
    let stored = weights(&model, 0);
    for (s, n) in stored.iter().zip(&new) {
        assert!((s - n).abs() <= tolerance, "{s} instead of {n}");
    }
    let copy = written(&model);
    let back = load_bytes(&copy, &Options::default()).unwrap();
    assert_eq!(weights(&back, 0), stored, "what the file now holds");
    (original, copy)
}

fn dense(tensor: Message) -> Builder {
    let builder = Builder::new(&[1, 3]).tensor(tensor);
    builder.node("MatMul", &["x", "w"], &["y"], &[])
}

const NUMBERS: [f32; 6] = [0.5, -1.25, 0.0, 2.0, 0.75, -3.5];

#[test]
fn raw_data_of_every_type_is_patched_in_place() {
    let raw = |f: &dyn Fn(f32) -> Vec<u8>| NUMBERS.iter().flat_map(|&x| f(x)).collect::<Vec<u8>>();
    let cases = [
        (1, raw(&|x| x.to_le_bytes().to_vec()), 1e-7),
        (11, raw(&|x| f64::from(x).to_le_bytes().to_vec()), 0.0),
        (10, raw(&|x| f16::from_f32(x).to_le_bytes().to_vec()), 1e-3),
        (16, raw(&|x| bf16::from_f32(x).to_le_bytes().to_vec()), 8e-3),
    ];
    for (data_type, bytes, tolerance) in cases {
        let builder = dense(raw_tensor("w", &[3, 2], data_type, &bytes));
        let (original, copy) = halves(&builder, tolerance);
        let place = place(&original, &bytes);
        let changed = differences(&original, &copy);
        assert!(!changed.is_empty() && changed.iter().all(|i| place.contains(i)));
    }
}

#[test]
fn lists_of_floats_packed_or_not_are_patched_in_place() {
    let head = |data_type| tensor_head("w", &[3, 2], data_type);
    let floats: Vec<u8> = NUMBERS.iter().flat_map(|x| x.to_le_bytes()).collect();
    let doubles: Vec<u8> = NUMBERS
        .iter()
        .flat_map(|&x| f64::from(x).to_le_bytes())
        .collect();
    let single = NUMBERS.iter().fold(head(1), |m, &x| m.float(4, x));
    // Two packed lists and a number between them are one list.
    let mixed = head(1)
        .bytes(4, &floats[..8])
        .float(4, NUMBERS[2])
        .bytes(4, &floats[12..]);
    let cases = [
        (head(1).bytes(4, &floats), 1e-7),
        (single, 1e-7),
        (mixed, 1e-7),
        (head(11).bytes(10, &doubles), 0.0),
    ];
    for (tensor, tolerance) in cases {
        let (original, copy) = halves(&dense(tensor), tolerance);
        assert!(!differences(&original, &copy).is_empty());
    }
}

/// Bits of 16-bit floats are written with one to three bytes each, so lengths around them change, and with them the number
/// of bytes that some of those lengths take.
#[test]
fn lists_of_half_floats_change_their_length() {
    let bits: [fn(f32) -> u16; 2] = [
        |x| f16::from_f32(x).to_bits(),
        |x| bf16::from_f32(x).to_bits(),
    ];
    let numbers = [0.5, -1.25, 0.0, 0.0, 0.75, 0.0];
    for (data_type, bits) in [10, 16].into_iter().zip(bits) {
        let list = |name: &str, numbers: &[f32], packed: bool| {
            let ints = numbers.iter().map(|&x| i64::from(bits(x)));
            let head = tensor_head(name, &[3, 2], data_type);
            let tensor = match packed {
                false => ints.fold(head, |m, i| m.int(5, i)),
                true => {
                    // A field's number without its key, which is one byte.
                    let number = |i| Message::default().int(1, i).0.split_off(1);
                    head.bytes(5, &ints.flat_map(number).collect::<Vec<u8>>())
                }
            };
            let builder = Builder::new(&[1, 3]).tensor(tensor);
            builder.node("MatMul", &["x", name], &["y"], &[])
        };
        // The lists grow by more than two bytes, so one of these lengths passes 127 with them.
        for length in (1..120).step_by(2) {
            let packed = length % 4 == 1;
            let name = "w".repeat(length);
            let (original, copy) = halves(&list(&name, &numbers, packed), 8e-3);
            let new = numbers.map(|x| x / 2.0 + 0.01);
            assert_eq!(copy, list(&name, &new, packed).bytes());
            assert!(copy.len() > original.len());
        }
    }
}

#[test]
fn constants_of_nodes_are_weights_too() {
    let floats: Vec<u8> = NUMBERS.iter().flat_map(|x| x.to_le_bytes()).collect();
    let listed = tensor_head("", &[3, 2], 1).bytes(4, &floats);
    for tensor in [f32_tensor("", &[3, 2], &NUMBERS), listed] {
        let builder = Builder::new(&[1, 3])
            .node(
                "Constant",
                &[],
                &["w"],
                &[Attribute::Tensor("value", tensor)],
            )
            .node("MatMul", &["x", "w"], &["y"], &[]);
        let (original, copy) = halves(&builder, 1e-7);
        assert!(!differences(&original, &copy).is_empty());
    }
}

/// Exporters rearrange weights; the numbers go back to where they came from.
#[test]
fn expressions_are_undone() {
    let ints = |list: &[i64]| Attribute::Ints("perm", list.to_vec());
    let start = || Builder::new(&[1, 3]);
    let product = |b: Builder, w: &str| b.node("MatMul", &["x", w], &["y"], &[]);
    let transposed =
        start()
            .weight("w", &[2, 3])
            .node("Transpose", &["w"], &["t"], &[ints(&[1, 0])]);
    let reshaped = start().weight("w", &[2, 3, 1]).ints("shape", &[3, 2]).node(
        "Reshape",
        &["w", "shape"],
        &["t"],
        &[],
    );
    let sliced = start()
        .weight("w", &[5, 4])
        .ints("from", &[4, 1])
        .ints("to", &[-6, 4])
        .ints("axes", &[0, 1])
        .ints("steps", &[-2, 2])
        .node("Slice", &["w", "from", "to", "axes", "steps"], &["t"], &[]);
    let joined = start().weight("v", &[3, 1]).weight("w", &[3, 1]).node(
        "Concat",
        &["v", "w"],
        &["t"],
        &[Attribute::Int("axis", 1)],
    );
    let scaled = start()
        .weight("w", &[3, 2])
        .tensor(f32_tensor("s", &[2], &[4.0, -0.5]))
        .node("Mul", &["s", "w"], &["t"], &[]);
    let divided = start()
        .weight("w", &[3, 2])
        .tensor(f32_tensor("s", &[], &[3.0]))
        .node("Div", &["w", "s"], &["t"], &[]);
    for builder in [transposed, reshaped, sliced, joined, scaled, divided] {
        let (original, copy) = halves(&product(builder, "t"), 1e-6);
        assert!(!differences(&original, &copy).is_empty());
    }
    let gemm = start().weight("w", &[2, 3]).node(
        "Gemm",
        &["x", "w"],
        &["y"],
        &[Attribute::Float("alpha", 0.3), Attribute::Int("transB", 1)],
    );
    halves(&gemm, 1e-6);
    // float32 in the file, computed in float16.
    let cast = start()
        .weight("w", &[3, 2])
        .node("Cast", &["w"], &["t"], &[Attribute::Int("to", 10)])
        .node("Cast", &["t"], &["u"], &[Attribute::Int("to", 1)]);
    halves(&product(cast, "u"), 1e-3);
}

/// The rest of a larger tensor keeps its bits.
#[test]
fn a_slice_changes_its_part_only() {
    let builder = Builder::new(&[1, 2])
        .weight("w", &[6, 2])
        .ints("from", &[2])
        .ints("to", &[4])
        .node("Slice", &["w", "from", "to"], &["t"], &[])
        .node("MatMul", &["x", "t"], &["y"], &[]);
    let (original, copy) = halves(&builder, 1e-6);
    let changed = differences(&original, &copy);
    let floats: std::collections::BTreeSet<usize> = changed.iter().map(|i| i / 4).collect();
    assert!(floats.len() <= 5, "four numbers, which need not be aligned");
}

#[test]
fn what_cannot_be_undone_is_refused_with_the_reason() {
    let product = |b: Builder| b.node("MatMul", &["x", "t"], &["y"], &[]);
    let sum = Builder::new(&[1, 3])
        .weight("w", &[3, 2])
        .node("Add", &["w", "w"], &["t"], &[]);
    let twice = Builder::new(&[1, 3]).weight("w", &[3, 1]).node(
        "Concat",
        &["w", "w"],
        &["t"],
        &[Attribute::Int("axis", 1)],
    );
    let square = Builder::new(&[1, 3])
        .weight("w", &[3, 2])
        .node("Mul", &["w", "w"], &["t"], &[]);
    let cases = [
        (sum, "arithmetic that cannot be undone"),
        (twice, "several of its elements from one number"),
        (square, "several of its elements from one number"),
    ];
    for (builder, reason) in cases {
        let builder = product(builder);
        let mut model = common::load(&builder);
        let before = weights(&model, 0);
        let new: Vec<f64> = (0..before.len()).map(|i| 1.0 + i as f64).collect();
        let error = set(&mut model, 0, &new).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert_eq!(weights(&model, 0), before, "nothing was changed");
        assert_eq!(written(&model), builder.bytes());
    }
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let half: Vec<u8> = NUMBERS
        .iter()
        .flat_map(|&x| f16::from_f32(x).to_le_bytes())
        .collect();
    let mut model = common::load(&dense(raw_tensor("w", &[3, 2], 10, &half)));
    let error = set(&mut model, 0, &[0.0, 1e5, 0.0, 0.0, 0.0, 0.0]).unwrap_err();
    assert!(matches!(error, Error::Overflow { .. }), "{error}");
    assert!(set(&mut model, 0, &[1.0; 5]).is_err());
    assert!(set(&mut model, 0, &[f64::NAN; 6]).is_err());
    assert!(set(&mut model, 7, &[1.0]).is_err());
}

/// Two layers of one weight, and one that uses half of it.
#[test]
fn layers_that_share_a_weight_change_together() {
    let builder = Builder::new(&[1, 2])
        .weight("w", &[2, 2])
        .ints("from", &[0])
        .ints("to", &[1])
        .node("MatMul", &["x", "w"], &["a"], &[])
        .node("MatMul", &["a", "w"], &["b"], &[])
        .node("Slice", &["w", "from", "to"], &["t"], &[])
        .node("MatMul", &["t", "b2"], &["c"], &[])
        .node("Transpose", &["b"], &["b2"], &[])
        .node("Identity", &["c"], &["y"], &[]);
    let mut model = common::load(&builder);
    assert_eq!(model.layers.len(), 3);
    assert!(model.share_weights(0, 1) && model.share_weights(0, 2));
    assert!(!model.share_weights(0, 3));
    set(&mut model, 1, &[1.0, 2.0, 3.0, 4.0]).unwrap();
    assert_eq!(weights(&model, 0), weights(&model, 1));
    let back = load_bytes(&written(&model), &Options::default()).unwrap();
    for layer in 0..3 {
        assert_eq!(weights(&back, layer), weights(&model, layer));
    }
}

fn conv_and_norm(gamma: &[f32], variance: &[f32]) -> Builder {
    Builder::new(&[1, 1, 4, 4])
        .weight("w", &[2, 1, 3, 3])
        .tensor(f32_tensor("gamma", &[2], gamma))
        .tensor(f32_tensor("beta", &[2], &[0.1, 0.2]))
        .tensor(f32_tensor("mean", &[2], &[0.3, 0.4]))
        .tensor(f32_tensor("var", &[2], variance))
        .node("Conv", &["x", "w"], &["c"], &[])
        .node(
            "BatchNormalization",
            &["c", "gamma", "beta", "mean", "var"],
            &["y"],
            &[Attribute::Float("epsilon", 1e-3)],
        )
}

/// The factors of a batch normalisation are gamma / sqrt(variance + epsilon).
#[test]
fn a_changed_factor_changes_gamma_and_only_its_own() {
    let builder = conv_and_norm(&[0.7, -1.3], &[2.0, 0.5]);
    let original = builder.bytes();
    let mut model = common::load(&builder);
    let mut new: Vec<Vec<f64>> = {
        let both = model.composed_parametric::<f64>(0).unwrap();
        both.weights().iter().map(|w| w.to_vec()).collect()
    };
    assert_eq!((new[0].len(), new[1].len()), (18, 2));
    assert!(!model.share_weights(0, 1));
    new[0][4] = 0.125;
    new[1][1] = 0.25;
    model.set_composed_weights(0, &new).unwrap();
    let copy = written(&model);
    let back = load_bytes(&copy, &Options::default()).unwrap();
    assert_eq!(weights(&back, 0)[4], 0.125);
    assert!((weights(&back, 1)[1] - 0.25).abs() < 1e-7);
    assert_eq!(weights(&back, 1)[0], weights(&common::load(&builder), 1)[0]);
    let changed = differences(&original, &copy);
    assert!(!changed.is_empty() && changed.len() <= 8, "two floats");
    let gamma = 0.25 * (f64::from(0.5_f32) + f64::from(1e-3_f32)).sqrt();
    place(&copy, &(gamma as f32).to_le_bytes());
}

#[test]
fn layers_without_weights_have_none() {
    let builder = Builder::new(&[1, 1, 4, 4]).node("GlobalAveragePool", &["x"], &["y"], &[]);
    let mut model = common::load(&builder);
    assert!(model.parametric::<f32>(0).unwrap().weights().is_empty());
    model.set_weights::<f32>(0, &[]).unwrap();
    assert_eq!(written(&model), builder.bytes());
}

/// A function that is called twice has one constant.
#[test]
fn a_constant_inside_a_function_is_one_weight() {
    let tensor = f32_tensor("", &[2, 2], &[1.0, 2.0, 3.0, 5.0]);
    let function = Message::default()
        .text(1, "Twice")
        .text(4, "a")
        .text(5, "b")
        .message(
            7,
            &node(
                "Constant",
                &[],
                &["w"],
                &[Attribute::Tensor("value", tensor)],
            ),
        )
        .message(7, &node("MatMul", &["a", "w"], &["b"], &[]))
        .text(10, "local");
    let mut builder = Builder::new(&[1, 2]);
    builder.functions.push(function);
    builder.nodes = vec![
        common::node_in("local", "Twice", &["x"], &["m"], &[]),
        common::node_in("local", "Twice", &["m"], &["y"], &[]),
    ];
    let mut model = common::load(&builder);
    set(&mut model, 0, &[0.5, 0.25, 0.125, 4.0]).unwrap();
    assert_eq!(weights(&model, 0), weights(&model, 1));
    let back = load_bytes(&written(&model), &Options::default()).unwrap();
    assert_eq!(weights(&back, 1), [0.5, 0.25, 0.125, 4.0]);
}

fn entry(key: &str, value: &str) -> Message {
    Message::default().text(1, key).text(2, value)
}

/// Two tensors in one data file and one in another.
fn with_data_files() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let external = |name: &str, location: &str, offset: &str| {
        tensor_head(name, &[2, 2], 1)
            .message(13, &entry("location", location))
            .message(13, &entry("offset", offset))
            .int(14, 1)
    };
    let bytes = Builder::new(&[1, 2])
        .tensor(external("u", "a.bin", "4"))
        .tensor(external("v", "b.bin", "0"))
        .tensor(external("w", "a.bin", "20"))
        .node("MatMul", &["x", "u"], &["a"], &[])
        .node("MatMul", &["a", "v"], &["b"], &[])
        .node("MatMul", &["b", "w"], &["y"], &[])
        .bytes();
    let numbers: Vec<u8> = (1..=10_u8)
        .flat_map(|i| f32::from(i).to_le_bytes())
        .collect();
    std::fs::write(folder.path().join("a.bin"), &numbers).unwrap();
    std::fs::write(folder.path().join("b.bin"), &numbers[..16]).unwrap();
    let path = folder.path().join("m.onnx");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn data_files_are_copied_and_the_originals_left_alone() {
    let (folder, path) = with_data_files();
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let before = [read("m.onnx"), read("a.bin"), read("b.bin")];
    let mut model = open(&path);
    set(&mut model, 2, &[0.5; 4]).unwrap();
    let out = folder.path().join("a_longer_name.onnx");
    model.write(&out, false).unwrap();
    assert_eq!(before, [read("m.onnx"), read("a.bin"), read("b.bin")]);

    let mut expected = before[1].clone();
    for number in expected[20..36].chunks_mut(4) {
        number.copy_from_slice(&0.5_f32.to_le_bytes());
    }
    assert_eq!(read("a_longer_name.onnx.data"), expected);
    assert_eq!(read("a_longer_name.onnx.2.data"), before[2]);
    let back = open(&out);
    for layer in 0..3 {
        assert_eq!(weights(&back, layer), weights(&model, layer));
    }
    // The copy stands alone, and only names and the lengths around them differ.
    std::fs::remove_file(folder.path().join("a.bin")).unwrap();
    std::fs::remove_file(folder.path().join("b.bin")).unwrap();
    let again = open(&out);
    assert_eq!(weights(&again, 1), weights(&back, 1));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
}

#[test]
fn existing_files_and_sources_are_not_replaced() {
    let (folder, path) = with_data_files();
    let mut model = open(&path);
    set(&mut model, 0, &[0.5; 4]).unwrap();
    let refused = |name: &str, overwrite: bool, reason: &str| {
        let out = folder.path().join(name);
        for error in [
            model.check_output(&out, overwrite).unwrap_err(),
            model.write(&out, overwrite).unwrap_err(),
        ] {
            assert!(error.to_string().contains(reason), "{error}");
        }
    };
    refused("m.onnx", true, "the model is read from this file");
    refused("a.bin", true, "the model is read from this file");
    std::fs::hard_link(&path, folder.path().join("hard.onnx")).unwrap();
    refused("hard.onnx", true, "the model is read from this file");
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    refused("sub", true, "it is a folder");
    refused("no/out.onnx", true, "there is no such folder");
    std::fs::write(folder.path().join("old.onnx"), "old").unwrap();
    refused("old.onnx", false, "it exists");
    std::fs::write(folder.path().join("other.onnx.data"), "old").unwrap();
    refused("other.onnx", false, "it exists");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("m.onnx", folder.path().join("link.onnx")).unwrap();
        refused("link.onnx", true, "the model is read from this file");
        std::os::unix::fs::symlink("/dev/null", folder.path().join("null.onnx")).unwrap();
        refused("null.onnx", true, "it is a device or a pipe");
    }
    model.write(&folder.path().join("old.onnx"), true).unwrap();
    let back = open(&folder.path().join("old.onnx"));
    assert_eq!(weights(&back, 0), [0.5; 4]);
}

#[test]
fn safetensors_keep_their_header_and_their_types() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let f64s: Vec<u8> = NUMBERS
        .iter()
        .flat_map(|&x| f64::from(x).to_le_bytes())
        .collect();
    let bf16s: Vec<u8> = NUMBERS
        .iter()
        .flat_map(|&x| bf16::from_f32(x).to_le_bytes())
        .collect();
    let tensors = [
        (
            "a.weight",
            TensorView::new(Dtype::F64, vec![2, 3], &f64s).unwrap(),
        ),
        (
            "b.weight",
            TensorView::new(Dtype::BF16, vec![3, 2], &bf16s).unwrap(),
        ),
    ];
    let original = serialize(tensors, None).unwrap();
    std::fs::write(path("m.safetensors"), &original).unwrap();
    let description = "[[layer]]\nkind = \"linear\"\nweight = \"a.weight\"\n\
                       [[layer]]\nkind = \"linear\"\nweight = \"b.weight\"\n";
    std::fs::write(path("m.toml"), description).unwrap();
    let mut model = open(&path("m.toml"));
    set(&mut model, 0, &[0.1; 6]).unwrap();
    set(&mut model, 1, &[0.1; 6]).unwrap();

    let error = model
        .write(&path("out.bin"), false)
        .unwrap_err()
        .to_string();
    assert!(error.contains("must end in .safetensors"), "{error}");
    assert!(model.write(&path("m.safetensors"), true).is_err());
    model.write(&path("out.safetensors"), false).unwrap();
    let copy = std::fs::read(path("out.safetensors")).unwrap();
    let read = SafeTensors::deserialize(&copy).unwrap();
    assert_eq!(
        read.tensor("a.weight").unwrap().data(),
        0.1_f64.to_le_bytes().repeat(6)
    );
    let rounded = bf16::from_f64(0.1);
    assert_eq!(
        read.tensor("b.weight").unwrap().data(),
        rounded.to_le_bytes().repeat(6)
    );
    let data = f64s.len() + bf16s.len();
    let header = original.len() - data;
    assert_eq!(copy.len(), original.len());
    assert_eq!(copy[..header], original[..header]);
    std::fs::copy(path("m.toml"), path("out.toml")).unwrap();
    assert_eq!(
        weights(&open(&path("out.safetensors")), 1),
        [rounded.to_f64(); 6]
    );
}

/// A number that was not changed keeps its bits, whatever the precision in which the layer was computed.
#[test]
fn unchanged_numbers_keep_bits_that_f32_cannot_hold() {
    let numbers = [0.1_f64, 0.2, 0.3, 0.4, 0.5, 0.6];
    let raw: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut model = common::load(&dense(raw_tensor("w", &[3, 2], 11, &raw)));
    let mut new = model.parametric::<f32>(0).unwrap().weights()[0].to_vec();
    new[0] = 7.0;
    model.set_weights(0, &[new]).unwrap();
    let stored = weights(&model, 0);
    assert_eq!(stored[0], 7.0);
    // The operator is outputs x inputs, the file inputs x outputs.
    assert_eq!([stored[1], stored[2], stored[3]], [0.3, 0.5, 0.2]);
}
