"""The same answer as the function's, from an ASGI application."""

import json

HEADERS = [(b"content-type", b"application/json; charset=utf-8")]


async def app(scope, receive, send):
    body = json.dumps({"message": "Hello from a function", "ok": True}, separators=(",", ":")).encode()
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, length]})
    await send({"type": "http.response.body", "body": body})
