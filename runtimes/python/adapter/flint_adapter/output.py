"""Text of logs: how values are shown, and what becomes of prints."""

import contextvars
import io
import json
import os
import sys
import traceback

LIMIT = 8000
NOTICE = "Native logs detected. Use context.log() or context.error() for better experience.\n"
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# The Call, or Printed, that the running code belongs to.
current = contextvars.ContextVar("flint_call", default=None)


def show(value):
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list, tuple)):
        try:
            return json.dumps(value, separators=(",", ":"), default=str)
        except (TypeError, ValueError):  # keys that are no strings, a cycle
            return str(value)
    return str(value)


def line(messages):
    text = " ".join(map(show, messages))
    if len(text) > LIMIT:
        text = text[:LIMIT] + "... Log truncated due to size limit (%d characters)" % LIMIT
    return text + "\n"


def trace(error):
    """The traceback of an error, from the user's code on."""
    tb = error.__traceback__
    while tb is not None:
        file = tb.tb_frame.f_code.co_filename
        if not file.startswith((HERE + os.sep, "<frozen importlib")) and file != importlib_file:
            break
        tb = tb.tb_next
    return "".join(traceback.format_exception(type(error), error, tb)).rstrip("\n")


importlib_file = getattr(__import__("importlib"), "__file__", "")


class Printed:
    """Collects what is printed while the module loads, for the first request."""

    KEEP = 1 << 20

    def __init__(self):
        self.done = False
        self.parts = []
        self.size = 0

    def native(self, text):
        if self.size < self.KEEP:
            self.parts.append(text)
            self.size += len(text)

    def take(self):
        self.done = True
        return "".join(self.parts)


class Output(io.TextIOBase):
    """Stands for sys.stdout or sys.stderr and gives every write to the request that it belongs to."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, real, owner):
        self.real = real
        self.owner = owner
        self.buffer = Bytes(self)

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not %s" % type(text).__name__)
        call = self.owner()
        if call is None:
            return self.real.write(text)
        call.native(text)
        return len(text)

    def flush(self):
        self.real.flush()

    def writable(self):
        return True

    def isatty(self):
        return False

    def fileno(self):
        return self.real.fileno()


class Bytes(io.RawIOBase):
    """The buffer below Output, for those who print bytes."""

    def __init__(self, text):
        self.text = text

    def write(self, data):
        self.text.write(bytes(data).decode("utf-8", "replace"))
        return len(data)

    def writable(self):
        return True

    def flush(self):
        self.text.flush()


def capture(owner):
    sys.stdout = Output(sys.stdout, owner)
    sys.stderr = Output(sys.stderr, owner)
