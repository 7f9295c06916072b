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

case "${1:-}" in
-h | --help)
    sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'
    exit 0
    ;;
esac

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
specclip=${1:-$root/target/release/specclip}
folder=${2:-$root/target/rapidocr}
. "$root/scripts/python_env.sh"

[ -x "$specclip" ] || fail "$specclip was not found: run cargo build --release first, or name the program"
python_env numpy onnx onnxruntime
exec "$python" "$root/scripts/check_clip.py" "$specclip"
