#!/bin/sh
# Clip model files with `specclip clip` and check them with onnxruntime, onnx and numpy
# (see check_clip.py).
#
# Usage: scripts/check_clip.sh [SPECCLIP] [FOLDER]
#   SPECCLIP  the program to check       [default: target/release/specclip]
#   FOLDER    for the environment        [default: target/rapidocr, which check_rapidocr.sh makes as well]
#
# Needs Python 3.9 or newer with pip and venv; where they are missing and the user
# is root, they are installed with apt-get. The packages numpy, onnx and onnxruntime
# go into a virtual environment in FOLDER.
set -eu

. "$(dirname -- "$0")/python_env.sh"
specclip=${1:-$root/target/release/specclip}

[ -x "$specclip" ] || fail "$specclip was not found: run cargo build --release first, or name the program"
python_env numpy onnx onnxruntime
exec "$python" "$root/scripts/check_clip.py" "$specclip"
