#!/usr/bin/env python3
"""Export three small PyTorch networks and write independent reference values.

Each network (planar: 2-D, line: 1-D, volume: 3-D) is exported by both PyTorch
exporters, at several opsets and with their different habits: batch norm folded
or kept, circular padding as Slice + Concat or as Pad "wrap", dynamic axes,
weights in a file of their own. Next to each ONNX file goes a JSON file of the
same stem with, for each linear layer in network order, its shapes, its six
leading singular values and its Frobenius norm. These come from the PyTorch
modules, not from the file: the module is applied to the identity in float64 and
the resulting matrix goes through numpy's dense SVD.

A layer's name is that of the initialiser that holds its weight, without a
trailing `.weight`; else that of its node. `node` is given as well, because the
exporters invent initialiser names (onnx::Conv_12, val_7) for folded weights.

Needs:  pip install torch onnx onnxscript onnxruntime numpy
Usage:  python3 scripts/make_pytorch_fixture.py
"""

import argparse
import json
import pathlib
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "crates" / "specclip-cli" / "tests" / "fixtures"
LEADING = 6
LARGEST_FILE = 100_000

LINEAR_OPERATORS = {
    "Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization",
    "AveragePool", "Resize",
}
# Which ONNX operators a module may become, and the kind word that specclip prints.
MODULES = {
    nn.Conv1d: (("Conv",), "conv1d"),
    nn.Conv2d: (("Conv",), "conv2d"),
    nn.Conv3d: (("Conv",), "conv3d"),
    nn.ConvTranspose1d: (("ConvTranspose",), "conv_transpose1d"),
    nn.ConvTranspose2d: (("ConvTranspose",), "conv_transpose2d"),
    nn.ConvTranspose3d: (("ConvTranspose",), "conv_transpose3d"),
    nn.Linear: (("Gemm", "MatMul"), "dense"),
    nn.BatchNorm1d: (("BatchNormalization",), "batch_norm"),
    nn.BatchNorm2d: (("BatchNormalization",), "batch_norm"),
    nn.BatchNorm3d: (("BatchNormalization",), "batch_norm"),
    nn.AvgPool1d: (("AveragePool",), "avg_pool"),
    nn.AvgPool2d: (("AveragePool",), "avg_pool"),
    nn.AvgPool3d: (("AveragePool",), "avg_pool"),
    nn.Upsample: (("Resize",), "resize"),
}


class Planar(nn.Module):
    """Input 4x12x10: every padding mode, strides, groups, dilation, resampling, tokens."""

    input_shape = (1, 4, 12, 10)

    def __init__(self):
        super().__init__()
        self.reflect = nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect")
        self.bn = nn.BatchNorm2d(8)
        self.circular = nn.Conv2d(8, 8, 3, stride=2, padding=1, padding_mode="circular")
        # Fresh statistics: the exporters store equal tensors (mean and bias, ...) once.
        self.fresh_bn = nn.BatchNorm2d(8)
        self.replicate = nn.Conv2d(8, 8, (3, 5), padding=(1, 2), padding_mode="replicate")
        self.grouped = nn.Conv2d(8, 12, 3, padding=1, groups=4)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False)
        self.pointwise = nn.Conv2d(12, 8, 1)
        self.dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.transposed = nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1, output_padding=1)
        self.even = nn.Conv2d(6, 6, (2, 4), padding=(1, 1))
        self.resize = nn.Upsample(scale_factor=2, mode="bilinear")
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)
        self.token = nn.Linear(6, 5)
        self.mixer = nn.Linear(5, 2, bias=False)
        self.dense = nn.Linear(13 * 9 * 2, 7)

    def forward(self, x):
        """Scores of 7 classes."""
        x = torch.relu(self.bn(self.reflect(x)))
        x = self.fresh_bn(torch.relu(self.circular(x)))
        x = torch.relu(self.replicate(x))
        x = self.depthwise(torch.relu(self.grouped(x)))
        x = torch.relu(self.dilated(torch.relu(self.pointwise(x))))
        x = torch.relu(self.even(torch.relu(self.transposed(x))))
        x = torch.relu(self.pool(self.resize(x)))
        x = torch.relu(self.token(x.flatten(2).transpose(1, 2)))
        return self.dense(torch.relu(self.mixer(x)).flatten(1))


class Line(nn.Module):
    """Input 3x32: the 1-D layers."""

    input_shape = (1, 3, 32)

    def __init__(self):
        super().__init__()
        self.reflect = nn.Conv1d(3, 8, 5, padding=2, padding_mode="reflect")
        self.bn = nn.BatchNorm1d(8)
        self.circular = nn.Conv1d(8, 8, 3, stride=2, padding=1, padding_mode="circular")
        self.replicate = nn.Conv1d(8, 8, 3, padding=1, padding_mode="replicate")
        self.grouped = nn.Conv1d(8, 12, 3, padding=1, groups=4)
        self.dilated = nn.Conv1d(12, 8, 3, padding=3, dilation=3)
        self.transposed = nn.ConvTranspose1d(8, 6, 3, stride=2, padding=1, output_padding=1)
        self.pool = nn.AvgPool1d(4)
        self.token = nn.Linear(6, 4)

    def forward(self, x):
        """Four numbers for each of the 8 positions."""
        x = torch.relu(self.bn(self.reflect(x)))
        x = torch.relu(self.replicate(torch.relu(self.circular(x))))
        x = torch.relu(self.dilated(torch.relu(self.grouped(x))))
        x = self.pool(torch.relu(self.transposed(x)))
        return self.token(x.transpose(1, 2))


