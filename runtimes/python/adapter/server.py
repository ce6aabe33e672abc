"""The adapter for Python. It speaks the worker protocol, docs/protocol.md; flint_adapter has the parts."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

sys.dont_write_bytecode, written = True, sys.dont_write_bytecode  # the adapter's own directory stays as it is

import asyncio
import gc
import inspect
import socket

from flint_adapter import frames
from flint_adapter.connection import Function, parse_load
from flint_adapter.looped import CONCURRENCY as MANY, Looped
from flint_adapter.module import Loader, isolate
from flint_adapter.output import Printed, capture, current
from flint_adapter.threaded import CONCURRENCY as ONE, Threaded, load

sys.dont_write_bytecode = written

# What most functions import. A stem loads it while it waits.
COMMON = ("concurrent.futures.thread", "datetime", "decimal", "email.message", "hashlib", "hmac", "http.client", "logging",
          "ssl", "typing", "urllib.request", "uuid")


def rehearse():
    for name in COMMON:
        try:
            __import__(name)
        except ImportError:  # an interpreter built without it
            pass


def wait_for_load(sock, parser):
    """Answer pings until the load comes; return its payload."""
    loads = []

    def handle(kind, flags, id, payload):
        if kind == frames.PING:
            sock.sendall(frames.frame(frames.PONG, 0, 0, payload))
        elif kind == frames.DRAIN:
            sys.exit(0)
        elif kind == frames.LOAD:
            loads.append(payload)
        else:
            later.append((kind, flags, id, payload))

    later = []
    while not loads:
        data = sock.recv(256 << 10)
        if not data:
            sys.exit(0)
        parser.feed(data, handle)
    parser.rest = b"".join(frames.frame(*f) for f in later) + parser.rest
    return loads[0]


def is_async(handler):
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))


def main():
    path = os.environ.pop("FLINT_SOCKET", None)
    if not path:
        sys.exit("FLINT_SOCKET is not set: this program is started by flint")
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    version = "%d.%d.%d" % sys.version_info[:3]
    sock.sendall(frames.message(frames.HELLO, {"protocol": 1, "adapter": "python", "version": version}))
    isolate(HERE)
    rehearse()
    gc.freeze()

    parser = frames.Parser()
    code, entrypoint, env = parse_load(wait_for_load(sock, parser))
    os.environ.update(env)

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    printed = Printed()
    function = Function(Loader(code, entrypoint), printed)
    connection = None

    def owner():
        if connection is not None:
            return connection.owner()
        call = current.get()
        return None if call is None or call.done else call

    async def first_load():
        current.set(printed)
        await load(function)

    capture(owner)
    loop.run_until_complete(first_load())
    gc.freeze()
    if function.handler is not None and is_async(function.handler):
        connection = Looped(function, loop)
        sock.sendall(frames.message(frames.READY, {"concurrency": MANY}))
        loop.run_until_complete(connection.serve(sock, parser))
    else:
        connection = Threaded(function, loop)
        sock.sendall(frames.message(frames.READY, {"concurrency": ONE}))
        connection.serve(sock, parser)


if __name__ == "__main__":
    main()
