#!/usr/bin/env python3
"""Time specclip, PyTorch, PowerQR and ARPACK side by side, in one run on one machine.

Three markdown tables on standard output:
- the convolution kernel: apply and adjoint of 3x3 layers against PyTorch's conv2d
  and its input gradient, medians of many calls;
- sigma_1 of the 21 layers (20 convolutions, one dense) of a CIFAR ResNet-18 with
  random weights: `specclip spectrum --top 1` against PowerQR written in PyTorch from
  its description, each to 1e-4 of the truth, which ARPACK in float64 gives;
- the five leading values: `specclip spectrum --top 5` against ARPACK
  (scipy.sparse.linalg.svds) over the PyTorch layer and its adjoint.

Exits 1 when one of specclip's values is wrong. Takes some minutes: most of it is
ARPACK on the pointwise layers, whose singular values are multiple. The machine
should have nothing else to do.

Needs a Rust toolchain and:  pip install torch scipy numpy onnx
Usage:                       python3 scripts/benchmark_pytorch.py
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
import warnings

# ARPACK's own vectors are short: a second thread in the BLAS under it only slows it down.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import scipy.sparse.linalg as sparse
import torch
from torch import nn
from torch.nn import functional

from resnet18 import ResNet18

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOLERANCE = 1e-4
KERNEL_LAYERS = [(64, 32), (128, 16), (256, 8), (512, 4)]
BATCHES = [1, 8]


class Layer:
    """One convolution or dense layer without its bias, at its place in the network."""

    def __init__(self, name, module, input_shape):
        self.name, self.module, self.input_shape = name, module, input_shape
        with torch.no_grad():
            self.output_shape = tuple(self.apply(torch.zeros(1, *input_shape), module.weight).shape[1:])

    def apply(self, x, weight):
        """M x for a batch."""
        if isinstance(self.module, nn.Linear):
            return functional.linear(x, weight)
        return functional.conv2d(x, weight, None, self.module.stride, self.module.padding)

    def adjoint(self, y, weight):
        """M' y for a batch."""
        if isinstance(self.module, nn.Linear):
            return y @ weight
        shape = (len(y), *self.input_shape)
        return nn.grad.conv2d_input(shape, weight, y, self.module.stride, self.module.padding)

    def label(self):
        """Name and shapes."""
        shapes = ["x".join(map(str, shape)) for shape in (self.input_shape, self.output_shape)]
        return f"{self.name} {shapes[0]} -> {shapes[1]}"


def resnet_layers(model):
    """The 21 layers in calling order."""
    found, handles = [], []

    def record(name):
        def hook(module, inputs, _):
            found.append(Layer(name, module, tuple(inputs[0].shape[1:])))
        return hook

    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            handles.append(module.register_forward_hook(record(name)))
    with torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    for handle in handles:
        handle.remove()
    return found


def as_scipy(layer, dtype):
    """The layer as a scipy LinearOperator over PyTorch."""
    weight = layer.module.weight.detach().to(dtype)
    scipy_type = np.float32 if dtype == torch.float32 else np.float64

    def run(action, shape):
        def product(vector):
            with torch.inference_mode():
                block = torch.from_numpy(np.ascontiguousarray(vector, scipy_type)).reshape(1, *shape)
                return action(block, weight).reshape(-1).numpy()
        return product

    rows, columns = int(np.prod(layer.output_shape)), int(np.prod(layer.input_shape))
    return sparse.LinearOperator(
        (rows, columns), dtype=scipy_type,
        matvec=run(layer.apply, layer.input_shape),
        rmatvec=run(layer.adjoint, layer.output_shape),
    )


def arpack(layer, count, tolerance, dtype, seed):
    """Leading singular values in descending order, and the seconds they took."""
    operator = as_scipy(layer, dtype)
    start = np.random.default_rng(seed).standard_normal(min(operator.shape)).astype(operator.dtype)
    begin = time.perf_counter()
    sigma = sparse.svds(
        operator, k=count, tol=tolerance, v0=start, solver="arpack", return_singular_vectors=False
    )
    return np.sort(sigma)[::-1], time.perf_counter() - begin


def power_qr(layer, truth, cap, seed):
    """The paper's Algorithm 1 with one vector and mu = 1; M'M by autograd.

    Returns sigma_1, iterations, seconds; stops within TOLERANCE of the truth or at the cap.
    """
    weight = layer.module.weight.detach()
    generator = torch.Generator().manual_seed(seed)
    block = torch.randn(int(np.prod(layer.input_shape)), 1, generator=generator)
    begin = time.perf_counter()
    for iteration in range(1, cap + 1):
        basis, triangle = torch.linalg.qr(block)
        sigma = max(0.0, abs(triangle[0, 0].item()) - 1.0) ** 0.5
        if iteration > 1 and abs(sigma - truth) <= TOLERANCE * truth:
            break
        basis.requires_grad_()
        image = layer.apply(basis.T.reshape(1, *layer.input_shape), weight)
        (gradient,) = torch.autograd.grad(0.5 * image.square().sum(), basis)
        block = basis.detach() + gradient
    return sigma, iteration, time.perf_counter() - begin


