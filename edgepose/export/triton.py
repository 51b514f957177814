"""A bundle as a model repository of the Triton Inference Server.

The stages' networks become models of their own, whose requests Triton's dynamic batcher joins, so
that crops of many cameras share a call. The model ``edgepose`` before them is Python (business
logic scripting): edgepose's own cascade, with its kernel and geometry, whose networks are the
served ones; see :mod:`edgepose.export.triton_model`.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.bundle import Bundle, NetworkSpec
from edgepose.engine.cache import Cache
from edgepose.engine.manifest import EngineManifest
from edgepose.errors import EngineError, OutputError
from edgepose.files import unwritable

CASCADE = "edgepose"
_TYPES = {"float32": "TYPE_FP32", "float16": "TYPE_FP16"}


@dataclass(frozen=True)
class Serving:
    """How networks are served.

    ``persons``: in one call of a stage at most. ``delay``: µs that a request waits for company.
    ``instances``: of the cascade, which is how many frames are under way at once.
    """

    persons: int = 16
    delay: int = 1000
    instances: int = 2


@dataclass(frozen=True)
class _Model:
    """One network in the repository; shapes with the batch first, -1 where a side is open."""

    name: str
    file: Path
    content: bytes | None  # None: the file's
    platform: str
    dtype: str
    rows: int  # at most in a call; 0: a network of fixed shape
    inputs: dict[str, list[int]]
    outputs: dict[str, list[int]]
    profiles: int = 0  # a plan's, of which Triton takes the one that fits

    def config(self, delay: int) -> str:
        """``config.pbtxt``; requests wait ``delay`` µs for company."""
        lines = [f'name: "{self.name}"', f'platform: "{self.platform}"']
        lines.append(f"max_batch_size: {self.rows}")
        lines += [_tensor("input", n, self.dtype, s, self.rows) for n, s in self.inputs.items()]
        lines += [_tensor("output", n, "float32", s, self.rows) for n, s in self.outputs.items()]
        group = "count: 1 kind: KIND_AUTO"
        if self.profiles > 1:
            names = ", ".join(f'"{number}"' for number in range(self.profiles))
            group = f"count: 1 kind: KIND_GPU profile: [ {names} ]"
        lines.append(f"instance_group [ {{ {group} }} ]")
        if self.rows:
            lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {delay} }}")
        return "\n".join(lines) + "\n"


def write_repository(
    bundle: Bundle, out: Path, serving: Serving | None = None, plans: Path | None = None
) -> list[str]:
    """Write ``bundle`` as a model repository into ``out``, a folder that is not there or empty.

    ``plans``: a folder of engines built by ``tensorrt``, whose plans are served in place of ONNX.
    Gives the models' names. Raises OutputError if ``out`` cannot be written or holds something,
    EngineError if a network has no plan there that Triton can run.
    """
    serving = serving or Serving()
    models: dict[str, _Model] = {}
    served: dict[str, Any] = {}
    for network in bundle.networks():
        if plans is None:
            model = _onnx(network, serving)
        else:
            model = _planned(bundle.name, network, serving, plans)
        models.setdefault(model.name, model)
        (name,) = model.inputs
        served[network.name] = {
            "model": model.name,
            "input": name,
            "dtype": model.dtype,
            "outputs": list(model.outputs),
            "rows": model.rows or None,
        }
    try:
        if out.is_dir() and any(out.iterdir()):
            raise OutputError(f"'{out}' holds something already; give a new folder.")
        for model in models.values():
            _write(out / model.name, model.config(serving.delay), model)
        version = out / CASCADE / "1"
        version.mkdir(parents=True)
        (version.parent / "config.pbtxt").write_text(_cascade_config(bundle, serving))
        (version / "served.json").write_text(json.dumps(served, indent=2) + "\n")
        shutil.copyfile(Path(__file__).with_name("triton_model.py"), version / "model.py")
        folder = version / "bundle"
        folder.mkdir()
        m = bundle.manifest
        names = {"bundle.toml", m.golden.file, *(s.file for s in (*m.stages, m.detector) if s)}
        for file in sorted(names):
            shutil.copyfile(bundle.path(file), folder / file)
    except OSError as error:
        raise unwritable(out, error) from None
    return [CASCADE, *models]


def _onnx(network: NetworkSpec, serving: Serving) -> _Model:
    """The bundle's own file; one model for all networks that share it."""
    inputs, outputs = _interface(network.path)
    rows = 0 if network.fixed else serving.persons * network.rows
    name = f"{CASCADE}_{network.path.stem}"
    return _Model(name, network.path, None, "onnxruntime_onnx", "float32", rows, inputs, outputs)


