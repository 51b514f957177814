"""A real Triton server on this machine: the one of the wheel ``nvidia-pytriton``, CPU only.

That server has the Python backend alone. So each network of a repository is given a ``model.py``
that runs its ``model.onnx`` by ONNX Runtime, as Triton's own backend of that name would; queues,
dynamic batching, shared memory and the calls between models are the server's.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import closing, contextmanager
from pathlib import Path

import tritonclient.grpc as triton

RUN_ONNX = '''
import pathlib
import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        path = pathlib.Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.names = [output.name for output in self.session.get_outputs()]

    def execute(self, requests):
        """One call for all requests that the server has joined."""
        given = [pb.get_input_tensor_by_name(r, self.input).as_numpy() for r in requests]
        found = self.session.run(self.names, {self.input: np.concatenate(given)})
        ends = np.cumsum([len(rows) for rows in given])[:-1]
        parts = zip(*(np.split(array, ends) for array in found))
        return [
            pb.InferenceResponse([pb.Tensor(n, a) for n, a in zip(self.names, arrays)])
            for arrays in parts
        ]
'''
FACTS = """
import importlib.util, platform, sysconfig
print(importlib.util.find_spec("pytriton").submodule_search_locations[0])
print(".".join(platform.python_version_tuple()[:2]))
print(sysconfig.get_config_var("LIBDIR"))
"""


class Server:
    """A running one; ``log`` is what it has written."""

    def __init__(self, process: subprocess.Popen, port: int, log: Path) -> None:
        self.process, self._port, self._log = process, port, log

    def client(self) -> triton.InferenceServerClient:
        return triton.InferenceServerClient(f"localhost:{self._port}")

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait(self, seconds: float) -> bool:
        """Whether it is ready before it ends or ``seconds`` are over."""
        end = time.monotonic() + seconds
        with closing(self.client()) as client:
            while self.process.poll() is None and time.monotonic() < end:
                try:
                    if client.is_server_ready():
                        return True
                except triton.InferenceServerException:
                    pass
                time.sleep(0.2)
        return False


def with_onnx(repository: Path) -> None:
    """Let ``model.py`` stand for the backend that is missing."""
    for config in repository.glob("*/config.pbtxt"):
        text = config.read_text()
        if 'platform: "onnxruntime_onnx"' in text:
            text = text.replace('platform: "onnxruntime_onnx"', 'backend: "python"')
            config.write_text(text.replace("KIND_AUTO", "KIND_CPU"))
            (config.parent / "1" / "model.py").write_text(RUN_ONNX)


@contextmanager
def serving(python: Path, repository: Path, work: Path):
    """A server with the Python environment of ``python``, which has pytriton and edgepose."""
    facts = subprocess.run([python, "-c", FACTS], capture_output=True, text=True, check=True)
    package, version, libraries = facts.stdout.split()
    root = work / "server"  # the Python backend wants its stub beside it
    shutil.copytree(Path(package) / "tritonserver", root)
    stub = root / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy(stub, root / "backends" / "python")
    bundled = Path(package).parent / "nvidia_pytriton.libs"
    ports = free_ports(2)
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": f"{bundled}:{libraries}",
        # The backend asks python3 on PATH where its packages are, and looks at nothing else.
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    log = work / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                root / "bin" / "tritonserver",
                f"--model-repository={repository}",
                f"--backend-directory={root / 'backends'}",
                f"--http-port={ports[0]}",
                f"--grpc-port={ports[1]}",
                "--allow-metrics=false",
                "--backend-config=python,stub-timeout-seconds=120",
            ],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Server(process, ports[1], log)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_ports(count: int) -> list[int]:
    holders = [socket.create_server(("localhost", 0)) for _ in range(count)]
    found = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return found
