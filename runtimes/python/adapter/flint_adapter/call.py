"""One request on its way through the user's function."""

import json
import re
import time

from . import frames
from .context import Context
from .output import NOTICE, line, trace

KEEP = 1 << 20  # characters of unsent log text that are kept at least, per stream
HURRY = 0.05  # seconds that code which never yields may keep log text from leaving
NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
VALUE = re.compile(r"[^\x00\r\n]*\Z")
NO_RETURN = "Return statement missing. return context.res.empty() if no response is expected."
EMPTY_500 = b'{"status":500,"headers":{}}'
EMPTY_503 = b'{"status":503,"headers":{}}'


class Text:
    """Unsent log text of one stream; the oldest goes when there is too much."""

    __slots__ = ("parts", "size", "dropped")

    def __init__(self):
        self.clear()

    def clear(self):
        self.parts = []
        self.size = 0
        self.dropped = False

    def add(self, text):
        self.parts.append(text)
        self.size += len(text)
        if self.size > 2 * KEEP:
            kept = "".join(self.parts)[-KEEP:]
            newline = kept.find("\n") + 1
            if 0 < newline < len(kept):
                kept = kept[newline:]
            self.parts = [kept]
            self.size = len(kept)
            self.dropped = True


class Call:
    """The lock of the connection guards the log text, done, and the sending; the rest belongs to who runs the call."""

    def __init__(self, connection, id, head):
        self.connection = connection
        self.id = id
        self.head = head
        self.body = b""
        self.pieces = None  # of a body that is still arriving
        self.logging = head.get("logging") is not False
        self.noticed = False
        self.done = False  # the response is settled
        self.cancelled = False
        self.texts = None  # logs and errors, unsent
        self.since = 0.0
        self.window = frames.FIRST_WINDOW
        self.rest = None  # of a response that waits for the window
        self.task = None

    def context(self):
        return Context(self)

    def log(self, stream, messages):
        if not self.done and self.logging:
            self.write(stream, line(messages))

    def native(self, text):
        if text and not self.done and self.logging:
            if not self.noticed:
                self.noticed = True
                self.write(0, NOTICE)
            self.write(0, text)

    def write(self, stream, text):
        with self.connection.lock:
            if self.texts is None:
                self.texts = (Text(), Text())
                self.since = time.monotonic()
                self.connection.touched(self)
            self.texts[stream].add(text)
            if time.monotonic() - self.since > HURRY and not self.done:
                self.connection.hurry(self)

    def take_logs(self):
        """Frames with the unsent log text. The caller has the lock."""
        if self.texts is None:
            return []
        logs, errors = self.texts
        self.texts = None
        out = []
        if logs.size:
            out += frames.log(self.id, 0, "".join(logs.parts), logs.dropped)
        if errors.size:
            out += frames.log(self.id, 1, "".join(errors.parts), errors.dropped)
        return out

    def answer(self, result):
        """Take what the function returned."""
        if result is None:
            self.log(1, (NO_RETURN,))
            return self.end(EMPTY_500)
        try:
            head, body = encode(result)
        except Exception as error:
            return self.fail(error)
        self.end(head, body)

    def fail(self, error):
        self.log(1, (trace(error),))
        self.end(EMPTY_500)

    def unloadable(self, text):
        self.log(1, (text,))
        self.end(EMPTY_503)

    def end(self, head, body=b""):
        with self.connection.lock:
            if self.done:
                return
            self.done = True
            out = [] if self.cancelled else self.take_logs()
            if len(body) <= frames.PIECE:
                out.append(frames.response(frames.END, self.id, head, body))
                self.connection.ended(self)
            else:
                self.rest = memoryview(body)
                piece = self.cut()
                out.append(frames.response(0, self.id, head, piece))
                self.pump(out)
            self.connection.send(out)

    def cut(self):
        piece = bytes(self.rest[:min(frames.PIECE, self.window)])
        self.rest = self.rest[len(piece):]
        self.window -= len(piece)
        return piece

    def pump(self, out):
        """Send what the window lets through of the rest. The caller has the lock."""
        while self.window > 0 and self.rest is not None:
            piece = self.cut()
            last = not self.rest
            out.append(frames.frame(frames.DATA, frames.END if last else 0, self.id, piece))
            if last:
                self.rest = None
                self.connection.ended(self)

    def open(self, size):
        with self.connection.lock:
            self.window += size
            if self.rest is not None:
                out = []
                self.pump(out)
                self.connection.send(out)

    def cancel(self):
        """End the call; what it would have answered does not count any more."""
        with self.connection.lock:
            self.cancelled = True
            if self.rest is not None:
                self.rest = None
                self.connection.ended(self)
                self.connection.send([frames.frame(frames.DATA, frames.END, self.id)])
        self.end(EMPTY_500)


ENCODER = json.JSONEncoder(separators=(",", ":"))


def check(name, value):
    if not NAME.match(name):
        raise ValueError("invalid header name: %r" % name)
    if not VALUE.match(value):
        raise ValueError("invalid value of the header %s: %r" % (name, value))


class Encoder:
    """Encodes responses. Most of a function have the status and headers of the last one, whose head is kept."""

    def __init__(self):
        self.last = (None, None, b"")  # a call that was given up may answer at the same time, in its own thread

    def head(self, status, headers):
        same = True  # as its text: others may be equal and read differently
        for pair in headers.items():
            for value in pair:
                same = same and type(value) is str
        last_status, last_headers, text = self.last
        if same and status == last_status and headers == last_headers:
            return text
        plain = {}
        for name, value in headers.items():
            name = str(name)
            if isinstance(value, (list, tuple)):
                value = [str(v) for v in value]
                for v in value:
                    check(name, v)
            else:
                value = str(value)
                check(name, value)
            plain[name] = value
        text = ENCODER.encode({"status": int(status), "headers": plain}).encode()
        if same:
            self.last = (int(status), dict(headers), text)
        return text

    def encode(self, result):
        """The head and the body of a response that a function returned."""
        if not isinstance(result, dict):
            raise TypeError("the function returned %s, not a response of context.res" % type(result).__name__)
        status = result.get("statusCode", 200)
        if not isinstance(status, int) or not 100 <= status <= 999:
            raise ValueError("invalid status code: %r" % (status,))
        head = self.head(status, result.get("headers") or {})
        body = result.get("body")
        if isinstance(body, str):
            body = body.encode("utf-8")
        elif body is None:
            body = b""
        elif isinstance(body, (bytearray, memoryview)):
            body = bytes(body)
        elif not isinstance(body, bytes):
            raise TypeError("the body is %s, not bytes or str" % type(body).__name__)
        return head, body


encode = Encoder().encode
