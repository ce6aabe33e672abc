'use strict'

// Tells the server of the test that a run begins and ends, and ends as that says.
module.exports = async ({ req, res, log }) => {
  const tell = async what => (await fetch(`${process.env.COUNTER}/${what}?id=${req.headers['x-appwrite-execution-id']}&path=${req.path}`)).text()
  log('it begins')
  const wish = await tell('begin')
  if (wish === 'fail') throw new Error('as it was told')
  if (wish === 'stay') await new Promise(resolve => setTimeout(resolve, 60000))
  await tell('end')
  return res.text(`answered ${req.path}`)
}
