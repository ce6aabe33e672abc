'use strict'

// The adapter for Node.js: speaks the worker protocol (docs/protocol.md) and runs the user's function.

const { AsyncLocalStorage } = require('async_hooks')
const { Link, TYPE, END } = require('./link.cjs')
const { Call } = require('./call.cjs')
const { parse } = require('./request.cjs')
const { line, errorText } = require('./text.cjs')
const { Loader, LoadError } = require('./module.cjs')

const CONCURRENCY = 100
const KEEP = 1 << 20

// Printed collects what is printed while the module loads, for the first request.
class Printed {
  constructor () {
    this.done = false
    this.text = ''
  }

  native (values) {
    if (this.text.length < KEEP) this.text += line(values)
  }

  take () {
    this.done = true
    return this.text
  }
}

class Adapter {
  constructor () {
    this.calls = new Map()
    this.dirty = [] // calls with log text to send
    this.current = new AsyncLocalStorage() // the Call, or Printed, that the running code belongs to
    this.handler = null
    this.loader = null
    this.loading = null // the attempt that is under way
    this.printed = null
    this.draining = false
    this.link = new Link((type, flags, id, buffer, start, end) => this.receive(type, flags, id, buffer, start, end))
    this.link.before.push(() => this.flushLogs())
  }

  connect (path) {
    this.link.connect(path, () => process.exit(0))
    this.link.text(TYPE.HELLO, 0, JSON.stringify({ protocol: 1, adapter: 'node', version: process.versions.node }))
  }

  receive (type, flags, id, buffer, start, end) {
    switch (type) {
      case TYPE.REQUEST: return this.request(flags, id, buffer, start, end)
      case TYPE.DATA: return this.data(flags, id, buffer.subarray(start, end))
      case TYPE.WINDOW: return this.calls.get(id)?.open(buffer.readUInt32BE(start))
      case TYPE.CANCEL: return this.calls.get(id)?.cancel()
      case TYPE.PING: return this.link.frame(TYPE.PONG, 0, 0, buffer.subarray(start, end))
      case TYPE.LOAD: return void this.load(JSON.parse(buffer.utf8Slice(start, end)))
      case TYPE.DRAIN:
        this.draining = true
        return this.leave()
    }
  }

  request (flags, id, buffer, start, end) {
    const from = start + 4
    const to = from + buffer.readUInt32BE(start)
    if (to > end) throw new Error('protocol error: the head is longer than its frame')
    if (this.loader === null) throw new Error('protocol error: request before load')
    const call = new Call(this, id, parse(buffer.utf8Slice(from, to)))
    this.calls.set(id, call)
    const bytes = to < end ? Buffer.from(buffer.subarray(to, end)) : null
    if (flags & END) {
      call.bytes = bytes
      return this.run(call)
    }
    call.pieces = []
    if (bytes !== null) this.gather(call, bytes)
  }

  gather (call, bytes) {
    call.pieces.push(bytes)
    this.link.window(call.id, bytes.length)
  }

  data (flags, id, piece) {
    const call = this.calls.get(id)
    if (call === undefined || call.pieces === null) return // cancelled
    if (piece.length > 0) this.gather(call, Buffer.from(piece))
    if (!(flags & END)) return
    call.bytes = call.pieces.length === 1 ? call.pieces[0] : Buffer.concat(call.pieces)
    call.pieces = null
    this.run(call)
  }

  run (call) {
    if (this.handler === null) return void this.runUnloaded(call)
    if (this.printed !== null) this.first(call)
    let result
    try {
      result = this.current.run(call, this.handler, call.context())
    } catch (e) {
      return call.fail(e)
    }
    if (result !== null && typeof result === 'object' && typeof result.then === 'function') {
      if (!(result instanceof Promise)) result = Promise.resolve(result)
      result.then(value => call.answer(value), e => call.fail(e))
    } else {
      call.answer(result)
    }
  }

