"""The house: imports run down, lazy ones included, and nobody knows who calls."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgepose

PACKAGE = Path(edgepose.__file__).parent

# From the top of the house down; a room may import what stands in a later line, or in its own.
FLOORS = (
    ("cli",),
    ("train", "bench", "batch", "export"),
    ("api",),
    ("evaluate",),
    ("verify",),
    ("runner",),
    ("people",),
    ("cascade",),
    ("backends",),
    ("engine",),
    ("cuda",),
    ("bundle",),
    ("bundle_manifest", "crop"),
    ("sources", "output", "data"),
    ("geometry", "picture"),
    ("types", "files", "archive", "onnx_wire", "_core", "_cuda", "_host"),
    ("skeleton", "nv12"),
    ("foreign",),
    ("errors", "version"),
)
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
# What a room may know at most, where that is less than all below it.
ONLY = {
    "sources": {"sources", "types", "errors", "picture", "version", "nv12"},
    "output": {"output", "types", "errors", "files", "geometry", "skeleton", "version", "nv12"},
}


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("edgepose", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
EXTENSIONS = {f"edgepose.{name}" for name in ("_core", "_cuda", "_host")}


def imported(module: str) -> Iterator[str]:
    """Modules of edgepose that ``module`` names in an import anywhere in its text."""
    tree = ast.parse(MODULES[module].read_text())
    hints = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively"
            base = node.module or ""
            submodules = [f"{base}.{alias.name}" for alias in node.names]
            names = [s if s in MODULES or s in EXTENSIONS else base for s in submodules]
        else:
            continue
        if module == "edgepose" and node.lineno in hints:
            continue  # the lazy face names its homes for type checkers only
        yield from (name for name in names if name.split(".")[0] == "edgepose")


def room(module: str) -> str:
    return ([*module.split("."), ""])[1]


GRAPH = {module: sorted(set(imported(module))) for module in MODULES}


def test_every_room_has_its_floor():
    assert {room(m) for m in MODULES} - {""} <= set(LEVEL)


@pytest.mark.parametrize("module", [m for m in MODULES if m != "edgepose"])
def test_imports_run_down(module):
    here = room(module)
    for name in GRAPH[module]:
        there = room(name)
        assert there, f"{module} imports the package's face"
        assert there == here or LEVEL[there] > LEVEL[here], f"{module} imports {name}, upwards"
        assert there in ONLY.get(here, {there}), f"{module} must not know {name}"


def test_no_circles():
    """Also not within a room; a package's ``__init__`` counts as a module of its own."""
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for name in GRAPH.get(module, ()):
            visit(name, (*path, module))
        done.add(module)

    for module in MODULES:
        visit(module, ())


def test_backends_by_name_lie_in_their_room():
    """The table of backends names modules as text, which the graph above cannot see."""
    from edgepose.backends import BACKENDS

    assert all(row[0].startswith("edgepose.backends.") for row in BACKENDS.values())


def test_the_face_is_light():
    code = (
        "import edgepose, sys; edgepose.__version__; "
        "heavy = {'numpy', 'cv2', 'onnxruntime', 'torch', 'msgspec', 'typer'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_face_gives_all_it_names():
    for name in edgepose.__all__:
        assert getattr(edgepose, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        edgepose.nothing  # noqa: B018
