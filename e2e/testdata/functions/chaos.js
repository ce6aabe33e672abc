'use strict'

const { randomUUID } = require('node:crypto')
const http = require('node:http')

const agent = new http.Agent({ keepAlive: true, maxSockets: 4 })

const post = url => new Promise((resolve, reject) => {
  const request = http.request(url, { method: 'POST', agent, timeout: 3000 }, answer => {
    answer.resume()
    answer.on('end', () => answer.statusCode === 200 ? resolve() : reject(new Error(`the ledger answers with ${answer.statusCode}`)))
    answer.on('error', reject)
  })
  request.on('timeout', () => request.destroy(new Error('the ledger does not answer')))
  request.on('error', reject)
  request.end()
})

// Writes into the ledger that it begins, takes its time, and writes that it ends. A line that may have got lost is written
// again: lines of one run have its name.
module.exports = async ({ req, res }) => {
  const run = new URLSearchParams({
    id: req.headers['x-appwrite-execution-id'], attempt: req.headers['x-flint-attempt'] ?? '1', run: randomUUID()
  })
  const write = async line => {
    for (let tries = 1; ; tries++) {
      try {
        return await post(`${process.env.LEDGER}/${line}?${run}`)
      } catch (err) {
        if (tries === 3) throw err
      }
    }
  }
  await write('begin')
  await new Promise(resolve => setTimeout(resolve, Number(req.query.ms ?? 0)))
  await write('end')
  return res.text('done')
}
