"""The live page as a sink: numbers always, pictures only while somebody looks."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import secrets
import socket
import threading
import time

import msgspec

from edgepose.errors import OutputError
from edgepose.output.jsonl import plain
from edgepose.output.sink import Sink, has_pixels
from edgepose.types import Result, RunInfo

_LOOPBACK = "127.0.0.1"
_RATE = 12.0  # pictures per second and source, at most
_SHARE = 0.04  # of a core that the pictures of a source may take
_BEHIND = 256  # results that a reader of /poses may be behind


class Web(Sink):
    """Serves the run at ``[HOST:]PORT``, by default to this machine only; port 0 takes a free one.

    Other hosts need a token: that of the environment's ``EDGEPOSE_TOKEN``, or a new one, which
    ``notice`` tells.
    """

    def __init__(self, address: str) -> None:
        """OutputError for an address that is none, or where the extra ``web`` is not installed."""
        host, colon, port = address.rpartition(":")
        self._host = host.strip("[]") if colon else _LOOPBACK
        if not port.isdecimal() or int(port) > 65535 or (colon and not self._host):
            raise OutputError(f"'{address}' is no address to serve at; give PORT or HOST:PORT.")
        self._port = int(port)
        try:
            import prometheus_client  # noqa: F401
            import starlette  # noqa: F401
            import uvicorn  # noqa: F401
            import websockets  # noqa: F401
        except ImportError as error:
            raise OutputError(
                f'The live page needs {error.name}: pip install "edgepose[web]".'
            ) from None
        self.token: str | None = None
        if not _is_loopback(self._host):
            self.token = os.environ.get("EDGEPOSE_TOKEN") or secrets.token_urlsafe(16)
        self.url = ""
        self._thread: threading.Thread | None = None

    @property
    def pixels(self) -> bool:
        """True while somebody looks and the next picture is due."""
        now = time.monotonic()
        return any(f.heard and now >= due for f, due in zip(self._frames, self._due, strict=True))

    def start(self, run: RunInfo) -> None:
        """Listen; OutputError if the address is taken or not this machine's."""
        import uvicorn

        from edgepose.output.web.app import application
        from edgepose.output.web.broadcast import Broadcast
        from edgepose.output.web.preview import Preview
        from edgepose.output.web.state import State

        self._preview = Preview(run.skeleton)
        self._state = State(run)
        self._frames = [Broadcast(1) for _ in run.sources]
        self._poses = Broadcast(_BEHIND)
        self._sizes = [(source.width, source.height) for source in run.sources]
        self._due = [0.0] * len(self._frames)
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            listening = socket.create_server((self._host, self._port), family=family)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise OutputError(
                f"The live page cannot be served at {self._host}:{self._port} ({reason}); give "
                "another port."
            ) from None
        local = _is_loopback(self._host)
        app = application(self._state, self._frames, self._poses, self.token, local)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="websockets-sansio",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._listening = listening
        self._thread = threading.Thread(target=self._serve, name="edgepose-web", daemon=True)
        self._thread.start()
        port = listening.getsockname()[1]
        shown = f"[{self._host}]" if family == socket.AF_INET6 else self._host
        if self._host in ("0.0.0.0", "::"):
            shown = socket.gethostname()
        self.url = f"http://{shown}:{port}/"
        query = f"?token={self.token}" if self.token and "EDGEPOSE_TOKEN" not in os.environ else ""
        self.notice = f"live page: {self.url}{query}"

    def write(self, result: Result) -> bool:
        """Count one result; make a picture of it if it has pixels."""
        self._state.add(result)
        if self._poses.heard:
            self._poses.send(msgspec.json.encode(plain(result, self._sizes[result.source])))
        number, now = result.source, time.monotonic()
        if has_pixels(result) and self._frames[number].heard and now >= self._due[number]:
            begun = time.thread_time()
            self._frames[number].send(self._preview.jpeg(result))
            # Who looks must not slow what is looked at: a small machine gives fewer pictures.
            self._due[number] = now + max(1 / _RATE, (time.thread_time() - begun) / _SHARE)
        return True

    def close(self) -> None:
        """Stop serving."""
        if self._thread is not None:
            self._server.should_exit = True
            self._thread.join(5)
            self._listening.close()
            self._thread = None

    def _serve(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listening]))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
