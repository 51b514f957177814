"""``edgepose-build`` as a user runs it, and everything that can go wrong with engines."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgepose.bundle import Bundle
from edgepose.engine.cache import Cache

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has no wheel for this platform")

TARGET = ("--target", "sm86")


def start(*arguments, prelude="", **options) -> subprocess.Popen:
    code = f"import sys\n{prelude}\nfrom edgepose.cli.build import main\nmain()"
    environment = {**os.environ, "COLUMNS": "200", "PYTHONWARNINGS": "error"}
    environment |= options.pop("environment", {})
    environment.pop("EDGEPOSE_TENSORRT", None)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def build(*arguments, **options) -> subprocess.CompletedProcess:
    with start(*arguments, **options) as process:
        out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def sentence(done) -> str:
    """The one sentence of a command that ended with exit code 2."""
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    (line,) = [x for x in done.stderr.splitlines() if not re.match(r"building \w+ …", x)]
    assert line.startswith("edgepose-build: ")
    return line


@pytest.fixture(scope="module")
def one_stage(tmp_path_factory) -> Path:
    """The shipped bundle's first stage as a bundle of its own, which builds quickly."""
    folder = tmp_path_factory.mktemp("bundle") / "one"
    shipped = Bundle()
    shutil.copytree(shipped.folder, folder)
    text = (folder / "bundle.toml").read_text()
    # Without the seal in the first line, the later stages and the detector.
    head, *stages = text.split("[[stages]]")
    last, golden = stages[-1].split("[golden]")
    tail = re.sub(r"\[detector\].*?(?=\n\[|\Z)", "", "[golden]" + golden, flags=re.DOTALL)
    first = (stages[0] if len(stages) > 1 else last).split("[golden]")[0]
    (folder / "bundle.toml").write_text(f"{head.split(chr(10), 1)[1]}[[stages]]{first}{tail}")
    assert len(Bundle(folder).manifest.stages) == 1
    assert Bundle(folder).manifest.detector is None
    return folder


@pytest.fixture(scope="module")
def built(one_stage, tmp_path_factory) -> Path:
    """A folder with the engine of ``one_stage``; only to be copied. Built without torch."""
    folder = tmp_path_factory.mktemp("engines") / "built"
    prelude = "sys.modules['torch'] = None"
    done = build(one_stage, *TARGET, "--out", folder, "--verify", prelude=prelude)
    assert done.returncode == 0, done.stderr
    assert re.search(r"stage1 +fp16 +1:2:4:8 +\d+\.\d +\d+\.\d +built", done.stdout)
    assert re.search(r"end to end +\S+ +0\.[0-4]\d* ", done.stdout)  # within the recipe's limit
    assert "The engines themselves were not run" in done.stdout
    return folder


@pytest.fixture
def engines(built, tmp_path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "engines"))


def plan(folder: Path) -> Path:
    (path,) = folder.glob("*.plan")
    return path


def manifest(folder: Path) -> Path:
    (path,) = folder.glob("*.json")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".lock"}


def test_what_is_there_is_not_built_again(one_stage, engines):
    before = contents(engines)
    done = build(one_stage, *TARGET, "--out", engines)
    assert done.returncode == 0, done.stderr
    assert "there since" in done.stdout
    assert "building" not in done.stderr
    assert contents(engines) == before


def test_rebuild_replaces_it(one_stage, engines):
    before = json.loads(manifest(engines).read_text())
    done = build(one_stage, *TARGET, "--out", engines, "--rebuild")
    assert done.returncode == 0, done.stderr
    after = json.loads(manifest(engines).read_text())
    assert after["built"] != before["built"]
    assert hashlib.sha256(plan(engines).read_bytes()).hexdigest() == after["sha256"]


