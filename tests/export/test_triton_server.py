"""The exported repository on a real Triton server: ``make test-triton``; see triton_server.py."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("tritonclient.grpc", reason="no client: pip install 'tritonclient[grpc]'")

import edgepose
from edgepose import cli
from edgepose.bundle import Bundle
from edgepose.export.triton import Serving, write_repository
from edgepose.people.options import TrackerOptions
from examples.triton_client import request
from tests.export.triton_server import serving, with_onnx

PYTHON = os.environ.get("EDGEPOSE_TRITON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="no Triton server: make test-triton")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    work = tmp_path_factory.mktemp("triton")
    write_repository(Bundle(), work / "models", Serving(persons=8, delay=20_000, instances=4))
    with_onnx(work / "models")
    with serving(Path(PYTHON).absolute(), work / "models", work) as running:
        assert running.wait(180), running.log[-3000:]
        yield running


@pytest.fixture(scope="module")
def pictures(sample, tmp_path_factory):
    """Every frame of the sample clip, as a picture that both sides decode."""
    folder = tmp_path_factory.mktemp("frames")
    video, number = cv2.VideoCapture(str(sample)), 0
    while True:
        read, frame = video.read()
        if not read:
            break
        cv2.imwrite(str(folder / f"{number:03}.jpg"), frame)
        number += 1
    assert number == 100
    return folder


def ask(client, frame, boxes=None):
    inputs, outputs = request(frame, boxes)
    answer = client.infer("edgepose", inputs, outputs=outputs)
    return tuple(answer.as_numpy(name) for name in ("boxes", "joints", "scores"))


def test_a_request_for_each_frame_gives_what_edgepose_run_does(
    server, pictures, tmp_path, record_property
):
    """The client sends frames alone: detector, crops and stages are the server's."""
    command = ["run", "--source", str(pictures), "--json", str(tmp_path / "own.jsonl")]
    done = CliRunner().invoke(cli.app(), command)
    assert done.exit_code == 0, done.output
    _, *own = map(msgspec.json.decode, (tmp_path / "own.jsonl").read_bytes().splitlines())
    options, persons, worst = TrackerOptions(), 0, 0.0
    with closing(server.client()) as client:
        for line in own:
            boxes, joints, scores = ask(client, cv2.imread(str(pictures / line["name"])))
            # What edgepose-run leaves out of what the cascade gives.
            kept = boxes[:, 4] >= options.start_score
            kept &= scores.mean(axis=1) >= options.min_score
            expected = np.array([p["joints"] for p in line["persons"]], np.float32)
            assert kept.sum() == len(expected), line["name"]
            if len(expected):
                worst = max(worst, np.abs(joints[kept] - expected[..., :2]).max())
                np.testing.assert_allclose(scores[kept], expected[..., 2], atol=2e-3)
            persons += len(expected)
    assert persons >= 150
    assert worst <= 0.02, worst  # pixels; the file has two decimals
    record_property("triton", f"{persons} persons, at most {worst:.4f} pixels apart")


def test_requests_that_meet_share_a_call(server, pictures, record_property):
    frame = cv2.imread(str(pictures / "030.jpg"))
    boxes = edgepose.load_detector(threads=1)(frame)[:, :4].copy()
    expected = edgepose.load(threads=1)(frame, boxes).joints

    def counted(client):
        (model,) = client.get_inference_statistics("edgepose_stage1", as_json=True)["model_stats"]
        return int(model.get("inference_count", 0)), int(model.get("execution_count", 0))

    def one(_):
        with closing(server.client()) as client:
            return [ask(client, frame, boxes)[1] for _ in range(5)]

    with closing(server.client()) as client:
        before = counted(client)
        with ThreadPoolExecutor(4) as clients:
            found = [joints for answers in clients.map(one, range(4)) for joints in answers]
        after = counted(client)
    for joints in found:
        np.testing.assert_allclose(joints, expected, atol=0.02)
    persons, calls = after[0] - before[0], after[1] - before[1]
    assert persons == 20 * len(boxes)
    assert calls < 20  # each request alone would have been one
    record_property("triton", f"20 requests in {calls} calls of stage 1")


def test_a_bad_request_has_its_sentence(server, pictures):
    from tritonclient.utils import InferenceServerException

    frame = cv2.imread(str(pictures / "030.jpg"))
    with (
        closing(server.client()) as client,
        pytest.raises(InferenceServerException, match="boxes must be finite"),
    ):
        ask(client, frame, np.full((1, 4), np.nan, np.float32))
