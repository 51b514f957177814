"""What a corpus is cut into."""

import tarfile

import cv2
import numpy as np
import pytest

from edgepose.batch.corpus import find_shards
from edgepose.errors import SourceError
from edgepose.sources.open import open_source


def picture(path, level):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((12, 16, 3), level, np.uint8))
    return path


@pytest.fixture
def corpus(tmp_path):
    root = tmp_path / "corpus"
    for number in range(5):
        picture(root / "shots" / f"{number}.png", 40 * number)
    with tarfile.open(root / "more.tar", "w") as tar:
        for number in range(3):
            tar.add(root / "shots" / f"{number}.png", f"deep/{number}.png")
        link = tarfile.TarInfo("outside.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    (root / "clip.mp4").write_bytes(b"not looked at yet")
    (root / "notes.txt").write_text("no picture")
    return root


def test_videos_folders_and_tars(corpus):
    shards, faults = find_shards(corpus, 2)
    assert faults == []
    assert [(s.name, s.kind, s.start, s.stop) for s in shards] == [
        ("clip.mp4", "video", 0, 0),
        ("more.tar.0000000", "tar", 0, 2),
        ("more.tar.0000002", "tar", 2, 3),
        ("shots/pictures.0000000", "folder", 0, 2),
        ("shots/pictures.0000002", "folder", 2, 4),
        ("shots/pictures.0000004", "folder", 4, 5),
    ]


def test_a_range_has_the_numbers_of_the_whole(corpus):
    whole = {}
    for spec in ("shots", "more.tar"):
        with open_source(corpus / spec) as source:
            whole[spec] = [(f.index, f.time, f.name, f.image[0, 0, 0]) for f in source]
    shards, _ = find_shards(corpus, 2)
    for spec in whole:
        parts = []
        for shard in shards:
            if shard.path.endswith(spec):
                with shard.open() as source:
                    parts += [(f.index, f.time, f.name, f.image[0, 0, 0]) for f in source]
        assert parts == whole[spec]
    assert [name for _, _, name, _ in whole["more.tar"]] == ["0.png", "1.png", "2.png"]


def test_a_tar_that_is_none(corpus, tmp_path):
    (corpus / "broken.tar").write_bytes(b"nonsense" * 99)
    shards, faults = find_shards(corpus, 10)
    assert len(shards) == 3
    assert len(faults) == 1
    assert "give a whole one" in faults[0]
    with pytest.raises(SourceError, match="give a whole one, not compressed"):
        open_source(corpus / "broken.tar")


def test_nothing_there(tmp_path):
    with pytest.raises(SourceError, match="check the path"):
        find_shards(tmp_path / "none", 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no videos"):
        find_shards(tmp_path / "empty", 1)
