"""``edgepose-bench``: what is measured here, the report, the comparison, the advice."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser

import msgspec
import pytest

from edgepose.bench import measure, results
from edgepose.bench.advice import advise, run_toml
from edgepose.bench.report import page
from edgepose.bench.results import Results, Row, Run, ratios
from edgepose.bundle import Bundle
from edgepose.cli import _benching
from edgepose.crop import info
from edgepose.errors import BackendError, DataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """Figures of this machine, hurried, with their files."""
    folder = tmp_path_factory.mktemp("bench")
    outputs = _benching.Outputs(folder / "a.json", folder / "a.html", folder / "run.toml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "INTERVALS", (20, 40))
        patch.setattr(measure, "PERSONS", (1, 4))
        patch.setattr(measure, "thread_counts", lambda: [1])
        patch.setattr(_benching, "Effort", lambda *_: measure.Effort(0.0, 1, 12))
        _benching.run(
            None, ["onnxruntime", "tensorrt"], outputs, None, ["nowhere.onnx"], quick=True
        )
    return folder, results.read(folder / "a.json")


def test_everything_that_is_here_is_measured(taken):
    _, found = taken
    assert [row.way for row in found.rows if row.what == "crop"] == list(info().present)
    cascade = {row.persons: row for row in found.rows if row.what == "cascade"}
    assert set(cascade) == {1, 4}
    assert cascade[4].milliseconds > cascade[1].milliseconds > 0
    assert all(row.low <= row.milliseconds <= row.high for row in found.rows)
    assert [row.what for row in found.rows].count("detector") == 1
    assert {run.detect_every for run in found.runs} == {20, 40}
    assert all(run.fps > 0 and run.frames == 12 for run in found.runs)
    assert found.skipped["nowhere.onnx"].startswith("no peer 'nowhere.onnx'")
    assert found.bundle == Bundle().name
    assert found.machine["crop kernel"] == info().path


def test_the_advice_is_a_file_that_the_runner_takes(taken):
    folder, found = taken
    options = tomllib.loads((folder / "run.toml").read_text())
    assert options["backend"] == found.advice.backend == "onnxruntime"
    program = [sys.executable, "-m", "edgepose.cli.run", "--config", str(folder / "run.toml")]
    done = subprocess.run(
        [*program, "--source", "test", "--print-config"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"detect-every = {found.advice.detect_every}" in done.stdout


class Page(HTMLParser):
    """Tags that are open, and what would be fetched."""

    def __init__(self):
        super().__init__()
        self.text, self.fetched, self.bars = "", [], 0

    def handle_starttag(self, tag, attrs):
        self.fetched += [value for name, value in attrs if name in ("src", "href")]
        self.bars += tag == "rect"

    def handle_data(self, data):
        self.text += data


def test_the_report_needs_nothing_else(taken):
    folder, found = taken
    shown = Page()
    shown.feed((folder / "a.html").read_text())
    assert shown.fetched == []
    assert "http" not in (folder / "a.html").read_text()
    assert shown.bars == len(found.rows) + len(found.runs)
    for row in found.rows:
        assert f"{row.milliseconds:.2f} ms" in shown.text
    for run in found.runs:
        assert f"{run.fps:.1f} fps" in shown.text


def test_a_comparison_tells_what_became_faster(taken):
    _, found = taken
    half = [
        msgspec.structs.replace(row, milliseconds=row.milliseconds / 2)
        if row.what == "cascade"
        else row
        for row in found.rows
    ]
    now = msgspec.structs.replace(found, rows=half[1:], runs=found.runs[:1])
    speed = ratios(now, found)
    assert {round(speed[row.key], 3) for row in now.rows if row.what == "cascade"} == {2.0}
    assert speed[found.runs[0].key] == 1
    assert found.rows[0].key not in speed
    shown = page(now, "", found)
    assert shown.count('class="faster">2.00') == 2
    assert 'class="slower"' not in shown
    assert 'class="slower">0.50' in page(found, "", now)


def test_names_in_a_report_are_text(taken):
    _, found = taken
    odd = msgspec.structs.replace(found, bundle="<script>alert(1)</script>")
    assert "<script>" not in page(odd, "<b>", odd)


def rows(**ways: float) -> list[Row]:
    return [Row("cascade", way.replace("_", " "), 1, 1, ms, ms, ms, 9) for way, ms in ways.items()]


def test_advice():
    """Fewest threads and shortest interval among those that are as fast as the fastest."""
    runs = [Run("b", t, 20, fps, 99) for t, fps in ((1, 97.0), (2, 100.0), (4, 60.0))]
    runs += [Run("b", 2, n, fps, 99) for n, fps in ((5, 70.0), (10, 96.0), (40, 101.0))]
    found = advise(rows(onnxruntime_float32=9.0, openvino_float32=7.0), runs)
    assert (found.backend, found.threads, found.detect_every) == ("openvino", 1, 10)
    assert found.why[0].startswith("backend: openvino float32 takes 7.0 ms for one person, onnx")
    assert tomllib.loads(run_toml(found)) == {
        "backend": "openvino",
        "threads": 1,
        "detect-every": 10,
    }


@pytest.mark.parametrize("text", ["", "{}", "[" * 10**5, '{"edgepose_bench": 9}'])
def test_figures_that_are_none(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match="is not what edgepose-bench --json writes"):
        results.read(tmp_path / "x.json")
    with pytest.raises(DataError, match="check the path"):
        results.read(tmp_path / "none.json")


def test_figures_of_another_format(taken, tmp_path):
    folder, found = taken
    other = msgspec.structs.replace(found, edgepose_bench=2)
    results.write(tmp_path / "b.json", other)
    with pytest.raises(DataError, match="has format 2, this edgepose-bench reads 1"):
        results.read(tmp_path / "b.json")
    assert msgspec.json.decode((folder / "a.json").read_bytes(), type=Results) == found


def test_no_backend_is_a_sentence():
    with pytest.raises(BackendError, match=r"no backend can be measured here .*tensorrt"):
        measure.measure(Bundle(), ["tensorrt"], measure.Effort(0.0, 1, 12))
