#!/usr/bin/env bash
# All that only a GPU can show: build, parity, compute-sanitizer, timings, in one JSON.
#
#   benchmarks/gpu.sh [OUT.json [STEP…]]      (default gpu.json, all steps; PYTHON picks Python)
#
# Needs an NVIDIA GPU, nvcc, g++, and a Python with numpy, setuptools and PyTorch for CUDA; no
# network. Every step runs in a process of its own under a time limit, and the JSON is written again
# after each. Exit code: 0 right, 1 wrong (a build or a step), 2 this machine lacks something.
set -euo pipefail

out=${1:-gpu.json}
python=${PYTHON:-python3}
if [[ $out == -* ]]; then
  echo "usage: benchmarks/gpu.sh [OUT.json [STEP…]]" >&2
  exit 2
fi
if ! mkdir -p "$(dirname "$out")" || [ ! -w "$(dirname "$out")" ]; then
  echo "$out cannot be written." >&2
  exit 2
fi
out=$(realpath "$out")
shift || true
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD:$PWD/benchmarks${PYTHONPATH:+:$PYTHONPATH}"

if ! "$python" -c 'import numpy, setuptools'; then
  echo "$python lacks numpy or setuptools: name another with PYTHON=…" >&2
  exit 2
fi
"$python" benchmarks/gpu_bench.py gpu
if ! "$python" -c 'import torch'; then
  echo "$python lacks torch, which the timings need: name another with PYTHON=…" >&2
  exit 2
fi
if ! "$python" -c 'import cuda_build, sys; sys.exit(cuda_build.find_nvcc() is None)'; then
  echo "There is no nvcc: install the CUDA toolkit or set CUDA_HOME." >&2
  exit 2
fi
EDGEPOSE_CUDA=1 "$python" setup.py --quiet build_ext --inplace --parallel 4
"$python" benchmarks/gpu_bench.py run "$out" "$@"
echo "Written to $out"
