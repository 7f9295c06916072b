//! Files that are damaged, or made to do harm: an error or a skipped layer, never a panic, never much memory.

mod common;

use common::{
    Attribute as A, Builder, Dim, Message, f32_tensor, i64_tensor, raw_tensor, tensor_head, value,
};
use specclip_onnx::{Error, Model, Options, load, load_bytes};

fn open(bytes: &[u8]) -> Result<Model, Error> {
    load_bytes(bytes, &Options::default())
}

fn message(builder: &Builder) -> String {
    open(&builder.bytes()).unwrap_err().to_string()
}

/// A model with a bit of everything.
fn sample() -> Builder {
    Builder::new(&[1, 2, 8, 8])
        .ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1])
        .node("Pad", &["x", "pads"], &["p"], &[A::Text("mode", "reflect")])
        .weight("c.weight", &[2, 2, 3, 3])
        .node(
            "Conv",
            &["p", "c.weight"],
            &["c"],
            &[A::Ints("strides", vec![2, 2])],
        )
        .tensor(f32_tensor("scales", &[4], &[1.0, 1.0, 2.0, 2.0]))
        .node("Resize", &["c", "", "scales"], &["r"], &[])
        .node("Shape", &["r"], &["s"], &[])
        .ints("last", &[-1])
        .ints("zero", &[0])
        .ints("one", &[1])
        .node("Slice", &["s", "zero", "one"], &["b"], &[])
        .node("Concat", &["b", "last"], &["to"], &[A::Int("axis", 0)])
        .node("Reshape", &["r", "to"], &["f"], &[])
        .weight("d.weight", &[128, 3])
        .node("Gemm", &["f", "d.weight"], &["y"], &[])
}

/// Loads and, if that works, builds every operator. (One damaged byte may make an input of 2 x 8 x 16777226 samples,
/// which is no contradiction; such operators are left alone for the sake of time.)
fn exercise(bytes: &[u8]) {
    let small = |shape: &[usize]| shape.iter().product::<usize>() <= 1 << 20;
    if let Ok(model) = open(bytes) {
        for (i, layer) in model.layers.iter().enumerate() {
            if !small(&layer.input_shape) || !small(&layer.output_shape) {
                continue;
            }
            let _ = model.operator::<f64>(i);
            let _ = model.composed::<f32>(i);
        }
    }
}

#[test]
fn the_sample_is_sound() {
    let model = open(&sample().bytes()).unwrap();
    assert_eq!(
        (model.layers.len(), model.skipped.len()),
        (3, 0),
        "{model:?}"
    );
}

#[test]
fn truncated_anywhere() {
    let bytes = sample().bytes();
    for n in 0..bytes.len() {
        let error = open(&bytes[..n]).expect_err(&format!("{n} of {} bytes", bytes.len()));
        assert!(error.to_string().len() < 400, "{error}");
    }
}

#[test]
fn every_byte_damaged() {
    let bytes = sample().bytes();
    for i in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff, 0x10] {
            let mut damaged = bytes.clone();
            damaged[i] ^= flip;
            exercise(&damaged);
        }
    }
}

#[test]
fn attributes_with_absurd_values() {
    let absurd = [i64::MIN, i64::MAX, -1, 0, 1 << 40];
    let names = [
        "strides",
        "pads",
        "dilations",
        "kernel_shape",
        "output_padding",
        "output_shape",
        "axes",
        "perm",
    ];
    for op in [
        "Conv",
        "ConvTranspose",
        "AveragePool",
        "Transpose",
        "Unsqueeze",
        "ReduceMean",
        "Slice",
        "Squeeze",
    ] {
        for name in names {
            for n in absurd {
                let name: &'static str = name;
                for count in [2, 4] {
                    let b = Builder::new(&[1, 2, 6, 6]).weight("w", &[2, 2, 3, 3]).node(
                        op,
                        &["x", "w"],
                        &["y"],
                        &[
                            A::Ints(name, vec![n; count]),
                            A::Int("group", n),
                            A::Int("axis", n),
                        ],
                    );
                    exercise(&b.bytes());
                }
            }
        }
    }
    for op in [
        "Pad",
        "Reshape",
        "Expand",
        "Tile",
        "ConstantOfShape",
        "Slice",
        "Gather",
        "Resize",
        "Split",
        "OneHot",
        "TopK",
    ] {
        for n in absurd {
            for count in [1, 4, 8] {
                let b = Builder::new(&[1, 2, 6, 6])
                    .ints("n", &vec![n; count])
                    .weight("w", &[2, 2, 1, 1]);
                let inputs: &[&str] = if op == "ConstantOfShape" {
                    &["n"]
                } else {
                    &["x", "n", "n", "n", "n"]
                };
                let b = b
                    .node(op, inputs, &["h"], &[])
                    .node("Conv", &["h", "w"], &["y"], &[]);
                exercise(&b.bytes());
                let b = Builder::new(&[1, 2, 6, 6])
                    .ints("n", &vec![n; count])
                    .ints("m", &[1, 2, 3, 4]);
                let b = b
                    .node(op, &["m", "n", "n", "n"], &["h"], &[A::Int("axis", 0)])
                    .node("Reshape", &["x", "h"], &["y"], &[]);
                exercise(&b.bytes());
            }
        }
    }
}

