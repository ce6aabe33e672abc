import ms from 'ms'

export default async ({ req, res, log, error }) => {
  log(`hello from ${process.env.APPWRITE_FUNCTION_ID}`)
  error('and an error')
  return res.json({ dependency: ms('2 days'), greeting: process.env.GREETING, body: req.bodyText, path: req.path })
}
