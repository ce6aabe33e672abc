"""Runs `def main`: one call at a time, on the main thread.

The function runs where its module was imported, as code that was never meant for threads needs (a database handle of the
module, signal handlers), and where a signal can interrupt it even while it waits in the kernel. The main thread reads the
connection itself between calls, because handing every call from thread to thread costs more than the call. A second thread
looks after a call that takes longer: it reads the connection meanwhile, sends log text, and repeats the signal of a cancel.
"""

import collections
import contextvars
import inspect
import os
import signal
import socket
import threading
import time

from . import frames
from .connection import Connection
from .output import current

CONCURRENCY = 1
TICK = 0.02  # seconds between two looks of the second thread
READ = 256 << 10
SIGNAL = signal.SIGRTMIN + 7 if hasattr(signal, "SIGRTMIN") else signal.SIGUSR2


class Interrupted(BaseException):
    """Raised inside a function whose call was cancelled."""


class Threaded(Connection):
    """The lock guards what the connection has read. The second thread reads only under it, and only while a call runs."""

    def __init__(self, function, loop):
        super().__init__(function, threading.RLock())
        self.loop = loop
        self.main = threading.get_ident()
        self.queue = collections.deque()  # never longer than the calls that Flint has open
        self.running = None
        self.parked = False  # the second thread waits for work
        self.work = threading.Event()
        self.sock = None

    def serve(self, sock, parser):
        """Serve the connection; the process ends with it."""
        self.sock = sock
        self.parser = parser
        signal.signal(SIGNAL, self.interrupt)
        threading.Thread(target=self.watch, name="flint", daemon=True).start()
        self.take(b"")
        while True:
            while self.queue:
                self.run(self.queue.popleft())
            try:
                data = self.sock.recv(READ)
            except OSError:
                os._exit(0)
            if not data:
                os._exit(0)
            self.take(data)

    def take(self, data):
        try:
            with self.lock:
                self.feed(data)
                if self.parked and self.queue:
                    self.parked = False
                    self.work.set()
        except frames.ProtocolError as e:
            os.write(2, ("protocol error: %s\n" % e).encode())
            os._exit(1)

    def owner(self):
        """The call that the running code belongs to, whatever thread it runs on; while a module loads, its collector."""
        call = self.running or current.get()
        return None if call is None or call.done else call

    # On the main thread.

    def run(self, call):
        try:
            try:
                with self.lock:
                    if call.done:
                        return
                    self.running = call
                result = contextvars.copy_context().run(self.invoke, call)
            finally:
                with self.lock:
                    self.running = None
        except Interrupted:
            with self.lock:
                self.running = None
            call.cancel()
        except SystemExit:
            with self.lock:
                self.hurry(call)
            raise
        except BaseException as e:
            call.fail(e)
        else:
            if call.cancelled:
                call.cancel()
            elif self.function.handler is None:
                call.unloadable(self.function.failure)
            else:
                call.answer(result)
        self.leave_if_done()

    def invoke(self, call):
        current.set(call)
        function = self.function
        if function.printed is not None:
            function.first(call)
        elif function.handler is None:
            self.loop.run_until_complete(load(function))
        if function.handler is None:
            return None
        result = function.handler(call.context())
        if inspect.isawaitable(result):  # a decorated or late loaded async function
            result = self.loop.run_until_complete(wait(result))
        return result

    def interrupt(self, signum, frame):
        """Raise, but not in the middle of a frame: the signal comes again."""
        call = self.running
        if call is not None and call.cancelled and not self.lock._is_owned():
            raise Interrupted()

    # On the second thread.

    def watch(self):
        seen = None
        while True:
            with self.lock:
                self.parked = not self.calls
                if self.parked:
                    self.work.clear()
            if self.parked:
                self.work.wait()
            time.sleep(TICK)
            with self.lock:
                call = self.running
                if call is not None and call is seen:
                    self.look_after(call)
                seen = call

    def look_after(self, call):
        try:
            while True:
                data = self.sock.recv(READ, socket.MSG_DONTWAIT)
                if not data:
                    os._exit(0)
                self.take(data)
        except BlockingIOError:
            pass
        except OSError:
            os._exit(0)
        if call.done:
            return
        if call.cancelled:
            signal.pthread_kill(self.main, SIGNAL)
        else:
            self.hurry(call)

    # On both.

    def begin(self, call):
        self.queue.append(call)

    def abort(self, call):
        """Answer at once for a call that has not begun; one that runs answers when it is back."""
        with self.lock:
            call.cancelled = True
            if call is not self.running:  # else look_after sends the signal
                call.cancel()

    def send(self, out):
        try:
            with self.lock:
                self.sock.sendall(b"".join(out))
        except OSError:
            os._exit(0)

    def touched(self, call):
        pass

    def hurry(self, call):
        out = call.take_logs()
        if out:
            self.send(out)

    def leave(self):
        self.sock.close()
        os._exit(0)


async def load(function):
    function.load()


async def wait(awaitable):
    return await awaitable
