import pytest

from edgepose.errors import OutputError
from edgepose.output.window import Window


@pytest.mark.parametrize("display", [None, ":7777", ":7777.0", "nonsense"])
def test_no_display_is_told_before_the_toolkit_ends_the_process(monkeypatch, display):
    for name in ("WAYLAND_DISPLAY", "QT_QPA_PLATFORM", "DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if display is not None:
        monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(OutputError, match="leave out --show"):
        Window((640, 480))
