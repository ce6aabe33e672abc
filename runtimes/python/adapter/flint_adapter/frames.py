"""Frames: bytes in, bytes out."""

import json
import struct

HELLO, LOAD, READY, FAILED, REQUEST, DATA, WINDOW, LOG, RESPONSE, CANCEL, PING, PONG, DRAIN = range(1, 14)
END = 1
DROPPED = 2

HEADER = struct.Struct(">IBBI")
LENGTH = struct.Struct(">I")
MAX_PAYLOAD = 1 << 20
PIECE = 256 << 10
FIRST_WINDOW = 1 << 20


class ProtocolError(Exception):
    pass


def frame(kind, flags, id, payload=b""):
    return HEADER.pack(len(payload), kind, flags, id) + payload


def message(kind, value):
    """A frame of the connection itself, with JSON in it."""
    return frame(kind, 0, 0, json.dumps(value).encode())


def response(flags, id, head, body):
    return b"".join((HEADER.pack(4 + len(head) + len(body), RESPONSE, flags, id), LENGTH.pack(len(head)), head, body))


def log(id, stream, text, dropped):
    """Frames with the text of a stream (0 logs, 1 errors)."""
    raw = text.encode("utf-8", "replace")
    frames = []
    at = 0
    while at < len(raw):
        to = min(at + PIECE - 1, len(raw))
        while to < len(raw) and raw[to] & 0xC0 == 0x80:  # between characters only
            to -= 1
        frames.append(frame(LOG, DROPPED if dropped else 0, id, bytes((stream,)) + raw[at:to]))
        dropped = False
        at = to
    return frames


class Parser:
    """Cuts a stream of bytes into frames."""

    def __init__(self):
        self.rest = b""

    def feed(self, data, handle):
        """Call handle(kind, flags, id, payload) for every frame that is complete."""
        if self.rest:
            data = self.rest + data
        at = 0
        end = len(data)
        while end - at >= 10:
            length, kind, flags, id = HEADER.unpack_from(data, at)
            if length > MAX_PAYLOAD or not HELLO <= kind <= DRAIN:
                raise ProtocolError("frame of type %d with %d bytes" % (kind, length))
            to = at + 10 + length
            if to > end:
                break
            payload = data[at + 10:to]
            at = to
            handle(kind, flags, id, payload)
        self.rest = data[at:] if at < end else b""
