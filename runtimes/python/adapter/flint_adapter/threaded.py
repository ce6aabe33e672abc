"""Runs `def main`: one call at a time, on the main thread; another thread reads the connection.

The function runs where its module was imported, as code that was never meant for threads needs (a database handle of the
module, signal handlers), and where a signal can interrupt it even while it waits in the kernel.
"""

import contextvars
import inspect
import os
import queue
import select
import signal
import threading

from . import frames
from .connection import Connection
from .output import current

CONCURRENCY = 1
LOG_DELAY = 20  # milliseconds after which log text of a running call is sent, and a signal repeated
READ = 256 << 10
SIGNAL = signal.SIGRTMIN + 7 if hasattr(signal, "SIGRTMIN") else signal.SIGUSR2


class Interrupted(BaseException):
    """Raised inside a function whose call was cancelled."""


class Threaded(Connection):
    def __init__(self, function, loop):
        super().__init__(function, threading.RLock())
        self.loop = loop
        self.main = threading.get_ident()
        self.queue = queue.SimpleQueue()  # never longer than the calls that Flint has open
        self.running = None
        self.sock = None

    def serve(self, sock, parser):
        """Serve the connection; the process ends with it."""
        self.sock = sock
        self.parser = parser
        signal.signal(SIGNAL, self.interrupt)
        threading.Thread(target=self.read, name="flint", daemon=True).start()
        while True:
            call = self.queue.get()
            if not call.done:
                self.run(call)

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
                self.running = None
        except Interrupted:
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
        """Not in the middle of a frame: the thread that reads repeats the signal."""
        call = self.running
        if call is not None and call.cancelled and not self.lock._is_owned():
            raise Interrupted()

    # On the thread that reads.

    def read(self):
        try:
            self.feed(b"")
            ready = select.poll()
            ready.register(self.sock, select.POLLIN)
            while True:
                if not ready.poll(LOG_DELAY if self.calls else None):
                    self.flush()
                    continue
                data = self.sock.recv(READ)
                if not data:
                    os._exit(0)
                self.feed(data)
        except frames.ProtocolError as e:
            os.write(2, ("protocol error: %s\n" % e).encode())
            os._exit(1)
        except OSError:
            os._exit(0)

    def begin(self, call):
        self.queue.put(call)

    def abort(self, call):
        """Answer at once for a call that has not begun; one that runs answers when it is back."""
        with self.lock:
            call.cancelled = True
            if call is self.running:
                signal.pthread_kill(self.main, SIGNAL)
            else:
                call.cancel()

    def flush(self):
        with self.lock:
            call = self.running
            if call is None or call.done:
                return
            if call.cancelled:
                signal.pthread_kill(self.main, SIGNAL)
            else:
                self.hurry(call)

    # On both.

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
