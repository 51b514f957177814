"""What nvcc makes of the CUDA kernels: registers, shared memory, spills, double precision.

``python benchmarks/sass.py [--arch 87]… [FILE.cu]…`` (``make sass``) compiles the sources, prints a
row per kernel and exits with 1 where one spills or uses double precision, which Jetsons and
GeForces run at a 64th of the rate. Needs nvcc and no GPU.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import cuda_build  # noqa: E402


@dataclass(frozen=True)
class Kernel:
    """One kernel for one architecture; ``doubles`` counts its instructions in double precision."""

    name: str
    arch: str
    registers: int
    shared: int
    spilled: int
    doubles: int

    @property
    def good(self) -> bool:
        """Neither spills nor double precision."""
        return self.spilled == 0 and self.doubles == 0


def inspect(source: Path, arch: str, nvcc: str) -> list[Kernel]:
    """Compile one source for one architecture and read what the assembler says.

    Raises:
        RuntimeError: nvcc fails; the message ends with what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [nvcc, "-std=c++17", "-O3", f"-arch=sm_{arch}", "-Xptxas=-v", "--keep"]
        command += ["--keep-dir", folder, "-cubin", f"-I{ROOT / 'csrc'}", str(source)]
        command += ["-o", str(Path(folder, "out.cubin"))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{nvcc} failed: {done.stderr[-2000:]}")
        ptx = next(Path(folder).glob("*.ptx")).read_text()
    return read(done.stderr, ptx, arch)


def read(log: str, ptx: str, arch: str) -> list[Kernel]:
    """Read ``ptxas -v``'s log and the PTX, one part of each per kernel."""
    bodies = {
        match["name"]: match["body"]
        for match in re.finditer(
            r"\.entry (?P<name>\w+)\((?P<body>.*?)^\}", ptx, re.DOTALL | re.MULTILINE
        )
    }
    kernels = []
    for part in log.split("Compiling entry function")[1:]:
        name = re.search(r"'(\w+)'", part).group(1)  # type: ignore[union-attr]
        spills = re.findall(r"(\d+) bytes spill", part)
        registers = re.search(r"Used (\d+) registers", part)
        shared = re.search(r"(\d+) bytes smem", part)
        # In PTX, since there a register of type .f64 shows every use, with no disassembler.
        doubles = len(re.findall(r"^\s+(?!\.reg)[^/\n]*\.f64\b", bodies[name], re.MULTILINE))
        kernels.append(
            Kernel(
                plain(name),
                arch,
                int(registers.group(1)) if registers else 0,
                int(shared.group(1)) if shared else 0,
                sum(map(int, spills)),
                doubles,
            )
        )
    return kernels


def plain(name: str) -> str:
    """The kernel's own name and template arguments out of a mangled name."""
    match = re.search(r"\d+([a-z_]+_kernel)(I.*?E)?(?=E|N|v|P|i)", name)
    if match is None:
        return name
    arguments = match.group(2) or ""
    kinds = ["NV12" if "Lb1" in arguments else "BGR"] if "Lb" in arguments else []
    if kinds:
        kinds.append("float16" if "half" in arguments else "float32")
    return " ".join([match.group(1), *kinds])


def main() -> int:
    """Print the table as text, or as JSON with ``--json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="*", type=Path, metavar="FILE.cu")
    parser.add_argument("--arch", action="append", help="87, 90, …; default: 75 87 90 120")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    nvcc = cuda_build.find_nvcc()
    if nvcc is None:
        print("There is no nvcc: install the CUDA toolkit or set CUDA_HOME.", file=sys.stderr)
        return 2
    sources = arguments.sources or sorted((ROOT / "csrc").glob("*_cuda.cu"))
    kernels = [
        kernel
        for arch in arguments.arch or ("75", "87", "90", "120")
        for source in sources
        for kernel in inspect(source, arch, nvcc)
    ]
    if arguments.json:
        print(json.dumps([asdict(kernel) for kernel in kernels], indent=1))
    else:
        print(f"{'kernel':28} arch registers shared spilled doubles")
        for k in kernels:
            print(
                f"{k.name:28} {k.arch:>4} {k.registers:9} {k.shared:6} {k.spilled:7} {k.doubles:7}"
            )
    return 0 if all(kernel.good for kernel in kernels) else 1


if __name__ == "__main__":
    sys.exit(main())
