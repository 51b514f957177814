import cv2
import numpy as np
import pytest

from edgepose.errors import OutputError
from edgepose.output import window
from edgepose.output.window import Window
from edgepose.skeleton import COCO17
from edgepose.types import Result, RunInfo, SourceInfo

RUN = RunInfo("b", "onnxruntime", COCO17, (SourceInfo("clip", 1080, 1920),))


@pytest.mark.parametrize("display", [None, ":7777", ":7777.0", "localhost:59000", "nonsense", ":x"])
def test_no_display_is_told_before_the_toolkit_ends_the_process(monkeypatch, display):
    for name in ("WAYLAND_DISPLAY", "DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if display is not None:
        monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(OutputError, match="leave out --show"):
        Window()


@pytest.fixture
def screen(monkeypatch):
    """OpenCV's windows, played: what was called, the next key, whether the window is open."""
    state = {"calls": [], "key": -1, "open": 1.0}
    monkeypatch.setattr(window, "_has_display", lambda: True)
    for name in ("namedWindow", "resizeWindow", "imshow", "destroyAllWindows"):
        monkeypatch.setattr(cv2, name, lambda *a, n=name: state["calls"].append((n, a)))
    monkeypatch.setattr(cv2, "waitKey", lambda _: state["key"])
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: state["open"])
    return state


def test_a_window_fits_the_screen_and_ends_by_key_or_by_closing(screen):
    result = Result(0, 0.0, np.zeros((1920, 1080, 3), np.uint8), [])
    shown = Window()
    shown.start(RUN)
    (size,) = [a[1:] for n, a in screen["calls"] if n == "resizeWindow"]
    assert size == (506, 900)
    assert shown.write(result)
    for key in (ord("q"), 27):
        screen["key"] = key
        assert not shown.write(result)
    screen["key"], screen["open"] = -1, 0.0
    assert not shown.write(result)
    shown.close()
    assert screen["calls"][-1][0] == "destroyAllWindows"


def test_an_opencv_without_windows(screen, monkeypatch):
    def refuse(*_):
        raise cv2.error("The function is not implemented.")

    monkeypatch.setattr(cv2, "namedWindow", refuse)
    with pytest.raises(OutputError, match="opencv-python-headless"):
        Window().start(RUN)