class Volume(nn.Module):
    """Input 2x6x7x5: the 3-D layers."""

    input_shape = (1, 2, 6, 7, 5)

    def __init__(self):
        super().__init__()
        self.strided = nn.Conv3d(2, 6, 3, stride=(2, 1, 1), padding=(1, 1, 0))
        self.bn = nn.BatchNorm3d(6)
        self.circular = nn.Conv3d(6, 4, 3, padding=1, padding_mode="circular")
        self.transposed = nn.ConvTranspose3d(4, 4, 2, stride=(2, 1, 2), groups=2)
        self.pool = nn.AvgPool3d(2)
        self.dense = nn.Linear(4 * 3 * 4 * 3, 3)

    def forward(self, x):
        """Scores of 3 classes."""
        x = torch.relu(self.bn(self.strided(x)))
        x = torch.relu(self.circular(x))
        return self.dense(self.pool(torch.relu(self.transposed(x))).flatten(1))


def randomise_batch_norm(model):
    """Give every batch norm but the `fresh` one statistics and scales of both signs."""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not name.startswith("fresh"):
            nn.init.normal_(module.weight, std=1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.2, 2.0)


def build(network, seed):
    """The network with fixed weights, in evaluation mode."""
    torch.manual_seed(seed)
    model = network()
    randomise_batch_norm(model)
    return model.eval()


def trace(model):
    """(name, module, input shape, output shape) of each linear module, in calling order."""
    calls, handles = [], []

    def record(name):
        def hook(module, inputs, output):
            calls.append((name, module, tuple(inputs[0].shape), tuple(output.shape)))
        return hook

    for name, module in model.named_modules():
        if type(module) in MODULES:
            handles.append(module.register_forward_hook(record(name)))
    with torch.no_grad():
        model(torch.zeros(model.input_shape))
    for handle in handles:
        handle.remove()
    return calls


def spectrum(modules, input_shape):
    """Leading singular values and Frobenius norm of a chain of modules without their biases."""
    inputs = int(np.prod(input_shape))
    chain = nn.Sequential(*modules).double().eval()
    with torch.no_grad():
        identity = torch.eye(inputs, dtype=torch.float64).reshape(inputs, *input_shape)
        columns = chain(identity) - chain(torch.zeros(1, *input_shape, dtype=torch.float64))
    matrix = columns.reshape(inputs, -1).numpy()
    sigma = np.linalg.svd(matrix, compute_uv=False)
    chain.float()
    return {
        "singular_values": [float(value) for value in sigma[:LEADING]],
        "frobenius": float(np.linalg.norm(matrix)),
    }


def producers(graph):
    """The node behind each value, and the names of the initialisers."""
    nodes = {output: node for node in graph.node for output in node.output}
    return nodes, {tensor.name for tensor in graph.initializer}


def weight_name(node, nodes, initialisers):
    """The initialiser behind a node's weight, through Identity and Transpose; None without one."""
    if node.op_type in ("AveragePool", "Resize"):
        return None
    name = node.input[1]
    while name not in initialisers and name in nodes:
        if nodes[name].op_type not in ("Identity", "Transpose"):
            return None
        name = nodes[name].input[0]
    return name if name in initialisers else None


def layer_entry(node, weight, calls):
    """The reference of one ONNX node that stands for one module, or two when folded."""
    name, module, inputs, _ = calls[0]
    outputs = calls[-1][3]
    kind = MODULES[type(module)][1]
    # A dense layer acts on the last axis; the other axes are places it is applied to.
    places = int(np.prod(inputs[1:-1])) if kind == "dense" else 1
    shapes = (inputs[-1:], outputs[-1:]) if kind == "dense" else (inputs[1:], outputs[1:])
    return {
        "name": weight.removesuffix(".weight") if weight else node.name,
        "node": node.name,
        "module": name,
        "kind": kind,
        "folded_batch_norm": len(calls) == 2,
        "input_shape": list(shapes[0]),
        "output_shape": list(shapes[1]),
        "multiplicity": places,
        **spectrum([call[1] for call in calls], shapes[0]),
    }


def folded(module, following, operators):
    """Whether the exporter has merged `following` (a batch norm) into `module`."""
    is_batch_norm = following is not None and MODULES[type(following)][1] == "batch_norm"
    return is_batch_norm and "BatchNormalization" not in operators