def test_list_inspect_and_clean(one_stage, engines):
    done = build("--list", "--out", engines)
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"stage1-\w+: .*tensorrt-rtx 1\.7\S+, sm86, fp16, 1:2:4:8 persons", done.stdout
    )
    done = build(one_stage, *TARGET, "--inspect", "stage1", "--out", engines)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["manifest"]["identity"]["precision"] == "fp16"
    assert {n["type"] for n in shown["nodes"] if n["operator"] == "Conv"} == {"float16"}
    # Only engines go: the recipes lie in the same folder.
    (engines / "mine.toml").write_text('precision = "fp32"\n')
    (engines / "mine.json").write_text("{}")
    done = build("--clean", "--out", engines)
    assert done.stdout == f"removed 1 engine from {engines}\n"
    assert set(contents(engines)) == {"mine.toml", "mine.json"}
    assert build("--list", "--out", engines).stdout == f"no engines in {engines}\n"


def test_a_terminal_shows_a_bar_with_times(one_stage, tmp_path):
    parent, child = pty.openpty()
    code = "from edgepose.cli.build import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(one_stage), *TARGET, "--out", str(tmp_path / "e")],
        stdout=subprocess.DEVNULL,
        stderr=child,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(child)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while data := os.read(parent, 65536):
            shown += data
    os.close(parent)
    assert process.wait(60) == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert re.search(r"building stage1 .*━.* \d+ %  \d+ s, (about \d+ s left|…)", plain)


