import os
import time

import humanize

started = time.time()


def main(context):
    """A function gets a context: the request, what answers it, and where its logs go."""
    name = context.req.query.get("name", "world")
    context.log(f"Saying hello to {name}.")
    if name == "nobody":
        context.error("Nobody to say hello to.")
        return context.res.json({"error": "Give me a name."}, 400)
    return context.res.json({
        "message": f"Hello, {name}!",
        "runtime": f"{os.environ['APPWRITE_FUNCTION_RUNTIME_NAME']} {os.environ['APPWRITE_FUNCTION_RUNTIME_VERSION']}",
        "workerAge": humanize.naturaldelta(time.time() - started),
    })
