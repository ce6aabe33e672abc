// The same answer as the function's, from workerd.

export default {
  async fetch () {
    return Response.json({ message: 'Hello from a function', ok: true })
  }
}
