import os

import six


def main(context):
    context.log(f"hello from {os.environ['APPWRITE_FUNCTION_ID']}")
    context.error("and an error")
    return context.res.json({
        "dependency": 172800000 if six.PY3 else 0, "greeting": os.environ.get("GREETING"),
        "body": context.req.body_text, "path": context.req.path,
    })
