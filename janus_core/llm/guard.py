"""Which models this process may open: `JANUS_MODELS=scripted` keeps tests from real ones.

Under it, opening a connection to a model server raises; without it, a scripted
model raises. So no test waits for a real model by accident, and no
installation answers from a script.
"""

from __future__ import annotations

import os

from janus_core.errors import BadConfiguration

VARIABLE = "JANUS_MODELS"


def require_real() -> None:
    """Raise BadConfiguration where only scripted models may be opened."""
    if os.environ.get(VARIABLE) == "scripted":
        raise BadConfiguration(
            f"{VARIABLE}=scripted: a real model may not be opened here",
            f"Use a scripted model, or unset {VARIABLE}.",
        )


def require_scripted() -> None:
    """Raise BadConfiguration where scripted models may not be opened."""
    if os.environ.get(VARIABLE) != "scripted":
        raise BadConfiguration(
            "a scripted model is for tests only", f"Set {VARIABLE}=scripted to allow it."
        )
