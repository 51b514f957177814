"""The findings of ``edgepose-doctor``: one function per thing that is looked at."""

from __future__ import annotations

import importlib.util
import json
import platform
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from edgepose.bundle import Bundle
from edgepose.crop import native
from edgepose.cuda.driver import Driver, driver
from edgepose.engine.cache import Cache, default_folder
from edgepose.engine.flavour import FLAVOURS, Flavour, installed, open_flavour
from edgepose.engine.recipe import EngineRecipe
from edgepose.engine.request import Request, choose_targets
from edgepose.errors import CropError, EdgeposeError, EngineError
from edgepose.sources.cameras import list_cameras
from edgepose.verify.golden import verify_golden

OK, OPTIONAL, BROKEN = "ok", "missing", "broken"
_SIGN = {OK: "[green]✓[/]", OPTIONAL: "[yellow]–[/]", BROKEN: "[red]✗[/]"}
_MODEL = Path("/proc/device-tree/model")  # names the board, on a Jetson
_JETPACK = Path("/etc/nv_tegra_release")
_NVCC = Path("/usr/local/cuda/bin/nvcc")
_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Finding:
    """One thing: what was found, whether that is ``ok``, optional and ``missing``, or ``broken``.

    ``next``: what to do, empty if there is nothing to do.
    """

    what: str
    found: str
    state: str = OK
    next: str = ""


def run(folder: Path | None, *, as_json: bool) -> None:
    """Look at everything and print it. Raises EngineError if edgepose cannot run here."""
    findings = examine(folder)
    if as_json:
        print(json.dumps([asdict(f) for f in findings], ensure_ascii=False))  # noqa: T201
    else:
        _print(findings)
    broken = [f for f in findings if f.state == BROKEN]
    if broken:
        names = ", ".join(f.what for f in broken)
        raise EngineError(f"edgepose cannot run here as it is: see {names} above for the next step")


def examine(folder: Path | None) -> list[Finding]:
    """Every finding, in the order of printing."""
    found = driver()
    flavours = {name: _flavour(name) for name in installed()}
    looks: list[Callable[[], Finding]] = [
        _system,
        lambda: _gpu(found),
        lambda: _driver(found),
        lambda: _toolkit(found),
        lambda: _kernels(found),
        *(lambda name=name: _tensorrt(name, flavours.get(name)) for name in FLAVOURS),
        lambda: _pycuda(found),
        lambda: _package("onnx", "building engines needs it: pip install onnx"),
        lambda: _package("onnxruntime", "pip install onnxruntime", needed=True),
        lambda: _package("openvino", "often faster on Intel: pip install openvino"),
        _opencv,
        _gstreamer,
        _cameras,
        _cpu,
        lambda: _bundle(folder),
        lambda: _engines(folder, found, flavours),
    ]
    return [look() for look in looks]


def _system() -> Finding:
    text = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    board = _read(_MODEL).strip("\0\n ")
    release = re.search(r"R(\d+).*?REVISION: ([\d.]+)", _read(_JETPACK))
    if board:
        text = f"{board}, {text}"
    if release:
        text += f", Jetson Linux {release[1]}.{release[2]}"
    return Finding("system", text)


def _gpu(found: Driver) -> Finding:
    if found.gpus:
        text = "; ".join(f"{g.name}, {g.target}, {g.memory / 2**30:.1f} GiB" for g in found.gpus)
        return Finding("GPU", text)
    return Finding(
        "GPU",
        found.problem,
        OPTIONAL,
        "without one edgepose runs on the CPU; with an NVIDIA GPU see docs/jetson.md",
    )


def _driver(found: Driver) -> Finding:
    line = _read(_DRIVER).splitlines()
    version = re.search(r"\b(\d+\.\d+(\.\d+)?)\b", line[0]) if line else None
    if not found.cuda:
        step = "install NVIDIA's driver if there is an NVIDIA GPU"
        return Finding("NVIDIA driver", "none", OPTIONAL, step)
    text = f"{version[1]}, " if version else ""
    return Finding("NVIDIA driver", f"{text}runs up to CUDA {found.cuda}")


