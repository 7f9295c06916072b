#!/usr/bin/env python3
"""Measure how tight the intervals of `specclip bound` are.

Prints the tables of docs/benchmarks.md, "Tightness of the intervals": a CIFAR ResNet-18
(cargo bench), and the models of rapidocr-onnxruntime, which scripts/check_rapidocr.sh
downloads.

Usage:  python3 scripts/tightness.py [SPECCLIP] [MODELS]
        [default: target/release/specclip target/rapidocr/wheel/rapidocr_onnxruntime/models]
"""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODELS = {
    "ch_ppocr_mobile_v2.0_cls_infer": "1x3x48x192",
    "ch_PP-OCRv4_rec_infer": "1x3x48x320",
    "ch_PP-OCRv4_det_infer": "1x3x640x640",
}


def percent(gap):
    return "< 0.001 %" if gap < 1e-5 else f"{100 * gap:.2g} %"


def main():
    given = [pathlib.Path(path).resolve() for path in sys.argv[1:3]]
    defaults = [ROOT / "target/release/specclip", ROOT / "target/rapidocr/wheel/rapidocr_onnxruntime/models"]
    program, models = given + defaults[len(given):]
    for path in (program, models):
        if not path.exists():
            sys.exit(f"tightness: {path} was not found: run cargo build --release and scripts/check_rapidocr.sh first")
    bench = ["cargo", "bench", "--quiet", "--locked", "-p", "specclip", "--bench", "tightness"]
    subprocess.run(bench, check=True, cwd=ROOT)
    print("\n| model | input | layers | above 0.1 % | median gap | worst gap | of | seconds |")
    print("|---|---|---:|---:|---:|---:|---|---:|")
    for name, size in MODELS.items():
        command = [program, "bound", models / f"{name}.onnx", "--input", size, "--json"]
        record = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)
        layers = [layer for layer in record["layers"] if layer["gap"] is not None]
        layers.sort(key=lambda layer: layer["gap"])
        median, worst = layers[len(layers) // 2]["gap"], layers[-1]
        wide = sum(layer["gap"] > 1e-3 for layer in layers)
        print(f"| {name} | {size} | {len(layers)} | {wide} | {percent(median)} | {percent(worst['gap'])} "
              f"| {worst['name']} ({worst['upper_by']}) | {record['totals']['seconds']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
