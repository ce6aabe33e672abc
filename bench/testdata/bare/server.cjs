'use strict'

// The same answer as the function's, from Node.js alone.

const http = require('http')

const server = http.createServer((req, res) => {
  const body = JSON.stringify({ message: 'Hello from a function', ok: true })
  res.writeHead(200, { 'content-type': 'application/json; charset=utf-8', 'content-length': Buffer.byteLength(body) })
  res.end(body)
})
server.listen(Number(process.argv[2]), '127.0.0.1')
