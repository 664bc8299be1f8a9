"""The message broker: Dramatiq on Redis/Valkey, opened by URL.

PostgreSQL owns retries and failures (see `jobs`), so Dramatiq's own retry,
result and time-limit machinery stays out: a message says "look at this job".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from janus_core.errors import BadConfiguration, StoreUnavailable

QUEUE = "janus"

_HEARTBEAT_MS = 10_000
_MAINTENANCE_CHANCE = 100_000
"""In a million, per command: messages of killed workers come back within seconds."""


class Broker:
    """A Dramatiq broker and what Janus asks of it."""

    def __init__(self, url: str) -> None:
        scheme = url.partition("://")[0]
        if scheme not in ("redis+unix", "redis", "rediss"):
            raise BadConfiguration(
                f"no broker for {scheme}://", "Use redis+unix://, redis:// or rediss://."
            )
        from dramatiq.brokers.redis import RedisBroker
        from dramatiq.middleware import AgeLimit, Callbacks, ShutdownNotifications

        self.dramatiq: Any = RedisBroker(  # type: ignore[no-untyped-call]
            url=url.replace("redis+unix://", "unix://", 1),
            namespace="janus",
            middleware=[AgeLimit(), Callbacks(), ShutdownNotifications()],
            heartbeat_timeout=_HEARTBEAT_MS,
            maintenance_chance=_MAINTENANCE_CHANCE,
            socket_timeout=30,
            socket_connect_timeout=5,
        )
        self.dramatiq.declare_queue(QUEUE)

    def publish(self, messages: Sequence[tuple[str, str]]) -> None:
        """Given (actor, job id) pairs, hand them to the broker, which confirms each.

        Raise StoreUnavailable; some may have been taken by then.
        """
        from dramatiq import Message
        from dramatiq.errors import BrokerConnectionError
        from redis.exceptions import RedisError

        try:
            for actor, job_id in messages:
                self.dramatiq.enqueue(
                    Message(
                        queue_name=QUEUE, actor_name=actor, args=(job_id,), kwargs={}, options={}
                    )
                )
        except (BrokerConnectionError, RedisError, OSError) as error:
            raise StoreUnavailable(
                f"the queue does not answer: {error}", "Run: janus up"
            ) from error

    def depth(self) -> int:
        """Return how many messages wait. Raise StoreUnavailable."""
        from redis.exceptions import RedisError

        try:
            return int(self.dramatiq.do_qsize(QUEUE))
        except (RedisError, OSError) as error:
            raise StoreUnavailable(
                f"the queue does not answer: {error}", "Run: janus up"
            ) from error

    def close(self) -> None:
        """Close connections. Idempotent."""
        self.dramatiq.close()
