#!/bin/sh
# Run `specclip spectrum` on the three ONNX models of rapidocr-onnxruntime, which
# PaddlePaddle exported, and check the answers (see check_rapidocr.py).
#
# Usage: scripts/check_rapidocr.sh [SPECCLIP] [FOLDER]
#   SPECCLIP  the program to check       [default: target/release/specclip]
#   FOLDER    downloads and results      [default: target/rapidocr; kept, so that a second run is quick]
#
# Needs Python 3.9 or newer with pip and venv; where they are missing and the user
# is root, they are installed with apt-get. The packages onnx and numpy go into a
# virtual environment in FOLDER.
set -eu

. "$(dirname -- "$0")/python_env.sh"
specclip=${1:-$root/target/release/specclip}
package=rapidocr-onnxruntime==1.4.4

fetch_models() {
    # The package states an upper limit on Python for its code; only its model files are used here.
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps \
        --only-binary=:all: --ignore-requires-python --dest "$folder" "$package"
    "$python" -m zipfile -e "$folder"/rapidocr_onnxruntime-*.whl "$folder/wheel"
}

# Writes the JSON record; exit code 1 (not converged) is left to check_rapidocr.py, which names the layer.
run_model() {
    model=$models/$1
    status=0
    "$specclip" spectrum "$model" --input "$2" --top 1 --tol 1e-4 --json="$folder/$1.json" \
        >"$folder/$1.txt" || status=$?
    [ "$status" -le 1 ] || fail "specclip spectrum $1 --input $2 ended with exit code $status"
    "$python" "$root/scripts/check_rapidocr.py" "$model" "$folder/$1.json" --input "$2" || failed=1
}

[ -x "$specclip" ] || fail "$specclip was not found: run cargo build --release first, or name the program"
python_env numpy onnx
models=$folder/wheel/rapidocr_onnxruntime/models
[ -d "$models" ] || fetch_models

failed=0
run_model ch_ppocr_mobile_v2.0_cls_infer.onnx 1x3x48x192
run_model ch_PP-OCRv4_rec_infer.onnx 1x3x48x320
run_model ch_PP-OCRv4_det_infer.onnx 1x3x640x640
exit "$failed"
