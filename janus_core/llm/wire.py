"""Frames between the embedding server and its clients.

A frame is two little-endian 32-bit lengths, a JSON object and raw bytes (float32
vectors, little-endian). No pickle: the peer may be another user's process.
"""

from __future__ import annotations

import json
import select
import socket
import struct
from typing import Any

MAX_HEADER = 8 * 1024 * 1024
MAX_PAYLOAD = 64 * 1024 * 1024
MAX_TEXTS = 128
"""Texts in one request; clients split what is longer."""
VERSION = 1
"""Part of the socket's name, so that two releases of Janus never talk past one another."""
_LENGTHS = struct.Struct("<II")


class BadFrameError(Exception):
    """The peer sent something that is no frame, or a frame over the limits."""


def send_frame(peer: socket.socket, header: dict[str, Any], payload: bytes = b"") -> None:
    """Send one frame. Raise OSError when the peer is gone, BadFrameError when it is too large."""
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    if len(text) > MAX_HEADER or len(payload) > MAX_PAYLOAD:
        raise BadFrameError(f"a frame of {len(text)} + {len(payload)} bytes is too large")
    peer.sendall(_LENGTHS.pack(len(text), len(payload)) + text + payload)


def receive_frame(peer: socket.socket) -> tuple[dict[str, Any], bytes]:
    """Wait for one frame and return its header and payload.

    Raise ConnectionError when the peer ends, TimeoutError as the socket is set, BadFrameError.
    """
    header_length, payload_length = _LENGTHS.unpack(_exactly(peer, _LENGTHS.size))
    if header_length > MAX_HEADER or payload_length > MAX_PAYLOAD:
        raise BadFrameError(f"a frame of {header_length} + {payload_length} bytes is too large")
    try:
        header = json.loads(_exactly(peer, header_length))
    except ValueError as error:
        raise BadFrameError("a frame's header is no JSON") from error
    if not isinstance(header, dict):
        raise BadFrameError("a frame's header is no JSON object")
    return header, _exactly(peer, payload_length)


def has_ended(peer: socket.socket) -> bool:
    """Tell without waiting whether the other side of an otherwise silent socket has closed."""
    # Asked first, because a socket with a timeout waits whatever the flags of recv say.
    poll = select.poll()
    poll.register(peer, select.POLLIN)
    if not poll.poll(0):
        return False
    try:
        return peer.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def _exactly(peer: socket.socket, count: int) -> bytes:
    buffer = bytearray(count)
    view = memoryview(buffer)
    while view:
        received = peer.recv_into(view)
        if received == 0:
            raise ConnectionResetError("the other side closed the connection")
        view = view[received:]
    return bytes(buffer)
