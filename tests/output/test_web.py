"""The live page, over real sockets and in a real browser."""

import http.client
import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette")
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from edgepose.errors import OutputError
from edgepose.output.outputs import Outputs, Placed
from edgepose.output.web.server import Web
from edgepose.skeleton import COCO17
from edgepose.types import Result, RunInfo, SourceInfo
from tests.browser import Browser
from tests.conftest import front_person
from tests.pages import fences

SOURCES = (SourceInfo("hall", 320, 240, 30.0, live=True), SourceInfo("gate", 240, 320, live=True))
STATUS = [
    SimpleNamespace(state="running", frames=9, dropped=4, reconnects=0),
    SimpleNamespace(state="reconnecting", frames=0, dropped=0, reconnects=2),
]
RUN = RunInfo("edgepose-s", "onnxruntime", COCO17, SOURCES, lambda: STATUS)


class Running:
    """A sink that is fed as a run would: source 0, two persons, 50 results a second."""

    def __init__(self, address="0"):
        self.sink = Web(address)
        self.outputs = Outputs((Placed("--serve", self.sink, drawn=True),))
        self.outputs.start(RUN)
        self.host = urlsplit(self.sink.url).netloc
        self.port = urlsplit(self.sink.url).port
        self.given = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def _feed(self):
        people = [front_person((40, 20, 140, 230), id=1), front_person((160, 20, 260, 230), id=2)]
        while not self._stop.wait(0.02):
            frame = np.full((240, 320, 3), 70, np.uint8)
            now = time.perf_counter()
            seconds = {"decode": 0.004, "stage 1": 0.006, "stage 2": 0.003}
            index = self.given
            self.outputs.write(Result(index, index / 30, frame, people, now - 0.03, seconds))
            assert (frame == 70).all()
            self.given += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self.outputs.close()
        assert self.outputs.error is None


@pytest.fixture(scope="module")
def running():
    with Running() as running:
        yield running


def get(running, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    if path.startswith("/stream") and answer.status == 200:
        return answer, b"", connection
    body = answer.read()
    connection.close()
    return answer, body, connection


def test_the_page_and_the_health_of_the_run(running):
    answer, body, _ = get(running, "/")
    assert answer.status == 200
    assert b"<title>edgepose</title>" in body
    assert answer.headers["Cache-Control"] == "no-store"
    answer, body, _ = get(running, "/healthz")
    assert (answer.status, body) == (200, b"ok\n")
    running.sink._state._last -= 60
    assert get(running, "/healthz")[0].status in (200, 503)  # until the next result


def test_metrics(running):
    from prometheus_client.parser import text_string_to_metric_families as parse

    _, body, _ = get(running, "/metrics")
    found = {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in parse(body.decode())
        for s in family.samples
    }
    hall, gate = (("source", "hall"),), (("source", "gate"),)
    assert found["edgepose_results_total", hall] > 0
    assert found["edgepose_persons", hall] == 2
    assert found["edgepose_dropped_frames", hall] == 4
    assert found["edgepose_source_running", hall] == 1
    assert found["edgepose_source_running", gate] == 0
    assert found["edgepose_reconnects", gate] == 2
    stage = (("stage", "stage 1"),)
    mean = found["edgepose_stage_seconds_sum", stage] / found["edgepose_stage_seconds_count", stage]
    assert mean == pytest.approx(0.006)


def test_a_stream_of_pictures_with_skeletons(running):
    answer, _, connection = get(running, "/stream/0")
    assert answer.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
    shapes = []
    for _ in range(3):
        assert answer.readline() == b"--frame\r\n"
        assert answer.readline() == b"Content-Type: image/jpeg\r\n"
        size = int(answer.readline().split(b":")[1])
        assert answer.readline() == b"\r\n"
        picture = cv2.imdecode(np.frombuffer(answer.read(size), np.uint8), cv2.IMREAD_COLOR)
        assert answer.readline() == b"\r\n"
        shapes.append(picture.shape)
        assert np.abs(picture.astype(int) - 70).max() > 60  # drawn on
    assert shapes == 3 * [(240, 320, 3)]
    answer.close()
    connection.close()
    deadline = time.monotonic() + 20
    while running.sink.pixels and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running.sink.pixels  # nobody looks: nothing is drawn
    assert get(running, "/stream/2")[0].status == 404


def test_poses_over_a_web_socket_are_the_lines_of_jsonl(running):
    with connect(f"ws://{running.host}/poses") as socket:
        lines = [json.loads(socket.recv(timeout=20)) for _ in range(5)]
    first = lines[0]["frame"]
    assert [line["frame"] for line in lines] == list(range(first, first + 5))
    assert [p["id"] for p in lines[0]["persons"]] == [1, 2]


def test_the_program_in_the_documentation_reads_them(running):
    client = list(fences(Path(__file__).parents[2] / "docs" / "integrate.md", "python"))[-1]
    command = [sys.executable, "-c", client, running.host]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(4)]
        process.kill()
    for line in lines:
        assert re.fullmatch(
            r"source 0 frame \d+ person [12]: 100 x 210 at \((40|160), 20\)\n", line
        )


