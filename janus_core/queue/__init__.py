"""The queue: outbox, relay, broker, and what a worker claims."""
