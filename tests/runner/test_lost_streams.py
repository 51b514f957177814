"""A run over a real RTSP server that dies, comes back, stalls and changes its size."""

import itertools
import time

import numpy as np
import pytest

from edgepose.runner.lifecycle import Patience
from edgepose.sources.open import open_source
from tests.rtsp import RtspCamera, need_rtsp, pictures_of
from tests.runner.feeds import Counting, pipeline

QUICK = Patience(stalled=0.5, first=0.05, longest=0.3)


@pytest.fixture(scope="module")
def pictures(sample, tmp_path_factory):
    need_rtsp()
    folder = tmp_path_factory.mktemp("pictures")
    return {
        size: pictures_of(sample, folder / str(size[0]), size, count=8)
        for size in ((184, 320), (320, 184))
    }


def test_a_server_that_dies_and_comes_back_with_another_size(pictures):
    (tall, wide) = pictures
    with RtspCamera(pictures[tall], size=tall) as camera:
        source = open_source(camera.url)
        other = Counting(100_000, live=True, period=0.05)
        run = pipeline(
            source,
            other,
            reopen={0: lambda: open_source(camera.url)},
            patience=QUICK,
        )
        seen, others, fresh, sizes = [], 0, 0, [wide]
        shown = [tall]
        with run:
            for result in itertools.islice(run, 3000):
                own = run.stats.sources[0]
                if result.source == 1:
                    others += own.state == "reconnecting"
                    continue
                seen.append((result.index, result.time))
                assert result.frame.mean() > 20  # no black frame is fed
                size = result.frame.shape[1::-1]
                fresh += size == shown[-1]
                if fresh == 5 and sizes:
                    # Its plug is pulled; it comes back with another picture.
                    camera.kill()
                    shown.append(sizes.pop(0))
                    camera.start(pictures[shown[-1]], shown[-1])
                    fresh = 0
                elif fresh == 5:
                    run.stop()
    source.close()
    assert shown == [tall, wide]
    assert fresh >= 5
    # While it was away the other source went on.
    assert others > 0
    assert own.reconnects == 1
    assert (np.diff(seen, axis=0) > 0).all()  # neither index nor time ever goes back


def test_a_server_that_stalls_is_seen_and_goes_on(pictures):
    (tall, _) = pictures
    with RtspCamera(pictures[tall], size=tall) as camera:
        source = open_source(camera.url)
        states, indices, fresh, resumed = [], [], 0, None
        with pipeline(source, Counting(2000, live=True, period=0.02), patience=QUICK) as run:
            for result in run:
                own = run.stats.sources[0]
                states.append(own.state)
                if result.source == 0:
                    indices.append(result.index)
                    if len(indices) == 5:
                        camera.stall()
                    fresh += resumed is not None and own.state == "running"
                    if fresh == 5:
                        run.stop()
                elif own.state == "stalled" and resumed is None:
                    camera.go_on()
                    resumed = time.monotonic()
        assert run.stats.sources[0].stalls >= 1
    source.close()
    assert "stalled" in states
    assert fresh >= 5
    assert run.stats.sources[0].reconnects == 0
