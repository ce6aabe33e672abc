"""What both ways of running functions share: frames in, calls out."""

import json

from . import frames
from .call import Call
from .context import Heads
from .module import LoadError


class Connection:
    """A subclass runs calls: it has begin(call), abort(call), send(list of frames), touched(call), hurry(call), leave()."""

    def __init__(self, function, lock):
        self.function = function
        self.lock = lock
        self.calls = {}
        self.parser = frames.Parser()
        self.heads = Heads()
        self.draining = False

    def feed(self, data):
        self.parser.feed(data, self.handle)

    def handle(self, kind, flags, id, payload):
        if kind == frames.REQUEST:
            return self.request(flags, id, payload)
        if kind == frames.PING:
            return self.send([frames.frame(frames.PONG, 0, 0, payload)])
        if kind == frames.DRAIN:
            self.draining = True
            return self.leave_if_done()
        call = self.calls.get(id)
        if call is None:
            return None  # answered or cancelled meanwhile
        if kind == frames.DATA:
            return self.data(call, flags, payload)
        if kind == frames.WINDOW:
            return call.open(frames.LENGTH.unpack(payload)[0])
        if kind == frames.CANCEL:
            return self.abort(call)
        return None

    def request(self, flags, id, payload):
        end = 4 + frames.LENGTH.unpack_from(payload)[0]
        if end > len(payload):
            raise frames.ProtocolError("the head is longer than its frame")
        call = Call(self, id, self.heads.parse(payload[4:end].decode("utf-8")))
        self.calls[id] = call
        body = payload[end:]
        if flags & frames.END:
            call.body = body
            return self.begin(call)
        call.pieces = []
        return self.gather(call, body)

    def gather(self, call, piece):
        if piece:
            call.pieces.append(piece)
            self.send([frames.frame(frames.WINDOW, 0, call.id, frames.LENGTH.pack(len(piece)))])

    def data(self, call, flags, payload):
        if call.pieces is None:
            return
        self.gather(call, payload)
        if flags & frames.END:
            call.body = b"".join(call.pieces)
            call.pieces = None
            self.begin(call)

    def ended(self, call):
        self.calls.pop(call.id, None)

    def leave_if_done(self):
        if self.draining and not self.calls:
            self.leave()


class Function:
    """The user's function: the handler, or why there is none."""

    def __init__(self, loader, printed):
        self.loader = loader
        self.printed = printed
        self.handler = None
        self.failure = None

    def load(self):
        """Try to load; must run while the loop of the main thread runs, as some modules look for it."""
        try:
            self.handler = self.loader.load()
            self.failure = None
        except LoadError as e:
            self.failure = str(e)

    def first(self, call):
        """Give the first call what the module printed while it loaded."""
        text = self.printed.take()
        self.printed = None
        call.native(text)


def parse_load(payload):
    load = json.loads(payload.decode("utf-8"))
    return load["code"], load["entrypoint"], load.get("env") or {}
