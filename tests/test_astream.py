"""The asynchronous twin of stream."""

import asyncio
import contextlib
import threading
import time

import pytest

import edgepose
from edgepose.errors import SourceError


def test_it_gives_what_stream_gives_and_leaves_the_loop_free(clip):
    async def run():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.ensure_future(tick())
        found = [result.index async for result in edgepose.astream(clip)]
        ticking.cancel()
        return found, ticks

    found, ticks = asyncio.run(run())
    assert found == [result.index for result in edgepose.stream(clip)] == list(range(30))
    assert ticks > 5


def test_leaving_early_ends_its_threads():
    before = set(threading.enumerate())

    async def run():
        async with contextlib.aclosing(edgepose.astream("test")) as results:
            async for result in results:
                return result.index
        return None

    assert asyncio.run(run()) == 0
    deadline = time.monotonic() + 10
    while threads := [t for t in set(threading.enumerate()) - before if t.name[:8] == "edgepose"]:
        assert time.monotonic() < deadline, threads
        time.sleep(0.05)


def test_errors_come_through(tmp_path):
    async def run():
        async for _ in edgepose.astream(tmp_path / "missing.mp4"):
            pass

    with pytest.raises(SourceError, match="no file or folder"):
        asyncio.run(run())
