"""What a user of the Python SDK does with functions."""

import io
import json
import os
import tarfile
import time

from appwrite.client import Client
from appwrite.enums.execution_method import ExecutionMethod
from appwrite.enums.runtime import Runtime
from appwrite.exception import AppwriteException
from appwrite.input_file import InputFile
from appwrite.query import Query
from appwrite.services.functions import Functions

env = os.environ
client = Client()
client.set_endpoint(env["FLINT_ENDPOINT"]).set_project(env["FLINT_PROJECT"]).set_key(env["FLINT_KEY"])


class Counted:
    """Notes every method that is called."""

    def __init__(self, service):
        self.service, self.calls = service, {}

    def __getattr__(self, name):
        self.calls[name] = self.calls.get(name, 0) + 1
        return getattr(self.service, name)


functions = Counted(Functions(client))


def field(model, name):
    """Answers are models or dictionaries, depending on the version of the SDK."""
    data = model if isinstance(model, dict) else model.to_dict()
    return data[name]


def until(what, read, done):
    deadline = time.monotonic() + 300
    while True:
        value = read()
        if done(value):
            return value
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def archive(directory):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(directory, arcname=".")
    return InputFile.from_bytes(buffer.getvalue(), "code.tar.gz", "application/gzip")


language = next(name for name in ("node", "python") if env[f"FLINT_RUNTIME_{name.upper()}"])
entrypoint, commands = {"node": ("main.js", "npm install"), "python": ("main.py", "pip install -r requirements.txt")}[language]
function = functions.create("py-sdk", "From Python", Runtime(env[f"FLINT_RUNTIME_{language.upper()}"]), entrypoint=entrypoint, commands=commands)
assert field(function, "$id") == "py-sdk"
functions.create_variable("py-sdk", "greeting", "GREETING", "hello", secret=False)
deployment = functions.create_deployment("py-sdk", archive(os.path.join(env["FLINT_FUNCTIONS"], language)), True)
deployment = until(
    "build", lambda: functions.get_deployment("py-sdk", field(deployment, "$id")), lambda d: str(field(d, "status")) in ("ready", "failed"))
assert field(deployment, "status") == "ready", field(deployment, "buildLogs")

execution = functions.create_execution("py-sdk", body="the body", path="/p?x=1", method=ExecutionMethod.POST)
assert field(execution, "responseStatusCode") == 200, field(execution, "errors")
answer = json.loads(field(execution, "responseBody"))
assert answer == {"dependency": 172800000, "greeting": "hello", "body": "the body", "path": "/p"}, answer
assert field(execution, "logs").strip() == "hello from py-sdk"

queued = functions.create_execution("py-sdk", xasync=True)
ended = until(
    "execution", lambda: functions.get_execution("py-sdk", field(queued, "$id")), lambda e: str(field(e, "status")) in ("completed", "failed"))
assert field(ended, "status") == "completed", field(ended, "errors")
assert field(ended, "logs").strip() == "hello from py-sdk" and field(ended, "responseBody") == ""
executions = functions.list_executions("py-sdk", queries=[Query.order_desc("$createdAt"), Query.limit(1)])
assert field(executions, "total") == 2 and field(executions, "executions")[0]["$id"] == field(queued, "$id")

deployments = functions.list_deployments("py-sdk", queries=[Query.equal("status", ["ready"])])
assert [field(d, "$id") for d in field(deployments, "deployments")] == [field(deployment, "$id")] and field(deployments, "total") == 1
variables = functions.list_variables("py-sdk")
assert [(field(v, "key"), field(v, "value")) for v in field(variables, "variables")] == [("GREETING", "hello")]
updated = functions.update("py-sdk", "Renamed in Python", entrypoint=entrypoint, commands=commands, timeout=21)
assert (field(updated, "name"), field(updated, "timeout"), field(updated, "deploymentId")) == ("Renamed in Python", 21, field(deployment, "$id"))
found = functions.list(queries=[Query.equal("name", ["Renamed in Python"]), Query.limit(5)])
assert field(found, "total") == 1 and field(field(found, "functions")[0], "$id") == "py-sdk"

functions.delete("py-sdk")
try:
    functions.get("py-sdk")
    raise AssertionError("the function is still there")
except AppwriteException as error:
    assert (error.code, error.type) == (404, "function_not_found"), error
most_used = (
    "create", "get", "list", "update", "create_variable", "create_deployment", "get_deployment", "create_execution", "get_execution", "list_executions")
for name in dict.fromkeys((*most_used, *functions.calls)):
    print(f"functions.{name}: " + (f"good, called {functions.calls[name]}x" if name in functions.calls else "NOT CALLED"))
assert not set(most_used) - set(functions.calls)
