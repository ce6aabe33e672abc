'use strict'

// Does what its path says, also what functions should not do.
const VERSION = '0'

const wait = ms => new Promise(resolve => setTimeout(resolve, ms))

module.exports = async ({ req, res, log, error }) => {
  log(`asked for ${req.path}`)
  switch (req.path) {
    case '/': return res.text(VERSION)
    case '/echo': return res.binary(req.bodyBinary)
    case '/large': return res.binary(Buffer.alloc(1 << 20, 'x'))
    case '/wait': await wait(Number(req.query.ms ?? 0)); return res.text('waited')
    case '/logs': for (let i = 0; i < 200; i++) error('y'.repeat(1000)); return res.text('logged')
    case '/throw': throw new Error('on purpose')
    case '/exit': process.exit(3); break
    case '/spin': for (;;) {}
    case '/eat': for (const eaten = []; ;) { eaten.push(Buffer.alloc(16 << 20, 1)); await wait(1) }
    case '/fork':
      for (let i = 0; i < 8; i++) require('child_process').spawn('/bin/sleep', ['1000'], { detached: true, stdio: 'ignore' }).unref()
      return res.text('forked')
    case '/api': {
      const answer = await fetch(`${process.env.APPWRITE_FUNCTION_API_ENDPOINT}/functions`, {
        headers: { 'x-appwrite-project': process.env.APPWRITE_FUNCTION_PROJECT_ID, 'x-appwrite-key': req.headers['x-appwrite-key'] }
      })
      return res.text(String(answer.status))
    }
  }
  return res.text('unknown', 404)
}
