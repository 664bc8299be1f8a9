"""Live events between processes, over Redis Pub/Sub. Best effort by design.

Publishing never blocks for long and never raises: news that nobody hears is
lost, and nothing depends on it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from janus_core.errors import StoreUnavailable
from janus_core.events import Event, from_json

if TYPE_CHECKING:
    from redis import Redis

_CHANNEL = "janus:events"
_QUIET_S = 5.0
"""After a failed publish, so long nothing is tried: a dead cache costs no time."""


class LiveEvents:
    """The channel on which every process of an installation tells what it does."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("redis+unix://", "unix://", 1)
        self._quiet_until = 0.0
        self._lock = threading.Lock()

    @cached_property
    def _client(self) -> Redis:
        from redis import Redis

        return Redis.from_url(self._url, socket_timeout=2, socket_connect_timeout=1)

    def publish(self, event: Event) -> None:
        """Send an event to whoever listens now. A Sink: never raises."""
        from redis.exceptions import RedisError

        if time.monotonic() < self._quiet_until:
            return
        try:
            self._client.publish(_CHANNEL, event.model_dump_json())
        except ValueError:  # it cannot be written as JSON: a name that is no text
            return
        except (RedisError, OSError):
            self._quiet_until = time.monotonic() + _QUIET_S

    @contextlib.contextmanager
    def subscribe(self) -> Iterator[Listener]:
        """Listen from now on, for the length of the block."""
        listener = Listener(self._url)
        try:
            yield listener
        finally:
            listener.close()

    def version(self) -> str:
        """Return the server's version, as a health check. Raise StoreUnavailable."""
        from redis.exceptions import RedisError

        try:
            return str(self._client.info("server")["redis_version"])
        except (RedisError, OSError) as error:
            raise StoreUnavailable(
                f"the cache does not answer: {error}", "Run: janus up"
            ) from error

    def close(self) -> None:
        """Close connections. Idempotent."""
        with self._lock:
            if "_client" in self.__dict__:
                self._client.close()
                del self.__dict__["_client"]


class Listener:
    """A subscription. Survives a restart of the server, missing what was said meanwhile."""

    def __init__(self, url: str) -> None:
        from redis import Redis
        from redis.exceptions import RedisError

        self._client = Redis.from_url(url, socket_timeout=5, socket_connect_timeout=1)
        self._pubsub = self._client.pubsub(  # type: ignore[no-untyped-call]
            ignore_subscribe_messages=True
        )
        with contextlib.suppress(RedisError, OSError):
            self._pubsub.subscribe(_CHANNEL)

    def next(self, timeout_s: float) -> Event | None:
        """Return the next event, or None when there is none within the time."""
        from redis.exceptions import RedisError

        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                if not self._pubsub.subscribed:
                    self._pubsub.subscribe(_CHANNEL)
                message = self._pubsub.get_message(timeout=left)
            except (RedisError, OSError):
                time.sleep(min(left, 0.5))
                continue
            if message and message["type"] == "message":
                event = from_json(message["data"])
                if event is not None:
                    return event
        return None

    def close(self) -> None:
        """End the subscription."""
        self._pubsub.close()
        self._client.close()