#[test]
fn sizes_that_lie() {
    let with = |tensor: Message| {
        message(
            &Builder::new(&[1, 2, 8])
                .tensor(tensor)
                .node("Conv", &["x", "w"], &["y"], &[]),
        )
    };
    let short = with(raw_tensor("w", &[2, 2, 3], 1, &[0; 20]));
    assert!(
        short.contains("\"w\"")
            && short.contains("2x2x3")
            && short.contains("20 bytes instead of 48"),
        "{short}"
    );
    let huge = with(raw_tensor("w", &[1 << 31, 1 << 31, 1 << 31], 1, &[0; 20]));
    assert!(huge.contains("more than can be addressed"), "{huge}");
    let empty = with(raw_tensor("w", &[0, 1 << 40, 1 << 40], 1, &[]));
    assert!(empty.contains("more than can be addressed"), "{empty}");
    let negative = with(raw_tensor("w", &[-2, 2, 3], 1, &[0; 48]));
    assert!(negative.contains("negative dimension"), "{negative}");
    let large = with(tensor_head("w", &[1 << 20, 1 << 20, 3], 1));
    assert!(large.contains("0 numbers instead of"), "{large}");
}

#[test]
fn other_files_are_recognised() {
    let found = |bytes: &[u8]| open(bytes).unwrap_err().to_string();
    assert!(found(b"").contains("it is empty"));
    assert!(found(b"This is my model.\n").contains("text file"));
    assert!(found(b"PK\x03\x04rest").contains("torch.onnx.export"));
    assert!(found(b"\x89HDF\r\n").contains("HDF5"));
    assert!(found(b"version https://git-lfs.github.com/spec/v1").contains("git lfs pull"));
    assert!(found(&[0x08]).contains("damaged"));
    let folder = tempfile::tempdir().unwrap();
    let missing = load(&folder.path().join("none.onnx"), &Options::default()).unwrap_err();
    assert!(missing.to_string().contains("none.onnx"), "{missing}");
}

#[test]
fn contradictory_graphs() {
    let conv = |b: Builder| {
        b.weight("w", &[2, 2, 3])
            .node("Conv", &["x", "w"], &["y"], &[])
    };
    let start = || Builder::new(&[1, 2, 8]);
    let cycle = start()
        .node("Add", &["x", "b"], &["a"], &[])
        .node("Relu", &["a"], &["b"], &[]);
    assert!(message(&cycle).contains("cycle"), "{}", message(&cycle));
    let twice = conv(start()).node("Relu", &["x"], &["y"], &[]);
    assert!(message(&twice).contains("two nodes compute the value \"y\""));
    let names = conv(start()).weight("w", &[1]);
    assert!(message(&names).contains("two initialisers are named \"w\""));
    let dangling = start().node("Relu", &["ghost"], &["y"], &[]);
    assert!(message(&dangling).contains("reads \"ghost\", which nothing computes"));
    let mut old = conv(start());
    old.opset = 3;
    assert!(message(&old).contains("operator set 3"));
    let itself = Message::default()
        .text(1, "F")
        .text(4, "a")
        .text(5, "b")
        .text(10, "local")
        .message(7, &common::node_in("local", "F", &["a"], &["b"], &[]));
    let mut recursive = start();
    recursive
        .nodes
        .push(common::node_in("local", "F", &["x"], &["y"], &[]));
    recursive.functions.push(itself);
    assert!(message(&recursive).contains("without end"));
}

