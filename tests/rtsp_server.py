"""A real RTSP server, for the system's Python: ``python3 rtsp_server.py PORT PATTERN W H FPS [USER PASSWORD]``.

Sends the JPEG pictures of PATTERN (such as ``/tmp/x/%03d.jpg``) over and over at
rtsp://127.0.0.1:PORT/live, and prints a line once it listens.
"""  # noqa: E501

import itertools
import os
import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402


def named(pattern):
    """The paths that ``pattern`` stands for and that exist."""
    return itertools.takewhile(os.path.exists, (pattern % i for i in itertools.count()))


def feed(_, media, pictures, fps):
    """Give ``media`` a picture at a time, as a camera does."""
    source, turn = media.get_element().get_by_name("pictures"), itertools.cycle(pictures)

    def give():
        buffer = Gst.Buffer.new_wrapped(next(turn))
        return source.emit("push-buffer", buffer) == Gst.FlowReturn.OK

    GLib.timeout_add(1000 // int(fps), give)


def main(port, pattern, width, height, fps, user="", password=""):
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    caps = f"image/jpeg,width={width},height={height},framerate={fps}/1"
    factory.set_launch(
        f'( appsrc name=pictures is-live=true do-timestamp=true format=time caps="{caps}" '
        "! rtpjpegpay name=pay0 pt=26 )"
    )
    factory.connect("media-configure", feed, [Path(p).read_bytes() for p in named(pattern)], fps)
    # One pipeline for all viewers: what they see goes on while they come and go.
    factory.set_shared(True)
    if user:
        role = GstRtspServer.RTSPToken()
        role.set_string("media.factory.role", "viewer")
        auth = GstRtspServer.RTSPAuth()
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), role)
        server.set_auth(auth)
        factory.add_role_from_structure(
            Gst.Structure.new_from_string(
                "viewer, media.factory.access=true, media.factory.construct=true"
            )
        )
    server.get_mount_points().add_factory("/live", factory)
    assert server.attach(None), f"port {port} is taken"
    print("listening", flush=True)  # noqa: T201
    GLib.MainLoop().run()


main(*sys.argv[1:])
