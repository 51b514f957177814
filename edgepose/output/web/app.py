"""The addresses of the live page, as a Starlette application.

``/`` the page · ``/stream/N`` the overlay of source N as MJPEG · ``/state`` what the page shows, a
WebSocket · ``/poses`` every result as in ``--json``, a WebSocket · ``/metrics`` for Prometheus ·
``/healthz`` 200 while results come, else 503.

With a token, everything but ``/healthz`` asks for it: ``Authorization: Bearer TOKEN``,
``?token=TOKEN``, or the cookie that the page sets.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from importlib import resources
from urllib.parse import urlsplit

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import (
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from edgepose.output.web.broadcast import Broadcast
from edgepose.output.web.state import State

_COOKIE = "edgepose_token"
_PERIOD = 0.5  # seconds between two states
_BOUNDARY = "frame"
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
}
Handler = Callable[[Request], Awaitable[Response]]


def application(
    state: State,
    frames: Sequence[Broadcast],
    poses: Broadcast,
    token: str | None,
    loopback: bool,
) -> Starlette:
    """The application over what the sink feeds; ``token`` None asks for none."""
    page = (resources.files("edgepose") / "output" / "web" / "page.html").read_text()

    def known(connection: HTTPConnection) -> bool:
        if token is None:
            return True
        bearer = connection.headers.get("authorization", "").removeprefix("Bearer ")
        offered = (bearer, connection.query_params.get("token"), connection.cookies.get(_COOKIE))
        return any(o and hmac.compare_digest(o.encode(), token.encode()) for o in offered)

    def trusted(connection: HTTPConnection) -> bool:
        """Keep pages of other sites from reading ours through the user's browser."""
        host = connection.headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if loopback and name not in ("localhost", "127.0.0.1", "::1"):
            return False
        origin = connection.headers.get("origin")
        return origin is None or urlsplit(origin).netloc == host

    def guarded(handler: Handler) -> Handler:
        async def guard(request: Request) -> Response:
            if not trusted(request):
                return PlainTextResponse("This address is not served here.\n", 403)
            if not known(request):
                return PlainTextResponse("Add ?token=…, as printed at the start of the run.\n", 401)
            response = await handler(request)
            response.headers.update(_HEADERS)
            return response

        return guard

    async def index(request: Request) -> Response:
        if token is not None and "token" in request.query_params:
            # The token leaves the address bar, and pictures and sockets send the cookie.
            response = RedirectResponse("/", 303)
            response.set_cookie(_COOKIE, token, httponly=True, samesite="strict")
            return response
        return HTMLResponse(page)

    async def stream(request: Request) -> Response:
        number = request.path_params["number"]
        if number >= len(frames):
            return PlainTextResponse("There is no such source.\n", 404)
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        return StreamingResponse(_parts(frames[number]), media_type=kind)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(state.registry), media_type=CONTENT_TYPE_LATEST)

    async def health(_: Request) -> Response:
        if state.healthy:
            return PlainTextResponse("ok\n")
        return PlainTextResponse("no results\n", 503)

    async def socket(socket: WebSocket, items: AsyncIterator[bytes]) -> None:
        if not (trusted(socket) and known(socket)):
            await socket.close(1008)
            return
        await socket.accept()

        async def send() -> None:
            async for item in items:
                await socket.send_text(item.decode())

        sending = asyncio.ensure_future(send())
        try:
            # Nothing is expected from the viewer but that it leaves.
            while True:
                await socket.receive_text()
        except (WebSocketDisconnect, KeyError):
            pass
        finally:
            sending.cancel()

    async def states(websocket: WebSocket) -> None:
        async def items() -> AsyncIterator[bytes]:
            while True:
                yield msgspec.json.encode(state.snapshot())
                await asyncio.sleep(_PERIOD)

        await socket(websocket, items())

    async def results(websocket: WebSocket) -> None:
        await socket(websocket, poses.listen())

    return Starlette(
        routes=[
            Route("/", guarded(index)),
            Route("/stream/{number:int}", guarded(stream)),
            Route("/metrics", guarded(metrics)),
            Route("/healthz", health),
            WebSocketRoute("/state", states),
            WebSocketRoute("/poses", results),
        ]
    )


async def _parts(frames: Broadcast) -> AsyncIterator[bytes]:
    async for jpeg in frames.listen():
        head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        yield head.encode() + jpeg + b"\r\n"
