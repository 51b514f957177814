"""The providers of the device protocol that this machine has: each is held to the same tests."""

from __future__ import annotations

import pytest

from edgepose.crop.native import device_count
from edgepose.cuda.host import HostDevice
from edgepose.cuda.native import NativeDevice

PROVIDERS = [
    *(pytest.param(lambda order=order: HostDevice(order), id=f"host-{order}")
      for order in ("late", "soon", "random")),
    pytest.param(
        NativeDevice,
        id="native",
        marks=pytest.mark.skipif(not device_count(), reason="there is no NVIDIA GPU here"),
    ),
]  # fmt: skip
