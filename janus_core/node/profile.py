"""Which profile this node runs, decided once and written down."""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn, get_args

from janus_core import __version__
from janus_core.app import Janus
from janus_core.errors import Damaged, InvalidInput
from janus_core.events import Sink
from janus_core.node.embedded import EmbeddedNode
from janus_core.node.heartbeat import Heartbeat
from janus_core.processes import service_user, write_private
from janus_core.settings import Profile

_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `bring_up` did. `healthy`: every service is up, the chat model included."""

    profile: Profile
    why: str
    healthy: bool


def bring_up(janus: Janus, asked: str | None, sink: Sink) -> Outcome:
    """Bring the node up in its profile; the first time, choose one and write it down.

    Raise InvalidInput for an unknown profile, or for another one than the node
    has: changing it moves data.
    """
    node = EmbeddedNode(janus, user=service_user(create=True))
    node.prepare()
    profile, why = _settle(janus, asked)
    if profile == "containers":
        raise InvalidInput(
            "the container profile is not part of this version", "Use --profile embedded."
        )
    node.up(sink)
    _write_down(janus, profile, why)
    healthy = all(service.is_up() for service in node.services())
    return Outcome(profile, why, healthy)


def bring_down(janus: Janus, sink: Sink) -> None:
    """Stop everything that `bring_up` starts, and nothing else. Idempotent."""
    if janus.is_initialised():
        EmbeddedNode(janus, user=service_user()).down(sink)


def daemon_runs(janus: Janus) -> bool:
    """Return whether this node's daemon is alive."""
    beat = Heartbeat(janus.locations.runtime / "daemon.json").last()
    return beat is not None and beat.alive


def workers_run(janus: Janus) -> bool:
    """Return whether this node's daemon has workers; those of others are not seen."""
    beat = Heartbeat(janus.locations.runtime / "daemon.json").last()
    return beat is not None and beat.alive and bool(beat.workers)


def stay_up(janus: Janus) -> None:
    """Wait while the daemon lives; return when it has ended by itself.

    SIGTERM and SIGINT take the node down first, then end this process.
    """

    def take_down(number: int, frame: FrameType | None) -> NoReturn:
        EmbeddedNode(janus, user=service_user()).down()
        sys.exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, take_down)
    heartbeat = Heartbeat(janus.locations.runtime / "daemon.json")
    while (beat := heartbeat.last()) is not None and beat.alive:
        time.sleep(_LOOK_S)


def recorded_profile(janus: Janus) -> Profile | None:
    """Return the profile that the first `janus up` chose. Raise Damaged."""
    path = janus.locations.state / "node.json"
    try:
        found = json.loads(path.read_text("utf-8"))["profile"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError) as error:
        raise Damaged(f"{path} is not readable", "Delete it, then run: janus up") from error
    if found not in get_args(Profile):
        raise Damaged(f"{path} names the unknown profile {found}", "Run: janus up --profile …")
    return found  # type: ignore[no-any-return]


def _settle(janus: Janus, asked: str | None) -> tuple[Profile, str]:
    if asked is not None and asked not in get_args(Profile):
        raise InvalidInput(f"no such profile: {asked}", f"Use {', '.join(get_args(Profile))}.")
    recorded = recorded_profile(janus)
    wanted = asked or janus.settings.profile
    if recorded is not None:
        if wanted is not None and wanted != recorded:
            raise InvalidInput(
                f"this node runs the {recorded} profile, not {wanted}",
                f"Go on with: janus up --profile {recorded}",
            )
        return recorded, "as before"
    if wanted is not None:
        return wanted, "as asked"  # type: ignore[return-value]
    urls = janus.settings.stores
    if all((urls.relational, urls.queue, urls.cache)):
        return "external", "every store has a URL in the settings"
    return "embedded", "no container images are loaded here"


def _write_down(janus: Janus, profile: Profile, why: str) -> None:
    path = janus.locations.state / "node.json"
    if not path.exists():
        record = {"profile": profile, "why": why, "janus": __version__}
        write_private(path, json.dumps(record, indent=1) + "\n", service_user())
