"""Where frames come from: ``open_source`` turns what a user types into a source."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from edgepose.errors import SourceError
from edgepose.sources.source import Source

PICTURES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif"}
)
SAMPLE = "sample"


def open_source(spec: int | str | os.PathLike[str]) -> Source:
    """Open a camera, file, folder or stream and read its first frame.

    Args:
        spec: a camera's number; a path to a video, a picture or a folder of pictures (read in the
            order of their names); a URL that OpenCV can read (rtsp, http, …); or ``"sample"``, the
            clip that ships with edgepose. A path that exists wins over a number or the word sample.

    Raises:
        SourceError: there is no such source, or not one frame of it can be read.
    """
    # OpenCV is loaded with the first source, not with the package.
    from edgepose.sources import opencv, pictures

    if isinstance(spec, int):
        return opencv.CameraSource(spec)
    text = os.fspath(spec)
    if "://" in text:
        return opencv.UrlSource(text)
    path = Path(text).expanduser()
    if path.is_dir():
        return pictures.PictureSource(text, _pictures_in(path))
    if not path.exists():
        if text == SAMPLE:
            sample = resources.files("edgepose") / "assets" / "sample.mp4"
            return opencv.FileSource(Path(str(sample)), name=SAMPLE)
        if text.isdecimal():
            return opencv.CameraSource(int(text))
        raise SourceError(f"There is no file or folder '{text}'; check the path.")
    if not os.access(path, os.R_OK):
        raise SourceError(f"'{text}' may not be read; check the permissions of the file.")
    if path.suffix.lower() in PICTURES:
        return pictures.PictureSource(text, [path])
    return opencv.FileSource(path)


def _pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their names, hidden files left out."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        reason = error.strerror or error
        raise SourceError(f"The folder '{folder}' cannot be listed ({reason}).") from None
    found = [
        p for p in entries if p.suffix.lower() in PICTURES and p.name[0] != "." and p.is_file()
    ]
    if not found:
        raise SourceError(
            f"The folder '{folder}' holds no pictures; "
            f"give one with {', '.join(sorted(PICTURES))} files, or a video file."
        )
    return found
