"""Named places where a test can kill the process, before and after durable steps.

`JANUS_FAILPOINT=ingest.publish.before` kills at the first time that point is
reached, `…@3` at the third. Off, a failpoint is one comparison.
"""

from __future__ import annotations

import os
import signal
from typing import Final

POINTS: Final = frozenset(
    f"{step}.{side}"
    for step in (
        "intake.put",
        "intake.commit",
        "relay.publish",
        "job.claim",
        "ingest.pages",
        "ingest.extracted",
        "ingest.vectors",
        "ingest.publish",
        "clean.vectors",
        "clean.commit",
        "remove.hide",
        "remove.vectors",
        "remove.object",
        "remove.commit",
    )
    for side in ("before", "after")
)

_wanted, _, _count = os.environ.get("JANUS_FAILPOINT", "").partition("@")
_left = int(_count or 1)


def reach(point: str) -> None:
    """Die by SIGKILL here if this is the wanted point and its turn has come."""
    if _wanted and point == _wanted:
        _die_in_turn()


def _die_in_turn() -> None:
    global _left
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
