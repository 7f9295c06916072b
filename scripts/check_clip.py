#!/usr/bin/env python3
"""Clip model files with the program and check what it wrote with other software.

For networks that PyTorch exported (crates/specclip-cli/tests/fixtures), for weights in
16 bits, in a file beside the model, in lists, in Constant nodes, shared by two layers,
and for safetensors:

- outputs: onnxruntime gives for every value inside the clipped network exactly what it
  gives for the original in which onnx's own library has put the new numbers; onnx's
  reference implementation agrees where it is right; the original's values are others.
- bytes: with the original's numbers put back, the clipped file is the original.
- norms: every layer is cut out of the clipped file and run by onnxruntime on unit
  vectors. The largest singular value that numpy finds of that matrix is at most
  c (1 + tol) and is the one that the program reports.

Needs:  pip install numpy onnx onnxruntime
Usage:  python3 scripts/check_clip.py SPECCLIP
        (scripts/check_clip.sh makes the environment and calls it)
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

ROOT = pathlib.Path(__file__).resolve().parent.parent
TESTS = ROOT / "crates" / "specclip-cli" / "tests"
TOLERANCE = 1e-3
RANDOM = np.random.default_rng(20260101)
# Between a layer's input and its convolution there may be padding that an exporter wrote as nodes.
PADDING = {"Pad", "Slice", "Concat", "Identity", "Cast"}
# onnx's reference implementation is wrong here, of the original as well: before opset 14 it normalises batches by their
# own mean, and of a grouped transposed convolution it takes one channel a group.
NO_REFERENCE = {"planar_script13.onnx", "volume_dynamo20.onnx"}
LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def require(condition, message):
    if not condition:
        sys.exit(f"check_clip: {message}")


def clip(program, model, out, norm, *options):
    """Run the program; the JSON record."""
    command = [program, "clip", model, "--norm", norm, "-o", out, "--tol", TOLERANCE, "--json", *options]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    require(done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


# Tensors, wherever they are.

def tensors(model):
    """Every constant of the main graph by name: initialisers, and Constant nodes under the name of their output."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            found |= {node.output[0]: a.t for a in node.attribute if a.name == "value"}
    return found


def values(tensor):
    return numpy_helper.to_array(tensor)


def substitute(original, clipped):
    """The original with the clipped file's numbers put in by onnx, and the names of the tensors that changed."""
    model = onnx.ModelProto.FromString(original.SerializeToString())
    new, changed = tensors(clipped), []
    for name, tensor in tensors(model).items():
        if values(tensor).tobytes() != values(new[name]).tobytes():
            changed.append(name)
            fresh = numpy_helper.from_array(values(new[name]), tensor.name)
            fresh.data_type = tensor.data_type
            tensor.CopyFrom(fresh)
    return model, changed


# Bytes.

def same_but_for_weights(before, after, changed, out):
    """The two files, parsed without data of other files, are one with the weights of the first in both."""
    models = [onnx.load(path, load_external_data=False) for path in (before, after)]
    old, new = (tensors(model) for model in models)
    for name in changed:
        if new[name].data_location != TensorProto.EXTERNAL:
            new[name].CopyFrom(old[name])
    for name, tensor in new.items():
        for entry in tensor.external_data:
            if entry.key == "location":
                require(entry.value == f"{out.name}.data", f"{out}: {name} is in {entry.value}")
                entry.value = next(e.value for e in old[name].external_data if e.key == "location")
    first, second = (model.SerializeToString(deterministic=True) for model in models)
    require(first == second, f"{out}: more than the weights changed")
    return models[0]


def same_data_but_for_weights(model, before, after, changed):
    """Data files differ in the ranges of changed tensors only."""
    first, second = (np.frombuffer(path.read_bytes(), np.uint8) for path in (before, after))
    require(len(first) == len(second), f"{after} has another length than {before}")
    differs = first != second
    require(differs.any(), f"{after} has no new numbers")
    for name in changed:
        place = {e.key: e.value for e in tensors(model)[name].external_data}
        if place.get("location") == before.name:
            start = int(place.get("offset", 0))
            differs[start:start + int(place["length"])] = False
    require(not differs.any(), f"{after}: bytes outside the weights changed")


# Outputs.