def test_options_and_recipe(one_stage, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text('batch = "1:2"\n[networks.stage1]\nfloat32 = ["Resize"]\n')
    options = ["--recipe", recipe, "--batch", "stage1=1:2:3", "--workspace", "64"]
    options += ["--precision", "fp32", "--target", "sm86,sm120", "--out", tmp_path / "e"]
    done = build(one_stage, *options, "--verify")
    assert done.returncode == 0, done.stderr
    identity = json.loads(manifest(tmp_path / "e").read_text())["identity"]
    assert identity["batch"] == [1, 2, 3]
    assert identity["float32"] == ["Resize"]
    assert identity["workspace"] == 64
    assert identity["precision"] == "fp32"
    assert identity["targets"] == ["sm86", "sm120"]


def test_too_much_drift_is_refused(one_stage, tmp_path):
    """bfloat16 has eight bits: too few for narrow limits."""
    recipe = tmp_path / "narrow.toml"
    recipe.write_text("[limits]\npixels = 0.1\n")
    options = (*TARGET, "--out", tmp_path / "e", "--precision", "bf16", "--verify")
    options += ("--recipe", recipe)
    text = sentence(build(one_stage, *options))
    assert "the bf16 engine of stage1 is refused: joints drift by" in text
    assert "try --precision fp16 or fp32" in text
    assert contents(tmp_path / "e") == {}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere", *TARGET), "no bundle at nowhere"),
        ((*TARGET, "--batch", "5:1:1"), "the batch '5:1:1' is not the numbers of persons"),
        ((*TARGET, "--batch", "stage9=1:2"), "the bundle has no network 'stage9'; it has stage1"),
        ((*TARGET, "--recipe", "nowhere.toml"), "cannot read the recipe nowhere.toml"),
        ((*TARGET, "--recipe", "bad.toml"), "bad.toml is not a valid engine recipe"),
        ((*TARGET, "--recipe", "zero.toml"), "zero.toml is not a valid engine recipe"),
        ((*TARGET, "--inspect", "stage9"), "the bundle has no network 'stage9'; it has stage1"),
        ((*TARGET, "--no-build", "--rebuild"), "--rebuild and --no-build were given"),
        (("--list", "--clean"), "--list and --clean were given; give one of them"),
        (("--target", "sm42"), "cannot build for sm42; --target takes host, or one or more of"),
        ((*TARGET, "--flavour", "tensorrt"), "tensorrt is not installed; install it with: pip"),
        ((*TARGET, "--no-build"), "there is no engine for stage1 in"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, arguments, says):
    (tmp_path / "bad.toml").write_text('precison = "fp16"\n')
    (tmp_path / "zero.toml").write_text("workspace = 0\n")
    done = build(*arguments, "--out", "e", cwd=tmp_path)
    assert says in sentence(done)


def test_no_gpu_to_build_for(one_stage):
    from edgepose.cuda.driver import driver

    if driver().gpus:
        pytest.skip("there is a GPU")
    text = sentence(build(one_stage))
    assert "there is no GPU here to build for" in text
    assert "name the GPU's compute capability with --target, one or more of sm75" in text


# Faults.


def test_tensorrt_absent(one_stage, tmp_path):
    prelude = "sys.modules['tensorrt_rtx'] = sys.modules['tensorrt'] = None"
    text = sentence(build(one_stage, *TARGET, "--out", tmp_path, prelude=prelude))
    assert "TensorRT is not installed; on a Jetson it comes with JetPack" in text
    assert "pip install tensorrt" in text


def test_two_flavours(one_stage, tmp_path):
    package = tmp_path / "site" / "tensorrt"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("__version__ = '10.3.0'\n")
    path = os.pathsep.join([str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    both = {"PYTHONPATH": path}
    options = (one_stage, *TARGET, "--out", tmp_path / "e")
    text = sentence(build(*options, environment=both))
    assert "both tensorrt and tensorrt-rtx are installed; say which with --flavour" in text
    # One that is only a folder of that name.
    text = sentence(build(*options, "--flavour", "tensorrt", environment=both))
    assert "tensorrt is installed but cannot be imported" in text
    done = build(*options, "--flavour", "tensorrt-rtx", environment=both)
    assert done.returncode == 0, done.stderr


def test_onnx_absent(one_stage, tmp_path):
    prelude = "sys.modules['onnx'] = None"
    text = sentence(build(one_stage, *TARGET, "--out", tmp_path / "e", prelude=prelude))
    assert "building engines needs the package onnx; install it with: pip install onnx" in text


def cut(folder: Path) -> None:
    data = plan(folder).read_bytes()
    plan(folder).write_bytes(data[: len(data) // 2])


def flip(folder: Path) -> None:
    data = bytearray(plan(folder).read_bytes())
    data[len(data) // 3] ^= 1
    plan(folder).write_bytes(data)


def lose(folder: Path) -> None:
    plan(folder).unlink()


def scribble(folder: Path) -> None:
    text = manifest(folder).read_text()
    manifest(folder).write_text(text[: len(text) // 2])


def newer(folder: Path) -> None:
    manifest(folder).write_text(manifest(folder).read_text().replace('"format": 2', '"format": 3'))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (cut, r"is damaged: it has \d+ bytes, its manifest says \d+"),
        (flip, r"is damaged: its SHA-256 is \w+…, its manifest says"),
        (lose, r"cannot read engine .*No such file"),
        (scribble, r"engine manifest .* is damaged \("),
        (newer, r"has format 3, this edgepose reads format 2"),
    ],
)
def test_a_damaged_engine(one_stage, engines, spoil, says):
    spoil(engines)
    before = contents(engines)
    text = sentence(build(one_stage, *TARGET, "--out", engines, "--no-build"))
    assert re.search(says, text)
    command = f"edgepose-build {one_stage} {' '.join(TARGET)} --out {engines}"
    assert re.search(rf"; build it (again )?with: {re.escape(command)}( --rebuild)?$", text)
    assert contents(engines) == before
    if spoil in (flip, scribble):
        assert "damaged" in build("--list", "--out", engines).stdout
    # What the sentence says mends it.
    done = build(one_stage, *TARGET, "--out", engines, "--rebuild")
    assert done.returncode == 0, done.stderr
    ((_, kept),) = Cache(engines).manifests()
    assert Cache(engines).read(kept) == plan(engines).read_bytes()


def other(name, value):
    """A manifest, and a file name, as of an engine whose identity differs in one thing."""

    def change(folder: Path) -> None:
        facts = json.loads(manifest(folder).read_text())
        facts["identity"][name] = value
        manifest(folder).rename(folder / "stage1-0123456789ab.json").write_text(json.dumps(facts))

    return change


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("targets", ["sm89"], "it is for compute capability sm89, expected is sm86"),
        ("version", "1.6.0.1", r"built by tensorrt-rtx 1\.6\.0\.1, expected is tensorrt-rtx 1\.7"),
        ("onnx", "0" * 64, r"the network has changed since \(SHA-256 0{12}…, expected \w{12}…\)"),
    ],
)
def test_an_engine_that_does_not_fit(one_stage, engines, name, value, says):
    other(name, value)(engines)
    before = contents(engines)
    text = sentence(build(one_stage, *TARGET, "--out", engines, "--no-build"))
    assert re.search(rf"engine {re.escape(str(plan(engines)))} does not fit: .*{says}", text)
    command = f"build it with: edgepose-build {one_stage} --target sm86 --out {engines}"
    assert text.endswith(command)
    assert contents(engines) == before


def test_a_network_that_changed_after_the_build(one_stage, engines, tmp_path):
    import onnx

    changed = Path(shutil.copytree(one_stage, tmp_path / "changed"))
    path = changed / "stage1.onnx"
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    model = onnx.load(path)
    model.doc_string = "changed"
    path.write_bytes(model.SerializeToString())
    # Changed by accident, the bundle itself is refused; on purpose, the engine is.
    options = (changed, *TARGET, "--out", engines)
    assert "is damaged: its SHA-256" in sentence(build(*options, "--no-build"))
    toml = changed / "bundle.toml"
    toml.write_text(toml.read_text().replace(old, hashlib.sha256(path.read_bytes()).hexdigest()))
    before = contents(engines)
    assert "the network has changed since" in sentence(build(*options, "--no-build"))
    assert contents(engines) == before
    done = build(*options)
    assert done.returncode == 0, done.stderr
    assert "the network has changed since" in done.stderr
    assert "it is built again." in done.stderr
    assert len(list(engines.glob("*.plan"))) == 2
    assert before.items() <= contents(engines).items()


def test_a_network_that_tensorrt_cannot_read(one_stage, tmp_path):
    """Its objects must be gone before the interpreter is, or that ends in a crash."""
    from onnx import TensorProto, helper

    node = helper.make_node("StringNormalizer", ["x"], ["y"], name="shout")
    x, y = (helper.make_tensor_value_info(name, TensorProto.STRING, [1]) for name in "xy")
    graph = helper.make_graph([node], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder = Path(shutil.copytree(one_stage, tmp_path / "strange"))
    old = hashlib.sha256((folder / "stage1.onnx").read_bytes()).hexdigest()
    (folder / "stage1.onnx").write_bytes(model.SerializeToString())
    new = hashlib.sha256(model.SerializeToString()).hexdigest()
    toml = folder / "bundle.toml"
    toml.write_text(toml.read_text().replace(old, new))
    options = (*TARGET, "--precision", "fp32", "--out", tmp_path / "e")
    done = build(folder, *options)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    # TensorRT's parser writes a line of its own to stderr before.
    *_, text = done.stderr.splitlines()
    assert re.search(r"^edgepose-build: .* cannot build it: .*StringNormalizer shout", text)
    assert contents(tmp_path / "e") == {}


@contextlib.contextmanager
def mounted(folder: Path, *options: str):
    """A tmpfs on ``folder``; skips where mounting is not allowed."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"mounting a tmpfs is not allowed here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_disk_full(one_stage, tmp_path):
    folder = tmp_path / "small"
    with mounted(folder, "size=1m"):
        text = sentence(build(one_stage, *TARGET, "--out", folder))
        assert f"the disk with {folder} is full; free some space or choose another" in text
        assert contents(folder) == {}


def test_disk_full_keeps_what_was_there(one_stage, engines, tmp_path):
    folder = tmp_path / "small"
    size = sum(p.stat().st_size for p in engines.iterdir())
    with mounted(folder, f"size={size + (1 << 20)}"):
        shutil.copytree(engines, folder, dirs_exist_ok=True)
        before = contents(folder)
        text = sentence(build(one_stage, *TARGET, "--out", folder, "--rebuild"))
        assert "is full" in text
        assert contents(folder) == before
        assert build(one_stage, *TARGET, "--out", folder, "--no-build").returncode == 0


def test_read_only_cache(one_stage, engines, tmp_path):
    folder = tmp_path / "fixed"
    with mounted(folder, "size=100m"):
        shutil.copytree(engines, folder, dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        # Engines that are there are used all the same.
        assert build(one_stage, *TARGET, "--out", folder).returncode == 0
        for more in ("--rebuild", "--clean"):
            text = sentence(build(one_stage, *TARGET, "--out", folder, more))
            assert f"cannot write to {folder} (Read-only file system); choose another" in text
        text = sentence(build(one_stage, *TARGET, "--out", folder / "new" / "folder"))
        assert "Read-only file system" in text


def wait_for(process, text: str) -> None:
    """Read the process's messages up to one that has ``text``."""
    for line in process.stderr:
        if text in line:
            return
    pytest.fail(f"it ended without saying {text!r}")


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_broken_off_in_mid_build(one_stage, engines, sign):
    before = contents(engines)
    with start(one_stage, *TARGET, "--out", engines, "--rebuild") as process:
        wait_for(process, "building stage1")
        process.send_signal(sign)
        _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if sign == signal.SIGINT else -sign), err
    assert "Traceback" not in err
    assert contents(engines) == before
    # Nothing is in the way of the next one.
    assert build(one_stage, *TARGET, "--out", engines, "--rebuild").returncode == 0


def test_what_a_killed_build_left_is_tidied_away(one_stage, engines):
    half = engines / "stage1-0123456789ab-01234567.plan.part"
    lone = engines / "stage1-0123456789ab-01234567.plan"
    mine = engines / "mine.plan"
    for path in (half, lone, mine):
        path.write_bytes(b"half")
    done = build(one_stage, "--target", "sm120", "--out", engines)
    assert done.returncode == 0, done.stderr
    assert not half.exists()
    assert not lone.exists()
    assert mine.exists()
    assert len(list(engines.glob("*.plan"))) == 3


def test_a_second_builder_waits(one_stage, tmp_path):
    cache = Cache(tmp_path / "e")
    with cache.lock(lambda: None):
        process = start(one_stage, *TARGET, "--out", cache.folder)
        wait_for(process, f"Another build is using {cache.folder}; waiting")
        time.sleep(0.2)
        assert process.poll() is None
        assert contents(cache.folder) == {}
    with process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "built" in out


def test_two_builders_at_once_build_once(one_stage, tmp_path):
    both = [start(one_stage, *TARGET, "--out", tmp_path / "e") for _ in range(2)]
    done = [p.communicate(timeout=120) for p in both]
    assert [p.returncode for p in both] == [0, 0], done
    said = sorted("building stage1" in err for _, err in done)
    assert said == [False, True]
    assert len(contents(tmp_path / "e")) == 2


OPTIONS = """target flavour precision batch recipe workspace rebuild out verify no-build list
inspect clean"""


def test_help_is_quick_and_names_every_option():
    heavy = "{'onnx', 'onnxruntime', 'tensorrt_rtx', 'torch'}"
    show = f"import atexit; atexit.register(lambda: print('HEAVY', {heavy} & set(sys.modules)))"
    done = build("--help", prelude=show)
    assert done.returncode == 0, done.stderr
    for option in OPTIONS.split():
        assert f"--{option}" in done.stdout
    assert done.stdout.splitlines()[-1] == "HEAVY set()"