def median_ms(call):
    """Median of at least 30 calls and half a second."""
    for _ in range(5):
        call()
    times, begin = [], time.perf_counter()
    while len(times) < 30 or time.perf_counter() - begin < 0.5:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def time_kernels():
    """PyTorch's milliseconds, forward and input gradient, by layer and batch."""
    result = {}
    for channels, size in KERNEL_LAYERS:
        conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        layer = Layer("", conv, (channels, size, size))
        weight = conv.weight.detach()
        for batch in BATCHES:
            data = torch.randn(batch, channels, size, size)
            with torch.inference_mode():
                result[f"{channels}->{channels}@{size}", batch] = (
                    median_ms(lambda: layer.apply(data, weight)),
                    median_ms(lambda: layer.adjoint(data, weight)),
                )
    return result


def cargo(*arguments, **options):
    """Run cargo in the repository; its standard output."""
    command = ["cargo", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with exit code {done.returncode}")
    return done.stdout


def specclip_kernels(threads):
    """The same milliseconds of this library's kernel."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    lines = cargo("bench", "--quiet", "-p", "specclip", "--bench", "kernel_times", env=environment)
    records = [json.loads(line) for line in lines.splitlines() if line.strip()]
    return {(item["layer"], item["batch"]): (item["apply_ms"], item["adjoint_ms"]) for item in records}


def specclip_spectrum(program, model, names, top, options):
    """The layers of the median run, by name, and the median seconds of the whole program."""
    chosen = [argument for name in names for argument in ("--layer", name)]
    runs = []
    for _ in range(options.runs):
        begin = time.perf_counter()
        output = subprocess.run(
            [program, "spectrum", model, "--top", str(top), "--tol", str(TOLERANCE),
             "--precision", "f32", "--threads", str(options.threads), "--json", *chosen],
            stdout=subprocess.PIPE, check=False,
        )
        wall = time.perf_counter() - begin
        if output.returncode > 1:
            sys.exit(f"specclip spectrum ended with exit code {output.returncode}")
        layers = {entry["name"]: entry for entry in json.loads(output.stdout)["layers"]}
        if set(layers) != set(names):
            sys.exit(f"specclip names other layers: {sorted(set(layers) ^ set(names))}")
        runs.append((sum(entry["seconds"] for entry in layers.values()), wall, layers))
    runs.sort(key=lambda run: run[0])
    return runs[len(runs) // 2][2], float(np.median([run[1] for run in runs]))


def export(model, path):
    """Write ONNX with the batch norms kept, so that each convolution has its own weights."""
    with warnings.catch_warnings():
        # The exporter is deprecated, but the newer one folds batch norm into convolutions.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (torch.zeros(1, 3, 32, 32),), path, dynamo=False, opset_version=17,
            training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
        )


def table(title, header, rows):
    """Print one markdown table."""
    print(f"\n### {title}\n\n| {' | '.join(header)} |")
    print("|---|" + "---:|" * (len(header) - 1))
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def ratio(other, ours):
    """How many times faster ours is, or a dash."""
    return f"{other / ours:.2f}" if other and ours else "-"


def report_kernels(options):
    """The kernel table."""
    torch_times = time_kernels()
    ours = {} if options.no_specclip else specclip_kernels(options.threads)
    rows = []
    for key, (forward, gradient) in torch_times.items():
        apply, adjoint = ours.get(key, (None, None))
        cells = [f"{value:.3f}" if value else "-" for value in (forward, apply)]
        cells += [ratio(forward, apply)]
        cells += [f"{value:.3f}" if value else "-" for value in (gradient, adjoint)]
        rows.append([f"{key[0]}, batch {key[1]}", *cells, ratio(gradient, adjoint)])
    header = ["3x3 layer", "conv2d ms", "apply ms", "ratio", "input gradient ms", "adjoint ms", "ratio"]
    table("Convolution kernel", header, rows)


def deviation(values, truth):
    """Largest difference of the values from the true ones, relative to sigma_1."""
    return float(np.max(np.abs(np.asarray(values) - truth)) / truth[0])


def report_top1(layers, truths, ours, wall, options):
    """The sigma_1 table; the problems found in specclip's values."""
    rows, problems, total, missed = [], [], [0.0, 0.0], 0
    for index, layer in enumerate(layers):
        truth = truths[layer.name]
        cells = ["-", "-", "-"]
        if not options.skip_powerqr:
            sigma, iterations, seconds = power_qr(layer, truth, options.cap, options.seed + index)
            reached = abs(sigma - truth) <= TOLERANCE * truth
            missed += not reached
            total[0] += seconds
            cells = [f"{seconds:.3f}", f"{iterations}" if reached else f">{iterations}",
                     f"{abs(sigma - truth) / truth:.1e}"]
        entry = ours.get(layer.name)
        cells += own_cells(layer, entry, [truth], problems)
        total[1] += entry["seconds"] if entry else 0.0
        rows.append([layer.label(), f"{truth:.5f}", *cells])
    rows.append(["all layers", "", f"{total[0]:.2f}", f"{missed} missed", "",
                 f"{total[1]:.3f}", "", ""])
    table("sigma_1 to 1e-4", ["layer", "sigma_1", "PowerQR s", "iterations", "error",
                              "specclip s", "matvecs", "error"], rows)
    print_ratio("PowerQR", total, wall)
    return problems


def own_cells(layer, entry, truth, problems):
    """specclip's three cells, and what is wrong with the values."""
    if entry is None:
        return ["-", "-", "-"]
    error = deviation(entry["singular_values"][:len(truth)], np.asarray(truth))
    if not all(entry["converged"]):
        problems.append(f"{layer.name}: not converged")
    if not error <= TOLERANCE:
        problems.append(f"{layer.name}: off by {error:.1e} sigma_1")
    return [f"{entry['seconds']:.4f}", str(entry["matvecs"]), f"{error:.1e}"]


def print_ratio(name, total, wall):
    """One line below a table."""
    if all(total):
        print(f"\nspecclip is {total[0] / total[1]:.1f} times faster than {name} "
              f"({total[0] / wall:.1f} times with the whole program's {wall:.2f} s).")


def report_top5(layers, truths, ours, wall, options):
    """The five-value table; the problems found in specclip's values."""
    rows, problems, total = [], [], [0.0, 0.0]
    for index, layer in enumerate(layers):
        cells, reference = ["-", "-"], None
        if not options.skip_arpack:
            values, seconds = arpack(layer, 5, TOLERANCE, torch.float32, options.seed + index)
            total[0] += seconds
            truth = truths[layer.name]
            cells = [f"{seconds:.3f}", f"{abs(values[0] - truth) / truth:.1e}"]
            reference = values
        entry = ours.get(layer.name)
        total[1] += entry["seconds"] if entry else 0.0
        if reference is None:
            reference = [truths[layer.name]]
        rows.append([layer.label(), *cells, *own_cells(layer, entry, reference, problems)])
    rows.append(["all layers", f"{total[0]:.2f}", "", f"{total[1]:.3f}", "", ""])
    table("Five leading values to 1e-4",
          ["layer", "ARPACK s", "error of sigma_1", "specclip s", "matvecs", "largest difference"], rows)
    print_ratio("ARPACK", total, wall)
    return problems


def report_resnet(options, program, folder):
    """Both ResNet-18 tables; the problems found."""
    torch.manual_seed(options.seed)
    model = ResNet18().eval()
    layers = resnet_layers(model)
    names = [layer.name for layer in layers]
    path = os.path.join(folder, "resnet18.onnx")
    export(model, path)
    truths = {layer.name: arpack(layer, 1, 1e-10, torch.float64, 0)[0][0] for layer in layers}
    runs = {1: ({}, 0.0), 5: ({}, 0.0)}
    if program:
        runs = {top: specclip_spectrum(program, path, names, top, options) for top in (1, 5)}
    return (report_top1(layers, truths, *runs[1], options)
            + report_top5(layers, truths, *runs[5], options))


def processor():
    """The processor's name, where the system tells it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def parse():
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="for PyTorch and specclip alike")
    parser.add_argument("--seed", type=int, default=0, help="of weights and starting vectors")
    parser.add_argument("--runs", type=int, default=5, help="of specclip; the median counts")
    parser.add_argument("--cap", type=int, default=3000, help="most PowerQR iterations a layer")
    parser.add_argument("--skip-kernels", action="store_true")
    parser.add_argument("--skip-powerqr", action="store_true")
    parser.add_argument("--skip-arpack", action="store_true")
    parser.add_argument("--specclip", help="the program to time [default: build it]")
    parser.add_argument("--no-specclip", action="store_true", help="time the others alone")
    return parser.parse_args()


def main():
    options = parse()
    torch.set_num_threads(options.threads)
    print(f"{processor()}, {options.threads} threads, PyTorch {torch.__version__}, "
          f"seed {options.seed}, median of {options.runs} runs of specclip")
    program = options.specclip
    if not options.no_specclip and program is None:
        cargo("build", "--release", "--quiet", "-p", "specclip-cli")
        program = str(ROOT / "target" / "release" / "specclip")
    if not options.skip_kernels:
        report_kernels(options)
    with tempfile.TemporaryDirectory() as folder:
        problems = report_resnet(options, program, folder)
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
