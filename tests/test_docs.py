"""The documentation is true of the tree: links, and the lines that one adds to."""

import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import edgepose

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    path.relative_to(ROOT)
    for folder in (ROOT, DOCS, ROOT / "edgepose" / "models" / "edgepose-s")
    for path in folder.glob("*.md")
)


# Hosts that the pages may name; whether they answer needs the internet, which no test has.
HOSTS = {"arxiv.org", "keepachangelog.com", "semver.org"}


def prose(page):
    return re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)


def anchors(page):
    """The names that a page's headings have in the site and on a forge."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)", prose(page)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        assert file.exists(), f"{page} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_elsewhere_are_well_formed_and_known(page):
    for text in re.findall(r"https?://[^\s)>\"'`…]+", (ROOT / page).read_text()):
        url = urlsplit(text)
        if url.hostname in ("127.0.0.1", "localhost"):
            continue
        assert (url.scheme, url.port) == ("https", None), f"{page}: {text}"
        assert url.hostname in HOSTS, f"{page}: {text} is of a host that is not in HOSTS"
        assert re.fullmatch(r"(/[\w.~-]+)*/?", url.path), f"{page}: {text}"


def rows():
    """The table of what can be added: what, the file, the line, what it is held to."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = text[text.index("## How to add") : text.index("## What a change")]
    found = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    assert len(found) >= 8
    return [[cell.strip() for cell in row] for row in found[1:]]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_the_file_and_the_line_to_add_are_there(row):
    _, file, line, tests = row
    for cell in (file, line, tests):
        for name in re.findall(r"`([^`]*[/.][^`]*)`", cell):
            path = Path(re.sub(r"/[^/]*NAME[^/]*", "", name))
            assert (ROOT / path).exists(), f"{name} is not in the tree"
    # A table stands in the file that is named after it, or in the first cell's.
    near = re.findall(r"`([A-Za-z_]+)`(?:[^`]*`([^`]*[/.][^`]*)`)?", line)
    last = re.findall(r"`([^`]*/[^`]*)`", file)[-1]
    for table, place in near:
        text = (ROOT / (place or last)).read_text()
        assert re.search(rf"\b{table}\b", text), f"{place or last} has no {table}"


def test_constraints_pin_what_the_extras_ask_for():
    """Ranges for users in pyproject.toml, versions for development here, and they agree."""
    from packaging.requirements import Requirement

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    asked = {r.name: r for group in groups for r in map(Requirement, group)}
    assert not [str(r) for r in asked.values() if "==" in str(r.specifier)]
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    for pin in (Requirement(line) for line in pins if not line.startswith("#")):
        (version,) = (s.version for s in pin.specifier)
        assert asked[pin.name].specifier.contains(version), f"{pin} is not {asked[pin.name]}"


def test_the_version_stands_in_one_place():
    """Of the package's own files, none but version.py says it."""
    version = edgepose.__version__
    for name in ("pyproject.toml", "setup.py", "Makefile", "constraints.txt", ".ci/run"):
        assert version not in (ROOT / name).read_text(), name
    text = (ROOT / "CHANGELOG.md").read_text()
    dated = rf"^## ({re.escape(version)} - \d{{4}}-\d\d-\d\d|Unreleased)$"
    assert re.search(dated, text, re.MULTILINE)
