"""Look the dependencies of a user up for known weaknesses: ``python release/audit.py``.

Those of ``pip install edgepose`` and of every extra a user may want, as they resolve here. Where
the advisory service cannot be reached it says so and ends well: the next run looks again.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
# torch and TensorRT are large and the user's own choice; the rest is what a run has.
EXTRAS = ("web", "screen", "plots", "coco", "openvino")
UNREACHED = ("ConnectionError", "Max retries", "NameResolution", "ProxyError", "timed out",
             "ServiceError", "403", "404", "502", "503")  # fmt: skip


def requirements() -> list[str]:
    """Every requirement of the chosen extras and of edgepose itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(line for extra in EXTRAS for line in optional[extra])]


def main() -> None:
    """Audit; exit 1 on a finding, 0 on none or where nobody could be asked."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text("\n".join(requirements()) + "\n")
        command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "-r"]
        done = subprocess.run(
            [*command, str(wanted)], capture_output=True, text=True, timeout=900, check=False
        )
    said = done.stdout + done.stderr
    if done.returncode == 0:
        print(f"audit: {said.strip().splitlines()[-1]}")
    elif "Found" in said and "known vulnerabilit" in said:
        sys.exit(said)
    elif any(sign in said for sign in UNREACHED):
        print("audit: skipped, the advisory service cannot be reached from here")
    else:
        sys.exit(said)


if __name__ == "__main__":
    main()
