"""What fault tests share: the step program, and a look at what may and may not be there."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

STEP = Path(__file__).with_name("step.py")


@pytest.fixture(scope="session")
def step() -> ModuleType:
    """The step program as a module: its embedder and its ways of working."""
    spec = importlib.util.spec_from_file_location("step", STEP)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["step"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def until() -> Callable[..., float]:
    """Wait for a condition; return how long it took, fail after a bounded time."""

    def wait(condition: Callable[[], object], within: float, what: str) -> float:
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < within, f"not within {within:.0f} s: {what}"
            time.sleep(0.05)
        return time.monotonic() - began

    return wait
