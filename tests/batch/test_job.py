"""A batch on a local Ray: a worker is killed in the middle, and nothing is lost or there twice."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.batch.corpus import Shard
from edgepose.batch.work import Settings, ShardWorker
from edgepose.cli._common import USER_ERROR
from tests.conftest import run_program


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, sample):
    """A clip of 24 frames and a tar of six pictures, from the sample."""
    root = tmp_path_factory.mktemp("corpus")
    video = cv2.VideoCapture(str(sample))
    frames = [cv2.resize(video.read()[1], None, fx=0.5, fy=0.5) for _ in range(24)]
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(
        str(root / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, (width, height)
    )
    for frame in frames:
        writer.write(frame)
    writer.release()
    with tarfile.open(root / "shots.tar", "w") as tar:
        for number in range(6):
            path = root / f".{number}.jpg"
            cv2.imwrite(str(path), frames[4 * number])
            tar.add(path, f"shot-{number}.jpg")
            path.unlink()
    return root


@pytest.fixture(scope="module")
def alone(corpus, tmp_path_factory):
    """What a single process gives, by source: its lines after the header."""
    folder, found = tmp_path_factory.mktemp("alone"), {}
    for name in ("clip.avi", "shots.tar"):
        out = folder / f"{name}.jsonl"
        done = run_program("--source", corpus / name, "--json", out, "--threads", 1)
        assert done.returncode == 0, done.stderr
        found[name] = lines(out)
    assert [len(v) for v in found.values()] == [24, 6]
    assert any(frame["persons"] for frame in found["shots.tar"])
    return found


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()[1:]]


def batch(corpus, out, *options):
    command = [sys.executable, "-m", "edgepose.cli.batch", str(corpus), "--out", str(out)]
    return subprocess.Popen(
        [*command, *map(str, options)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(process, seconds=400):
    out, err = process.communicate(timeout=seconds)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def same_as_alone(out, alone):
    assert lines(out / "clip.avi.jsonl") == alone["clip.avi"]
    parts = sorted(out.glob("shots.tar.*.jsonl"))
    assert [path.name for path in parts] == [f"shots.tar.{n:07}.jsonl" for n in (0, 2, 4)]
    assert [frame for path in parts for frame in lines(path)] == alone["shots.tar"]
    assert not list(out.glob(".*.part"))


def test_two_workers_one_killed(corpus, alone, tmp_path):
    """In the middle of a shard, half of it written; a shard that was done before is left alone."""
    pytest.importorskip("ray", reason="no Ray: pip install 'edgepose[ray]'")
    out = tmp_path / "out"
    before = Shard("shots.tar.0000002", "tar", str(corpus / "shots.tar"), 2, 4)
    ShardWorker(Settings(str(out)))(vars(before))
    kept = (out / "shots.tar.0000002.jsonl").stat().st_mtime_ns
    process = batch(corpus, out, "--workers", 2, "--pictures", 2)
    killed, deadline = None, time.monotonic() + 300
    while killed is None and process.poll() is None and time.monotonic() < deadline:
        for part in out.glob(".clip.avi.jsonl.*.part"):
            with contextlib.suppress(FileNotFoundError):
                if part.stat().st_size > 2000:
                    killed = int(part.name.split(".")[-2])
                    os.kill(killed, signal.SIGKILL)
        time.sleep(0.005)
    assert killed is not None, finished(process).stderr
    assert not (out / "clip.avi.jsonl").exists()
    done = finished(process)
    assert done.returncode == 0, done.stderr
    assert "4 shards, 1 done before" in done.stdout
    assert (out / "shots.tar.0000002.jsonl").stat().st_mtime_ns == kept
    same_as_alone(out, alone)
    # Nothing is left to do, and settings that give other results are not mixed in.
    again = finished(batch(corpus, out, "--workers", 2, "--pictures", 2))
    assert again.returncode == 0, again.stderr
    assert "4 shards, 4 done before" in again.stdout
    other = finished(batch(corpus, out, "--workers", 2, "--pictures", 3))
    assert other.returncode == USER_ERROR
    assert "was begun with another pictures" in other.stderr


def test_a_worker_does_its_shards(corpus, alone, tmp_path):
    """Without Ray: what one worker writes, and Parquet's numbers beside those of JSON lines."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'edgepose[parquet]'")
    worker = ShardWorker(Settings(str(tmp_path), "parquet"))
    shard = Shard("shots.tar.0000002", "tar", str(corpus / "shots.tar"), 2, 4)
    row = worker(vars(shard))
    wanted = alone["shots.tar"][2:4]
    assert row["frames"] == 2
    assert row["persons"] == sum(len(frame["persons"]) for frame in wanted)
    table = parquet.read_table(tmp_path / "shots.tar.0000002.parquet")
    assert json.loads(table.schema.metadata[b"edgepose"])["skeleton"] == "lsp14"
    for found, frame in zip(table.to_pylist(), wanted, strict=True):
        assert (found["frame"], found["name"]) == (frame["frame"], frame["name"])
        assert found["height"] == 960
        for person, one in zip(found["persons"], frame["persons"], strict=True):
            np.testing.assert_allclose(person["box"], one["box"], rtol=1e-6)
            np.testing.assert_allclose(person["joints"], one["joints"], rtol=1e-6)


def test_what_cannot_be_read_is_told(corpus, tmp_path):
    """The pictures around a damaged one count; it is tried again once it has been mended."""
    folder = tmp_path / "shots"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.jpg"), np.zeros((40, 30, 3), np.uint8))
    (folder / "b.jpg").write_bytes(b"\xff\xd8 cut short")
    settings = Settings(str(tmp_path / "out"))
    shard = Shard("pictures.0000000", "folder", str(folder), 0, 2)
    worker = ShardWorker(settings)
    assert worker(vars(shard))["frames"] == 1
    assert "1 of 2 pictures" in settings.fault(shard).read_text()
    assert not settings.done(shard)
    shutil.copy(folder / "a.jpg", folder / "b.jpg")
    assert worker(vars(shard))["frames"] == 2
    assert settings.done(shard)
    (tmp_path / "empty.mp4").write_bytes(b"no video")
    bad = Shard("empty.mp4", "video", str(tmp_path / "empty.mp4"))
    assert worker(vars(bad))["frames"] == 0
    assert settings.fault(bad).exists()
    assert not settings.file(bad).exists()


def test_a_cluster_that_is_not_there(corpus, tmp_path):
    pytest.importorskip("ray", reason="no Ray: pip install 'edgepose[ray]'")
    done = finished(batch(corpus, tmp_path / "out", "--address", "auto"))
    assert done.returncode == USER_ERROR
    assert "Ray did not start" in done.stderr
    assert "Traceback" not in done.stderr
