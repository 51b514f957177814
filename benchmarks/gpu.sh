#!/usr/bin/env bash
# The CUDA kernel on this machine's GPU: build, parity, compute-sanitizer, timings, in one JSON.
#
#   benchmarks/gpu.sh [OUT.json]      (default gpu.json; PYTHON picks the interpreter)
#
# Needs an NVIDIA GPU, nvcc, and a Python with numpy, setuptools and PyTorch for CUDA; no network.
# Exit code: 0 right, 1 wrong (a build, a result or a sanitizer), 2 this machine lacks something.
set -euo pipefail

out=${1:-gpu.json}
python=${PYTHON:-python3}
if [ $# -gt 1 ] || [[ $out == -* ]]; then
  echo "usage: benchmarks/gpu.sh [OUT.json]" >&2
  exit 2
fi
if ! mkdir -p "$(dirname "$out")" || [ ! -w "$(dirname "$out")" ]; then
  echo "$out cannot be written." >&2
  exit 2
fi
out=$(realpath "$out")
cd "$(dirname "$0")/.."

if ! "$python" -c 'import numpy, setuptools, torch'; then
  echo "$python lacks numpy, setuptools or torch: name another with PYTHON=…" >&2
  exit 2
fi
"$python" benchmarks/gpu_bench.py gpu
if ! "$python" -c 'import cuda_build, sys; sys.exit(cuda_build.find_nvcc() is None)'; then
  echo "There is no nvcc: install the CUDA toolkit or set CUDA_HOME." >&2
  exit 2
fi
EDGEPOSE_CUDA=1 "$python" cuda_build.py
"$python" benchmarks/gpu_bench.py report --out "$out"
echo "Written to $out"
