#!/usr/bin/env python3
"""Check a JSON record of `specclip spectrum` against the ONNX file it was made from.

The file is read with the onnx package alone:
- every Conv, ConvTranspose, MatMul and Gemm with constant weights must be a layer
  of the record, converged to the tolerance, or be in `skipped` with a reason;
- input shapes must be those of onnx's own shape inference, where it finds them;
- sigma_1 must be numpy's on every layer that is cheap to write down: products,
  pointwise convolutions, transposed convolutions whose patches do not overlap, and
  any convolution whose matrix (one per group) is small.

Prints one line; exits 1 after naming what is wrong.

Needs:  pip install onnx numpy
Usage:  python3 scripts/check_rapidocr.py MODEL RECORD --input 1x3x48x192
"""

import argparse
import dataclasses
import itertools
import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import numpy_helper

LINEAR_OPERATORS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
TOLERANCE = 1e-4
# Largest number of entries of one group's matrix, and of all groups' together, to decompose here.
LARGEST_MATRIX = 100_000
LARGEST_TOTAL = 12_000_000


@dataclasses.dataclass
class Linear:
    """A linear node with constant weights."""

    node: onnx.NodeProto
    weight_name: str
    weight: np.ndarray
    weight_index: int

    def names(self):
        """What the record may call it: by its weight, else by its node."""
        return {self.weight_name.removesuffix(".weight"), self.node.name}

    def attributes(self):
        """The node's attributes by name."""
        return {item.name: onnx.helper.get_attribute_value(item) for item in self.node.attribute}


def constants(graph):
    """Initialisers and Constant nodes by name."""
    values = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for item in node.attribute:
                if item.name == "value":
                    values[node.output[0]] = item.t
    return values


def linear_nodes(graph):
    """Every Conv, ConvTranspose, MatMul and Gemm that multiplies by a constant."""
    known = constants(graph)
    found = []
    for node in graph.node:
        if node.op_type not in LINEAR_OPERATORS:
            continue
        operands = (1, 0) if node.op_type in ("MatMul", "Gemm") else (1,)
        for index in operands:
            if node.input[index] in known:
                weight = numpy_helper.to_array(known[node.input[index]]).astype(np.float64)
                found.append(Linear(node, node.input[index], weight, index))
                break
    return found


def inferred_shapes(model, shape):
    """Static shapes by value name, with the model's input fixed; unknown ones are left out."""
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    for dimension, size in zip(model.graph.input[0].type.tensor_type.shape.dim, shape):
        dimension.dim_value = size
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {}
    for value in itertools.chain(graph.value_info, graph.input, graph.output):
        sizes = [item.dim_value for item in value.type.tensor_type.shape.dim]
        if sizes and all(sizes):
            shapes[value.name] = sizes
    return shapes


