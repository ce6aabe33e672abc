"""Validates the OpenAPI document of a node with a public validator, and then real answers against the document.

Every operation is called, and each answer must be as the document says: its status, its type, its fields and no others.
An operation that is new must be called here too.

What the node answered goes to the file that FLINT_ANSWERS names: of every operation one request, one answer for each
status of success, and one error. The examples of the document are made of it.
"""
import gzip
import io
import json
import os
import re
import sys
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

BASE = os.environ["FLINT_ENDPOINT"].removesuffix("/v1")
HEADERS = {"X-Appwrite-Project": os.environ["FLINT_PROJECT"], "X-Appwrite-Key": os.environ["FLINT_KEY"]}
problems = []


def send(method, path, body=None, kind="application/json", headers=None):
    request = urllib.request.Request(BASE + path, body, {**HEADERS, **(headers or {}), **({"Content-Type": kind} if body is not None else {})}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers.get_content_type(), answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers.get_content_type(), answer.read()


document = json.loads(send("GET", "/v1/openapi.json")[2])
errors = [f"{list(e.absolute_path)}: {e.message}" for e in OpenAPIV31SpecValidator(document).iter_errors()]
print(f"openapi {document['openapi']}: {len(errors)} errors of the validator")
problems += errors

operations = {o["operationId"]: (method.upper(), path, o) for path, item in document["paths"].items() for method, o in item.items()}
called = {}
answers = {}


def strict(node):
    """The same schemas without fields that they do not name."""
    if isinstance(node, list):
        return [strict(n) for n in node]
    if not isinstance(node, dict):
        return node
    node = {k: strict(v) for k, v in node.items()}
    if node.get("type") == "object" and isinstance(node.get("properties"), dict):
        node.setdefault("additionalProperties", False)
    return node


components = {"components": strict(document["components"])}


def check(schema, value, where):
    for e in Draft202012Validator({**strict(schema), **components}).iter_errors(value):
        problems.append(f"{where}: {list(e.absolute_path)}: {e.message[:300]}")


def call(name, ids=None, params=None, query="", form=None, headers=None, want=None):
    """Calls an operation and compares its answer with the document."""
    method, path, operation = operations[name]
    path = re.sub(r"{(\w+)}", lambda m: (ids or {})[m[1]], path) + query
    body, kind = None, "application/json"
    if form is not None:
        body, kind = form
    elif params is not None:
        body = json.dumps(params).encode()
        content = operation.get("requestBody", {}).get("content", {})
        if kind in content and want is None:
            check(content[kind]["schema"], params, f"{name}: request")
    status, got, answer = send(method, path, body, kind, headers)
    described = operation["responses"].get(str(status), operation["responses"]["default"])
    where = f"{name}: {status}"
    if status != want and (want is not None or str(status) not in operation["responses"]):
        problems.append(f"{where}: {answer[:300]!r}")
    content, value = described.get("content"), None
    one = answers.setdefault(name.rstrip(".0123456789"), {}).setdefault("answers", {})  # further paths answer the same
    if content is None:
        if answer:
            problems.append(f"{where}: there is a body")
    elif got not in content and not (got.startswith("application/") and "application/octet-stream" in content):
        problems.append(f"{where}: type {got}, want one of {list(content)}")
    elif got == "application/json":
        value = json.loads(answer)
        check(content[got]["schema"], value, where)
        if str(status) in operation["responses"]:
            one[str(status)] = value
        else:
            one.setdefault("default", value)
    asked = answers.setdefault(name, {})
    if params is not None and (str(status) in operation["responses"] or "request" not in asked):
        asked["request"] = params
    called.setdefault(name, []).append(status)
    return value


def archive():
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as z, tarfile.open(fileobj=z, mode="w") as t:
        code = b"""module.exports = async ({ req, res, log }) => {
            log('logged')
            if (req.path === '/fail') throw new Error('failed')
            if (req.path === '/slow') await new Promise(resolve => setTimeout(resolve, 10000))
            return res.text('done')
        }"""
        info = tarfile.TarInfo("index.js")
        info.size = len(code)
        t.addfile(info, io.BytesIO(code))
    mark = uuid.uuid4().hex
    head = f'--{mark}\r\nContent-Disposition: form-data; name="activate"\r\n\r\ntrue\r\n--{mark}\r\nContent-Disposition: form-data; name="code"; filename="code.tar.gz"\r\nContent-Type: application/gzip\r\n\r\n'
    return head.encode() + packed.getvalue() + f"\r\n--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"


def built(ids):
    for _ in range(600):
        deployment = call("functions.getDeployment", ids)
        if deployment["status"] in ("ready", "failed", "canceled"):
            return deployment
        time.sleep(0.1)
    sys.exit("a build does not end")


def finished(ids):
    for _ in range(600):
        if call("functions.getExecution", ids)["status"] in ("completed", "failed"):
            return
        time.sleep(0.1)
    sys.exit("an execution does not end")


f = {"functionId": "described"}
service = {"name": "Described", "runtime": os.environ["FLINT_RUNTIME_NODE"], "entrypoint": "index.js", "execute": ["any"], "schedule": "0 0 1 1 *"}
call("functions.create", params={**f, **service})
call("functions.create", params={**f, **service}, want=409)
call("functions.create", params={"functionId": "!"}, want=400)
call("functions.update", f, {**service, "name": "Described again", "timeout": 20})
for name in ("functions.list", "functions.listRuntimes", "functions.listSpecifications", "health.get", "health.getVersion", "openapi.get"):
    call(name)
templates = call("functions.listTemplates")["templates"]
call("functions.listTemplates", query="?limit=1")
call("functions.getTemplate", {"templateId": templates[0]["id"]})
call("functions.get", f)
call("functions.get", {"functionId": "nope"}, want=404)
call("flint.updateFunctionDomain", f, {"corsOrigins": ["https://app.example.com"], "identifyCallers": True})
call("flint.getFunctionDomain", f)
call("flint.updateFunctionScaling", f, {"maxWorkers": 3, "keepAlive": "learned"})
call("flint.updateFunctionScaling", f, {"minWarm": 4, "maxWorkers": 3}, want=400)
call("flint.getFunctionScaling", f)
call("flint.updateFunctionSchedule", f, {"missed": "all", "missedLimit": 3, "overlap": "skip", "jitter": "30"})
call("flint.updateFunctionSchedule", f, {"missed": "some"}, want=400)
call("flint.getFunctionSchedule", f)
call("flint.tail", query="?duration=1")
call("flint.tail", query="?functions[]=nope", want=404)

for group, owner in (("functions", f), ("project", {})):
    made = call(f"{group}.createVariable", owner, {"variableId": "unique()", "key": "DESCRIBED", "value": "v"})
    one = {**owner, "variableId": made["$id"]}
    call(f"{group}.getVariable", one)
    call(f"{group}.updateVariable", one, {"key": "DESCRIBED", "value": "w", "secret": True})
    call(f"{group}.listVariables", owner)
    call(f"{group}.deleteVariable", one)

first = {**f, "deploymentId": call("functions.createDeployment", f, form=archive())["$id"]}
built(first)
call("functions.getDeploymentDownload", first)
call("functions.getDeploymentDownload", first, query="?type=output", headers={"Range": "bytes=0-9"})
call("functions.getDeploymentDownload.1", first)
second = {**f, "deploymentId": call("functions.createDuplicateDeployment", f, {"deploymentId": first["deploymentId"]})["$id"]}
built(second)
third = {**f, "deploymentId": call("functions.createDuplicateDeployment.1", first, {})["$id"]}
built(third)
fourth = {**f, "deploymentId": call("functions.createDuplicateDeployment.2", {**first, "buildId": built(first)["buildId"] or "x"})["$id"]}
built(fourth)
call("functions.updateDeploymentStatus", fourth, want=400)  # it has ended
call("functions.update", f, {**service, "commands": "sleep 120"})
for name in ("functions.updateDeploymentStatus", "functions.updateDeploymentStatus.1"):
    endless = {**f, "deploymentId": call("functions.createDeployment", f, form=archive())["$id"]}
    call(name, endless)
call("functions.updateFunctionDeployment", f, {"deploymentId": second["deploymentId"]})
call("functions.updateFunctionDeployment.1", first)
call("functions.listDeployments", f)
call("functions.listDeployments", f, query="?" + urllib.parse.urlencode({"queries[]": json.dumps({"method": "limit", "values": [2]})}))
call("functions.createTemplateDeployment", f, {"repository": "r", "owner": "o", "rootDirectory": ".", "type": "tag", "reference": "1"}, want=404)
call("functions.createVcsDeployment", f, {"type": "branch", "reference": "main"}, want=404)

done = call("functions.createExecution", f, {"path": "/x", "headers": {"x-one": "1"}})
queued = call("functions.createExecution", f, {"async": True})
finished({**f, "executionId": queued["$id"]})
execution = {**f, "executionId": done["$id"]}
call("functions.getExecution", execution)
call("functions.listExecutions", f)
call("functions.listExecutions", f, query="?queries[]=nonsense", want=400)
call("flint.getExecutionReceipt", execution)
call("flint.updateFunctionDelivery", f, {"maxAttempts": 1, "deadLetters": True})
call("flint.updateFunctionDelivery", f, {"retryOn": ["answered"]}, want=400)
call("flint.getFunctionDelivery", f)
letters = []
for _ in range(2):
    failing = call("functions.createExecution", f, {"async": True, "path": "/fail"})
    letters.append({**f, "executionId": failing["$id"]})
    finished(letters[-1])
call("flint.listExecutionAttempts", letters[0])
call("flint.listDeadLetters", f)
call("flint.getDeadLetter", letters[0])
call("flint.redriveDeadLetter", letters[0])
call("flint.redriveDeadLetter", letters[0], want=404)
call("flint.deleteDeadLetter", letters[1])
call("flint.purgeDeadLetters", f)
call("flint.cancelExecution", execution, want=409)
for one in (execution["executionId"], first["deploymentId"], f["functionId"]):
    call("flint.explain", {"id": one})
call("flint.explain", {"id": "nothing"}, want=404)
waiting = {**f, "executionId": call("functions.createExecution", f, {"async": True, "path": "/slow"})["$id"]}
call("flint.cancelExecution", waiting)
call("functions.deleteExecution", execution)
call("functions.getExecution", execution, want=404)
call("flint.getExecutionReceipt", execution, want=404)

rules = [
    call("proxy.createFunctionRule", params={"domain": "described.example", **f}),
    call("proxy.createRedirectRule", params={"domain": "old.described.example", "url": "https://example.com", "statusCode": 301, "resourceId": f["functionId"], "resourceType": "function"}),
    call("proxy.createAPIRule", params={"domain": "api.described.example"}),
]
call("proxy.createSiteRule", params={"domain": "site.described.example", "siteId": "s"}, want=404)
call("proxy.listRules")
call("proxy.getRule", {"ruleId": rules[0]["$id"]})
for name in ("proxy.updateRuleStatus", "proxy.updateRuleStatus.1"):  # nobody has pointed the domain here
    call(name, {"ruleId": rules[0]["$id"]}, want=400)
own = next(r for r in call("proxy.listRules")["rules"] if r not in rules)  # the function's, which leads here
for name in ("proxy.updateRuleStatus", "proxy.updateRuleStatus.1"):
    call(name, {"ruleId": own["$id"]})
for rule in rules:
    call("proxy.deleteRule", {"ruleId": rule["$id"]})

own = {"projectId": HEADERS["X-Appwrite-Project"]}
hook = {"name": "Described", "url": "https://example.com/hook", "events": ["rules.*.create", "functions.*"], "enabled": False}
for end in ("", ".1"):
    made = {**own, "webhookId": call("webhooks.create" + end, own, {"webhookId": "unique()", **hook})["$id"]}
    call("webhooks.list" + end, own)
    call("webhooks.get" + end, made)
    call("webhooks.update" + end, made, {**hook, "name": "Described again", "tls": True, "authUsername": "me", "authPassword": "secret"})
    call("webhooks.updateSecret" + end, made, {})
    if end:
        call("webhooks.updateSecret.2", made, {})
    call("webhooks.delete" + end, made)
call("webhooks.create", params={"webhookId": "unique()", **hook, "url": "http://127.0.0.1"}, want=400)

call("functions.deleteDeployment", third)
call("functions.delete", f)

unknown = {"functionId": "unknown", "deploymentId": "unknown", "executionId": "unknown", "variableId": "unknown", "ruleId": "unknown", "templateId": "unknown", "buildId": "unknown", "webhookId": "unknown", "projectId": "unknown", "id": "unknown"}
for name, (method, path, operation) in operations.items():
    if "{" in path:
        required = operation.get("requestBody", {}).get("required")
        if not required:
            call(name, unknown, want=401 if "{projectId}" in path else 404)

answers["openapi.get"]["answers"]["200"] = {**document, "paths": {}, "components": {}}  # it cannot be its own example
with open(os.environ["FLINT_ANSWERS"], "w") as out:
    json.dump(answers, out)

for name in operations:
    print(f"{name}: {' '.join(map(str, called.get(name, ['never called'])))}")
    if name not in called:
        problems.append(f"{name} was never called")


def examples(node, where=()):
    """Compares the examples of the document with the schemas beside them."""
    if isinstance(node, dict):
        found = [node["example"]] if "example" in node else []
        if isinstance(node.get("examples"), dict):
            found += [e["value"] for e in node["examples"].values() if "value" in e]
        for value in found:
            check(node.get("schema", {}), value, f"example of {'/'.join(where)}")
        for key, below in node.items():
            examples(below, (*where, key))
    elif isinstance(node, list):
        for i, below in enumerate(node):
            examples(below, (*where, str(i)))


if not os.environ.get("FLINT_UPDATE"):  # the examples of this node are about to be replaced
    examples(document["paths"])
print("\n".join(problems))
sys.exit(len(problems) > 0)
