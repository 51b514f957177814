"""GStreamer pipelines and CSI cameras as sources, through PyGObject.

OpenCV's wheels carry no GStreamer, so it is spoken to directly: the pipeline ends in an appsink
that keeps the newest frame only. NV12, which most cameras and decoders give, stays NV12: half the
bytes, and the kernels read it; whoever needs BGR asks the frame for it. RGB stays as it is, as BGR.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgepose.errors import SourceError
from edgepose.nv12 import NV12, Standard
from edgepose.sources.source import Source, SourceOptions, redact
from edgepose.types import Frame, Image, as_image

_SINK = "appsink name=edgepose max-buffers=1 drop=true sync=false"
# NV12's chroma needs even sides; of its ranges and matrices the kernels know two.
_EVEN = "width=[2,32766,2],height=[2,32766,2]"
_FRAMES = (
    f'videoconvert ! capsfilter caps="video/x-raw,format=NV12,colorimetry={{bt601,bt709}},{_EVEN};'
    'video/x-raw,format=BGR"'
)
_PATIENCE = 10.0
_TEGRA = "/etc/nv_tegra_release"


def pipeline_of(text: str) -> str:
    """The whole pipeline for ``gst:…``: what the user wrote, NV12 or BGR, newest frame kept."""
    written = text.removeprefix("gst:").strip().rstrip("!").strip()
    if not written:
        raise SourceError("'gst:' names no pipeline; write one, such as 'gst:v4l2src'.")
    return f"{written} ! {_FRAMES} ! {_SINK}"


def csi_pipeline(text: str, options: SourceOptions, *, tegra: bool) -> str:
    """The pipeline for ``csi://N``: NVIDIA's camera stack on a Jetson, libcamera elsewhere.

    It is asked for 1280 × 720 at 30 frames per second unless ``options`` say otherwise. On a Jetson
    its converter brings the frames, which stay NV12, from device memory.
    """
    number = text.removeprefix("csi://").strip("/") or "0"
    if not number.isdecimal():
        raise SourceError(f"'{text}' names no CSI camera; give its number, such as csi://0.")
    width, height = options.size or (1280, 720)
    rate = f"{round((options.fps or 30) * 1000)}/1000"
    size = f"width={width},height={height},framerate={rate}"
    if tegra:
        return (
            f"nvarguscamerasrc sensor-id={number} ! "
            f"video/x-raw(memory:NVMM),format=NV12,{size} ! "
            f"nvvidconv ! video/x-raw,format=NV12 ! {_FRAMES} ! {_SINK}"
        )
    return f"libcamerasrc camera-index={number} ! video/x-raw,{size} ! {_FRAMES} ! {_SINK}"


def open_pipeline(text: str, _: SourceOptions) -> Source:
    """``gst:`` and a pipeline that ends in raw video."""
    return GstSource(redact(text), pipeline_of(text))


def open_csi(text: str, options: SourceOptions) -> Source:
    """``csi://N``."""
    return GstSource(text, csi_pipeline(text, options, tegra=os.path.exists(_TEGRA)))


def explain_pipeline(text: str, _: SourceOptions) -> str:
    """The pipeline that is run, as for gst-launch-1.0."""
    return pipeline_of(text)


def explain_csi(text: str, options: SourceOptions) -> str:
    """The pipeline that is run, as for gst-launch-1.0."""
    return csi_pipeline(text, options, tegra=os.path.exists(_TEGRA))


