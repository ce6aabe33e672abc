'use strict'

// The function that a waiting adapter plays for itself; see rehearse in server.cjs.
module.exports = async ({ req, res, log, error }) => {
  log('rehearsal', req.headers)
  error(new Error('rehearsal').message)
  return res.json({ query: req.query, body: req.bodyText }, 200, { 'x-rehearsal': 'yes' })
}