#[test]
fn large_arrays_are_not_computed() {
    // Each doubles what the one before made: 2^60 elements if anybody computed them.
    let mut b = Builder::new(&[1, 2, 8])
        .tensor(i64_tensor("n", &[1], &[1 << 30]))
        .node("ConstantOfShape", &["n"], &["v0"], &[]);
    let names: Vec<String> = (0..60).map(|i| format!("v{i}")).collect();
    for pair in names.windows(2) {
        b = b.node(
            "Concat",
            &[&pair[0], &pair[0]],
            &[&pair[1]],
            &[A::Int("axis", 0)],
        );
    }
    exercise(&b.clone().node("MatMul", &["x", "v59"], &["y"], &[]).bytes());
    let mut b = Builder::new(&[1, 2, 8]).weight("v0", &[8, 64]);
    for pair in names.windows(2) {
        b = b.node(
            "Concat",
            &[&pair[0], &pair[0]],
            &[&pair[1]],
            &[A::Int("axis", 1)],
        );
    }
    exercise(&b.clone().node("MatMul", &["x", "v59"], &["y"], &[]).bytes());
    let mut b = Builder::new(&[1, 2, 8]).weight("v0", &[8, 64]);
    for pair in names.windows(2) {
        b = b.node("Add", &[&pair[0], &pair[0]], &[&pair[1]], &[]);
    }
    exercise(&b.node("MatMul", &["x", "v59"], &["y"], &[]).bytes());
    for (start, limit, step) in [(0, i64::MAX, 1), (i64::MIN, i64::MAX, 1), (0, 1, 0)] {
        let b = Builder::new(&[1, 2, 8])
            .tensor(i64_tensor("a", &[], &[start]))
            .tensor(i64_tensor("b", &[], &[limit]))
            .tensor(i64_tensor("c", &[], &[step]))
            .node("Range", &["a", "b", "c"], &["r"], &[])
            .node("Reshape", &["x", "r"], &["y"], &[]);
        exercise(&b.bytes());
    }
}

#[test]
fn nested_concatenations_in_front_of_a_convolution() {
    let mut b = Builder::new(&[1, 1, 4]);
    let names: Vec<String> = std::iter::once("x".to_owned())
        .chain((0..9).map(|i| format!("v{i}")))
        .collect();
    for pair in names.windows(2) {
        let x = pair[0].as_str();
        b = b.node(
            "Concat",
            &[x, x, x, x, x],
            &[&pair[1]],
            &[A::Int("axis", 2)],
        );
    }
    exercise(
        &b.weight("w", &[1, 1, 3])
            .node("Conv", &["v8", "w"], &["y"], &[])
            .bytes(),
    );
}

#[test]
fn inputs_too_large_for_one_vector_are_skipped() {
    let mut b = Builder::new(&[])
        .weight("w", &[2, 2, 1, 1])
        .node("Conv", &["x", "w"], &["y"], &[]);
    b.inputs = vec![value(
        "x",
        &[
            Dim::Fixed(1),
            Dim::Fixed(2),
            Dim::Fixed(1 << 20),
            Dim::Fixed(1 << 20),
        ],
    )];
    let model = open(&b.bytes()).unwrap();
    assert!(
        model.skipped[0].reason.contains("elements"),
        "{:?}",
        model.skipped
    );
    b.inputs = vec![value(
        "x",
        &[
            Dim::Fixed(1 << 31),
            Dim::Fixed(2),
            Dim::Fixed(1 << 31),
            Dim::Fixed(1 << 31),
        ],
    )];
    assert!(message(&b).contains("more than can be addressed"));
}

#[test]
fn weights_that_are_not_finite_name_layer_and_index() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut data = [0.5; 12];
        data[7] = bad;
        data[9] = bad;
        let b = Builder::new(&[1, 2, 8])
            .tensor(f32_tensor("body.0.weight", &[2, 2, 3], &data))
            .node("Conv", &["x", "body.0.weight"], &["y"], &[]);
        let model = open(&b.bytes()).unwrap();
        let error = model.operator::<f32>(0).err().unwrap();
        assert!(
            matches!(error, Error::NonFinite { index: 7, .. }),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.contains("\"body.0\"") && text.contains("index 7"),
            "{text}"
        );
        assert!(model.composed::<f64>(0).is_err());
    }
}

#[test]
fn a_layer_that_does_not_exist() {
    let model = open(&sample().bytes()).unwrap();
    let error = model.operator::<f64>(3).err().unwrap();
    assert_eq!(
        error.to_string(),
        "there is no layer 3: the model has 3 layers"
    );
}
