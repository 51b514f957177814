import json

import numpy as np
import pytest

from edgepose.data.scenes import holds_scenes, load_scenes
from edgepose.errors import DataError

SCENE = {"image": "a.png", "width": 60, "height": 40, "boxes": [[5, 6, 20, 30, 1.0]]}


def _file(tmp_path, *lines):
    path = tmp_path / "scenes.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_scenes_are_read_by_split(tmp_path):
    bare = SCENE | {"boxes": [], "ignore": [[0, 0, 4, 4]], "split": "val"}
    path = _file(tmp_path, SCENE, bare)
    assert holds_scenes(path)
    first, second = load_scenes(path)
    np.testing.assert_array_equal(first.persons, [[5, 6, 20, 30, 1]])
    assert first.unsure.shape == (0, 4)
    assert second.persons.shape == (0, 5)
    assert load_scenes(path, "val") == [second]


def test_persons_are_no_scenes(tmp_path):
    assert not holds_scenes(_file(tmp_path, SCENE | {"joints": []}))
    assert not holds_scenes(tmp_path / "missing.jsonl")
    (tmp_path / "other.jsonl").write_text("nonsense")
    assert not holds_scenes(tmp_path / "other.jsonl")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (SCENE | {"width": 0}, "line 2 gives its picture a size of 0 x 40"),
        (SCENE | {"boxes": [[5, 6, 5, 30, 1.0]]}, "line 2 has a box without an area"),
        (SCENE | {"ignore": [[5, 6, 9, 6]]}, "line 2 has a box without an area"),
        (SCENE | {"boxes": "none"}, "line 2 is not a valid annotation"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, fault):
    with pytest.raises(DataError, match=fault):
        load_scenes(_file(tmp_path, SCENE, line))


def test_a_missing_split_is_named(tmp_path):
    with pytest.raises(DataError, match="no annotation of split 'test'; it has train"):
        load_scenes(_file(tmp_path, SCENE), "test")
