"""Which cameras are connected, on Linux."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import NamedTuple

_QUERYCAP = 0x80685600  # VIDIOC_QUERYCAP, of linux/videodev2.h
_CAPTURE, _CAPTURE_PLANES, _PER_DEVICE = 0x1, 0x1000, 0x80000000


class Camera(NamedTuple):
    """A camera: what to give as a source, what it is called, and why it cannot be used ("")."""

    source: str
    name: str
    problem: str = ""


def list_cameras(folder: Path = Path("/dev")) -> list[Camera]:
    """Every device that can capture video, in the order of their numbers.

    Devices that only carry a camera's metadata are left out.
    """
    found = []
    devices = [p for p in folder.glob("video*") if p.name[5:].isdecimal()]
    for device in sorted(devices, key=lambda p: int(p.name[5:])):
        name = _kernel_name(device)
        try:
            fd = os.open(device, os.O_RDWR | os.O_NONBLOCK)
        except OSError as error:
            problem = (error.strerror or str(error)).lower()
            if isinstance(error, PermissionError):
                problem = "you may not use it: sudo usermod -aG video $USER, then log in again"
            found.append(Camera(str(device), name, problem))
            continue
        try:
            facts = fcntl.ioctl(fd, _QUERYCAP, bytes(104))
        except OSError:
            continue  # no Video4Linux device
        finally:
            os.close(fd)
        card, capabilities, own = struct.unpack_from("16x32s36xII", facts)
        if capabilities & _PER_DEVICE:
            capabilities = own
        if capabilities & (_CAPTURE | _CAPTURE_PLANES):
            found.append(Camera(str(device), card.split(b"\0")[0].decode(errors="replace")))
    return found


def _kernel_name(device: Path) -> str:
    try:
        return Path("/sys/class/video4linux", device.name, "name").read_text().strip()
    except OSError:
        return device.name
