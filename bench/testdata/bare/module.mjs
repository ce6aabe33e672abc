// A server that calls a function's module itself: what its worker would take without Flint.

import { createServer } from 'node:http'

const [port, module] = process.argv.slice(2)
const { default: main } = await import(module)

createServer(async (req, res) => {
  const url = new URL(req.url, 'http://localhost')
  const { status, body } = await main({
    req: { path: url.pathname, query: Object.fromEntries(url.searchParams) },
    res: { json: (value, status = 200) => ({ status, body: JSON.stringify(value) }) },
    log: () => {}
  })
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
  res.end(body)
}).listen(Number(port), '127.0.0.1')
