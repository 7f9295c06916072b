#!/bin/sh
# Export the networks of specclip-lab and check the files with onnx, onnxruntime and numpy
# (see check_export.py).
#
# Usage: scripts/check_export.sh [EXPORT_NETWORKS] [FOLDER]
#   EXPORT_NETWORKS  the example of specclip-lab  [default: target/release/examples/export_networks]
#   FOLDER           for the environment          [default: target/rapidocr, which check_rapidocr.sh makes as well]
#
# Needs Python 3.9 or newer with pip and venv; where they are missing and the user
# is root, they are installed with apt-get. The packages numpy, onnx and onnxruntime
# go into a virtual environment in FOLDER.
set -eu

. "$(dirname -- "$0")/python_env.sh"
example=${1:-$root/target/release/examples/export_networks}

[ -x "$example" ] ||
    fail "$example was not found: run cargo build --release -p specclip-lab --example export_networks first, or name it"
python_env numpy onnx onnxruntime
exec "$python" "$root/scripts/check_export.py" "$example"
