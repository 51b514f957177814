"""What ``edgepose-doctor`` finds of the machine itself: system, video, cameras, crops, bundle."""

from __future__ import annotations

import importlib.util
import platform
import re
from pathlib import Path

from edgepose.bundle import Bundle
from edgepose.cli._finding import BROKEN, OK, OPTIONAL, Finding, jetpack, read
from edgepose.errors import CropError, EdgeposeError
from edgepose.sources.cameras import list_cameras
from edgepose.verify.golden import verify_golden

_MODEL = Path("/proc/device-tree/model")  # names the board, on a Jetson


def system() -> Finding:
    """Board, processor, Python."""
    text = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    board = read(_MODEL).strip("\0\n ")
    release = re.search(r"R(\d+).*?REVISION: ([\d.]+)", jetpack())
    if board:
        text = f"{board}, {text}"
    if release:
        text += f", Jetson Linux {release[1]}.{release[2]}"
    return Finding("system", text)


def opencv() -> Finding:
    """OpenCV and what it can read."""
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


def gstreamer() -> Finding:
    """Through PyGObject, which csi:// and gst: sources speak to it with."""
    if importlib.util.find_spec("gi") is not None:
        return Finding("GStreamer", "through PyGObject")
    step = (
        "for csi:// and gst: sources: sudo apt install python3-gi gir1.2-gst-plugins-base-1.0 "
        "gstreamer1.0-plugins-good, in an environment made with --system-site-packages"
    )
    return Finding("GStreamer", "no PyGObject in this Python", OPTIONAL, step)


def cameras() -> Finding:
    """Cameras that can be opened."""
    cameras = list_cameras()
    if cameras:
        shown = ", ".join(f"{c.source} ({c.name})" for c in cameras)
        problems = [f"{c.source}: {c.problem}" for c in cameras if c.problem]
        return Finding("cameras", shown, OPTIONAL if problems else OK, "; ".join(problems))
    step = "connect one, or run on a file or a made-up figure: edgepose-run --source test"
    return Finding("cameras", "none", OPTIONAL, step)


def cpu() -> Finding:
    """The crop kernel's instruction set."""
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


def bundle(folder: Path | None) -> Finding:
    """The bundle, run on its golden pairs."""
    from edgepose.backends import open_backend

    try:
        bundle = Bundle(folder)
        worst = max(verify_golden(bundle, open_backend("onnxruntime")).values())
    except EdgeposeError as error:
        return Finding("bundle", str(error), BROKEN, "install edgepose again or give --bundle")
    return Finding("bundle", f"{bundle.name}, golden pairs within {worst:.1g} on onnxruntime")
