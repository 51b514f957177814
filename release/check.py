"""The list before a release: ``python release/check.py [--fast]``. It changes nothing.

Every point is looked at, and what is missing is named; exit 1 if anything is. ``--fast`` leaves out
what takes minutes (lint, audit, suite, site, wheels in fresh environments, fuzz).
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST = 10_000_000
PYTHONS = ("cp310", "cp311", "cp312", "cp313")
COMPILED = ("csrc", "setup.py", "cuda_build.py", "pyproject.toml")


def version() -> str:
    """The one that a release would have."""
    text = (ROOT / "edgepose" / "version.py").read_text()
    found = re.search(r'__version__ = "([^"]+)"', text)
    assert found, "edgepose/version.py holds no version"
    return found[1]


def say(*command: str) -> str:
    """Output of a command; AssertionError with its end if it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-1500:]}"
    return done.stdout


def last(target: str) -> str:
    """What a target of the Makefile says at its end."""
    lines = say("make", target).strip().splitlines()
    return lines[-1] if lines else "done"


def clean() -> str:
    """Nothing uncommitted: what is tagged is what was checked."""
    left = say("git", "status", "--porcelain")
    assert not left, f"uncommitted:\n{left}"
    return say("git", "rev-parse", "--short", "HEAD").strip()


def one_version() -> str:
    """It comes from version.py, is newer than every tag, and the model card is the bundle's."""
    project = (ROOT / "pyproject.toml").read_text()
    assert 'dynamic = ["version"]' in project, "pyproject.toml gives a version of its own"
    tags = [tag.removeprefix("v") for tag in say("git", "tag", "--list", "v*").split()]
    newest = max(tags, key=numbers, default="0")
    assert numbers(version()) > numbers(newest), f"v{newest} is tagged: raise edgepose/version.py"
    model = ROOT / "edgepose" / "models" / "edgepose-s"
    found = re.search(r'^version = "([^"]+)"', (model / "bundle.toml").read_text(), re.M)
    card = (model / "MODEL_CARD.md").read_text().splitlines()[0]
    assert found, "bundle.toml of edgepose-s has no version"
    assert card == f"# edgepose-s {found[1]}", f"the model card is of {card}, not {found[1]}"
    return f"{version()}, weights {found[1]}"


def numbers(text: str) -> tuple[int, ...]:
    """A version as what it is ordered by."""
    return tuple(int(part) for part in re.findall(r"\d+", text))


def changelog() -> str:
    """The version has its paragraph, dated, and nothing waits under Unreleased."""
    text = (ROOT / "CHANGELOG.md").read_text()
    found = re.search(rf"^## {re.escape(version())} - (\d{{4}}-\d\d-\d\d)$", text, re.M)
    assert found, f"CHANGELOG.md has no paragraph ## {version()} - YYYY-MM-DD"
    day = datetime.date.fromisoformat(found[1])
    assert day <= datetime.date.today(), f"CHANGELOG.md dates {version()} to the future, {day}"
    waiting = re.search(r"^## Unreleased\n(.*?)(?=^## )", text, re.M | re.S)
    assert not (waiting and waiting[1].strip()), (
        "CHANGELOG.md has lines under Unreleased: raise edgepose/version.py and name them by it"
    )
    return found[0]


def wheels() -> str:
    """One for every Python and both architectures, of this version, none too large, no other."""
    found = {path.name: path.stat().st_size for path in (ROOT / "dist").glob("*.whl")}
    wanted = set()
    for python in PYTHONS:
        for machine in ("x86_64", "aarch64"):
            pattern = rf"edgepose-{re.escape(version())}-{python}-{python}-manylinux\w*_{machine}"
            fitting = {name for name in found if re.match(pattern, name)}
            assert fitting, f"dist/ has no wheel for {python} on {machine}: make wheels"
            assert len(fitting) == 1, f"dist/ has several for one: {sorted(fitting)}"
            wanted |= fitting
    stray = sorted(set(found) - wanted)
    assert not stray, f"dist/ holds other wheels too: {', '.join(stray)}"
    large = [name for name, size in found.items() if size > MOST]
    assert not large, f"larger than 10 MB: {', '.join(large)}"
    return f"{len(found)} wheels, at most {max(found.values()) / 1e6:.1f} MB"


def contents() -> str:
    """The wheels are of this commit: the same files, both modules, built after the C++ changed."""
    tracked = say("git", "ls-files", "edgepose").split()
    hashes = {name: hashlib.sha256((ROOT / name).read_bytes()).digest() for name in tracked}
    changed = int(say("git", "log", "-1", "--format=%ct", "--", *COMPILED))
    for path in sorted((ROOT / "dist").glob("*.whl")):
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            old = [
                name
                for name in names & set(hashes)
                if hashlib.sha256(archive.read(name)).digest() != hashes[name]
            ]
            assert not old, f"{path.name} holds another {old[0]}: make wheels"
            missing = [name for name in tracked if name.endswith(".py") and name not in names]
            assert not missing, f"{path.name} lacks {missing[0]}"
            modules = {Path(name).name.partition(".")[0] for name in names if name.endswith(".so")}
            assert modules == {"_core", "_cuda"}, f"{path.name} holds {sorted(modules)}"
            texts = {name.rpartition("/")[2] for name in names if ".dist-info/" in name}
            assert {"LICENSE", "NOTICE"} <= texts, f"{path.name} lacks a licence"
            built = datetime.datetime(*max(entry.date_time for entry in archive.infolist()))
        assert built.timestamp() >= changed - 2, f"{path.name} is older than csrc/: make wheels"
    return f"{len(hashes)} files compared"


def sbom() -> str:
    """An SBOM of this version and these weights lies beside the wheels."""
    path = ROOT / "dist" / f"edgepose-{version()}.cdx.json"
    assert path.is_file(), f"there is no {path.name}: make wheels"
    parts = json.loads(path.read_text())["components"]
    named = {entry["content"] for part in parts for entry in part.get("hashes", ())}
    for network in sorted((ROOT / "edgepose" / "models" / "edgepose-s").glob("*.onnx")):
        digest = hashlib.sha256(network.read_bytes()).hexdigest()
        assert digest in named, f"{path.name} names another {network.name}: make wheels"
    return f"{path.name}, {len(parts)} components"


FAST: dict[str, Callable[[], str]] = {
    "clean tree": clean,
    "version": one_version,
    "changelog": changelog,
    "wheels": wheels,
    "their contents": contents,
    "SBOM": sbom,
}
SLOW: dict[str, Callable[[], str]] = {
    "lint": lambda: last("lint"),
    "suite": lambda: last("test"),
    "site": lambda: last("site"),
    "known vulnerabilities": lambda: last("audit"),
    "fresh environments": lambda: last("check-wheels"),
    "fuzz of bundles": lambda: last("fuzz-bundle"),
}


def main() -> None:
    """Go through the list."""
    missing = 0
    for name, look in (FAST if "--fast" in sys.argv[1:] else {**FAST, **SLOW}).items():
        try:
            print(f"✓ {name}: {look()}")
        except AssertionError as error:
            missing += 1
            print(f"✗ {name}: {error}")
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
