#!/usr/bin/env bash
# All that only a GPU can show: build, parity, compute-sanitizer, timings, in one JSON.
#
#   benchmarks/gpu.sh [--dry] [OUT.json [STEP…]]   (default gpu.json, all steps; PYTHON picks Python)
#
# --dry: without a GPU, small, on the device that is none: shows that the steps themselves work.
#
# Needs an NVIDIA GPU, nvcc, g++, and a Python with numpy, setuptools and PyTorch for CUDA; no
# network. Every step runs in a process of its own under a time limit, and the JSON is written again
# after each. Exit code: 0 right, 1 wrong (a build or a step), 2 this machine lacks something.
set -euo pipefail

if [[ ${1:-} == --dry ]]; then
  export EDGEPOSE_DRY=1
  shift
fi
out=${1:-gpu.json}
python=${PYTHON:-python3}
if [[ $out == -* ]]; then
  echo "usage: benchmarks/gpu.sh [--dry] [OUT.json [STEP…]]" >&2
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
if [[ ${EDGEPOSE_DRY:-} == 1 ]]; then
  EDGEPOSE_CUDA=${EDGEPOSE_CUDA:-auto} "$python" setup.py --quiet build_ext --inplace --parallel 4
elif "$python" -c 'import cuda_build, sys; sys.exit(cuda_build.find_nvcc() is None)'; then
  EDGEPOSE_CUDA=1 "$python" setup.py --quiet build_ext --inplace --parallel 4
else
  echo "There is no nvcc: install the CUDA toolkit or set CUDA_HOME." >&2
  exit 2
fi
"$python" benchmarks/gpu_bench.py run "$out" "$@"
echo "Written to $out"
