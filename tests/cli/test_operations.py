"""Left running: options from a file, structured logs, systemd, containers."""

import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from edgepose.cli import _systemd
from tests.conftest import program, run_program
from tests.rtsp import RtspCamera, need_rtsp, pictures_of

DEPLOY = Path(__file__).parents[2] / "deploy"


def config(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


def test_options_from_a_file_and_back(tmp_path):
    text = 'source = ["rtsp://a:hunter2@cam/1"]\nmax_frames = 3\nno-smooth = true\n'
    path = config(tmp_path, text)
    done = run_program("--config", path, "--max-frames", 2, "--csv", "x.csv", "--print-config")
    assert done.returncode == 0, done.stderr
    assert "hunter2" not in done.stdout
    for line in ('    "rtsp://cam/1",', "max-frames = 2", "no-smooth = true", 'csv = "x.csv"'):
        assert line in done.stdout.splitlines(), line
    assert 'log = "text"' in done.stdout.splitlines()
    again = run_program("--config", config(tmp_path, done.stdout), "--print-config")
    assert again.stdout == done.stdout


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max-persn = 3", "unknown key 'max-persn'; did you mean 'max-persons'?"),
        ("config = 'x'", "unknown key 'config'"),
        ("fps = ", "is no TOML"),
        ("[fps]\nx = 1", "'fps' is a table"),
        (None, "cannot be read (no such file or directory)"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, text, says):
    path = tmp_path / "missing.toml" if text is None else config(tmp_path, text)
    done = run_program("--config", path)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_value_of_the_wrong_kind(tmp_path):
    done = run_program("--config", config(tmp_path, "max-persons = 'many'"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "max-persons" in done.stderr


def test_every_line_of_a_structured_log_is_json(tmp_path, clip):
    poses = tmp_path / "poses.jsonl"
    path = config(tmp_path, f'source = ["{clip}"]\nlog = "json"\njson = "{poses}"')
    done = run_program("--config", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    first, last = lines[0], lines[-1]
    assert (first["message"], first["sources"]) == ("run started", [str(clip)])
    assert (last["message"], last["frames"]) == ("run finished", 30)
    assert last["outputs"] == [{"output": "--json", "written": 30, "late": 0, "lost": 0}]
    states = [line["state"] for line in lines if "state" in line]
    assert states == ["running", "ended"]
    done = run_program("--source", tmp_path / "missing.mp4", "--log", "json")
    assert done.returncode == 2
    error = json.loads(done.stderr)
    assert (error["level"], "no file or folder" in error["message"]) == ("error", True)


def test_looking_without_running():
    done = run_program("--source", "csi://0", "--source", "sample", "--explain-source", "--fps", 60)
    assert done.returncode == 0, done.stderr
    assert "framerate=60000/1000" in done.stdout.splitlines()[0]
    assert "read as sample" in done.stdout.splitlines()[1]
    assert run_program("--list-cameras").returncode == 0
    done = run_program("--source", "test", "--size", "12")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no size" in done.stderr


def test_a_camera_that_does_not_come_back_is_given_up(tmp_path, sample):
    need_rtsp()
    poses = tmp_path / "poses.jsonl"
    path = config(tmp_path, "give-up = 1.0")
    with RtspCamera(pictures_of(sample, tmp_path / "shots", (184, 320), count=1)) as camera:
        arguments = ["--config", path, "--source", camera.url, "--json", poses]
        with program(*arguments) as process:
            deadline = time.monotonic() + 60
            while not (poses.exists() and poses.read_bytes().count(b"\n") > 3):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            camera.kill()
            _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Given up after" in said
    assert "Traceback" not in said


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """The socket that systemd listens at."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(path)
        door.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield door


def drain(door):
    try:
        while True:
            door.recv(99)
    except BlockingIOError:
        pass


def test_systemd_hears_of_start_life_and_end(systemd, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    busy = False
    with _systemd.watched(lambda: busy) as alive:
        assert systemd.recv(99) == b"READY=1"
        alive()
        assert systemd.recv(99) == b"WATCHDOG=1"
        assert systemd.recv(99) == b"WATCHDOG=1"  # no result, and none to be expected
        busy = True
        time.sleep(0.5)
        systemd.setblocking(False)
        drain(systemd)
        time.sleep(0.3)
        with pytest.raises(BlockingIOError):  # it hangs: the watchdog starves
            systemd.recv(99)
        systemd.settimeout(60)
        alive()
        assert systemd.recv(99) == b"WATCHDOG=1"
    while (said := systemd.recv(99)) == b"WATCHDOG=1":
        pass
    assert said == b"STOPPING=1"


def test_a_service_drains_at_sigterm(systemd, tmp_path):
    poses = tmp_path / "poses.jsonl"
    with program("--source", "test", "--size", "64x48", "--json", poses) as process:
        assert systemd.recv(99) == b"READY=1"
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert systemd.recv(99) == b"STOPPING=1"
    for line in poses.read_text().splitlines():
        json.loads(line)


def test_the_unit_is_one_that_systemd_takes(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze: apt install systemd")
    text = (DEPLOY / "edgepose.service").read_text()
    (command,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    # Where it is not installed, another program stands for it.
    unit = tmp_path / "edgepose.service"
    unit.write_text(text.replace(command.split()[0], "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    problems = [line for line in done.stderr.splitlines() if "edgepose.service" in line]
    assert problems == []
    assert done.returncode == 0, done.stderr
    checked_options(shlex.split(command)[1:])


def test_the_file_beside_it_has_known_keys():
    done = run_program("--config", DEPLOY / "run.toml", "--print-config")
    assert done.returncode == 0, done.stderr
    assert 'serve = "8080"' in done.stdout


def checked_options(arguments):
    shown = run_program("--help").stdout
    for argument in arguments:
        if argument.startswith("--"):
            assert f"{argument} " in shown, argument


@pytest.mark.parametrize("name", ["Containerfile", "Containerfile.jetson"])
def test_container_files(name):
    """What a linter of them looks at: known instructions, pinned bases, no cache left, no root."""
    text = re.sub(r"\\\n", " ", (DEPLOY / name).read_text())
    steps = [line.split(None, 1) for line in text.splitlines() if line and line[0] != "#"]
    known = "FROM RUN WORKDIR COPY USER EXPOSE STOPSIGNAL HEALTHCHECK ENTRYPOINT CMD"
    assert {step for step, _ in steps} <= set(known.split())
    assert steps[0][0] == "FROM"
    for step, rest in steps:
        if step == "FROM":
            assert re.search(r":[\w.-]*\d", rest), rest
            assert "latest" not in rest
        if step == "RUN" and "apt-get install" in rest:
            assert "--no-install-recommends" in rest
            assert "rm -rf /var/lib/apt/lists" in rest
        if step == "RUN" and "pip install" in rest:
            assert "--no-cache-dir" in rest
        if step == "COPY" and "--from" not in rest:
            assert (DEPLOY.parent / rest.split()[0]).exists(), rest
        if step in ("CMD", "ENTRYPOINT"):
            json.loads(rest)
    users = [rest for step, rest in steps if step == "USER"]
    assert users[-1] == "edgepose"
    checked_options(json.loads(next(rest for step, rest in steps if step == "CMD")))
    if name.endswith("jetson"):
        assert "NOT RUN" in text.splitlines()[0]
