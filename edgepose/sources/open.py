"""What a user types → a source: one table, one line per kind.

Nothing heavy is imported before a source is opened.
"""

from __future__ import annotations

import glob
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

from edgepose.errors import SourceError
from edgepose.sources.source import Source, SourceOptions, redact

PICTURES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif"}
)
SAMPLE = "sample"
SAMPLE_BOX = (230, 310, 575, 1180)  # of the man in the sample's first frame, edges in pixels


class Kind(NamedTuple):
    """A kind of source.

    ``form`` shows how it is written, ``matches`` tells whether a text is of it, ``make`` names what
    opens it: ``module:callable``, called with the text and a ``SourceOptions``. ``explain`` names
    what says in words how it would be read, with the same arguments.
    """

    form: str
    matches: Callable[[str], bool]
    make: str
    explain: str | None = None


# The first that matches: what exists on disk wins over a number or a word.
KINDS: list[Kind] = [
    Kind(
        "csi://0",
        lambda t: t.startswith("csi://"),
        "edgepose.sources.gstreamer:open_csi",
        "edgepose.sources.gstreamer:explain_csi",
    ),
    Kind(
        "gst:PIPELINE",
        lambda t: t.startswith("gst:"),
        "edgepose.sources.gstreamer:open_pipeline",
        "edgepose.sources.gstreamer:explain_pipeline",
    ),
    Kind("/dev/video0", lambda t: _camera(t) is not None, "edgepose.sources.opencv:open_camera"),
    Kind("rtsp://…", lambda t: "://" in t, "edgepose.sources.opencv:open_url"),
    Kind("folder/", lambda t: _path(t).is_dir(), "edgepose.sources.pictures:open_folder"),
    Kind(
        "picture.jpg",
        lambda t: _path(t).is_file() and _path(t).suffix.lower() in PICTURES,
        "edgepose.sources.pictures:open_picture",
    ),
    Kind(
        "pictures.tar",
        lambda t: _path(t).is_file() and _path(t).suffix.lower() == ".tar",
        "edgepose.sources.tar:open_tar",
    ),
    Kind("clip.mp4", lambda t: _path(t).exists(), "edgepose.sources.opencv:open_file"),
    Kind("0", str.isdecimal, "edgepose.sources.opencv:open_camera"),
    Kind("sample", lambda t: t == SAMPLE, "edgepose.sources.opencv:open_sample"),
    Kind("test", lambda t: _word(t, "test"), "edgepose.sources.pattern:open_pattern"),
    Kind("screen", lambda t: _word(t, "screen"), "edgepose.sources.screen:open_screen"),
    Kind("'shots/*.jpg'", lambda t: glob.has_magic(t), "edgepose.sources.pictures:open_glob"),
]


def open_source(
    spec: int | str | os.PathLike[str],
    options: SourceOptions | None = None,
    number: int = 0,
) -> Source:
    """Open a camera, file, folder or stream and read its first frame.

    Args:
        spec: a camera's number or device (``0``, ``/dev/video0``, ``csi://0``); a path to a video,
            a picture, a folder or tar of pictures, or a glob of them (read in the order of their
            names); a URL (rtsp, http, tcp, …); ``gst:`` and a GStreamer pipeline; ``"screen"``;
            ``"test"``, a figure that is made up as it goes; or ``"sample"``, the clip that ships.
            A path that exists wins over a number or a word.
        options: size, rate, rotation and whether to loop.
        number: of this source in the run; its frames carry it.

    Raises:
        SourceError: there is no such source, or not one frame of it can be read.
    """
    from edgepose.sources.adapt import adapted

    text, wanted = os.fspath(spec) if not isinstance(spec, int) else str(spec), options
    wanted = wanted or SourceOptions()
    kind = _kind(text, camera=isinstance(spec, int))

    def make() -> Source:
        source = cast("Source", _load(kind.make)(text, wanted))
        source.number = number
        return source

    return adapted(make, wanted)


def explain_source(spec: int | str | os.PathLike[str], options: SourceOptions | None = None) -> str:
    """How :func:`open_source` would read ``spec``, such as the GStreamer pipeline it runs."""
    text = os.fspath(spec) if not isinstance(spec, int) else str(spec)
    kind = _kind(text, camera=isinstance(spec, int))
    if kind.explain is None:
        return f"{redact(text)}: read as {kind.form}, by {kind.make.partition(':')[0]}"
    return redact(cast("str", _load(kind.explain)(text, options or SourceOptions())))


def _kind(text: str, camera: bool) -> Kind:
    for kind in KINDS:
        if kind.form == "0" if camera else kind.matches(text):
            return kind
    raise SourceError(f"There is no file or folder '{text}'; check the path.")


def _load(name: str) -> Callable[[str, SourceOptions], object]:
    module, _, function = name.partition(":")
    loaded: Callable[[str, SourceOptions], object] = getattr(
        importlib.import_module(module), function
    )
    return loaded


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _camera(text: str) -> int | None:
    digits = text.removeprefix("/dev/video")
    return int(digits) if digits != text and digits.isdecimal() else None


def _word(text: str, word: str) -> bool:
    name, _, number = text.partition(":")
    return name == word and (not number or number.isdecimal())