def test_pages_of_other_sites_cannot_read_it(running):
    assert get(running, "/", Host="evil.example")[0].status == 403
    assert get(running, "/metrics", Origin="http://evil.example")[0].status == 403
    with pytest.raises(InvalidStatus):
        connect(f"ws://{running.host}/poses", origin="http://evil.example")


def test_another_host_needs_a_token(monkeypatch):
    monkeypatch.setenv("EDGEPOSE_TOKEN", "s3cret")
    with Running("0.0.0.0:0") as running:
        assert "s3cret" not in running.sink.notice
        for path in ("/", "/metrics", "/stream/0"):
            assert get(running, path)[0].status == 401, path
        assert get(running, "/?token=wrong")[0].status == 401
        assert get(running, "/metrics", Authorization="Bearer s3cret")[0].status == 200
        assert get(running, "/healthz")[0].status == 200
        answer, _, _ = get(running, "/?token=s3cret")
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        assert get(running, "/", Cookie=cookie)[0].status == 200
        address = f"ws://127.0.0.1:{running.port}/poses"
        with pytest.raises(InvalidStatus):
            connect(address)
        with connect(f"{address}?token=s3cret") as socket:
            socket.recv(timeout=20)
    monkeypatch.delenv("EDGEPOSE_TOKEN")
    one, two = Web("0.0.0.0:0"), Web("[::]:0")
    assert one.token
    assert one.token != two.token


@pytest.mark.parametrize("address", ["x", ":80", "70000", "host:", "1.2.3.4:http"])
def test_what_is_no_address(address):
    with pytest.raises(OutputError, match="no address to serve at"):
        Web(address)


def test_an_address_that_is_taken(running):
    with pytest.raises(OutputError, match="give another port"):
        Web(str(running.port)).start(RUN)


@pytest.mark.parametrize("phone", [False, True])
def test_the_page_lives_in_a_browser(running, phone):
    size = (390, 844) if phone else (1280, 860)
    with Browser(*size, phone=phone) as browser:
        browser.open(running.sink.url)
        browser.wait("document.querySelectorAll('.legend span').length >= 3")
        browser.wait("document.images.length == 2 && document.images[0].naturalWidth == 320")
        said = browser.evaluate("document.body.innerText")
        assert float(browser.evaluate("document.getElementById('fps').textContent")) > 0
        assert browser.evaluate("document.getElementById('persons').textContent") == "2"
        assert browser.evaluate("document.getElementById('dropped').textContent") == "4"
        for word in ("hall", "gate", "reconnecting", "edgepose-s on onnxruntime", "stage 1"):
            assert word in said, word
        # The plot has colour, and nothing is wider than the screen.
        colours = (
            "(c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size)"
            "(document.getElementById('plot'))"
        )
        assert browser.evaluate(colours) > 20
        assert browser.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_a_browser_that_goes_away_stops_nothing(running):
    before = running.given
    answer, _, connection = get(running, "/stream/0")
    answer.readline()
    answer.close()
    connection.close()
    time.sleep(0.3)
    assert running.given > before
    assert running.outputs.workers[0].alive
