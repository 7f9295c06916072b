#!/usr/bin/env python3
"""Check exported networks with other software.

The example export_networks of specclip-lab writes every network (all padding modes,
ResNet-18 and DLA, with and without batch normalisation) with a batch of examples and
the logits that the network itself gives. Then

- onnx's own checker accepts the model, with shapes inferred strictly;
- onnxruntime's logits are the network's to 1e-5 of the largest, for the whole batch
  and for one example of it (the batch axis is free);
- the safetensors file, read here byte by byte, holds the model's initialisers under
  the same names, with the same shapes and bits;
- every weight that the description names is in it.

Needs:  pip install numpy onnx onnxruntime
Usage:  python3 scripts/check_export.py EXPORT_NETWORKS
        (scripts/check_export.sh makes the environment and calls it)
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

TOLERANCE = 1e-5


def require(condition, message):
    if not condition:
        sys.exit(f"check_export: {message}")


def run(model, image):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"image": image})[0]


def check_outputs(path, model):
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    image = np.fromfile(path.with_suffix(".image.f32"), "<f4").reshape(-1, *shape)
    expected = np.fromfile(path.with_suffix(".logits.f32"), "<f4").reshape(len(image), -1)
    scale = np.abs(expected).max()
    require(scale > 0, f"{path.name}: the network gives zeros")
    worst = 0.0
    for batch, logits in [(image, expected), (image[:1], expected[:1])]:
        found = run(model, batch)
        require(found.shape == logits.shape, f"{path.name}: logits of shape {found.shape}, not {logits.shape}")
        worst = max(worst, np.abs(found - logits).max() / scale)
    require(worst <= TOLERANCE, f"{path.name}: logits differ by {worst:.1e}")
    # An example of its own gives logits of its own: the check would see another network.
    spread = np.abs(expected - expected[:1])[1:].max() / scale
    require(spread > 100 * TOLERANCE, f"{path.name}: the examples are all the same to the network")
    return worst


def read_safetensors(path):
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    body = data[8 + length:]
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            require(entry["dtype"] == "F32", f"{path.name}: {name} is {entry['dtype']}")
            start, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(body[start:end], "<f4").reshape(entry["shape"])
    return tensors


def check_weights(path, model):
    stored = read_safetensors(path.with_suffix(".safetensors"))
    # Paddings and factors are no weights.
    initialisers = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    weights = {n: a for n, a in initialisers.items() if not n.endswith((".padding", ".factor"))}
    require(set(stored) == set(weights), f"{path.name}: other names: {set(stored) ^ set(weights)}")
    for name, array in weights.items():
        require(stored[name].shape == array.shape, f"{path.name}: {name} has another shape")
        require(stored[name].tobytes() == array.tobytes(), f"{path.name}: {name} has other numbers")
    named = re.findall(r'^(?:weight|running_var) = "(.*)"$', path.with_suffix(".toml").read_text(), re.M)
    require(named and set(named) <= set(stored), f"{path.name}: the description names other weights")


def main():
    require(len(sys.argv) == 2, "usage: check_export.py EXPORT_NETWORKS")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        subprocess.run([sys.argv[1], folder], check=True)
        paths = sorted(folder.glob("*.onnx"))
        require(len(paths) == 12, f"{len(paths)} networks instead of 12")
        for path in paths:
            model = onnx.load(path)
            onnx.checker.check_model(model, full_check=True)
            worst = check_outputs(path, model)
            check_weights(path, model)
            print(f"{path.stem}: logits within {worst:.1e}")


if __name__ == "__main__":
    main()