def reference(model, graph):
    """One entry per linear node of the file, matched to the modules in network order."""
    nodes, initialisers = producers(graph)
    linear = [node for node in graph.node if node.op_type in LINEAR_OPERATORS]
    calls, entries, position = trace(model), [], 0
    for index, node in enumerate(linear):
        module = calls[position][1]
        if node.op_type not in MODULES[type(module)][0]:
            sys.exit(f"{node.name} ({node.op_type}) is not what {calls[position][0]} becomes")
        following = calls[position + 1][1] if position + 1 < len(calls) else None
        next_operator = [linear[index + 1].op_type] if index + 1 < len(linear) else []
        count = 2 if folded(module, following, next_operator) else 1
        weight = weight_name(node, nodes, initialisers)
        entries.append(layer_entry(node, weight, calls[position:position + count]))
        position += count
    if position != len(calls):
        sys.exit(f"{len(calls) - position} modules have no node in the file")
    return entries


def composed(model, entries, graph):
    """Reference of each convolution together with the batch norm that reads it directly."""
    modules = dict(model.named_modules())
    sources = {output: node.name for node in graph.node for output in node.output}
    reads = {node.name: sources.get(node.input[0]) for node in graph.node if node.input}
    by_node = {entry["node"]: entry for entry in entries}
    pairs = [
        (by_node[reads[second["node"]]], second)
        for second in entries
        if second["kind"] == "batch_norm" and reads[second["node"]] in by_node
    ]
    return [
        {
            "name": first["name"],
            "batch_norm": second["name"],
            "input_shape": first["input_shape"],
            "output_shape": second["output_shape"],
            **spectrum([modules[first["module"]], modules[second["module"]]], first["input_shape"]),
        }
        for first, second in pairs
    ]


def clear_metadata(message):
    """Drop doc strings and metadata, which hold the exporting machine's paths."""
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props"):
            message.ClearField(field.name)
        elif field.type == field.TYPE_MESSAGE:
            for part in value if hasattr(value, "__len__") else [value]:
                clear_metadata(part)


def export(model, path, options):
    """Write the ONNX file; what is left of an older one goes first."""
    path.with_name(path.name + ".data").unlink(missing_ok=True)
    with warnings.catch_warnings():
        # The older exporter warns that it is deprecated; it is still widely used.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (torch.zeros(model.input_shape),), str(path),
            input_names=["input"], output_names=["output"], verbose=False, **options,
        )
    file = onnx.load(path, load_external_data=False)
    clear_metadata(file)
    onnx.save(file, path)
    return file


def check_file(model, path):
    """Stop unless onnxruntime computes what PyTorch computes and the file is small."""
    data = torch.randn(model.input_shape)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = model(data).numpy()
    np.testing.assert_allclose(session.run(None, {"input": data.numpy()})[0], expected, atol=1e-5)
    if path.stat().st_size > LARGEST_FILE:
        sys.exit(f"{path.name} is larger than {LARGEST_FILE} bytes")


def dynamic_axes(network):
    """Symbolic batch and last axis, as the older exporter wants them."""
    last = len(network.input_shape) - 1
    return {"dynamic_axes": {"input": {0: "batch", last: "length"}}}


def exports():
    """File stem, network and exporter options of every fixture."""
    keep_batch_norm = {
        "training": torch.onnx.TrainingMode.PRESERVE,
        "do_constant_folding": False,
    }
    old, new = {"dynamo": False}, {"dynamo": True}
    embedded = {"external_data": False}
    return [
        ("planar_script13", Planar, {**old, "opset_version": 13}),
        ("planar_script17", Planar, {**old, "opset_version": 17, **keep_batch_norm}),
        ("planar_dynamo18", Planar, {**new, "opset_version": 18, **embedded}),
        ("planar_dynamo20", Planar, {**new, "opset_version": 20, "optimize": False}),
        ("line_script13", Line, {**old, "opset_version": 13, **dynamic_axes(Line)}),
        ("line_dynamo20", Line, {**new, "opset_version": 20, "optimize": False, **embedded}),
        ("volume_script17", Volume, {**old, "opset_version": 17}),
        ("volume_dynamo20", Volume, {**new, "opset_version": 20, **embedded}),
    ]


def write(stem, network, options, folder, seed):
    """One ONNX file and its reference."""
    model = build(network, seed)
    path = folder / f"{stem}.onnx"
    file = export(model, path, options)
    check_file(model, path)
    entries = reference(model, file.graph)
    record = {
        "model": path.name,
        "input": list(network.input_shape),
        "opset": next(entry.version for entry in file.opset_import if not entry.domain),
        "torch": torch.__version__.split("+")[0],
        "layers": entries,
        "composed": composed(model, entries, file.graph),
    }
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    operators = sorted({node.op_type for node in file.graph.node})
    print(f"{path.name}: {path.stat().st_size} bytes, {len(entries)} layers, {', '.join(operators)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(2)
    options.output.mkdir(parents=True, exist_ok=True)
    for stem, network, exporter in exports():
        write(stem, network, exporter, options.output, options.seed)


if __name__ == "__main__":
    main()
