"""janus worker: do background work in the foreground."""

from __future__ import annotations

import os
import signal
import threading
from typing import Annotated

import typer

from janus_cli import report
from janus_cli.session import command

app = typer.Typer()


@app.command(
    epilog="Examples:  janus worker   ·   janus worker --processes 4 --threads 1   ·   on another"
    " host: JANUS_STORES__RELATIONAL=… JANUS_STORES__QUEUE=… janus worker"
)
@command
def worker(
    processes: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, max=64, help="Jobs at once in each; default: the setting.")
    ] = None,
) -> None:
    """Do background work until Ctrl-C, beside the workers that `janus up` started.

    The first Ctrl-C finishes what is being done or gives it back, the second kills.
    """
    import logging

    from janus_core.app import open_janus
    from janus_core.processes import set_soon
    from janus_core.worker import run_foreground

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()

    def ask_to_stop(number: int, _: object) -> None:
        if stop.is_set():
            # The workers end with their parent.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        set_soon(stop)
        report.say("stopping; what is not finished is given to another worker")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)
    with open_janus(role="daemon") as janus:
        run_foreground(
            janus,
            stop,
            processes=processes,
            threads=threads or janus.settings.worker.threads,
        )