  // runUnloaded waits for the load, or tries it again: one attempt at a time, for all that wait.
  async runUnloaded (call) {
    const failure = await (this.loading === null ? this.attempt(call) : this.loading)
    if (call.done) return
    if (this.printed !== null) this.first(call)
    if (failure === null) this.run(call)
    else call.unloadable(failure)
  }

  // first gives the first call what the module printed while it loaded.
  first (call) {
    call.before(this.printed.take())
    this.printed = null
  }

  // attempt loads the module and says why it failed, or null. What it prints belongs to the printer.
  async attempt (printer) {
    let settle
    this.loading = new Promise(resolve => { settle = resolve })
    let failure = null
    try {
      this.handler = await this.current.run(printer, () => this.loader.load())
    } catch (e) {
      failure = e instanceof LoadError ? e.message : errorText(e)
    }
    this.loading = null
    settle(failure)
    return failure
  }

  async load ({ code, entrypoint, env }) {
    Object.assign(process.env, env)
    this.loader = new Loader(code, entrypoint)
    this.printed = new Printed()
    await this.attempt(this.printed)
    this.link.text(TYPE.READY, 0, JSON.stringify({ concurrency: CONCURRENCY }))
  }

  flushLogs () {
    if (this.dirty.length === 0) return
    for (const call of this.dirty) {
      if (call.dirty) call.flushLogs()
    }
    this.dirty.length = 0
  }

  ended (call) {
    this.calls.delete(call.id)
    if (this.draining) this.leave()
  }

  leave () {
    if (this.calls.size === 0) this.link.finish(() => process.exit(0))
  }

  // stray takes an error that nobody caught and says whether the process may go on: yes, if it belongs to a request.
  stray (e) {
    const owner = this.current.getStore()
    if (owner instanceof Call) {
      if (!owner.done) owner.fail(e)
      else this.link.log(0, 1, errorText(e) + '\n', 0)
      return true
    }
    this.link.log(0, 1, errorText(e) + '\n', 0)
    return false
  }

  // capture sends what the function prints with console to the logs of its request.
  capture () {
    for (const name of ['log', 'info', 'debug', 'warn', 'error']) {
      const original = console[name]
      console[name] = (...values) => {
        const owner = this.current.getStore()
        if (owner === undefined || owner.done) original.apply(console, values)
        else owner.native(values)
      }
    }
    process.on('unhandledRejection', e => { this.stray(e) })
    process.on('uncaughtException', e => {
      if (!this.stray(e)) this.link.finish(() => process.exit(1))
    })
  }
}

// rehearse plays a load and a request to an adapter that is connected to nothing, and loads what most functions use.
// A stem does this while it waits: the first call after it then takes half the time, and one that uses https a tenth.
// fetch is not among it: it takes 3 MB and half as much processor time as the whole start, of every worker that never uses it.
async function rehearse () {
  const adapter = new Adapter()
  await adapter.load({ code: __dirname, entrypoint: 'rehearsal.cjs', env: {} })
  const text = Buffer.from(JSON.stringify({ method: 'GET', scheme: 'http', host: 'localhost', port: 80, path: '/', queryString: 'a=b', url: 'http://localhost/?a=b', headers: {}, logging: true }))
  const size = Buffer.alloc(4)
  size.writeUInt32BE(text.length)
  adapter.receive(TYPE.REQUEST, END, 1, Buffer.concat([size, text]), 0, 4 + text.length)
  for (const name of ['https', 'zlib', 'crypto', 'stream']) require(name)
  await import('data:text/javascript,')
}

const socket = process.env.FLINT_SOCKET
if (!socket) {
  process.stderr.write('FLINT_SOCKET is not set: this program is started by flint\n')
  process.exit(1)
}
delete process.env.FLINT_SOCKET
const adapter = new Adapter()
adapter.connect(socket)
adapter.capture()
// Not when a function comes at once: then it would wait for the rehearsal.
setTimeout(() => { if (!adapter.loader) rehearse() }, 20)
