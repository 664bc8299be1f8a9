"""What the parsing child says to its parent: JSON objects, each after its length.

A frame is four bytes (its length, big-endian), then that many bytes of JSON. No
pickle: the child has read a hostile file, and its parent believes nothing of it
but text, numbers and the fields below.

From the parser, on the pages socket:
  {"kind": "opened", "media_type": str, "title": str, "total": int}
  {"kind": "page", "number": int, "label": str | null, "text": str}
  {"kind": "note", "text": str}
  {"kind": "unreadable", "message": str, "hint": str}   the document's fault
  {"kind": "io", "message": str}                        the disk's fault
  {"kind": "memory"}                                    an allocation was refused
  {"kind": "done"}
From the nursery (the process that forks parsers), on its own socket:
  {"kind": "ready", "no_network": bool}
  {"kind": "taken"}
and on the control socket of the document:
  {"kind": "started"}
  {"kind": "ended", "signal": int, "status": int, "peak": bytes, "swollen": bool}
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

HEADER = struct.Struct(">I")
Frame = dict[str, Any]


def encode(frame: Frame) -> bytes:
    """Given a frame, return its bytes on the wire."""
    body = json.dumps(frame, ensure_ascii=False).encode("utf-8", "replace")
    return HEADER.pack(len(body)) + body


class Decoder:
    """Collects bytes as they come and gives back whole frames.

    Raise ValueError for a frame that is longer than `longest` bytes or no JSON object.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._pending = bytearray()

    def feed(self, data: bytes) -> None:
        """Given the next bytes of the stream, keep them."""
        self._pending += data

    def next(self) -> Frame | None:
        """Return the next whole frame, or none until more bytes are fed."""
        if len(self._pending) < HEADER.size:
            return None
        (length,) = HEADER.unpack_from(self._pending)
        if length > self._longest:
            raise ValueError(f"a frame of {length} bytes")
        end = HEADER.size + length
        if len(self._pending) < end:
            return None
        frame: object = json.loads(self._pending[HEADER.size : end])
        del self._pending[:end]
        if not isinstance(frame, dict):
            raise ValueError("a frame that is no object")
        return frame

    def missing(self) -> int:
        """Return how many bytes the frame under way lacks, as far as is known."""
        have = len(self._pending)
        if have < HEADER.size:
            return HEADER.size - have
        (length,) = HEADER.unpack_from(self._pending)
        return max(1, HEADER.size + int(length) - have)


def read_frame(channel: socket.socket) -> Frame:
    """Given a socket with few and small frames, wait for the next within its timeout.

    Raise ConnectionError if the other end is gone, TimeoutError, ValueError.
    """
    decoder = Decoder(longest=4096)
    wanted = HEADER.size
    while (frame := decoder.next()) is None:
        data = channel.recv(wanted)
        if not data:
            raise ConnectionError("the other end is closed")
        decoder.feed(data)
        wanted = decoder.missing()
    return frame


def whole(value: object) -> int:
    """Given a field that should be a whole number, return it, or -1 if it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else -1
