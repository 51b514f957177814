"""Install wheels where there is no compiler and run them: ``python release/check_wheel.py WHEEL…``.

Each in a new environment of its own Python, with nothing else on PATH and no variable of this
shell: what it needs it must bring or pip must find. Prints size, seconds and what came out.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from wheels import MOST, interpreter

CHECK = """
import edgepose
from edgepose.crop import info, native
assert native.device_count() == 0 or native.has_cuda()
try:
    from edgepose import _host
except ImportError:
    pass
else:
    raise SystemExit("the wheel holds edgepose._host")
print(info().path, "CUDA kernels for sm " + native._cuda.ARCHITECTURES if native.has_cuda() else
      "no CUDA kernels")
"""


def check(wheel: Path) -> str:
    """One line about a wheel; CalledProcessError or AssertionError if it is not sound."""
    version = re.sub(r".*-cp(\d)(\d+)-cp.*", r"\1.\2", wheel.name)
    size = wheel.stat().st_size
    assert size <= MOST, f"{wheel.name} is larger than {MOST} bytes"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        subprocess.run([interpreter(version), "-m", "venv", home / "venv"], check=True)
        bare = {"PATH": str(home / "venv" / "bin"), "HOME": folder}

        def call(*words: str) -> str:
            done = subprocess.run(
                [str(home / "venv" / "bin" / words[0]), *words[1:]],
                env=bare, cwd=home, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{' '.join(words)}: {done.stderr[-2000:]}"
            return done.stdout

        began = time.perf_counter()
        # --only-binary: a dependency that would have to be compiled is an error, too.
        call("python", "-m", "pip", "install", "--quiet", "--only-binary", ":all:",
             "--disable-pip-version-check", str(wheel.resolve()))  # fmt: skip
        installed = time.perf_counter() - began
        what = call("python", "-c", CHECK).strip()
        began = time.perf_counter()
        call("edgepose-run", "--source", "sample", "--json", "poses.jsonl")
        ran = time.perf_counter() - began
        head, *frames = map(json.loads, (home / "poses.jsonl").read_text().splitlines())
        persons = sum(len(frame["persons"]) for frame in frames)
        assert (len(frames), head["skeleton"]) == (100, "lsp14")
        assert persons >= 150, f"only {persons} persons in the sample's frames"
    return (
        f"{wheel.name}: {size / 1e6:.1f} MB, installed in {installed:.0f} s, the sample in "
        f"{ran:.0f} s, {len(frames)} frames, {persons} persons; {what}"
    )


def main() -> None:
    """Check every wheel that is named."""
    for name in sys.argv[1:]:
        print(check(Path(name)), flush=True)


if __name__ == "__main__":
    main()
