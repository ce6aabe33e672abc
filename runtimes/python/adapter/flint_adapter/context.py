"""What a function sees: context.req, context.res, context.log."""

import json
import re

ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
HEADERS = '"headers":{'
AFTER = '},"logging":'
ENCODER = json.JSONEncoder(separators=(",", ":"))


class Heads:
    """Parses the heads of requests.

    Flint writes the headers second to last: they are cut out and only parsed when the function looks at them. Both marks
    have bare quotation marks in them, so no string in the head can contain them. The rest is often that of the last call.
    """

    def __init__(self):
        self.text = None
        self.head = None

    def parse(self, text):
        start = text.find(HEADERS)
        end = text.rfind(AFTER)
        if start < 0 or end < start:
            return json.loads(text)
        rest = text[:start] + text[end + 2:]
        if rest != self.text:
            self.head = json.loads(rest)
            self.text = rest
        head = self.head.copy()
        head["headers"] = text[start + len(HEADERS) - 1:end + 1]
        return head


def decode(text, keep=""):
    """Undo percent-encoding where that gives UTF-8, except for the characters to keep encoded."""

    def run(match):
        raw = bytes.fromhex(match.group().replace("%", ""))
        try:
            decoded = raw.decode()
        except UnicodeDecodeError:
            return match.group()
        if keep:
            decoded = "".join("%%%02X" % ord(c) if c in keep else c for c in decoded)
        return decoded

    return ESCAPES.sub(run, text) if "%" in text else text


def parse_query(text):
    query = {}
    if not text:
        return query
    for part in text.split("&"):
        key, _, value = part.partition("=")
        if key:
            query[key] = value
    return query


class Request:
    def __init__(self, head, body):
        self.method = head["method"]
        self.scheme = head["scheme"]
        self.host = head["host"]
        self.port = head["port"]
        self.url = head["url"]
        self.path = decode(head["path"])
        query = head["queryString"]
        if query:
            query = decode(query.replace("+", " "), "&=+;")
        self.query_string = query
        self.query = parse_query(query)
        self.body_binary = body
        self._headers = head["headers"]

    @property
    def headers(self):
        if isinstance(self._headers, str):
            self._headers = json.loads(self._headers)
        return self._headers

    @headers.setter
    def headers(self, value):
        self._headers = value

    @property
    def body_text(self):
        return self.body_binary.decode("utf-8")

    @property
    def body_raw(self):
        return self.body_text

    @property
    def body_json(self):
        return json.loads(self.body_text)

    @property
    def body(self):
        if self.headers.get("content-type", "").lower().startswith("application/json"):
            return self.body_json if self.body_binary else {}
        return self.body_text


class Response:
    def text(self, body, statusCode=200, headers=None):
        return {"body": body.encode("utf-8"), "statusCode": statusCode, "headers": {} if headers is None else headers}

    def json(self, obj, statusCode=200, headers=None):
        headers = {} if headers is None else headers
        headers["content-type"] = "application/json"
        return self.text(ENCODER.encode(obj), statusCode, headers)

    def binary(self, body, statusCode=200, headers=None):
        return {"body": body, "statusCode": statusCode, "headers": {} if headers is None else headers}

    def send(self, body, statusCode=200, headers=None):
        return self.binary(body, statusCode, headers)

    def redirect(self, url, statusCode=301, headers=None):
        headers = {} if headers is None else headers
        headers["location"] = url
        return self.text("", statusCode, headers)

    def empty(self):
        return self.text("", 204, {})


class Logger:
    def __init__(self, call):
        self._call = call

    def write(self, messages, type="log", native=False):
        self._call.log(1 if type == "error" else 0, messages)


class Context:
    def __init__(self, call):
        self.req = Request(call.head, call.body)
        self.res = Response()
        self.logs = []
        self.errors = []
        self._call = call

    @property
    def logger(self):
        return Logger(self._call)

    def log(self, *messages):
        self._call.log(0, messages)

    def error(self, *messages):
        self._call.log(1, messages)
