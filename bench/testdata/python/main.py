served = 0


async def main(context):
    global served
    before = served
    served += 1
    if context.req.path == "/served":
        return context.res.json({"served": before})
    context.log("a greeting for " + context.req.method)
    return context.res.json({"message": "Hello from a function", "ok": True})
