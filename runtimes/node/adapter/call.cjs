'use strict'

// One request on its way through the user's function.

const { TYPE, END, DROPPED, PIECE } = require('./link.cjs')
const { line, errorText } = require('./text.cjs')
const { helpers, head: encodeHead, content } = require('./response.cjs')
const { request } = require('./request.cjs')

const WINDOW = 1 << 20
const KEEP = 1 << 20 // characters of unsent log text that are kept at least, per stream
const INLINE = 64 << 10
const NOTHING = Buffer.alloc(0)
const EMPTY_500 = '{"status":500,"headers":{}}'
const EMPTY_503 = '{"status":503,"headers":{}}'
const NO_RETURN = 'Return statement missing. return context.res.empty() if no response is expected.'
const NOTICE = 'Native logs detected. Use context.log() or context.error() for better experience.\n'

class Call {
  constructor (adapter, id, head) {
    this.adapter = adapter
    this.id = id
    this.head = head
    this.logging = head.logging !== false
    this.done = false // the response has ended
    this.answered = false // the function has given its result
    this.started = false // the head of the response is out
    this.noticed = false
    this.dirty = false
    this.logs = ''
    this.errors = ''
    this.dropped = 0 // bit 0: of logs, bit 1: of errors
    this.bytes = null
    this.pieces = null // of a body that is still arriving
    this.window = WINDOW
    this.source = null // the stream that is the body
    this.wake = null // resumes the sender of the body
  }

  context () {
    return {
      req: request(this.head, this.bytes),
      res: helpers(),
      log: (...values) => { this.log(values) },
      error: (...values) => { this.error(values) }
    }
  }

  log (values) {
    if (this.done || !this.logging) return
    const text = line(values)
    this.logs = this.logs === '' ? text : this.bound(this.logs + text, 1)
    this.touch()
  }

  error (values) {
    if (this.done || !this.logging) return
    const text = line(values)
    this.errors = this.errors === '' ? text : this.bound(this.errors + text, 2)
    this.touch()
  }

  // native takes what the function has printed.
  native (values) {
    if (!this.noticed && !this.done && this.logging) {
      this.noticed = true
      this.logs += NOTICE
    }
    this.log(values)
  }

  // before takes what was printed while the module was loaded.
  before (text) {
    if (!this.logging || text === '') return
    this.noticed = true
    this.logs += NOTICE + text
    this.touch()
  }

  bound (text, bit) {
    if (text.length <= 2 * KEEP) return text
    this.dropped |= bit
    const from = text.length - KEEP
    const newline = text.indexOf('\n', from) + 1
    return text.slice(newline === 0 || newline === text.length ? from : newline)
  }

  touch () {
    if (this.dirty) return this.adapter.link.hurry()
    this.dirty = true
    this.adapter.dirty.push(this)
    this.adapter.link.schedule()
    this.adapter.link.hurry()
  }

  flushLogs () {
    if (this.logs !== '') {
      this.adapter.link.log(this.id, 0, this.logs, this.dropped & 1 ? DROPPED : 0)
      this.logs = ''
    }
    if (this.errors !== '') {
      this.adapter.link.log(this.id, 1, this.errors, this.dropped & 2 ? DROPPED : 0)
      this.errors = ''
    }
    this.dropped = 0
    this.dirty = false
  }

  // answer takes what the function returned.
  answer (result) {
    if (this.done || this.answered) return
    this.answered = true
    try {
      if (result === null || result === undefined) {
        this.error([NO_RETURN])
        return this.end(EMPTY_500)
      }
      if (typeof result !== 'object') {
        this.error([`The function returned a ${typeof result}, not a response of context.res.`])
        return this.end(EMPTY_500)
      }
      const head = encodeHead(result.statusCode, result.headers)
      const body = content(result.body)
      if (body.length <= INLINE) return this.end(head, body)
      if (typeof body === 'string') return this.stream(head, [Buffer.from(body, 'utf8')])
      return this.stream(head, body instanceof Uint8Array ? [body] : body)
    } catch (e) {
      this.fail(e)
    }
  }

  // fail ends the request with what was thrown. A response that has begun can only be cut off.
  fail (thrown) {
    if (this.done) return
    this.answered = true
    this.error([errorText(thrown)])
    this.end(EMPTY_500)
  }

  unloadable (text) {
    this.error([text])
    this.end(EMPTY_503)
  }

  cancel () {
    if (this.done) return
    this.answered = true
    this.logs = this.errors = ''
    this.end(EMPTY_500)
    if (this.source !== null && typeof this.source.destroy === 'function') this.source.destroy()
  }

  end (head, body = '') {
    if (this.done) return
    if (this.dirty || this.logs !== '' || this.errors !== '') this.flushLogs()
    const { link } = this.adapter
    if (this.started) link.frame(TYPE.DATA, END, this.id, NOTHING)
    else link.response(END, this.id, head, body)
    this.done = true
    if (this.wake !== null) this.wake()
    this.adapter.ended(this)
  }

  // stream sends a body in pieces, as fast as the window opens.
  async stream (head, chunks) {
    const { link } = this.adapter
    this.source = chunks
    try {
      for await (const chunk of chunks) {
        const bytes = chunk instanceof Uint8Array ? chunk : Buffer.from(chunk)
        for (let at = 0; at < bytes.length;) {
          if (this.done) return
          if (this.window === 0) {
            await new Promise(resolve => { this.wake = resolve })
            this.wake = null
            continue
          }
          const piece = bytes.subarray(at, at + Math.min(PIECE, this.window))
          this.window -= piece.length
          at += piece.length
          if (this.started) {
            link.frame(TYPE.DATA, 0, this.id, piece)
          } else {
            this.started = true
            if (this.dirty) this.flushLogs()
            link.response(0, this.id, head, piece)
          }
        }
      }
      this.end(head)
    } catch (e) {
      this.fail(e)
    }
  }

  open (bytes) {
    this.window += bytes
    if (this.wake !== null) this.wake()
  }
}

module.exports = { Call }
