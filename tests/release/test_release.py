"""The scripts of a release: the list, the history of benchmarks, who needs what."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch):
    def load(path: str) -> dict:
        monkeypatch.syspath_prepend(str((ROOT / path).parent))
        return runpy.run_path(str(ROOT / path))

    return load


def test_the_list_names_what_is_missing(script, tmp_path, monkeypatch):
    check = script("release/check.py")
    room = check["version"].__globals__
    monkeypatch.setitem(room, "ROOT", tmp_path)
    (tmp_path / "edgepose").mkdir()
    (tmp_path / "dist").mkdir()
    (tmp_path / "edgepose" / "version.py").write_text('__version__ = "1.2.3"\n')
    assert check["version"]() == "1.2.3"
    with pytest.raises(AssertionError, match="cp310 on x86_64: make wheels"):
        check["wheels"]()
    for python in check["PYTHONS"]:
        for machine in ("x86_64", "aarch64"):
            name = f"edgepose-1.2.3-{python}-{python}-manylinux_2_34_{machine}.whl"
            (tmp_path / "dist" / name).write_bytes(b"0" * 1000)
    assert check["wheels"]() == "8 wheels, at most 0.0 MB"
    monkeypatch.setitem(room, "MOST", 999)
    with pytest.raises(AssertionError, match="larger than 10 MB"):
        check["wheels"]()
    (tmp_path / "CHANGELOG.md").write_text("## Unreleased\n- x\n\n## 1.2.3 - 2020-01-01\n- y\n")
    with pytest.raises(AssertionError, match="lines under Unreleased"):
        check["changelog"]()
    for day, says in (("", "no paragraph"), (" - 2999-01-01", "to the future")):
        (tmp_path / "CHANGELOG.md").write_text(f"## 1.2.3{day}\n- y\n")
        with pytest.raises(AssertionError, match=says):
            check["changelog"]()
    (tmp_path / "CHANGELOG.md").write_text("## 1.2.3 - 2020-01-01\n- y\n")
    assert check["changelog"]() == "## 1.2.3 - 2020-01-01"
    with pytest.raises(AssertionError, match=r"no edgepose-1\.2\.3\.cdx\.json"):
        check["sbom"]()
    (tmp_path / "dist" / "edgepose-1.2.2-cp310-cp310-manylinux_2_34_x86_64.whl").touch()
    with pytest.raises(AssertionError, match=r"other wheels too: edgepose-1\.2\.2"):
        check["wheels"]()


def test_the_list_sees_wheels_that_are_of_another_commit(script, tmp_path, monkeypatch):
    check = script("release/check.py")
    monkeypatch.setitem(check["version"].__globals__, "ROOT", tmp_path)
    (tmp_path / "edgepose").mkdir()
    (tmp_path / "dist").mkdir()
    (tmp_path / "edgepose" / "a.py").write_text("A = 1\n")
    (tmp_path / "setup.py").write_text("\n")
    for words in (
        ("init", "--quiet"),
        ("add", "edgepose", "setup.py"),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "x"),
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)

    def wheel(**files):
        inside = {
            "edgepose/a.py": "A = 1\n",
            "edgepose/_core.so": "",
            "edgepose/_cuda.so": "",
            "edgepose-1.dist-info/LICENSE": "",
            "edgepose-1.dist-info/NOTICE": "",
        }
        with zipfile.ZipFile(tmp_path / "dist" / "a.whl", "w") as archive:
            for name, text in (inside | files).items():
                if text is not None:
                    archive.writestr(name, text)

    wheel()
    assert check["contents"]() == "1 files compared"
    for files, says in (
        ({"edgepose/a.py": "A = 2\n"}, "another edgepose/a.py"),
        ({"edgepose/a.py": None}, "lacks edgepose/a.py"),
        ({"edgepose/_host.so": ""}, "holds .*_host"),
        ({"edgepose-1.dist-info/NOTICE": None}, "lacks a licence"),
    ):
        wheel(**files)
        with pytest.raises(AssertionError, match=says):
            check["contents"]()


def test_the_history_keeps_a_run_a_commit(script, tmp_path):
    history = script("benchmarks/history.py")
    run = {
        "datetime": "2026-01-02T03:04:05.6",
        "benchmarks": [{"fullname": "benchmarks/test_a.py::test_b", "stats": {"median": 0.002}}],
    }
    line = history["entry"](run)
    assert line["ms"] == {"test_a.py::test_b": 2.0}
    path = tmp_path / "h.jsonl"
    assert len(history["add"](path, line | {"commit": "a"})) == 1
    assert len(history["add"](path, line | {"commit": "b"})) == 2
    kept = history["add"](path, line | {"commit": "b", "ms": {"test_a.py::test_b": 1.0}})
    assert [one["commit"] for one in kept] == ["a", "b"]
    assert [json.loads(text) for text in path.read_text().splitlines()] == kept
    pytest.importorskip("matplotlib")
    history["draw"](kept, tmp_path / "h.svg", "a machine")
    assert "<svg" in (tmp_path / "h.svg").read_text()


def test_an_audit_looks_at_what_a_user_gets(script):
    """The closure holds what is imported, and what that needs; not what only developers use."""
    pytest.importorskip("packaging")
    found = {name.lower() for name in script("release/audit.py")["closure"]("edgepose", ("web",))}
    if not found:
        pytest.skip("edgepose is not installed here, only on the path")
    assert {"numpy", "onnxruntime", "typer", "starlette", "click", "flatbuffers"} <= found
    assert not found & {"torch", "ruff", "pytest"}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_gpu_extra_is_what_a_platform_can_have(machine):
    from packaging.requirements import Requirement

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    text = (ROOT / "pyproject.toml").read_text()
    lines = tomllib.loads(text)["project"]["optional-dependencies"]["gpu"]
    given = {"platform_machine": machine}
    names = {r.name for r in map(Requirement, lines) if not r.marker or r.marker.evaluate(given)}
    assert names == {"onnx"} | ({"tensorrt-rtx-cu12"} if machine == "x86_64" else set())
