"""Keep what llama-cpp-python computed for earlier prompts, for when one comes again.

A `Llama` knows its last prompt only, so prompts by turns (writer, critic,
writer) are each computed from the start. llama.cpp can hand out the state of
a sequence as bytes and take it back; the library's own `LlamaRAMCache` adds
tens of megabytes of scores to each.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

WORTH_KEEPING = 64
"""Tokens: fewer are computed again in less time than it takes to look after them."""


@dataclass(frozen=True, slots=True)
class _Kept:
    tokens: tuple[int, ...]
    state: bytes


class PromptCache:
    """States of a `Llama`'s one sequence, the least recently used dropped first."""

    def __init__(self, llama: Any, capacity: int) -> None:
        """Given a `llama_cpp.Llama` and the bytes that states may take together."""
        self._llama = llama
        self._capacity = capacity
        self._kept: list[_Kept] = []

    def switch(self, prompt: Sequence[int]) -> None:
        """Given the tokens of the next prompt, put its longest known start into the model.

        What the model holds now is kept first, if this prompt would overwrite it.
        """
        current = tuple(int(token) for token in self._llama.input_ids[: self._llama.n_tokens])
        shared = _common(current, prompt)
        if len(current) - shared >= WORTH_KEEPING:
            self._keep(current)
        best = max(self._kept, key=lambda kept: _common(kept.tokens, prompt), default=None)
        if best is None or _common(best.tokens, prompt) < shared + WORTH_KEEPING:
            return
        self._kept.remove(best)
        if self._restore(best):
            self._kept.append(best)

    def _keep(self, tokens: tuple[int, ...]) -> None:
        import llama_cpp

        context = self._llama.ctx
        size = llama_cpp.llama_state_seq_get_size(context, 0)
        if not 0 < size <= self._capacity:
            return
        buffer = (ctypes.c_uint8 * size)()
        written = llama_cpp.llama_state_seq_get_data(context, buffer, size, 0)
        if not written:
            return
        # An older state that this one begins with adds nothing.
        self._kept = [kept for kept in self._kept if kept.tokens != tokens[: len(kept.tokens)]]
        self._kept.append(_Kept(tokens, bytes(memoryview(buffer)[:written])))
        while sum(len(kept.state) for kept in self._kept) > self._capacity:
            self._kept.pop(0)

    def _restore(self, kept: _Kept) -> bool:
        import llama_cpp

        llama = self._llama
        buffer = (ctypes.c_uint8 * len(kept.state)).from_buffer_copy(kept.state)
        llama.reset()
        llama_cpp.llama_memory_seq_rm(llama_cpp.llama_get_memory(llama.ctx), 0, -1, -1)
        if not llama_cpp.llama_state_seq_set_data(llama.ctx, buffer, len(kept.state), 0):
            return False
        llama.input_ids[: len(kept.tokens)] = kept.tokens
        llama.n_tokens = len(kept.tokens)
        # The restored state has no logits: the last token of a repeated prompt is computed again.
        llama._requires_eval = True
        return True


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many tokens two sequences have in common at their start."""
    return sum(
        1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False))
    )
