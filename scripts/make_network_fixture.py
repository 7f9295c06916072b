#!/usr/bin/env python3
"""Export a small PyTorch network with a residual sum, a concatenation and max pooling, by both exporters, and write
the largest ratio ||f(x) - f(y)|| / ||x - y|| that gradient ascent over pairs finds.

Every bound of the network's Lipschitz constant must be at least that ratio. The ascent runs in float64 on the PyTorch
module, not on the file.

Needs:  pip install torch onnx onnxscript
Usage:  python3 scripts/make_network_fixture.py
"""

import pathlib

import torch
from torch import nn

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "crates" / "specclip-onnx" / "tests" / "fixtures"


class Network(nn.Module):
    """Input 2x8x8: a residual block, a dense block, overlapping max pooling, a classifier."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect")
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.grow = nn.Conv2d(4, 2, 3, padding=1)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.fc = nn.Linear(6 * 4 * 4, 5)

    def forward(self, x):
        x = torch.nn.functional.silu(self.stem(x))
        x = torch.relu(x + self.norm(self.conv(x)))
        x = torch.cat([x, torch.tanh(self.grow(x))], 1)
        return torch.log_softmax(self.fc(self.pool(x).flatten(1)), 1)


def reached(network):
    """The largest ratio over many pairs, each moved along its gradient."""
    best = 0.0
    for scale in [0.1, 1.0, 10.0]:
        x = (scale * torch.randn(32, 2, 8, 8, dtype=torch.float64)).requires_grad_()
        y = (x.detach() + 0.1 * scale * torch.randn_like(x)).requires_grad_()
        optimiser = torch.optim.Adam([x, y], lr=0.02 * scale)
        for _ in range(500):
            optimiser.zero_grad()
            change = (network(x) - network(y)).norm(dim=1)
            ratio = change / (x - y).flatten(1).norm(dim=1).clamp_min(1e-9)
            best = max(best, ratio.max().item())
            (-ratio.log().sum()).backward()
            optimiser.step()
    return best


def main():
    torch.manual_seed(5)
    network = Network().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.mul_(2)
        network.norm.weight.copy_(torch.tensor([1.5, -0.5, 1.0, 0.25]))
        network.norm.running_var.copy_(torch.tensor([0.5, 1.0, 2.0, 0.25]))
    OUTPUT.mkdir(parents=True, exist_ok=True)
    sample = (torch.zeros(1, 2, 8, 8),)
    export = {"opset_version": 18, "external_data": False}
    torch.onnx.export(network, sample, OUTPUT / "network_script.onnx", dynamo=False, do_constant_folding=False,
                      training=torch.onnx.TrainingMode.EVAL, opset_version=18)
    torch.onnx.export(network, sample, OUTPUT / "network_dynamo.onnx", dynamo=True, optimize=False, **export)
    (OUTPUT / "network.txt").write_text(f"{reached(network.double())!r}\n")


if __name__ == "__main__":
    main()
