'use strict'

// Runs the code in the body of its request and answers what it returns or throws: whatever a hostile function could do.
const fs = require('fs')
const net = require('net')
const child = require('child_process')

module.exports = async ({ req, res }) => {
  const AsyncFunction = (async () => {}).constructor
  try {
    const value = await new AsyncFunction('fs', 'net', 'child', 'require', req.bodyText)(fs, net, child, require)
    return res.json({ value: value === undefined ? null : value })
  } catch (error) {
    return res.json({ error: String(error && error.message) })
  }
}
