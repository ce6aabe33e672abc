'use strict'

// Says that it runs, and then takes its time.
module.exports = async ({ req, res }) => {
  await fetch(`${process.env.COUNTER}/?id=${req.headers['x-appwrite-execution-id']}`)
  await new Promise(resolve => setTimeout(resolve, Number(req.query.ms ?? 0)))
  return res.text('counted')
}
