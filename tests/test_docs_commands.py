"""The documentation: its programs are programs, its commands are commands, its links lead on."""

import ast
import importlib
import itertools
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import msgspec
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from docs.site.reference import programs, reference
from edgepose import cli
from tests.pages import FENCE, fences

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROJECT = msgspec.toml.decode((ROOT / "pyproject.toml").read_bytes())["project"]
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
# Programs of the system that the pages tell to use; not run here.
SYSTEM = {"sudo", "git", "cd", "export", ".", "tegrastats", "docker", "podman"}
RECIPES = {path.stem for path in (ROOT / "edgepose" / "train" / "recipes").glob("*.toml")}
APP = cli.app()
WHOLE = get_command(APP)


def lines(page):
    """The commands of a page."""
    for block in fences(page, ""):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip():
                yield line


def mentioned(page):
    """Commands within sentences: `edgepose-build --verify`."""
    prose = FENCE.sub("", page.read_text())
    for text in re.findall(r"(?<!`)`(edgepose[- ][^`]+)`", prose):
        if re.match(r"edgepose[- ][a-z]+( |$)", text) and text not in RECIPES:
            yield " ".join(text.split())


def words_of(line):
    """A command's words; ``None`` ahead of it are settings such as EDGEPOSE_CPU=avx2."""
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    return words


def parse(words):
    """Let typer read an edgepose command; UsageError if it would refuse it. Runs nothing.

    In a sentence a command may stand without what it needs: `edgepose-run --recipe`.
    """
    name, *rest = (word for word in words if word != "--help")
    rest = rest if name == "edgepose" else [name.removeprefix("edgepose-"), *rest]
    command = WHOLE
    while rest and (inner := getattr(command, "commands", None)) is not None:
        assert rest[0] in inner, f"there is no command {' '.join(words)}"
        command = inner[rest.pop(0)]
    if rest and rest[-1].startswith("--"):
        known = {form for p in command.params for form in (*p.opts, *p.secondary_opts)}
        assert rest[-1] in known, f"{words[0]} has no option {rest[-1]}"
        rest.pop()
    if rest:
        command.make_context(words[0], rest)


EDGEPOSE = [
    (page.name, line)
    for page in PAGES
    for line in (*lines(page), *mentioned(page))
    if (words := words_of(line)) and re.match(r"edgepose(-|$)", words[0])
]


@pytest.mark.parametrize(("page", "line"), EDGEPOSE)
def test_the_commands_parse(page, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text("max-persons = 3\n")
    words = words_of(line)
    if words[1:2] == ["…"] and words[0] != "edgepose-train":
        words.pop(1)  # options are left out, not a value
    parse(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_other_commands_are_there(page):
    for line in lines(page):
        words = words_of(line)
        if not words or words[0] in SYSTEM or re.match(r"edgepose(-|$)", words[0]):
            continue
        name = words[0]
        if name == "make":
            assert set(words[1:]) <= TARGETS, line
        elif name == "pip":
            assert words[1] == "install", line
            for extra in re.findall(r"\[([\w,]+)\]", line):
                wanted = set(extra.split(","))
                assert wanted <= set(PROJECT["optional-dependencies"]), line
        elif name in ("python", "python3", "pytest", "torchrun"):
            for word in words[1:]:
                if word.endswith(".py"):
                    assert (ROOT / word).is_file(), line
                if word.startswith("edgepose."):
                    importlib.import_module(word)
        else:
            assert (ROOT / name).is_file(), f"{page.name}: is this a command? {line}"


CHEAP = {"sample", "clip.mp4", "door.mp4", "hall.mp4", "pictures/"}
NOT_HERE = {"…", "--show", "--serve", "--bundle", "--backend", "--print-config", "--live"}


def runs(line):
    """Whether a command can run here within a second or two."""
    words = words_of(line)
    if words[0] == "edgepose-doctor" or "--print-config" in words:
        return True
    if words[:2] == ["edgepose-build", "--list"]:
        return True
    sources = {b for a, b in itertools.pairwise(words) if a == "--source"}
    return words[0] == "edgepose-run" and sources and sources <= CHEAP and not NOT_HERE & set(words)


@pytest.fixture(scope="module")
def stage(tmp_path_factory, sample):
    """A folder with the files that the pages name."""
    folder = tmp_path_factory.mktemp("docs")
    video = cv2.VideoCapture(str(sample))
    frames = [cv2.resize(video.read()[1], (360, 640)) for _ in range(4)]
    writer = cv2.VideoWriter(
        str(folder / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 30, (360, 640)
    )
    for frame in frames:
        writer.write(frame)
    writer.release()
    for name in ("door.mp4", "hall.mp4"):
        shutil.copy(folder / "clip.mp4", folder / name)
    (folder / "pictures").mkdir()
    for number, frame in enumerate(frames[:2]):
        cv2.imwrite(str(folder / "pictures" / f"{number}.jpg"), frame)
    return folder


@pytest.mark.parametrize("line", sorted({line for _, line in EDGEPOSE if runs(line)}))
def test_cheap_commands_run(line, stage, monkeypatch):
    monkeypatch.chdir(stage)
    name, *rest = words_of(line)
    if name == "edgepose-run":
        rest += ["--max-frames", "2", "--threads", "1"]
    done = CliRunner().invoke(APP, [name.removeprefix("edgepose-"), *rest])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_programs_are_programs(page):
    """Their text is Python, and what they import from edgepose is there."""
    if page.name == "training.md":
        pytest.importorskip("torch")
    for text in fences(page, "python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("edgepose"):
                module = importlib.import_module(node.module)
                for name in node.names:
                    if not hasattr(module, name.name):
                        importlib.import_module(f"{node.module}.{name.name}")
        if page.name == "integrate.md":
            assert len(text.splitlines()) <= 23


def test_the_reference_names_every_option():
    """Held to what each program says of itself."""
    page = reference()
    for name, _ in programs():
        done = CliRunner().invoke(
            APP, [*name.removeprefix("edgepose-").split(), "--help"], env={"COLUMNS": "200"}
        )
        assert done.exit_code == 0
        options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", done.output)) - {"--help"}
        section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
        shown = set(re.findall(r"^\| `.*?(--[a-z][a-z-]+)", section, re.MULTILINE))
        # In running text help names options of others too.
        assert shown <= options
        assert options - shown <= set(re.findall(r"--[a-z][a-z-]+", section)), name


def test_the_site_builds_and_no_link_is_broken(tmp_path):
    pytest.importorskip("mkdocstrings", reason="no mkdocs: pip install 'edgepose[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    api = (tmp_path / "site" / "api" / "index.html").read_text()
    assert "edgepose.cascade.host.HostCascade" in api
    assert not re.search(r":(attr|class|func|meth|mod):", api)  # Sphinx's marks are read
    assert "--detect-every" in (tmp_path / "site" / "cli" / "index.html").read_text()
