"""Sinks at their own pace: order, drops, failures, and one drawn copy for all."""

import threading
import time

import numpy as np
import pytest

from edgepose.errors import OutputError
from edgepose.output import worker as workers
from edgepose.output.open import KINDS, Kind, check_apart, open_outputs
from edgepose.output.outputs import Outputs, Placed
from edgepose.output.sink import GoneError, Sink
from edgepose.skeleton import COCO17
from edgepose.types import Result, RunInfo, SourceInfo
from tests.conftest import front_person

FILE = RunInfo("b", "onnxruntime", COCO17, (SourceInfo("clip", 64, 48),))
LIVE = RunInfo("b", "onnxruntime", COCO17, (SourceInfo("camera", 64, 48, live=True),))


class Kept(Sink):
    """Keeps what it is given; a test says what goes wrong, and when."""

    def __init__(self, fails=None, gate=None, looks=True):
        self.results, self.closed, self.tries = [], 0, 0
        self._fails, self._gate, self._looks = fails or {}, gate, looks

    @property
    def pixels(self):
        return self._looks

    def start(self, run):
        if "start" in self._fails:
            raise self._fails["start"]

    def write(self, result):
        self.thread = threading.current_thread()
        if self._gate is not None:
            assert self._gate.wait(10)
        self.tries += 1
        error = self._fails.get(self.tries)
        if error is not None:
            raise error
        self.results.append(result)
        return len(self.results) != self._fails.get("enough")

    def close(self):
        self.closed += 1
        if "close" in self._fails:
            raise self._fails["close"]


def result(index, people=()):
    return Result(index, index / 30, np.full((48, 64, 3), 90, np.uint8), list(people))


def run(info, results, *placed):
    outputs = Outputs(placed)
    outputs.start(info)
    for given in results:
        outputs.write(given)
    outputs.close()
    return outputs


def full():
    return OutputError("'x' cannot be written (no space left on device); free some space.")


def test_every_sink_gets_every_result_of_a_file_in_order_on_its_own_thread():
    slow, quick = Kept(), Kept()
    write, slow.write = slow.write, lambda r: (time.sleep(0.002), write(r))[1]
    outputs = run(FILE, [result(i) for i in range(50)], Placed("--a", slow), Placed("--b", quick))
    for sink in (slow, quick):
        assert [r.index for r in sink.results] == list(range(50))
        assert sink.thread is not threading.current_thread()
        assert sink.closed
    assert outputs.error is None


def test_a_main_sink_is_used_on_the_callers_thread():
    sink = Kept()
    run(LIVE, [result(0)], Placed("--show", sink, main=True))
    assert sink.thread is threading.current_thread()


def test_skeletons_are_drawn_once_into_a_copy_that_is_shared():
    plain, one, two = Kept(), Kept(), Kept()
    given = result(0, [front_person((5, 5, 50, 45))])
    run(
        FILE,
        [given],
        Placed("--a", plain),
        Placed("--b", one, drawn=True),
        Placed("--c", two, drawn=True),
    )
    assert plain.results[0].frame is given.frame
    assert (given.frame == 90).all()
    assert one.results[0].frame is two.results[0].frame
    assert (one.results[0].frame != 90).any()


def test_a_sink_that_does_not_look_holds_no_frame():
    sink = Kept(looks=False)
    run(FILE, [result(0)], Placed("--a", sink, drawn=True))
    frame = sink.results[0].frame
    assert frame.shape == (48, 64, 3)
    assert frame.base.nbytes == 1


def test_a_live_run_drops_for_a_sink_that_hangs_and_goes_on():
    gate = threading.Event()
    hangs, other = Kept(gate=gate), Kept()
    outputs = Outputs((Placed("--a", hangs), Placed("--b", other)))
    outputs.start(LIVE)
    begun = time.monotonic()
    for i in range(100):
        assert outputs.write(result(i))
        time.sleep(0.001)
    assert time.monotonic() - begun < 5
    gate.set()
    outputs.close()
    late = outputs.workers[0].late
    assert 90 <= late == 100 - len(hangs.results)
    assert len(other.results) + outputs.workers[1].late == 100


