import contextlib
import threading

import pytest

from edgepose.runner.channel import Channel, EndOfStreamError


def drain(channel):
    items = []
    with contextlib.suppress(EndOfStreamError):
        while True:
            items.append(channel.get(timeout=5))
    return items


def test_never_drops_and_never_holds_more_than_its_capacity():
    channel = Channel(2)
    held = []

    def write():
        for i in range(200):
            channel.put(i)
            held.append(len(channel._items))
        channel.finish()

    thread = threading.Thread(target=write)
    thread.start()
    assert drain(channel) == list(range(200))
    thread.join(5)
    assert max(held) <= 2


def test_an_error_comes_after_what_was_written_before_it():
    channel = Channel(3)
    channel.put(1)
    channel.put(2)
    channel.finish(OSError("gone"))
    channel.finish()  # a second word does not cover the first
    assert channel.get() == 1
    assert channel.get() == 2
    with pytest.raises(OSError, match="gone"):
        channel.get()


def test_a_reader_that_leaves_frees_the_writer():
    channel = Channel(1)
    channel.put(0)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(channel.put(1)))
    thread.start()
    channel.cancel()
    thread.join(5)
    assert not thread.is_alive()
    assert answers == [False]
    with pytest.raises(EndOfStreamError):
        channel.get()


def test_waiting_has_a_limit():
    with pytest.raises(TimeoutError):
        Channel(1).get(timeout=0.01)


def test_capacity_is_positive():
    with pytest.raises(ValueError, match="at least one"):
        Channel(0)
