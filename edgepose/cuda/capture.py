"""Graphs of calls that include networks, or the same calls one by one where that cannot be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from edgepose.cuda.device import Device, Graph, Stream
from edgepose.cuda.network import DeviceNetwork
from edgepose.errors import BackendError, DeviceError

_log = logging.getLogger(__name__)


def graph_of(
    device: Device,
    stream: Stream,
    queue: Callable[[], None],
    networks: Sequence[DeviceNetwork],
    what: str,
) -> Graph | None:
    """A graph of what ``queue`` gives the stream, which it has once, and been waited for.

    None, and a warning that names ``what``, where it cannot be captured: the same calls without a
    graph are right, only slower.
    """
    try:
        if not all(network.capturable(stream) for network in networks):
            raise DeviceError("a network's call cannot be captured")
        with device.capture(stream) as captured:
            queue()
    except BackendError as error:
        _log.warning("no graph for %s, calls go one by one: %s", what, error)
        return None
    return captured.graph
