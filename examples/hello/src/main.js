import ms from 'ms'

const started = Date.now()

// A function gets a context: the request, what answers it, and where its logs go.
export default async ({ req, res, log, error }) => {
  const name = req.query.name ?? 'world'
  log(`Saying hello to ${name}.`)
  if (name === 'nobody') {
    error('Nobody to say hello to.')
    return res.json({ error: 'Give me a name.' }, 400)
  }
  return res.json({
    message: `Hello, ${name}!`,
    runtime: `${process.env.APPWRITE_FUNCTION_RUNTIME_NAME} ${process.env.APPWRITE_FUNCTION_RUNTIME_VERSION}`,
    workerAge: ms(Date.now() - started, { long: true })
  })
}
