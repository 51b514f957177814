"""Capture, inference and output side by side: two threads and the caller's own.

``source → capture thread → channel → inference thread → channel → the caller``. OpenCV and the
networks let go of the interpreter, so decoding the next frame overlaps with estimating this one and
with drawing or encoding the one before. The outputs run on the caller's thread because windows must
be on the main thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgepose.runner.channel import Channel, DropPolicy, EndOfStreamError
from edgepose.runner.statistics import Stats
from edgepose.sources.source import Source
from edgepose.types import Frame, Image, Person, Result

Estimate = Callable[[Image, float], tuple[list[Person], dict[str, float]]]

# How long a stopped run waits for a camera or server that does not answer.
_PATIENCE = 2.0


@dataclass(slots=True)
class _Captured:
    frame: Frame
    decode: float


class Pipeline:
    """One run over one source; iterate it once for the results, in order.

    Errors of the source or of the estimator are raised to the caller after every result from before
    the error. Closing (or leaving the ``with`` block) stops the threads; it is safe at any time.

    Args:
        source: an open source. The pipeline reads it; its owner closes it afterwards.
        estimate: called as ``estimate(frame, seconds)`` on the inference thread; gives persons and
            what each stage took in seconds.
        max_frames: stop after so many results.
        depth: frames that wait between two threads.
    """

    def __init__(
        self,
        source: Source,
        estimate: Estimate,
        *,
        max_frames: int | None = None,
        depth: int = 2,
    ) -> None:
        self.source = source
        self.stats = Stats()
        self._estimate = estimate
        self._max_frames = max_frames
        live = source.live
        self.policy = DropPolicy.OLDEST if live else DropPolicy.NEVER
        self._frames: Channel[_Captured] = Channel(1 if live else depth, self.policy)
        self._results: Channel[Result] = Channel(1 if live else depth)
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._capture, name="edgepose-capture", daemon=True),
            threading.Thread(target=self._infer, name="edgepose-inference", daemon=True),
        ]

    def stop(self) -> None:
        """Read no further; results on their way still arrive. May be called in a signal handler."""
        self._stopping = True

    def __iter__(self) -> Iterator[Result]:
        self.stats.start()
        for thread in self._threads:
            thread.start()
        stopped = None
        while True:
            try:
                result = self._results.get(timeout=0.2)
            except EndOfStreamError:
                return
            except TimeoutError:
                if self._stopping:
                    stopped = stopped or time.monotonic()
                    if time.monotonic() - stopped > _PATIENCE:
                        return
                continue
            begun = time.perf_counter()
            yield result
            seconds, captured = result.seconds, result.captured
            ids = [p.id for p in result.people]
            # The frame must not live on while the next result is waited for.
            del result
            seconds["output"] = time.perf_counter() - begun
            self.stats.dropped = self._frames.dropped
            self.stats.frame_done(captured, seconds, ids)

    def close(self) -> None:
        """Stop the threads and forget what is on its way."""
        self._stopping = True
        self._frames.cancel()
        self._results.cancel()
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(_PATIENCE)

    @property
    def reading(self) -> bool:
        """Whether the capture thread still holds the source."""
        return self._threads[0].is_alive()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _capture(self) -> None:
        try:
            begun = time.perf_counter()
            for count, frame in enumerate(self.source, 1):
                item = _Captured(frame, time.perf_counter() - begun)
                del frame
                if self._stopping or not self._frames.put(item):
                    break
                del item
                if not self.source.live and count == self._max_frames:
                    break
                begun = time.perf_counter()
        except BaseException as error:  # noqa: BLE001 - it is raised on the caller's thread
            self._frames.finish(error)
        finally:
            self._frames.finish()

    def _infer(self) -> None:
        done = 0
        try:
            while done != self._max_frames:
                item = self._frames.get()
                frame = item.frame
                people, seconds = self._estimate(frame.image, frame.time)
                result = Result(
                    index=frame.index,
                    time=frame.time,
                    frame=frame.image,
                    people=people,
                    captured=frame.captured,
                    seconds={"decode": item.decode, **seconds},
                    name=frame.name,
                    source=frame.source,
                )
                del item, frame
                if not self._results.put(result):
                    break
                del result
                done += 1
        except EndOfStreamError:
            pass
        except BaseException as error:  # noqa: BLE001 - it is raised on the caller's thread
            self._results.finish(error)
        finally:
            self._results.finish()
            self._frames.cancel()
