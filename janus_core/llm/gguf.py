"""Read the header of a GGUF file, the format of llama.cpp's models.

Only what tells a model from something else is read, with a limit on every
count and length, because the file may be hostile. The format is described in
ggml's `docs/gguf.md`.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from janus_core.errors import InvalidInput

_MAX_ENTRIES = 65_536
_MAX_STRING = 8 * 1024 * 1024
_MAX_ARRAY = 4_000_000
_FIXED = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says about itself."""

    architecture: str
    """The model family, e.g. `llama`."""
    context_length: int
    """Longest context the model was trained for, in tokens; 0 when not stated."""
    has_chat_template: bool
    """Whether it knows how to lay out a chat; base models often do not."""


def read_header(path: Path) -> GgufHeader:
    """Given a file, return its GGUF header. Raise InvalidInput with the reason if it has none.

    A file cut off before its last tensor is found; a cut inside the last
    tensor, or flipped bits in the weights, only a checksum can tell.
    """
    hint = "Give a complete model file in llama.cpp's GGUF format."
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size < 24:
                raise InvalidInput(f"{path.name} is too short to be a model", hint)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data, size).header()
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}", hint) from error
    except _MalformedError as error:
        raise InvalidInput(f"{path.name} is not a usable GGUF file: {error}", hint) from error


class _MalformedError(Exception):
    """The bytes break the format; the text says how."""


class _Reader:
    def __init__(self, data: mmap.mmap, size: int) -> None:
        self._data = data
        self._size = size
        self._at = 0

    def header(self) -> GgufHeader:
        if self._take(4) != b"GGUF":
            raise _MalformedError("it does not start with the letters GGUF")
        version = int(self._number("I"))
        if version not in (2, 3):
            raise _MalformedError(f"its format version is {version}, known are 2 and 3")
        tensors, entries = int(self._number("Q")), int(self._number("Q"))
        if not 0 < tensors <= _MAX_ENTRIES or not 0 < entries <= _MAX_ENTRIES:
            raise _MalformedError(f"it claims {tensors} tensors and {entries} entries")
        known: dict[str, object] = {}
        for _ in range(entries):
            name = self._string()
            known[name] = self._value(int(self._number("I")))
        self._check_tensors(tensors, known)
        architecture = known.get("general.architecture")
        if not isinstance(architecture, str):
            raise _MalformedError("it names no architecture")
        context = known.get(f"{architecture}.context_length")
        return GgufHeader(
            architecture=architecture,
            context_length=context if isinstance(context, int) else 0,
            has_chat_template="tokenizer.chat_template" in known,
        )

    def _check_tensors(self, count: int, known: Mapping[str, object]) -> None:
        last = 0
        for _ in range(count):
            self._string()
            dimensions = int(self._number("I"))
            if dimensions > 8:
                raise _MalformedError(f"a tensor has {dimensions} dimensions")
            self._take(8 * dimensions + 4)
            last = max(last, int(self._number("Q")))
        alignment = known.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 65_536:
            raise _MalformedError("its alignment makes no sense")
        start = -(-self._at // alignment) * alignment
        if start + last >= self._size:
            raise _MalformedError(
                f"it is cut off: {self._size} bytes, more than {start + last} needed"
            )

    def _value(self, kind: int) -> object:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._number(self._format(kind))
        element, count = int(self._number("I")), int(self._number("Q"))
        if count > _MAX_ARRAY:
            raise _MalformedError(f"a list has {count} entries")
        if element == _STRING:
            for _ in range(count):
                self._take(self._length())
        else:
            self._take(struct.calcsize("<" + self._format(element)) * count)
        return None

    def _format(self, kind: int) -> str:
        if kind not in _FIXED:
            raise _MalformedError(f"it has a value of the unknown type {kind}")
        return _FIXED[kind]

    def _number(self, layout: str) -> int | float:
        layout = "<" + layout
        number: int | float = struct.unpack(layout, self._take(struct.calcsize(layout)))[0]
        return number

    def _length(self) -> int:
        length = int(self._number("Q"))
        if length > _MAX_STRING:
            raise _MalformedError(f"a text is {length} bytes long")
        return length

    def _string(self) -> str:
        return self._take(self._length()).decode("utf-8", "replace")

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > self._size:
            raise _MalformedError("it is cut off within its header")
        taken = self._data[self._at : end]
        self._at = end
        return taken
