"""The aarch64 wheels under an emulator: ``python release/check_aarch64.py WHEEL…``.

For CPython 3.11 and 3.13 Debian's own arm64 Python (by apt, unpacked into build/aarch64, nothing is
installed) runs under qemu-aarch64 with the wheel and NumPy's: the modules import, ``_cuda`` without
a driver, and both paths of the crop kernel are held to the reference's crops of the 10,000 boxes of
``tests/crop/cases.py``. Of 3.10 and 3.12 Debian has none: there the modules are taken apart. They
are ELF files for aarch64 that export their init function, and every function of Python's that they
call is exported by this machine's CPython of that version.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from wheels import CROSS, interpreter

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "build" / "aarch64"
SUITES = {"3.11": "bookworm", "3.13": "trixie"}
PACKAGES = {
    "bookworm": ["libexpat1", "libssl3", "libffi8", "libuuid1", "libcrypt1"],
    "trixie": ["libexpat1", "libssl3t64", "libffi8", "libuuid1", "libcrypt1"],
}
COMMON = ["libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libbz2-1.0", "liblzma5", "libgomp1"]
CHECK = """
import json, platform, sys
import numpy as np
from edgepose import _core
from edgepose.crop import cpu, native
from edgepose.crop.normalisation import normalisation
assert platform.machine() == "aarch64"
assert cpu.info().path == "neon", cpu.info()
assert native.has_cuda() == (sys.argv[2] == "cuda"), "edgepose._cuda does not import"
assert native.device_count() == 0
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
      ", ".join(f"{path} {error:.4f}" for path, error in worst.items())
      + (f"; CUDA kernels for sm {native._cuda.ARCHITECTURES}" if native.has_cuda() else ""))
"""


def mirror() -> str:
    """Where this machine has Debian's packages from."""
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian", "Label: Debian"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not told.stdout:
        sys.exit("arm64's Python comes from Debian: run this on Debian, after apt-get update.")
    return told.stdout.split()[0]


def system(version: str) -> Path:
    """Debian's arm64 Python, unpacked; apt keeps its lists apart from this machine's own."""
    suite = SUITES[version]
    place = PLACE / suite
    root = place / "root"
    if (root / "usr" / "bin" / f"python{version}").exists():
        return root
    for folder in ("state/lists/partial", "cache/archives/partial", "parts", "debs", "root"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    (place / "state" / "status").touch()
    (place / "sources.list").write_text(f"deb {mirror()} {suite} main\n")
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Dir::Etc::sourcelist": place / "sources.list",
        "Dir::Etc::sourceparts": place / "parts",
        "Dir::State": place / "state",
        "Dir::State::status": place / "state" / "status",
        "Dir::Cache": place / "cache",
        "Acquire::Languages": "none",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    names = [
        f"python{version}-minimal",
        f"libpython{version}-minimal",
        f"libpython{version}-stdlib",
    ]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run(
        [*apt, "download", *names, *COMMON, *PACKAGES[suite]], cwd=place / "debs", check=True
    )
    # Where /lib is a link to usr/lib, dpkg -x must not make a folder of it.
    for name in ("bin", "lib", "sbin"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    for package in sorted((place / "debs").glob("*.deb")):
        packed = subprocess.run(
            ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE, check=True
        ).stdout
        subprocess.run(
            ["tar", "-x", "--keep-directory-symlink", "-C", str(root)], input=packed, check=True
        )
    return root


def site(wheel: Path, version: str) -> Path:
    """The wheel and NumPy's for aarch64, unpacked into one folder."""
    folder, wheels = PLACE / f"site-{version}", PLACE / f"wheels-{version}"
    shutil.rmtree(folder, ignore_errors=True)
    tags = [f"manylinux_2_{glibc}_aarch64" for glibc in (17, 27, 28)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels]
    command += ["--python-version", version, "--only-binary", ":all:", "numpy"]
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


def run(wheel: Path, version: str) -> str:
    """What the wheel says of itself under the emulator; exits with the error if it is not sound."""
    root, folder = system(version), site(wheel, version)
    table = PLACE / "cases.npz"
    emulator = shutil.which("qemu-aarch64") or "qemu-aarch64-static"
    cuda = "cuda" if list(folder.glob("edgepose/_cuda.*.so")) else "none"
    done = subprocess.run(
        [emulator, "-L", str(root), str(root / "usr" / "bin" / f"python{version}"), "-P",
         "-c", CHECK, str(table), cuda],
        env={"PYTHONPATH": str(folder), "PYTHONHOME": str(root / "usr"), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)
    return f"under qemu: CPython {done.stdout.strip()}"


def look(wheel: Path, version: str) -> str:
    """What can be said of the modules where no interpreter can run them."""
    python = interpreter(version)
    code = "from sysconfig import get_config_var as g; print(g('LIBDIR') + '/' + g('LDLIBRARY'))"
    library = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    given = symbols("nm", Path(library.stdout.strip()), "--defined-only")
    said = []
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        for name in (n for n in archive.namelist() if n.endswith(".so")):
            path = Path(archive.extract(name, folder))
            module = path.name.partition(".")[0]
            kind = subprocess.run(
                [f"{CROSS}readelf", "-h", path], capture_output=True, text=True, check=True
            )
            assert re.search(r"Machine:\s+AArch64", kind.stdout), f"{name} is not for aarch64"
            assert f"PyInit_{module}" in symbols(f"{CROSS}nm", path, "--defined-only"), name
            wanted = {
                s for s in symbols(f"{CROSS}nm", path, "--undefined-only") if re.match("_?Py", s)
            }
            assert len(wanted) > 50, f"{name} calls only {wanted}"
            assert wanted <= given, (
                f"{name} wants {sorted(wanted - given)}, not in CPython {version}"
            )
            said.append(f"{module} calls {len(wanted)} functions of Python's, all there")
    assert said, f"{wheel.name} holds no module"
    return f"not run (no such Python for arm64 in Debian), CPython {version}: {'; '.join(said)}"


def symbols(nm: str, path: Path, which: str) -> set[str]:
    """Names in a library's dynamic table."""
    told = subprocess.run([nm, "-D", which, path], capture_output=True, text=True, check=True)
    return {line.split()[-1].partition("@")[0] for line in told.stdout.splitlines()}


def main() -> None:
    """Check every wheel that is named."""
    PLACE.mkdir(parents=True, exist_ok=True)
    cases(PLACE / "cases.npz")
    for wheel in map(Path, sys.argv[1:]):
        version = re.sub(r".*-cp(\d)(\d+)-cp.*", r"\1.\2", wheel.name)
        said = run(wheel, version) if version in SUITES else look(wheel, version)
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, {said}", flush=True)


if __name__ == "__main__":
    main()