def _planned(bundle: str, network: NetworkSpec, serving: Serving, folder: Path) -> _Model:
    cache = Cache(folder)
    fitting = [
        manifest
        for _, manifest in cache.manifests()
        if isinstance(manifest, EngineManifest)
        and (manifest.identity.network, manifest.identity.onnx) == (network.name, network.sha256)
    ]
    plain = [m for m in fitting if m.identity.flavour == "tensorrt"]
    if not plain:
        but = ", only one by tensorrt-rtx, which Triton does not run" if fitting else ""
        raise EngineError(
            f"{folder} has no plan by tensorrt of {network.name} of bundle {bundle}{but}; build it "
            f"with: edgepose-build --flavour tensorrt --out {folder}"
        )
    manifest = max(plain, key=lambda m: m.built)
    identity = manifest.identity
    inputs, outputs = _interface(network.path)
    batch = identity.batch or ()
    return _Model(
        f"{CASCADE}_{network.name}",
        folder / manifest.plan,
        cache.read(manifest),
        "tensorrt_plan",
        "float16" if identity.precision == "fp16" else "float32",
        min(serving.persons, max(batch, default=0)) * network.rows,
        {name: [shape[0], *network.shape] for name, shape in inputs.items()},
        outputs,
        len(batch),
    )


def _interface(path: Path) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """A network's inputs and outputs, shapes by name; -1 where a side is open."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def shapes(values: Any) -> dict[str, list[int]]:
        return {v.name: [d if isinstance(d, int) else -1 for d in v.shape] for v in values}

    return shapes(session.get_inputs()), shapes(session.get_outputs())


def _tensor(kind: str, name: str, dtype: str, shape: list[int], rows: int) -> str:
    dims = shape[1:] if rows else shape
    inner = f"dims: [ {', '.join(map(str, dims))} ]"
    if not dims:  # a number per row: Triton wants a side and takes it off again
        inner = "dims: [ 1 ] reshape { shape: [ ] }"
    return f'{kind} [ {{ name: "{name}" data_type: {_TYPES[dtype]} {inner} }} ]'


def _cascade_config(bundle: Bundle, serving: Serving) -> str:
    k = len(bundle.skeleton)
    optional = " optional: true" if bundle.manifest.detector is not None else ""
    return f"""\
name: "{CASCADE}"
backend: "python"
max_batch_size: 0
input [
  {{ name: "frame" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] }},
  {{ name: "boxes" data_type: TYPE_FP32 dims: [ -1, 4 ]{optional} }}
]
output [
  {{ name: "boxes" data_type: TYPE_FP32 dims: [ -1, 5 ] }},
  {{ name: "joints" data_type: TYPE_FP32 dims: [ -1, {k}, 2 ] }},
  {{ name: "scores" data_type: TYPE_FP32 dims: [ -1, {k} ] }}
]
instance_group [ {{ count: {serving.instances} kind: KIND_CPU }} ]
parameters [ {{ key: "bundle" value: {{ string_value: "{_quoted(bundle.name)}" }} }} ]
"""


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _write(folder: Path, config: str, model: _Model) -> None:
    version = folder / "1"
    version.mkdir(parents=True)
    (folder / "config.pbtxt").write_text(config)
    name = "model.onnx" if model.content is None else "model.plan"
    if model.content is None:
        shutil.copyfile(model.file, version / name)
    else:
        (version / name).write_bytes(model.content)
