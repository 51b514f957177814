"""Files are written whole or not at all."""

import os
from pathlib import Path

import pytest

from edgepose.errors import OutputError
from edgepose.files import STDOUT, check_writable, same_file, write_output, write_whole


def test_bytes_and_writers_replace_what_was_there(tmp_path):
    path = tmp_path / "file"
    write_whole(path, b"one")
    write_whole(path, lambda file: file.write(b"two"))
    assert path.read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"new")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(path, fail)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to("file")
    write_whole(tmp_path / "link", b"content")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"content"


def test_devices_are_written_in_place():
    write_whole(Path("/dev/null"), b"content")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OutputError, match="free some space"):
        write_output(Path("/dev/full"), b"content")


def test_stdout(capsysbinary):
    write_output(STDOUT, b"content\n")
    assert capsysbinary.readouterr().out == b"content\n"


def test_same_file(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b").symlink_to("a")
    os.link(tmp_path / "a", tmp_path / "c")
    assert same_file(tmp_path / "a", tmp_path / "b")
    assert same_file(tmp_path / "a", tmp_path / "c")
    assert same_file(tmp_path / "x", tmp_path / "." / "x")
    assert not same_file(tmp_path / "a", tmp_path / "x")


def test_checking_touches_nothing(tmp_path):
    path = tmp_path / "out"
    check_writable(path)
    assert not path.exists()
    path.write_text("older")
    check_writable(path)
    assert path.read_text() == "older"
    check_writable(STDOUT)