class GstSource(Source):
    """A running pipeline. Live: the newest frame counts."""

    live = True

    def __init__(self, name: str, pipeline: str) -> None:
        """Run ``pipeline`` and wait for its first frame; SourceError says what GStreamer says."""
        self.name = name
        self._gst, self._video = _load()
        gst = self._gst
        try:
            self._pipeline = gst.parse_launch(pipeline)
        except Exception as error:  # noqa: BLE001 - GLib.Error, which exists only with PyGObject
            raise SourceError(f"'{name}' is no pipeline: {redact(str(error))}.") from None
        self._sink = self._pipeline.get_by_name("edgepose")
        self._bus = self._pipeline.get_bus()
        self._pipeline.set_state(gst.State.PLAYING)
        self._first = self._pull()
        if self._first is None:
            reason = self._reason() or f"it gives no frame within {_PATIENCE:g} s"
            self.close()
            raise SourceError(f"'{name}' cannot be read: {redact(reason)}.")
        self.height, self.width = self._first.shape[:2]

    def __iter__(self) -> Iterator[Frame]:
        image, self._first = self._first, None
        started, index = None, 0
        while image is not None:
            now = time.perf_counter()
            started = started or now
            yield Frame(image, index, now - started, now, self.number)
            del image
            index += 1
            image = self._pull()
        if reason := self._reason():
            raise SourceError(f"'{self.name}' broke off: {redact(reason)}.")
        if not self._sink.get_property("eos"):
            raise SourceError(f"'{self.name}' gave no frame for {_PATIENCE:g} s.")

    def _pull(self) -> Image | NV12 | None:
        """The next frame, or None at the end, after an error, or when nothing comes."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            sample = self._sink.emit("try-pull-sample", 100 * self._gst.MSECOND)
            if sample is not None:
                return self._image(sample)
            if self._sink.get_property("eos") or self._peek_error():
                return None
        return None

    def _image(self, sample: Any) -> Image | NV12:
        facts = sample.get_caps().get_structure(0)
        width, height = facts.get_value("width"), facts.get_value("height")
        known, top, bottom = facts.get_fraction("framerate")
        if known and top > 0 and self.fps is None:
            self.fps = top / bottom
        info = self._video.VideoInfo.new_from_caps(sample.get_caps())
        buffer = sample.get_buffer()
        ok, mapped = buffer.map(self._gst.MapFlags.READ)
        if not ok:
            raise SourceError(f"'{self.name}' gives frames that cannot be read.")
        try:
            # Some elements lay their planes out in a way of their own, and say so.
            told = self._video.buffer_get_video_meta(buffer) or info
            data = np.frombuffer(mapped.data, np.uint8)
            if facts.get_string("format") == "BGR":
                rows = self._plane(data, told, 0, height, 3 * width)
                return as_image(rows.reshape(height, width, 3))
            standard: Standard = "bt601" if facts.get_string("colorimetry") == "bt601" else "bt709"
            chroma = self._plane(data, told, 1, height // 2, width)
            return NV12(
                self._plane(data, told, 0, height, width),
                chroma.reshape(height // 2, width // 2, 2),
                standard,
            )
        finally:
            buffer.unmap(mapped)

    def _plane(self, data: Image, layout: Any, plane: int, rows: int, row: int) -> Image:
        """(rows, row) uint8: a copy of one plane of a buffer, which goes back to GStreamer."""
        offset, stride = layout.offset[plane], layout.stride[plane]
        # The last row need not be padded.
        size = (rows - 1) * stride + row
        view = np.lib.stride_tricks.as_strided(data[offset:][:size], (rows, row), (stride, 1))
        room = self._lent((rows, row))
        if room is None:
            return as_image(view.copy())
        np.copyto(room, view)
        return room

    def _peek_error(self) -> bool:
        return bool(self._bus.have_pending()) and self._reason() != ""

    def _reason(self) -> str:
        """What went wrong, "" if nothing did; remembered once read."""
        message = self._bus.pop_filtered(self._gst.MessageType.ERROR)
        if message is not None:
            error, _ = message.parse_error()
            self._said = re.sub(r"\s+", " ", str(error.message)).strip().rstrip(".")
        return getattr(self, "_said", "")

    def close(self) -> None:
        """Stop the pipeline."""
        self._pipeline.set_state(self._gst.State.NULL)


def _load() -> tuple[Any, Any]:
    """GStreamer and its library for video."""
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstApp", "1.0")
        gi.require_version("GstVideo", "1.0")
        from gi.repository import Gst, GstApp, GstVideo  # noqa: F401
    except (ImportError, ValueError):
        raise SourceError(
            "GStreamer cannot be used from this Python: sudo apt install python3-gi "
            "gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-good, and make the environment with "
            "python3 -m venv --system-site-packages."
        ) from None
    Gst.init(None)
    return Gst, GstVideo
