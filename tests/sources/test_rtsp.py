"""Streams from a real RTSP server."""

import itertools
import time

import numpy as np
import pytest

import edgepose
from edgepose.errors import SourceError
from edgepose.sources.open import open_source
from tests.rtsp import RtspCamera, need_rtsp, pictures_of


@pytest.fixture(scope="module")
def pictures(sample, tmp_path_factory):
    need_rtsp()
    return pictures_of(sample, tmp_path_factory.mktemp("pictures"), (360, 640))


def test_frames_come_with_their_times_and_the_password_stays_hidden(pictures):
    with RtspCamera(pictures, user="admin", password="hunter2") as camera:
        source = open_source(camera.url)
        assert source.live
        assert source.length is None
        assert (source.width, source.height) == (360, 640)
        assert source.name == f"rtsp://127.0.0.1:{camera.port}/live"
        frames = list(itertools.islice(source, 20))
        source.close()
        with pytest.raises(SourceError) as refused:
            open_source(camera.url.replace("hunter2", "wrong"))
        assert "wrong" not in str(refused.value)
    assert [f.index for f in frames] == list(range(20))
    times = np.array([f.time for f in frames])
    assert (np.diff(times) > 0).all()
    assert min(f.image.mean() for f in frames) > 20  # no black frame


def test_the_end_of_a_server_is_told_and_it_can_be_opened_again(pictures):
    camera = RtspCamera(pictures)
    with camera:
        source = open_source(camera.url)
        frames = iter(source)
        next(frames)
        camera.kill()
        begun = time.monotonic()
        with pytest.raises(SourceError, match="ended after"):
            list(frames)
        assert time.monotonic() - begun < 15
        source.close()
        camera.start()
        with open_source(camera.url) as again:
            assert next(iter(again)).image.shape == (640, 360, 3)


def test_poses_come_from_a_stream(sample, tmp_path):
    need_rtsp()
    with RtspCamera(pictures_of(sample, tmp_path, (360, 640), count=1)) as camera:
        results = list(edgepose.stream(camera.url, max_frames=12, detect_every=2))
    assert len(results) == 12
    assert max(len(r.people) for r in results) >= 1
