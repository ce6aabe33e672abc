'use strict'

// The same answer as the function's, from Google's Functions Framework: what its own command starts, but on loopback only.

const { createRequire } = require('node:module')
const [port, modules] = process.argv.slice(2)
const installed = createRequire(modules + '/')

process.env.NODE_ENV = 'production'
installed('@google-cloud/functions-framework').http('greet', (req, res) => {
  res.json({ message: 'Hello from a function', ok: true })
})
installed('@google-cloud/functions-framework/testing').getTestServer('greet').listen(Number(port), '127.0.0.1')