def test_in_a_live_run_a_failed_sink_is_tried_again(monkeypatch, caplog):
    monkeypatch.setattr(workers, "_FIRST_PAUSE", 0.05)
    sink, other = Kept({2: full(), 3: full()}), Kept()
    outputs = Outputs((Placed("--a", sink), Placed("--b", other)))
    outputs.start(LIVE)
    deadline = time.monotonic() + 10
    index = 0
    while len(sink.results) < 5 and time.monotonic() < deadline:
        assert outputs.write(result(index))
        index += 1
        time.sleep(0.01)
    outputs.close()
    assert len(other.results) == index
    worker = outputs.workers[0]
    assert worker.lost >= 2
    assert worker.written + worker.lost + worker.late == index
    assert "no space left" in str(outputs.error)
    text = caplog.text
    assert text.count("Trying again in") == 2
    assert f"--a goes on; {worker.lost} results were lost" in text


def test_in_a_run_over_files_a_failed_sink_is_closed_and_the_last_one_ends_the_run():
    sink, other = Kept({2: full()}), Kept({"enough": 5})
    outputs = Outputs((Placed("--a", sink), Placed("--b", other)))
    outputs.start(FILE)
    index = 0
    while outputs.write(result(index)):
        index += 1
        time.sleep(0.002)
        assert index < 1000
    outputs.close()
    assert len(sink.results) == 1
    assert len(other.results) == 5
    assert "no space left" in str(outputs.error)


def test_a_reader_that_has_gone_is_not_tried_again():
    sink = Kept({1: GoneError("The reader of stdout has gone.")})
    outputs = run(LIVE, [result(0)], Placed("--a", sink))
    assert not outputs.workers[0].alive
    assert sink.tries == 1
    assert isinstance(outputs.error, GoneError)


def test_a_run_without_outputs_goes_on():
    outputs = Outputs(())
    outputs.start(LIVE)
    assert outputs.write(result(0))
    outputs.close()


def test_when_one_cannot_start_none_does():
    first, second = Kept(), Kept({"start": full()})
    outputs = Outputs((Placed("--a", first), Placed("--b", second)))
    with pytest.raises(OutputError, match="no space"):
        outputs.start(FILE)
    assert first.closed
    assert not outputs.workers


def test_what_goes_wrong_at_the_end_is_told():
    outputs = run(FILE, [result(0)], Placed("--a", Kept({"close": full()})))
    assert "no space" in str(outputs.error)


def test_a_fault_in_a_sink_comes_to_the_caller():
    outputs = Outputs((Placed("--a", Kept({1: ZeroDivisionError("a fault")})),))
    outputs.start(FILE)
    outputs.write(result(0))
    with pytest.raises(ZeroDivisionError):
        outputs.close()


def test_a_new_sink_is_one_file_and_one_line(tmp_path, monkeypatch):
    """The file is written here; the line is the one that sets an item of the table."""
    (tmp_path / "counted.py").write_text(
        "from pathlib import Path\n"
        "from edgepose.output.sink import Sink\n"
        "class Counted(Sink):\n"
        "    pixels = False\n"
        "    def __init__(self, path):\n"
        "        self.path, self.persons = Path(path), 0\n"
        "    def write(self, result):\n"
        "        self.persons += len(result.people)\n"
        "        return True\n"
        "    def close(self):\n"
        "        self.path.write_text(str(self.persons))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(KINDS, "count", Kind("counted:Counted", "FILE", "Count the persons."))
    outputs = open_outputs({"count": str(tmp_path / "persons")})
    outputs.start(FILE)
    outputs.write(result(0, [front_person((5, 5, 50, 45))] * 3))
    outputs.close()
    assert (tmp_path / "persons").read_text() == "3"
    from edgepose.cli import _options, run

    options = _options.with_outputs(run.follow, "Outputs").__signature__.parameters
    assert "count" in options


def test_two_outputs_or_a_source_at_one_path(tmp_path):
    with pytest.raises(OutputError, match="--out and --json both name"):
        open_outputs({"out": str(tmp_path / "x.mp4"), "json": str(tmp_path / "." / "x.mp4")})
    (tmp_path / "clip.mp4").write_bytes(b"")
    outputs = open_outputs({"out": str(tmp_path / "clip.mp4")})
    for source in (tmp_path / "clip.mp4", tmp_path):
        with pytest.raises(OutputError, match="--out would overwrite the source"):
            check_apart(outputs, [source])
