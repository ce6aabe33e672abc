let served = 0

export default ({ req, res, log }) => {
  const before = served++
  if (req.path === '/served') return res.json({ served: before })
  log('a greeting for ' + req.method)
  return res.json({ message: 'Hello from a function', ok: true })
}
