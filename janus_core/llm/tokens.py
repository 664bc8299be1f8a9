"""Count tokens as an embedding model would, without loading the model.

The tokenizer alone costs 25 ms and a few megabytes; ONNX Runtime costs a second.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from janus_core.errors import ModelUnavailable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHARACTERS_PER_TOKEN = 64
"""No text has fewer tokens than its length divided by this, but for filler such as long runs
of blanks; what lies beyond `max_tokens` of these is cut before the tokenizer sees it."""


class TokenCounter:
    """Counts the tokens of texts for one embedding model. Thread-safe, lazy."""

    def __init__(self, folder: Path, max_tokens: int) -> None:
        """Given the model's folder and its longest input; nothing is read yet."""
        self.max_tokens = max_tokens
        self._folder = folder
        self._tokenizer: Tokenizer | None = None
        self._lock = threading.Lock()

    def count(self, texts: Sequence[str]) -> list[int]:
        """Given texts, return how many tokens each has, the two or so special ones included.

        Nothing is cut: a count over `max_tokens` says that the end would be lost.
        Raise ModelUnavailable when the tokenizer cannot be loaded.
        """
        return [len(encoded.ids) for encoded in self._load().encode_batch(_plain(texts))]

    def _load(self) -> Tokenizer:
        with self._lock:
            if self._tokenizer is None:
                from tokenizers import Tokenizer

                try:
                    tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
                # tokenizers raises bare Exception for whatever is wrong with the file.
                except Exception as error:
                    raise ModelUnavailable(
                        f"the tokenizer in {self._folder} cannot be loaded: {error}",
                        "Remove the model and add it again: janus models rm, janus models add.",
                    ) from error
                tokenizer.no_truncation()
                tokenizer.no_padding()
                self._tokenizer = tokenizer
            return self._tokenizer


def clip(texts: Sequence[str], max_tokens: int) -> list[str]:
    """Given texts, return them cut to what `max_tokens` can hold, with no lone surrogates.

    A bound on the work that one hostile text can cause.
    """
    return _plain([text[: max_tokens * CHARACTERS_PER_TOKEN] for text in texts])


def _plain(texts: Sequence[str]) -> list[str]:
    # A lone surrogate, as from a file name that is no UTF-8, has no bytes to tokenize.
    return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
