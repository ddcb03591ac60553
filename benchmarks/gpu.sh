#!/usr/bin/env bash
# Builds ggml and this package for an NVIDIA GPU, compares them there with the official code, and measures them.
#
#   benchmarks/gpu.sh --golden DIR --tokenizer DIR [--work DIR] [--architectures 90] [--sdist FILE] [--build-only]
#
# --golden       the golden data of the official code; without it nothing is compared
# --tokenizer    tokenizer files of a checkpoint, for full-size models of random weights; without it nothing is measured
# --work         where environment, models and results go (build/gpu)
# --architectures  as CMake's CMAKE_CUDA_ARCHITECTURES wants it: 90 is H100 and H200
# --sdist        the source of ggml-python that pip has downloaded, where there is no network
# --build-only   for a machine with nvcc and without a GPU
set -euo pipefail

golden="" tokenizer="" work="" architectures=90 sdist="" build_only=0
fail() {
    echo "gpu.sh: $1" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case "$1" in
        --build-only) build_only=1 && shift && continue ;;
        --golden | --tokenizer | --work | --architectures | --sdist)
            [ $# -ge 2 ] || fail "expected a value with $1, got none" ;;
        *) fail "expected --golden, --tokenizer, --work, --architectures, --sdist or --build-only, got $1" ;;
    esac
    case "$1" in
        --golden) golden=$(realpath "$2") ;;
        --tokenizer) tokenizer=$(realpath "$2") ;;
        --work) work=$(realpath -m "$2") ;;
        --architectures) architectures=$2 ;;
        --sdist) sdist=$(realpath "$2") ;;
    esac
    shift 2
done
cd "$(dirname "$0")/.."
work=${work:-$PWD/build/gpu}
command -v nvcc >/dev/null || fail "expected nvcc of the CUDA toolkit in PATH, got none"
[ "$build_only" = 1 ] || nvidia-smi >/dev/null 2>&1 || fail "expected an NVIDIA GPU, got none; --build-only needs none"
mkdir -p "$work"

# The wheel on PyPI is for processors; its source has all of ggml, CUDA included. Graphs are off there by default.
[ -e "$work/venv" ] || python3 -m venv "$work/venv"
. "$work/venv/bin/activate"
pip install -q "scikit-build-core>=0.11" "pybind11>=3.0" "cmake>=3.24" "ninja>=1.11"
if ! compgen -G "$work/venv/lib/python*/site-packages/lib/libggml-cuda.so" >/dev/null; then
    CMAKE_ARGS="-DGGML_CUDA=ON -DGGML_CUDA_GRAPHS=ON -DCMAKE_CUDA_ARCHITECTURES=$architectures" \
        pip install -q --no-cache-dir --no-build-isolation --no-binary ggml-python "${sdist:-ggml-python==0.0.45}"
fi
cmake --preset cuda -B "$work/library" -DPython_EXECUTABLE="$work/venv/bin/python"
cmake --build "$work/library"
pip install -q --no-build-isolation -C cmake.define.GGML_CUDA=ON -C build-dir="$work/package" ".[cli,convert]"
[ "$build_only" = 0 ] || { echo "gpu.sh: built in $work" && exit 0; }

# cuBLAS multiplies float32 as TF32, whose 10 bits of mantissa round every factor by up to 5e-4, and attention takes
# keys and values as F16: errors that the processor does not have, some of them one on another. What is to be equal stays so.
if [ -n "$golden" ]; then
    python -m minicpmo_cpp.parity --golden "$golden" --device CUDA0 --tolerance 1e-2 --types f32,bf16,q8_0,q4_k_m
fi
if [ -n "$tokenizer" ]; then
    for type in bf16 q4_k_m; do
        [ -e "$work/$type.gguf" ] ||
            python benchmarks/make_full_size.py "$tokenizer" -o "$work/$type.gguf" --type "$type" --speech
    done
    python benchmarks/gpu.py --device CUDA0 --bf16 "$work/bf16.gguf" --q4-k-m "$work/q4_k_m.gguf" --json "$work/gpu.json"
fi
