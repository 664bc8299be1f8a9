"""The chat engine on xllamacpp: llama.cpp's own server, from a wheel without a compiler."""

from __future__ import annotations

import os
import signal
from urllib.parse import urlsplit

from janus_core.llm.engine import Orders, announce, run_engine


def _serve(orders: Orders) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = orders.model_path
    params.model_alias = {orders.model}
    params.offline = True
    params.ui = False
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [orders.api_key]
    params.cors_origins = ""
    params.n_ctx = orders.context
    params.n_parallel = orders.slots
    # One cache of `context` tokens for all slots: memory as for one, and any slot may use all.
    params.kv_unified = True
    params.cache_ram_mib = orders.cache_mib
    params.n_batch = params.n_ubatch = orders.batch
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = orders.threads
    params.n_gpu_layers = orders.gpu_layers
    params.n_threads_http = 8
    params.verbosity = 1
    # Clients set their own limits; these free threads of clients that vanished.
    params.timeout_read = params.timeout_write = 600
    server = xllamacpp.Server(params)
    port = urlsplit(server.listening_address).port
    if port is None:
        raise RuntimeError(f"no port in {server.listening_address}")
    announce(orders, port, _device(xllamacpp.get_device_info(), orders))
    while True:
        signal.pause()


def _device(devices: list[dict[str, object]], orders: Orders) -> str:
    """Name the GPU if this build has one and may use it."""
    if orders.gpu_layers == 0:
        return "cpu"
    for device in devices:
        if "GPU" in str(device["type"]).upper():
            return f"{device['name']} {device['description']}"
    return "cpu"


if __name__ == "__main__":
    os._exit(run_engine(["xllamacpp"], _serve))