def run(model, inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def all_values(model):
    """The model with every computed value among its outputs, and their names."""
    names = [o for node in model.graph.node for o in node.output if o and node.op_type != "Constant"]
    every = onnx.ModelProto.FromString(model.SerializeToString())
    del every.graph.output[:]
    every.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return every, names


def random_inputs(model, shape):
    given = [i for i in model.graph.input if i.name not in {t.name for t in model.graph.initializer}]
    require(len(given) == 1, "a network with one input is needed")
    return {given[0].name: RANDOM.standard_normal(shape).astype(np.float32)}


def difference(a, b):
    """The largest, relative to the largest number."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.abs(a - b).max(initial=0) / max(np.abs(b).max(initial=0), 1e-30)


def check_outputs(name, original, expected, clipped, shape):
    """Every value inside the network, not only its outputs: behind many clipped layers little is left but biases."""
    inputs = random_inputs(original, shape)
    before, wanted, found = (run(all_values(model)[0], inputs) for model in (original, expected, clipped))
    require(all(np.array_equal(w, f) for w, f in zip(wanted, found)),
            f"{name}: its values are not those of the original with the new weights")
    moved = max(map(difference, found, before))
    require(moved > 1e-3, f"{name}: its values are those of the original")
    if name not in NO_REFERENCE:
        for mine, other in zip(found, ReferenceEvaluator(all_values(expected)[0]).run(None, inputs)):
            error = difference(mine, other)
            require(error < 1e-4, f"{name}: onnx's reference implementation differs by {error:.1e}")
    return moved


# Norms.

class Graph:
    """A model with the shapes of its values, from which layers are cut out."""

    def __init__(self, model, inputs):
        self.model = model
        nodes = model.graph.node
        self.producer = {o: node for node in nodes for o in node.output}
        self.readers = {}
        for node in nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.constants = tensors(model)
        every, names = all_values(model)
        self.shapes = {name: np.shape(value) for name, value in zip(names, run(every, inputs))}
        self.shapes |= {name: value.shape for name, value in inputs.items()}

    def root(self, name):
        """The tensor in the file that a weight is made of."""
        while name not in self.constants and name in self.producer:
            name = self.producer[name].input[0]
        return name

    def users(self, weight):
        """The layers that multiply by a weight, each with its other operand."""
        for node in self.model.graph.node:
            if node.op_type in LAYERS:
                roots = [self.root(name) for name in node.input[:2]]
                if roots[1] == weight:
                    yield node, node.input[0]

    def source(self, value, shape):
        """The value of this shape from which `value` is padded."""
        queue = [value]
        while queue:
            name = queue.pop(0)
            if self.shapes.get(name, ())[1:] == shape:
                return name
            node = self.producer.get(name)
            if node is not None and node.op_type in PADDING:
                queue += [i for i in node.input if i in self.shapes]
        return None

    def matrix(self, start, end):
        """The columns M e_i of the part of the network from `start` to `end`."""
        wanted, nodes, queue = set(), [], [end]
        while queue:
            node = self.producer.get(queue.pop())
            if node is not None and id(node) not in wanted:
                wanted.add(id(node))
                queue += [i for i in node.input if i and i != start]
        nodes = [node for node in self.model.graph.node if id(node) in wanted]
        read = {i for node in nodes for i in node.input}
        shape = self.shapes[start]
        given = helper.make_tensor_value_info(start, TensorProto.FLOAT, [None] * len(shape))
        part = helper.make_graph(nodes, "part", [given], [onnx.ValueInfoProto(name=end)],
                                 [t for t in self.model.graph.initializer if t.name in read])
        part = helper.make_model(part, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        # Of a product at many positions, one position each for the columns.
        sizes = shape[1:] if nodes[-1].op_type not in ("MatMul", "Gemm") else shape[-1:]
        lead = (1,) * (len(shape) - 1 - len(sizes))
        eye = np.eye(int(np.prod(sizes)), dtype=np.float32).reshape(lead + (-1, *sizes))
        zero = run(part, {start: np.zeros_like(eye)})[0].astype(np.float64)
        columns = run(part, {start: eye})[0].astype(np.float64) - zero
        return columns.reshape(eye.size // int(np.sqrt(eye.size)), -1)


def check_norms(name, clipped, record, inputs, norm):
    """Of each layer of the record; how many were checked."""
    graph = Graph(clipped, inputs)
    checked = 0
    for layer in record["layers"]:
        shape = tuple(layer["input_shape"])
        sigmas = []
        for node, operand in graph.users(layer["weight"]["name"]):
            dense = layer["kind"] == "dense"
            start = operand if dense else graph.source(operand, shape)
            end = node.output[0]
            if layer["kind"].endswith("+bn"):
                while graph.producer[end].op_type != "BatchNormalization":
                    end = graph.readers[end][0].output[0]
            if start is not None and (dense or graph.shapes[end][1:] == tuple(layer["output_shape"])):
                sigmas.append(np.linalg.norm(graph.matrix(start, end), 2))
        require(sigmas, f"{name}: the layer {layer['name']} was not found in the graph")
        after = layer["after"]["sigma"]
        sigma = min(sigmas, key=lambda s: abs(s - after))
        require(abs(sigma - after) < 1e-4 * sigma, f"{name}, {layer['name']}: {after} is reported, {sigma} is true")
        require(sigma <= norm * (1 + TOLERANCE) * (1 + 1e-6), f"{name}, {layer['name']}: the norm is {sigma}")
        require(layer["state"] in ("kept", "clipped"), f"{name}, {layer['name']}: {layer['state']}")
        checked += 1
    return checked


def check_model(program, folder, path, shape, norm, *options):
    """One model: clipped, run, compared, its norms verified."""
    out = folder / f"{path.stem}_clipped.onnx"
    size = "x".join(map(str, shape))
    record = clip(program, path, out, norm, "--input", size, "--force", *options)
    original, clipped = onnx.load(path), onnx.load(out)
    expected, changed = substitute(original, clipped)
    weights = {l["weight"]["name"] for l in record["layers"] if l["state"] == "clipped"}
    if "--compose" not in options:
        require(set(changed) == weights, f"{out}: {changed} changed, but {sorted(weights)} are reported")
    require(changed, f"{out}: nothing was clipped, so nothing is checked")
    bare = same_but_for_weights(path, out, changed, out)
    data = {e.value for t in tensors(bare).values() for e in t.external_data if e.key == "location"}
    for name in data:
        same_data_but_for_weights(bare, path.parent / name, out.parent / f"{out.name}.data", changed)
    moved = check_outputs(path.name, original, expected, clipped, shape)
    checked = check_norms(path.name, clipped, record, random_inputs(clipped, shape), norm)
    print(f"{path.name:24} {' '.join(options):36} norm {norm}: {len(changed):2} weights changed, values moved "
          f"{moved:8.1e}, {checked:2} norms verified", flush=True)


# Models made here: what the exporter's do not have.

def stored_otherwise(path):
    """A list of floats, a Constant node, a transposed and scaled weight, strides, groups, a transposed convolution."""
    def weight(name, *shape):
        return (RANDOM.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    listed = weight("list", 6, 4, 3, 3)
    tensors = [
        helper.make_tensor("list.weight", TensorProto.FLOAT, listed.shape, listed.ravel()),
        numpy_helper.from_array(weight("up", 6, 2, 3, 3), "up.weight"),
        numpy_helper.from_array(weight("head", 100, 5), "head.weight"),
        numpy_helper.from_array(np.array([1, -1]), "flat"),
    ]
    constant = helper.make_node("Constant", [], ["node.weight"],
                                value=numpy_helper.from_array(weight("node", 6, 3, 3, 3)))
    nodes = [
        constant,
        helper.make_node("Conv", ["x", "list.weight"], ["a"], "list", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "node.weight"], ["c"], "node", group=2, pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["c", "up.weight"], ["d"], "up", strides=[2, 2], output_padding=[1, 1],
                         pads=[1, 1, 1, 1]),
        helper.make_node("AveragePool", ["d"], ["e"], kernel_shape=[2, 2], strides=[1, 1], pads=[0, 0, 1, 1]),
        helper.make_node("Slice", ["e", "from", "to", "axes"], ["f"]),
        helper.make_node("Reshape", ["f", "flat"], ["g"]),
        helper.make_node("Gemm", ["g", "head.weight"], ["y"], "head", alpha=0.7),
    ]
    tensors += [numpy_helper.from_array(np.array(v), n) for n, v in
                [("from", [0, 0]), ("to", [10, 5]), ("axes", [2, 3])]]
    image = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "other", [image("x", TensorProto.FLOAT, [1, 4, 10, 10])],
                              [image("y", TensorProto.FLOAT, [1, 5])], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def check_safetensors(program, folder):
    """Bare weights in every type that is clipped: the header and the other tensors stay, the norms are numpy's."""
    def bfloat16(x):
        """The upper half of float32, rounded to nearest."""
        bits = np.asarray(x, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)

    kinds = {"F32": np.float32, "F64": np.float64, "F16": np.float16, "BF16": bfloat16}
    parts, header, text, start = [], {"__metadata__": {"kept": "as it is"}}, "", 0
    for kind, convert in kinds.items():
        matrix = RANDOM.standard_normal((40, 30)) / 6
        data = convert(matrix).tobytes()
        header[f"{kind}.weight"] = {"dtype": kind, "shape": [40, 30], "data_offsets": [start, start + len(data)]}
        text += f'[[layer]]\nkind = "linear"\nweight = "{kind}.weight"\n'
        parts.append(data)
        start += len(data)
    header["other"] = {"dtype": "U8", "shape": [99], "data_offsets": [start, start + 99]}
    parts.append(bytes(range(99)))
    head = json.dumps(header).encode()
    before = len(head).to_bytes(8, "little") + head + b"".join(parts)
    (folder / "bare.safetensors").write_bytes(before)
    (folder / "bare.toml").write_text(text)
    out = folder / "bare_clipped.safetensors"
    record = clip(program, folder / "bare.toml", out, 1.2, "--method", "scale", "--precision", "f64")
    after = out.read_bytes()
    first = 8 + len(head)
    require(len(after) == len(before) and after[:first] == before[:first], f"{out}: the header changed")
    require(after[first + start:] == before[first + start:], f"{out}: a tensor without a layer changed")
    for kind, layer in zip(kinds, record["layers"]):
        begin, end = (first + offset for offset in header[f"{kind}.weight"]["data_offsets"])
        data = after[begin:end]
        require(data != before[begin:end], f"{out}: {kind} did not change")
        if kind == "BF16":
            matrix = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            matrix = np.frombuffer(data, kinds[kind])
        sigma = np.linalg.norm(matrix.reshape(40, 30).astype(np.float64), 2)
        require(sigma <= 1.2 * (1 + TOLERANCE), f"{out}: the stored {kind} has the norm {sigma}")
        require(abs(sigma - layer["after"]["sigma"]) < 1e-6, f"{out}: {kind} is reported {layer['after']['sigma']}")
    print(f"{'bare.safetensors':24} {'--method scale':36} norm 1.2:  4 weights changed, header and rest kept, "
          " 4 norms verified", flush=True)


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    onnxruntime.set_default_logger_severity(3)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name in TESTS.glob("fixtures/*.onnx*"):
            shutil.copy(name, folder)
        for name in ["half", "shared"]:
            shutil.copy(TESTS / "models" / f"{name}.onnx", folder)
        stored_otherwise(folder / "other.onnx")
        fixtures = {
            "planar_dynamo18": ["projection", "fastclip", "scale"],
            "planar_dynamo20": ["projection"],
            "planar_script13": ["scale"],
            "line_script13": ["projection"],
            "volume_dynamo20": ["projection"],
        }
        for name, methods in fixtures.items():
            shape = json.loads((TESTS / "fixtures" / f"{name}.json").read_text())["input"]
            for method in methods:
                check_model(program, folder, folder / f"{name}.onnx", shape, 0.4, "--method", method)
        planar = json.loads((TESTS / "fixtures" / "planar_dynamo18.json").read_text())["input"]
        check_model(program, folder, folder / "planar_dynamo18.onnx", planar, 0.4, "--method", "projection", "--compose")
        check_model(program, folder, folder / "half.onnx", [1, 4, 6, 6], 0.5, "--method", "projection")
        check_model(program, folder, folder / "half.onnx", [1, 4, 6, 6], 0.7, "--method", "scale", "--precision", "f64")
        check_model(program, folder, folder / "shared.onnx", [1, 4, 8, 8], 0.7, "--method", "projection")
        check_model(program, folder, folder / "other.onnx", [1, 4, 10, 10], 0.4, "--method", "fastclip")
        check_safetensors(program, folder)


if __name__ == "__main__":
    main()
