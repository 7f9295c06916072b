#!/usr/bin/env python3
"""A step of training ResNet-18 on images of CIFAR-10's size, here and in PyTorch, on the same machine in one run.

Needs `pip install torch`. Both make forward pass, both gradients and a step of SGD with momentum on random images,
weights drawn alike, batch normalisation in training mode; runs alternate, and medians are compared.
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import time

import torch
from torch import nn
from torch.nn import functional

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Block(nn.Module):
    def __init__(self, ins, outs, stride):
        super().__init__()
        self.first = nn.Conv2d(ins, outs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outs)
        self.second = nn.Conv2d(outs, outs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outs)
        self.shortcut = None
        if stride != 1 or ins != outs:
            self.shortcut = nn.Sequential(nn.Conv2d(ins, outs, 1, stride, bias=False), nn.BatchNorm2d(outs))

    def forward(self, x):
        y = functional.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        if self.shortcut is None:
            return functional.relu(y + x)
        return functional.relu((y + self.shortcut(x)) / 2)


class ResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        blocks, ins = [], 64
        for outs, stride in [(64, 1), (128, 2), (256, 2), (512, 2)]:
            blocks += [Block(ins, outs, stride), Block(outs, outs, 1)]
            ins = outs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(512, 10)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def torch_steps(net, optimizer, batch, steps):
    times = []
    labels = torch.arange(batch) % 10
    for _ in range(steps):
        x = torch.randn(batch, 3, 32, 32)
        start = time.perf_counter()
        optimizer.zero_grad()
        functional.cross_entropy(net(x), labels).backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return times


def our_steps(program, batch, steps):
    output = subprocess.run([program, "steps", str(steps), str(batch)], check=True, capture_output=True, text=True)
    return [float(line) for line in output.stdout.split()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    arguments = parser.parse_args()
    built = subprocess.run(
        ["cargo", "bench", "-p", "specclip-lab", "--bench", "training_step", "--no-run"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )
    program = ROOT / re.search(r"\((target/[^)]*)\)", built.stderr).group(1)
    torch.manual_seed(0)
    net = ResNet18()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        # The first step of either allocates.
        ours += our_steps(program, arguments.batch, arguments.steps + 1)[1:]
        theirs += torch_steps(net, optimizer, arguments.batch, arguments.steps + 1)[1:]
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"batch {arguments.batch}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}, medians of {len(ours)} steps")
    print(f"specclip {a:.2f} s, PyTorch {b:.2f} s: PyTorch/specclip = {b / a:.2f}")


if __name__ == "__main__":
    main()
