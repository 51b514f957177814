# `make demo` and `make test` do all set-up themselves; PYTHON picks the interpreter (>= 3.10).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo site test test-aarch64 test-triton fuzz fuzz-bundle audit sass sanitize lint format wheels \
	check-wheels bench bench-history clean

demo: $(VENV)/.run
	mkdir -p demo
	$(BIN)/edgepose-run --source sample --out demo/sample.mp4 --json demo/sample.jsonl
	@echo "See demo/sample.mp4 and demo/sample.jsonl"

# Installs a missing tool, where that is possible.
need = command -v $(1) > /dev/null || { apt-get update -qq && apt-get install -y -qq $(2); }
# A camera on the network, a browser and a screen; the tests that want one skip without it.
STREAMS := gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 python3-gi gstreamer1.0-tools \
	gstreamer1.0-plugins-base gstreamer1.0-plugins-good
WITH := --no-install-recommends

test: $(VENV)/.dev
	@$(call need,gst-launch-1.0,$(WITH) $(STREAMS)) || echo "no GStreamer: its tests are skipped"
	@$(call need,chromium,$(WITH) chromium) || echo "no Chromium: its tests are skipped"
	@$(call need,Xvfb,$(WITH) xvfb) || echo "no Xvfb: its tests are skipped"
	$(BIN)/python -m pytest
KERNEL := $(wildcard csrc/crop_cpu*.cpp)
NATIVE := -std=c++17 -g -pthread -ffp-contract=fast -Wall -Wextra -Wconversion -Icsrc $(KERNEL)

# The crop kernel's NEON path, cross-compiled and emulated, held to the reference.
test-aarch64: $(VENV)/.dev
	@$(call need,aarch64-linux-gnu-g++,g++-aarch64-linux-gnu)
	@$(call need,qemu-aarch64,qemu-user)
	mkdir -p build/aarch64
	PYTHONPATH=benchmarks $(BIN)/python -m tests.crop.cases build/aarch64/cases
	aarch64-linux-gnu-g++ -O2 -static $(NATIVE) tests/crop/parity.cpp -o build/aarch64/parity
	qemu-aarch64 build/aarch64/parity build/aarch64/cases

# The exported repository on a real Triton server, CPU only, that a wheel brings. Its Python backend
# is built for NumPy 1.
test-triton: $(VENV)/.dev
	$(PYTHON) -m venv build/triton
	build/triton/bin/pip install --quiet . "numpy<2"
	build/triton/bin/pip install --quiet --no-deps nvidia-pytriton==0.7.0
	EDGEPOSE_TRITON=$(CURDIR)/build/triton/bin/python $(BIN)/python -m pytest \
		--junitxml=build/triton.xml \
		tests/export/test_triton_server.py

# The crop kernel on arbitrary input for FUZZ_SECONDS, with sanitizers.
FUZZ_SECONDS ?= 60
SANITIZE := -fsanitize=fuzzer,address,undefined,float-cast-overflow -fno-sanitize-recover=all
fuzz:
	@$(call need,clang++,clang)
	mkdir -p build/fuzz/corpus
	clang++ -O1 $(SANITIZE) $(NATIVE) tests/crop/fuzz.cpp -o build/fuzz/crop
	build/fuzz/crop -max_total_time=$(FUZZ_SECONDS) -max_len=600 -len_control=0 \
		-artifact_prefix=build/fuzz/ build/fuzz/corpus

# Bundles that chance has spoilt, loaded for FUZZ_SECONDS: each ends in one sentence, soon.
fuzz-bundle: $(VENV)/.dev
	$(BIN)/python -m tests.hostile $(FUZZ_SECONDS)

# Known weaknesses of what a user installs; says so where the advisory service cannot be reached.
audit: $(VENV)/.dev
	$(BIN)/python release/audit.py

# What nvcc makes of the CUDA kernels: registers, spills, double precision; needs no GPU.
sass: $(VENV)/.dev
	$(BIN)/python benchmarks/sass.py

# The CUDA kernels' source on the host with sanitizers, alone and under the cascade on a device.
sanitize: $(VENV)/.dev
	$(BIN)/python -m tests.sanitized tests/crop/test_boxes.py tests/crop/test_cuda_kernel.py \
		tests/cascade -k "not sanitizers"

# The documentation, build/site/index.html; a link that leads nowhere is an error.
site: $(VENV)/.dev
	$(BIN)/mkdocs build --strict
	@echo "See build/site/index.html"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml \
		--allowlist .stubtest --ignore-unused-allowlist \
		edgepose._core $(if $(wildcard edgepose/_host.*.so),edgepose._host) \
		$(if $(wildcard edgepose/_cuda.*.so),edgepose._cuda)
	$(BIN)/clang-format --dry-run --Werror csrc/* tests/crop/*.cpp
	$(BIN)/python -m pytest tests/test_imports.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i csrc/* tests/crop/*.cpp

# One wheel for each CPython from 3.10 to 3.13 that is here, and aarch64's; see release/wheels.py.
wheels: $(VENV)/.dev
	$(BIN)/python release/wheels.py
	@$(call need,aarch64-linux-gnu-g++,g++-aarch64-linux-gnu)
	$(BIN)/python release/wheels.py --aarch64
	$(BIN)/python release/sbom.py

# Each wheel in a fresh environment with no compiler on its path: installed, and run on the sample.
check-wheels: $(VENV)/.dev
	$(BIN)/python release/check_wheel.py dist/*x86_64.whl
	@$(call need,qemu-aarch64,qemu-user)
	$(BIN)/python release/check_aarch64.py dist/*aarch64.whl

bench: $(VENV)/.dev
	$(BIN)/python -m pytest benchmarks --benchmark-columns=median,iqr,rounds

# The same, kept in benchmarks/results/ with the machine and the commit, and drawn over time.
bench-history: $(VENV)/.dev
	$(BIN)/python -m pytest benchmarks --benchmark-json=build/benchmark.json
	$(BIN)/python benchmarks/history.py build/benchmark.json

# Editable, so that the kernel is built in place; again whenever its sources change.
SOURCES := pyproject.toml constraints.txt setup.py cuda_build.py $(wildcard csrc/*)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(SOURCES) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: $(SOURCES) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@ $(VENV)/.run

clean:
	rm -rf build dist *.egg-info edgepose/*.so demo $(VENV)
