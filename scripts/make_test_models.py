#!/usr/bin/env python3
"""Write the small ONNX files on which the program is tested, good and bad.

Each is a few kilobytes and made without a training stack. What is wrong with a
bad one is said where it is made. Files that are merely empty, truncated or not
ONNX at all are made by the tests themselves.

Needs:  pip install onnx numpy
Usage:  python3 scripts/make_test_models.py
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "crates" / "specclip-cli" / "tests" / "models"
RANDOM = np.random.default_rng(20240229)


def weight(name, *shape, scale=None):
    """A constant with independent normal entries, of the size that a trained layer has."""
    fan_in = int(np.prod(shape[1:])) or 1
    deviation = scale or 1 / np.sqrt(fan_in)
    return numpy_helper.from_array((RANDOM.standard_normal(shape) * deviation).astype(np.float32), name)


def constant(name, values, dtype):
    return numpy_helper.from_array(np.array(values, dtype), name)


def image(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def save(stem, nodes, initialisers, inputs, outputs):
    graph = helper.make_graph(nodes, stem, inputs, outputs, initialisers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (OUTPUT / f"{stem}.onnx").write_bytes(model.SerializeToString())


def batch_norm(stem, channels):
    """Scale, bias, mean and variance of a batch norm that has seen data."""
    return [
        numpy_helper.from_array(values.astype(np.float32), f"{stem}.{part}")
        for part, values in [
            ("weight", 1 + 0.3 * RANDOM.standard_normal(channels)),
            ("bias", RANDOM.standard_normal(channels)),
            ("running_mean", RANDOM.standard_normal(channels)),
            ("running_var", 0.5 + RANDOM.random(channels)),
        ]
    ]


def mixed():
    """Every way a row of the table can look: padding, a batch norm to fold, a transposed layer, a product
    applied at many positions, a long name, a wide one, and layers that cannot be analysed."""
    long = "encoder.stages.0.blocks.0.depthwise_separable.convolution"
    initialisers = [
        constant("pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        weight("stem.weight", 8, 3, 3, 3),
        *batch_norm("norm", 8),
        weight(f"{long}.weight", 8, 1, 3, 3),
        weight("入口.畳み込み.weight", 8, 4, 2, 2),
        constant("scales", [1, 1, 2, 2], np.float32),
        constant("sizes", [0, 16, -1], np.int64),
        weight("tokens.weight", 16, 5),
        constant("token_scale", 0.02, np.float32),
        constant("zero", 0, np.uint8),
        constant("quantised.weight", RANDOM.integers(0, 255, (2, 4, 1, 1)), np.uint8),
    ]
    names = ["norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"]
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["padded"], "pad", mode="reflect"),
        helper.make_node("Conv", ["padded", "stem.weight"], ["a"], "stem"),
        helper.make_node("BatchNormalization", ["a", *names], ["b"], "norm"),
        helper.make_node("Relu", ["b"], ["c"], "relu"),
        helper.make_node("Conv", ["c", f"{long}.weight"], ["d"], "long", group=8, pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["d", "入口.畳み込み.weight"], ["e"], "up", strides=[2, 2]),
        helper.make_node("Resize", ["e", "", "scales"], ["f"], "resize", mode="cubic"),
        helper.make_node("QuantizeLinear", ["f", "token_scale", "zero"], ["g"], "quantise"),
        helper.make_node(
            "QLinearConv",
            ["g", "token_scale", "zero", "quantised.weight", "token_scale", "zero", "token_scale", "zero"],
            ["h"], "quantised"),
        helper.make_node("DequantizeLinear", ["h", "token_scale", "zero"], ["i"], "dequantise"),
        helper.make_node("Reshape", ["i", "sizes"], ["j"], "reshape"),
        helper.make_node("Transpose", ["j"], ["k"], "transpose", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["k", "tokens.weight"], ["y"], "tokens"),
    ]
    save("mixed", nodes, initialisers, [image("x", 1, 3, 8, 8)], [image("y", 1, 128, 5)])


def dynamic():
    """The sizes of the input are open, its channels are not."""
    nodes = [helper.make_node("Conv", ["x", "conv.weight"], ["y"], "conv", pads=[1, 1, 1, 1])]
    dims = ["batch", 3, "height", "width"]
    save("dynamic", nodes, [weight("conv.weight", 4, 3, 3, 3)], [image("x", *dims)],
         [image("y", "batch", 4, "height", "width")])


def circular():
    """A layer with circular padding, and one without."""
    initialisers = [constant("pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64), weight("circular.weight", 4, 4, 3, 3),
                    weight("zeros.weight", 4, 4, 3, 3)]
    nodes = [
        # Pad has the mode "wrap" from opset 19; before, exporters write the two sides as slices.
        helper.make_node("Pad", ["x", "pads"], ["padded"], "pad", mode="wrap"),
        helper.make_node("Conv", ["padded", "circular.weight"], ["a"], "circular"),
        helper.make_node("Conv", ["a", "zeros.weight"], ["y"], "zeros", pads=[1, 1, 1, 1]),
    ]
    graph = helper.make_graph(nodes, "circular", [image("x", 1, 4, 8, 8)], [image("y", 1, 4, 8, 8)], initialisers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    (OUTPUT / "circular.onnx").write_bytes(model.SerializeToString())


def hostile_name():
    """A name that would clear the terminal and forge a second line."""
    name = "conv\x1b[2J\nerror: forged"
    nodes = [helper.make_node("Conv", ["x", f"{name}.weight"], ["y"], name)]
    save("hostile_name", nodes, [weight(f"{name}.weight", 4, 3, 3, 3)], [image("x", 1, 3, 8, 8)],
         [image("y", 1, 4, 6, 6)])


def bad(stem, tensor, op="Conv"):
    nodes = [helper.make_node(op, ["x", tensor.name], ["y"], "body")]
    save(stem, nodes, [tensor], [image("x", 1, 3, 8, 8)], [image("y", 1, 4, 6, 6)])


def not_a_number():
    """One NaN, at flat index 29 of a weight."""
    values = RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32)
    values.flat[29] = np.nan
    bad("nan", numpy_helper.from_array(values, "body.weight"))


def no_linear():
    """Nothing to analyse: an activation and a sum."""
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Add", ["a", "x"], ["y"])]
    save("no_linear", nodes, [], [image("x", 1, 3, 8, 8)], [image("y", 1, 3, 8, 8)])


def lies():
    """Initialisers whose dimensions have nothing to do with their bytes."""
    for stem, dims in [("lie_large", [1_000_000, 3, 300, 300]), ("lie_small", [1, 3, 1, 1]),
                       ("overflow", [1 << 31, 3, 1 << 31, 1 << 31]), ("negative", [4, 3, -3, 3])]:
        tensor = TensorProto(name="body.weight", data_type=TensorProto.FLOAT, dims=dims)
        tensor.raw_data = np.zeros(16, np.float32).tobytes()
        bad(stem, tensor)


def shared():
    """One weight that two layers use at different sizes, with different norms; the second use has the smaller one."""
    nodes = [
        helper.make_node("Conv", ["x", "body.weight"], ["a"], "large", pads=[1, 1, 1, 1]),
        helper.make_node("AveragePool", ["a"], ["b"], "pool", kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["b", "body.weight"], ["c"], "small", pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["c"], ["d"], "flatten"),
        helper.make_node("Gemm", ["d", "head.weight"], ["y"], "head", transB=1, alpha=0.5),
    ]
    save("shared", nodes, [weight("body.weight", 4, 4, 3, 3), weight("head.weight", 3, 16, scale=0.01)],
         [image("x", 1, 4, 8, 8)], [image("y", 1, 3)])


def half():
    """Weights stored in 16 bits and computed with in 32: raw float16, float16 as a list of integers, and bfloat16,
    whose rounding alone moves a norm by more than 1e-3."""
    def stored(name, data_type, *shape):
        values = RANDOM.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        return helper.make_tensor(name, data_type, shape, values.ravel())

    raw = RANDOM.standard_normal((8, 4, 3, 3)).astype(np.float16) / 6
    tensors = [numpy_helper.from_array(raw, "raw.weight"), stored("list.weight", TensorProto.FLOAT16, 8, 8, 3, 3),
               stored("brain.weight", TensorProto.BFLOAT16, 3, 8, 3, 3)]
    nodes, value = [], "x"
    for tensor in tensors:
        stem = tensor.name.removesuffix(".weight")
        nodes += [
            helper.make_node("Cast", [tensor.name], [f"{stem}.cast"], to=TensorProto.FLOAT),
            helper.make_node("Conv", [value, f"{stem}.cast"], [f"{stem}.out"], stem, pads=[1, 1, 1, 1]),
        ]
        value = f"{stem}.out"
    nodes[-1].output[0] = "y"
    save("half", nodes, tensors, [image("x", 1, 4, 6, 6)], [image("y", 1, 3, 6, 6)])


def main():
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for make in [mixed, dynamic, circular, hostile_name, not_a_number, no_linear, lies, shared, half]:
        make()
    for path in sorted(OUTPUT.glob("*.onnx")):
        print(f"{path.stat().st_size:6} {path.name}")
    for stem in ["mixed", "dynamic", "circular", "hostile_name", "no_linear", "shared", "half"]:
        onnx.checker.check_model(str(OUTPUT / f"{stem}.onnx"))


if __name__ == "__main__":
    main()