def kernel_sigma(layer):
    """sigma_1 where the weight alone decides it; None elsewhere."""
    attributes, weight = layer.attributes(), layer.weight
    if layer.node.op_type in ("MatMul", "Gemm"):
        if weight.ndim != 2 or attributes.get("alpha", 1.0) != 1.0:
            return None
        return np.linalg.norm(weight, 2)
    kernel, groups = weight.shape[2:], attributes.get("group", 1)
    strides = attributes.get("strides", [1] * len(kernel))
    unpadded = not any(attributes.get("pads", [0]))
    if layer.node.op_type == "Conv" and all(size == 1 for size in kernel) and unpadded:
        blocks = weight.reshape(groups, weight.shape[0] // groups, -1)
    elif layer.node.op_type == "ConvTranspose" and unpadded and disjoint(attributes, kernel, strides):
        blocks = weight.reshape(groups, weight.shape[0] // groups, -1)
    else:
        return None
    return max(np.linalg.norm(block, 2) for block in blocks)


def disjoint(attributes, kernel, strides):
    """Whether the patches that a transposed convolution writes do not overlap."""
    dense = all(size == 1 for size in attributes.get("dilations", [1]))
    return dense and all(stride >= size for stride, size in zip(strides, kernel))


def dense_sigma(layer, entry):
    """sigma_1 of a zero-padded convolution from the matrix of each group; None where it is large."""
    attributes, weight = layer.attributes(), layer.weight
    inputs, outputs = entry["input_shape"], entry["output_shape"]
    groups = attributes.get("group", 1)
    size = np.prod(inputs, dtype=float) * np.prod(outputs, dtype=float) / groups**2
    explicit = attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    if layer.node.op_type != "Conv" or not explicit or size > LARGEST_MATRIX:
        return None
    if size * groups > LARGEST_TOTAL:
        return None
    blocks = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    matrices = group_matrices(blocks, attributes, inputs, outputs)
    # The Gram matrix costs half of sigma_1's digits, far more than are compared here.
    if matrices.shape[1] > matrices.shape[2]:
        matrices = matrices.transpose(0, 2, 1)
    gram = matrices @ matrices.transpose(0, 2, 1)
    return np.sqrt(np.linalg.eigvalsh(gram)[:, -1].max())


def group_matrices(weight, attributes, inputs, outputs):
    """The matrix of each group (groups, outputs, inputs), written tap by tap."""
    rank = len(inputs) - 1
    strides = attributes.get("strides", [1] * rank)
    dilations = attributes.get("dilations", [1] * rank)
    before = attributes.get("pads", [0] * 2 * rank)[:rank]
    groups, rows, columns = weight.shape[:3]
    matrices = np.zeros((groups, rows, *outputs[1:], columns, *inputs[1:]))
    for place in itertools.product(*map(range, outputs[1:])):
        for tap in itertools.product(*map(range, weight.shape[3:])):
            source = [
                p * s + t * d - b
                for p, s, t, d, b in zip(place, strides, tap, dilations, before)
            ]
            if all(0 <= at < size for at, size in zip(source, inputs[1:])):
                matrices[(slice(None), slice(None), *place, slice(None), *source)] += weight[(..., *tap)]
    return matrices.reshape(groups, rows * int(np.prod(outputs[1:])), -1)


class Check:
    """Collects what is wrong, and counts for the summary."""

    def __init__(self, record):
        self.tolerance = record["tolerance"]
        self.rows = {}
        for entry in record["layers"]:
            self.rows.setdefault(entry["name"], []).append(entry)
        self.skipped = {item["name"]: item for item in record["skipped"]}
        self.problems, self.analysed, self.skips, self.shapes, self.values = [], 0, 0, 0, 0
        self.residual, self.difference = 0.0, 0.0

    def layer(self, layer, shapes):
        """Find the node's row, or its entry among the skipped, and check it."""
        label = f"{layer.node.op_type} {layer.node.name or layer.weight_name}"
        for name in layer.names():
            if self.rows.get(name):
                self.row(label, layer, self.rows[name].pop(0), shapes)
                return
        reasons = [self.skipped[name]["reason"] for name in layer.names() if name in self.skipped]
        if any(reason.strip() for reason in reasons):
            self.skips += 1
        else:
            self.problems.append(f"{label}: neither analysed nor skipped with a reason")

    def row(self, label, layer, entry, shapes):
        """Convergence, shape and value of one row."""
        self.analysed += 1
        sigma = entry["singular_values"][0]
        residual = entry["residuals"][0] / sigma if sigma else 0.0
        self.residual = max(self.residual, residual)
        if not all(entry["converged"]) or not residual <= TOLERANCE:
            self.problems.append(f"{label}: not converged, relative residual {residual:.1e}")
        self.shape(label, layer, entry, shapes)
        expected = kernel_sigma(layer)
        if expected is None:
            expected = dense_sigma(layer, entry)
        if expected is not None:
            self.values += 1
            difference = abs(sigma - expected) / expected if expected else abs(sigma)
            self.difference = max(self.difference, difference)
            if not difference <= TOLERANCE:
                self.problems.append(f"{label}: sigma_1 is {sigma}, numpy finds {expected}")

    def shape(self, label, layer, entry, shapes):
        """The row's input shape against onnx's shape inference."""
        known = shapes.get(layer.node.input[1 - layer.weight_index])
        if known is None:
            return
        self.shapes += 1
        convolution = layer.node.op_type in ("Conv", "ConvTranspose")
        if convolution and entry["input_shape"] != known[1:]:
            self.problems.append(f"{label}: input shape {entry['input_shape']}, onnx infers {known[1:]}")
        if not convolution and int(np.prod(entry["input_shape"])) not in layer.weight.shape:
            self.problems.append(f"{label}: input shape {entry['input_shape']} does not fit its weight")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("record", type=pathlib.Path)
    parser.add_argument("--input", required=True, help="shape the record was made with: 1x3x48x192")
    options = parser.parse_args()

    model = onnx.load(options.model)
    record = json.loads(options.record.read_text())
    layers = linear_nodes(model.graph)
    shapes = inferred_shapes(model, [int(size) for size in options.input.split("x")])
    check = Check(record)
    for layer in layers:
        check.layer(layer, shapes)
    if not layers:
        check.problems.append("the file has no linear node with constant weights")
    if record["tolerance"] > TOLERANCE:
        check.problems.append(f"the record was made with tolerance {record['tolerance']}")
    print(
        f"{options.model.name}: {len(layers)} linear nodes, {check.analysed} analysed "
        f"(residual <= {check.residual:.1e}), {check.skips} skipped with a reason; "
        f"{check.values} values within {check.difference:.1e} of numpy's, "
        f"{check.shapes} input shapes compared; "
        f"{sum(entry['seconds'] for entry in record['layers']):.1f} s"
    )
    for problem in check.problems:
        print(f"  {problem}", file=sys.stderr)
    sys.exit(1 if check.problems else 0)


if __name__ == "__main__":
    main()
