"""The list before a release: ``python release/check.py [--fast]``. It changes nothing.

Every point is looked at, and what is missing is named; exit 1 if anything is. ``--fast`` leaves out
what takes minutes (lint, audit, wheels in fresh environments, fuzz).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST = 10_000_000
PYTHONS = ("cp310", "cp311", "cp312", "cp313")


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


def clean() -> str:
    """Nothing uncommitted: what is tagged is what was checked."""
    left = say("git", "status", "--porcelain")
    assert not left, f"uncommitted:\n{left}"
    return say("git", "rev-parse", "--short", "HEAD").strip()


def one_version() -> str:
    """No other file says a version of edgepose, and the tag is not taken."""
    project = (ROOT / "pyproject.toml").read_text()
    assert 'dynamic = ["version"]' in project, "pyproject.toml gives a version of its own"
    assert f"v{version()}" not in say("git", "tag").split(), f"v{version()} is tagged already"
    return version()


def changelog() -> str:
    """The version has its paragraph, and nothing waits under Unreleased."""
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## {re.escape(version())}\b", text, re.M), (
        f"CHANGELOG.md has no paragraph ## {version()}"
    )
    waiting = re.search(r"^## Unreleased\n(.*?)(?=^## )", text, re.M | re.S)
    assert not (waiting and waiting[1].strip()), (
        "CHANGELOG.md has lines under Unreleased: raise edgepose/version.py and name them by it"
    )
    return f"## {version()}"


def wheels() -> str:
    """One for every Python and both architectures, of this version, and none too large."""
    found = {path.name: path.stat().st_size for path in (ROOT / "dist").glob("*.whl")}
    for python in PYTHONS:
        for machine in ("x86_64", "aarch64"):
            pattern = rf"edgepose-{re.escape(version())}-{python}-{python}-manylinux\w*_{machine}"
            assert any(re.match(pattern, name) for name in found), (
                f"dist/ has no wheel for {python} on {machine}: make wheels"
            )
    large = [name for name, size in found.items() if size > MOST]
    assert not large, f"larger than 10 MB: {', '.join(large)}"
    return f"{len(found)} wheels, at most {max(found.values()) / 1e6:.1f} MB"


def sbom() -> str:
    """An SBOM of this version lies beside the wheels."""
    path = ROOT / "dist" / f"edgepose-{version()}.cdx.json"
    assert path.is_file(), f"there is no {path.name}: make wheels"
    return path.name


FAST: dict[str, Callable[[], str]] = {
    "clean tree": clean,
    "version": one_version,
    "changelog": changelog,
    "wheels": wheels,
    "SBOM": sbom,
}
SLOW: dict[str, Callable[[], str]] = {
    "lint": lambda: say("make", "lint") and "ok",
    "known weaknesses": lambda: say("make", "audit").strip().splitlines()[-1],
    "fresh environments": lambda: say("make", "check-wheels").strip().splitlines()[-1],
    "fuzz of bundles": lambda: say("make", "fuzz-bundle").strip().splitlines()[-1],
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
