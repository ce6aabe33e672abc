"""Runs `async def main`: many calls at once, on the loop of the main thread."""

import asyncio
import contextlib
import os
import threading

from . import frames
from .connection import Connection
from .output import current

CONCURRENCY = 100

# Since 3.12 a task may start at once: a function that never waits answers without a turn of the loop.
create_task = getattr(asyncio, "eager_task_factory", None) or (lambda loop, coroutine: loop.create_task(coroutine))


class Looped(Connection, asyncio.Protocol):
    def __init__(self, function, loop):
        super().__init__(function, threading.RLock())
        self.loop = loop
        self.main = threading.get_ident()
        self.transport = None
        self.out = []
        self.dirty = []
        self.scheduled = False

    async def serve(self, sock, parser):
        """Serve the connection; the process ends with it."""
        self.parser = parser
        sock.setblocking(False)
        await self.loop.create_unix_connection(lambda: self, sock=sock)
        self.feed(b"")
        await self.loop.create_future()

    def connection_made(self, transport):
        self.transport = transport
        transport.set_write_buffer_limits(high=1 << 30)  # the windows bound what is queued

    def data_received(self, data):
        try:
            self.feed(data)
        except frames.ProtocolError as e:
            os.write(2, ("protocol error: %s\n" % e).encode())
            os._exit(1)

    def eof_received(self):
        os._exit(0)

    def connection_lost(self, error):
        os._exit(0)

    def owner(self):
        """The call that the running code belongs to. A thread that the function started knows none: it is that of the only call."""
        call = current.get()
        if call is None and threading.get_ident() != self.main and len(self.calls) == 1:
            with contextlib.suppress(RuntimeError, StopIteration):  # the loop changes the calls meanwhile
                call = next(iter(self.calls.values()))
        return None if call is None or call.done else call

    def begin(self, call):
        token = current.set(call)
        try:
            call.task = create_task(self.loop, self.run(call))
        finally:
            current.reset(token)

    async def run(self, call):
        try:
            if self.function.printed is not None:
                self.function.first(call)
            result = await self.function.handler(call.context())
        except SystemExit:
            self.flush()
            raise
        except BaseException as e:
            call.fail(e)
        else:
            call.answer(result)

    def abort(self, call):
        task = call.task
        call.cancel()
        if task is not None:
            task.cancel()

    def send(self, out):
        self.out += out
        if not self.scheduled:
            self.schedule()

    def schedule(self):
        self.scheduled = True
        if threading.get_ident() == self.main:
            self.loop.call_soon(self.flush)
        else:
            self.loop.call_soon_threadsafe(self.flush)

    def touched(self, call):
        self.dirty.append(call)
        if not self.scheduled:
            self.schedule()

    def hurry(self, call):
        if threading.get_ident() == self.main:
            self.flush()

    def flush(self):
        with self.lock:
            self.scheduled = False
            for call in self.dirty:
                if not call.done:
                    self.out += call.take_logs()
            self.dirty.clear()
            if self.out:
                self.transport.write(b"".join(self.out))
                self.out.clear()
        self.leave_if_done()

    def leave(self):
        if not self.out:
            self.transport.close()  # writes what it has, then connection_lost