def _toolkit(found: Driver) -> Finding:
    """The CUDA compiler: only pycuda's installation needs it."""
    path = shutil.which("nvcc")
    if path is not None:
        return Finding("CUDA toolkit", path)
    if _NVCC.exists():
        step = f"for installing pycuda: export PATH={_NVCC.parent}:$PATH"
        return Finding("CUDA toolkit", f"{_NVCC}, not on the PATH", OPTIONAL, step)
    step = "needed only with a GPU"
    if found.gpus:
        step = "for installing pycuda: install the CUDA toolkit, see docs/jetson.md"
    return Finding("CUDA toolkit", "not installed", OPTIONAL, step)


def _kernels(found: Driver) -> Finding:
    """The CUDA kernels: whether this driver and these GPUs can run what was built."""
    if native._cuda is None:
        step = "needed only with a GPU"
        if found.gpus:
            step = "install the CUDA toolkit, then: EDGEPOSE_CUDA=1 pip install --force-reinstall ."
        return Finding("CUDA kernels", "not built", OPTIONAL, step)
    runtime, known = native._cuda.versions()
    built = [int(arch) for arch in native._cuda.ARCHITECTURES.split()]
    text = f"CUDA {runtime // 1000}.{runtime % 1000 // 10}, for {native._cuda.ARCHITECTURES}"
    # Code runs on later GPUs of its generation, and the last one's comes as PTX too.
    gpus = [10 * gpu.capability[0] + gpu.capability[1] for gpu in found.gpus]
    lost = [
        gpu
        for gpu in gpus
        if gpu < built[-1] and not any(a // 10 == gpu // 10 and a <= gpu for a in built)
    ]
    again = "pip install --force-reinstall ."
    if known and known // 1000 < runtime // 1000:
        step = f"update the driver, or build with the CUDA toolkit {found.cuda}: {again}"
        return Finding("CUDA kernels", f"{text}; the driver is too old", OPTIONAL, step)
    if lost:
        step = f"EDGEPOSE_CUDA_ARCHS={','.join(map(str, gpus))} {again}"
        return Finding("CUDA kernels", f"{text}, not for {lost[0]}", OPTIONAL, step)
    return Finding("CUDA kernels", text)


def _flavour(name: str) -> Flavour | EngineError:
    try:
        return open_flavour(name)
    except EngineError as error:
        return error


def _tensorrt(name: str, flavour: Flavour | EngineError | None) -> Finding:
    if isinstance(flavour, Flavour):
        extra = f", builds for {' '.join(flavour.targets)}" if flavour.rtx else ""
        return Finding(name, f"{flavour.version}{extra}")
    if isinstance(flavour, EngineError):
        return Finding(name, str(flavour), OPTIONAL, f"pip install --force-reinstall {name}")
    step = f"for engines: pip install {name}"
    if name == "tensorrt" and _JETPACK.exists():
        step = "for engines: sudo apt install python3-libnvinfer"
    return Finding(name, "not installed", OPTIONAL, step)


def _pycuda(found: Driver) -> Finding:
    step = 'to run engines: pip install "edgepose[tensorrt]", which needs the CUDA toolkit'
    if not found.gpus:
        step = "needed only with a GPU"
    return _package("pycuda", step)


def _package(name: str, step: str, *, needed: bool = False) -> Finding:
    if importlib.util.find_spec(name) is None:
        return Finding(name, "not installed", BROKEN if needed else OPTIONAL, step)
    try:
        return Finding(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(name, "installed, of unknown version")


def _opencv() -> Finding:
    try:
        import cv2
    except ImportError as error:
        step = "pip install --force-reinstall opencv-python"
        return Finding("OpenCV", str(error), BROKEN, step)
    registry = cv2.videoio_registry
    # GStreamer counts only where it was compiled in: a name may stand for a plug-in that is absent.
    names = [registry.getBackendName(b) for b in registry.getBackends()]
    built = dict(re.findall(r"^ +([\w/ ]+?): +(YES|NO)\b", cv2.getBuildInformation(), re.MULTILINE))
    gstreamer = built.get("GStreamer") == "YES"
    names = [n for n in names if n != "GSTREAMER" or gstreamer]
    text = f"{cv2.__version__}, video through {', '.join(dict.fromkeys(names))}"
    return Finding("OpenCV", text)


def _gstreamer() -> Finding:
    """Through PyGObject, which csi:// and gst: sources speak to it with."""
    if importlib.util.find_spec("gi") is not None:
        return Finding("GStreamer", "through PyGObject")
    step = (
        "for csi:// and gst: sources: sudo apt install python3-gi gir1.2-gst-plugins-base-1.0 "
        "gstreamer1.0-plugins-good, in an environment made with --system-site-packages"
    )
    return Finding("GStreamer", "no PyGObject in this Python", OPTIONAL, step)


def _cameras() -> Finding:
    cameras = list_cameras()
    if cameras:
        shown = ", ".join(f"{c.source} ({c.name})" for c in cameras)
        problems = [f"{c.source}: {c.problem}" for c in cameras if c.problem]
        return Finding("cameras", shown, OPTIONAL if problems else OK, "; ".join(problems))
    step = "connect one, or run on a file or a made-up figure: edgepose-run --source test"
    return Finding("cameras", "none", OPTIONAL, step)


def _cpu() -> Finding:
    try:
        from edgepose.crop import info
    except ImportError as error:
        step = "install edgepose again, with a C++ compiler: pip install --force-reinstall ."
        return Finding("crop kernel", str(error), BROKEN, step)
    try:
        found = info()
    except CropError as error:
        return Finding("crop kernel", str(error), BROKEN, "unset EDGEPOSE_CPU")
    return Finding("crop kernel", f"on the CPU, {found.path} (of {', '.join(found.present)})")


def _bundle(folder: Path | None) -> Finding:
    from edgepose.backends import open_backend

    try:
        bundle = Bundle(folder)
        worst = max(verify_golden(bundle, open_backend("onnxruntime")).values())
    except EdgeposeError as error:
        return Finding("bundle", str(error), BROKEN, "install edgepose again or give --bundle")
    return Finding("bundle", f"{bundle.name}, golden pairs within {worst:.1g} on onnxruntime")


def _engines(
    folder: Path | None, found: Driver, flavours: dict[str, Flavour | EngineError]
) -> Finding:
    cache = Cache(default_folder())
    count = len(cache.manifests())
    text = f"{count} in {cache.folder}"
    usable = [f for f in flavours.values() if isinstance(f, Flavour)]
    if not found.gpus or not usable:
        return Finding("engines", text, OK if count else OPTIONAL)
    try:
        bundle = Bundle(folder)
        fits = 0
        for flavour in usable:
            targets, cuda = choose_targets(flavour, "host", found)
            request = Request(bundle, flavour, targets, cuda, EngineRecipe())
            wanted = [request.identity(n) for n in bundle.networks()]
            kept = [cache.find(bundle.name, identity)[0] for identity in wanted]
            fits += all(m is not None and cache.whole(m) for m in kept)
    except EdgeposeError as error:
        return Finding("engines", text, OPTIONAL, str(error))
    if fits:
        return Finding("engines", f"{text}, those of {bundle.name} for this GPU among them")
    return Finding("engines", f"{text}, none for this GPU", OPTIONAL, "edgepose-build --verify")


def _print(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    width = max(len(f.what) for f in findings)
    for f in findings:
        line = f"{_SIGN[f.state]} {f.what:{width}}  {escape(f.found)}"
        console.print(line, soft_wrap=True)
        if f.next:
            console.print(f"  {'':{width}}  [dim]→ {escape(f.next)}[/]", soft_wrap=True)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
