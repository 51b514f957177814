"""Look the dependencies of a user up for known weaknesses: ``python release/audit.py``.

Those of edgepose and of the extras a run may have, and theirs, in the versions installed here.
Where the advisory service cannot be reached it says so and ends well: the next run looks again.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

EXTRAS = ("web", "screen", "plots", "coco", "openvino", "tensorrt")
UNREACHED = ("ConnectionError", "Max retries", "NameResolution", "ProxyError", "timed out",
             "ServiceError", "HTTPError", "Client Error", "Server Error")  # fmt: skip
SECONDS = 240


def closure(name: str, extras: tuple[str, ...]) -> dict[str, str]:
    """Name → version of all that ``name`` needs and that is installed here, itself left out."""
    found: dict[str, str] = {}
    waiting = [(name, extras)]
    while waiting:
        package, wanted = waiting.pop()
        for line in metadata.requires(package) or ():
            requirement = Requirement(line)
            known = {"extra": ""}, *({"extra": extra} for extra in wanted)
            marker = requirement.marker
            if marker is not None and not any(marker.evaluate(given) for given in known):
                continue
            try:
                version = metadata.version(requirement.name)
            except metadata.PackageNotFoundError:
                continue
            if requirement.name not in found:
                found[requirement.name] = version
                waiting.append((requirement.name, tuple(requirement.extras)))
    return found


def main() -> None:
    """Audit; exit 1 on a finding, 0 on none or where nobody could be asked."""
    pinned = closure("edgepose", EXTRAS)
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text("".join(f"{n}=={v.partition('+')[0]}\n" for n, v in pinned.items()))
        options = ["--progress-spinner", "off", "--no-deps", "--disable-pip", "-r", str(wanted)]
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pip_audit", *options],
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            print(f"audit: skipped, the advisory service did not answer in {SECONDS} s")
            return
    said = (done.stdout + done.stderr).strip()
    if done.returncode == 0:
        print(f"audit: {len(pinned)} packages, {said.splitlines()[-1]}")
    elif "Found" in said and "known vulnerabilit" in said:
        sys.exit(said)
    elif any(sign in said for sign in UNREACHED):
        print("audit: skipped, the advisory service cannot be reached from here")
    else:
        sys.exit(said)


if __name__ == "__main__":
    main()
