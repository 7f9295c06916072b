# What the checks in this folder share. Sourced by them, it prints what a check says of itself where --help is asked
# for, and sets `root`, the project's folder, and `folder`, the check's second argument or target/rapidocr. Then
#
#   python_env numpy onnx ...
#
# makes a virtual environment in `folder`/venv unless it is there, installs the packages that cannot be imported,
# and sets `python` to its interpreter. Where Python 3 is missing and the user is root, it is installed with
# apt-get. Ends the script with a sentence and exit code 2 where none can be had.

case "${1:-}" in
-h | --help)
    sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'
    exit 0
    ;;
esac

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
folder=${2:-$root/target/rapidocr}

fail() {
    echo "$(basename -- "$0" .sh): $1" >&2
    exit 2
}

# A virtual environment with pip is the one thing that needs both modules.
python_is_ready() {
    command -v python3 >/dev/null 2>&1 && python3 -c 'import ensurepip, venv' >/dev/null 2>&1
}

install_python() {
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        fail "Python 3 with venv and pip was not found: install it (Debian: python3 python3-venv) and try again"
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        python3 python3-venv >/dev/null
    python_is_ready || fail "Python 3 was installed, but without venv and pip"
}

python_env() {
    python=$folder/venv/bin/python
    if [ ! -x "$python" ]; then
        python_is_ready || install_python
        mkdir -p "$folder"
        python3 -m venv "$folder/venv"
    fi
    for module in "$@"; do
        "$python" -c "import $module" 2>/dev/null ||
            "$python" -m pip install --quiet --disable-pip-version-check "$module"
    done
}
