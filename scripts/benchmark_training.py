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
from torch.nn import functional

from resnet18 import ResNet18

ROOT = pathlib.Path(__file__).resolve().parent.parent


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
        # The tests' selection of packages and features: another one would compile Burn again.
        ["cargo", "bench", "--workspace", "--all-features", "--bench", "training_step", "--no-run"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )
    program = ROOT / re.search(r"\((target/[^)]*)\)", built.stderr).group(1)
    torch.manual_seed(0)
    net = ResNet18(average=True)
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
