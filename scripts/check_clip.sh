#!/bin/sh
# Clip model files with `specclip clip` and check them with onnxruntime, onnx and numpy
# (see check_clip.py).
#
# Usage: scripts/check_clip.sh [SPECCLIP] [FOLDER]
#   SPECCLIP  the program to check       [default: target/release/specclip]
#   FOLDER    for the environment        [default: target/rapidocr, which check_rapidocr.sh makes as well]
#
# Needs Python 3.9 or newer with pip and venv. The packages numpy, onnx and onnxruntime
# go into a virtual environment in FOLDER.
set -eu

case "${1:-}" in
-h | --help)
    sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'
    exit 0
    ;;
esac

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
specclip=${1:-$root/target/release/specclip}
folder=${2:-$root/target/rapidocr}
python=$folder/venv/bin/python

if [ ! -x "$specclip" ]; then
    echo "check_clip: $specclip was not found: run cargo build --release first, or name the program" >&2
    exit 2
fi
mkdir -p "$folder"
[ -x "$python" ] || python3 -m venv "$folder/venv"
"$python" -c 'import numpy, onnx, onnxruntime' 2>/dev/null ||
    "$python" -m pip install --quiet --disable-pip-version-check numpy onnx onnxruntime
exec "$python" "$root/scripts/check_clip.py" "$specclip"
