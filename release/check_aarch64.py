"""The aarch64 wheel under an emulator: ``python release/check_aarch64.py WHEEL``, for CPython 3.11.

Debian 12's own arm64 Python (by apt, unpacked into build/aarch64/root, nothing is installed) runs
under qemu-aarch64 with the wheel and NumPy's: the modules import, and both paths of the crop kernel
are held to the reference's crops of the 10,000 boxes of ``tests/crop/cases.py``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "build" / "aarch64"
PACKAGES = [
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "zlib1g",
    "libexpat1",
    "libssl3",
    "libffi8",
    "libbz2-1.0",
    "liblzma5",
    "libuuid1",
    "libcrypt1",
    "libgomp1",
]
CHECK = """
import json, platform, sys
import numpy as np
from edgepose import _core
from edgepose.crop import cpu, native
from edgepose.crop.normalisation import normalisation
assert platform.machine() == "aarch64"
assert cpu.info().path == "neon", cpu.info()
given = np.load(sys.argv[1])
frames = [given[f"frame{i}"] for i in range(int(given["frames"]))]
worst, count = {}, 0
for n in range(int(given["batches"])):
    boxes, index, expected = (given[f"{name}{n}"] for name in ("boxes", "index", "expected"))
    options = json.loads(str(given[f"options{n}"]))
    colour = normalisation(options["scale"], options["mean"], options["std"], options["border"])
    gain = np.array(options["std"])[:, None, None] / options["scale"]
    for path in cpu.info().present:
        out = np.empty_like(expected, np.float32)
        cpu.crop(frames, boxes, index, out, colour, options["antialias"], 1, path)
        worst[path] = max(worst.get(path, 0.0), float(np.abs((out - expected) * gain).max()))
    count += len(boxes)
assert all(error <= 0.02 for error in worst.values()), worst
print(platform.python_version(), count, "boxes, worst of an 8-bit level:",
      ", ".join(f"{path} {error:.4f}" for path, error in worst.items()))
"""


def system() -> Path:
    """Debian's arm64 Python, unpacked; apt keeps its lists apart from this machine's own."""
    root = PLACE / "root"
    if (root / "usr" / "bin" / "python3.11").exists():
        return root
    for folder in ("state/lists/partial", "cache/archives/partial", "debs", "root"):
        (PLACE / folder).mkdir(parents=True, exist_ok=True)
    (PLACE / "state" / "status").touch()
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Dir::State": PLACE / "state",
        "Dir::State::status": PLACE / "state" / "status",
        "Dir::Cache": PLACE / "cache",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "download", *PACKAGES], cwd=PLACE / "debs", check=True)
    for package in sorted((PLACE / "debs").glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(package), str(root)], check=True)
    return root


def site(wheel: Path) -> Path:
    """The wheel and NumPy's for aarch64, unpacked into one folder."""
    folder, wheels = PLACE / "site", PLACE / "wheels"
    tags = [f"manylinux_2_{glibc}_aarch64" for glibc in (17, 27, 28)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels]
    command += ["--python-version", "3.11", "--only-binary", ":all:", "numpy"]
    platforms = [word for tag in tags for word in ("--platform", tag)]
    subprocess.run([str(word) for word in (*command, *platforms)], check=True)
    for path in (*wheels.glob("numpy-*.whl"), wheel):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    return folder


def cases(path: Path) -> None:
    """The reference's crops, made here: the emulator is slow."""
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
    from tests.crop.cases import batches

    made = batches()
    arrays = {f"frame{i}": frame for i, frame in enumerate(made[0].frames)}
    arrays |= {"frames": np.array(len(made[0].frames)), "batches": np.array(len(made))}
    for n, batch in enumerate(made):
        arrays |= {f"boxes{n}": batch.boxes, f"index{n}": batch.index.astype(np.int64)}
        arrays |= {
            f"expected{n}": batch.expected,
            f"options{n}": np.array(json.dumps(batch.options)),
        }
    np.savez(path, **arrays)


def main() -> None:
    """Check one wheel."""
    wheel = Path(sys.argv[1])
    root, folder = system(), site(wheel)
    cases(PLACE / "cases.npz")
    emulator = shutil.which("qemu-aarch64") or "qemu-aarch64-static"
    done = subprocess.run(
        [emulator, "-L", str(root), str(root / "usr" / "bin" / "python3.11"),
         "-P",
         "-c", CHECK, str(PLACE / "cases.npz")],
        env={"PYTHONPATH": str(folder), "PYTHONHOME": str(root / "usr"), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)
    print(f"{wheel.name} under qemu: CPython {done.stdout.strip()}")


if __name__ == "__main__":
    main()
