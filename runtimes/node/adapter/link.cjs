'use strict'

// The connection to Flint: frames in, frames out. docs/protocol.md is the reference.
// Frames that are queued in one turn of the loop leave in one write: they are laid one after the other into a slab,
// and what is new in the slab is written once the turn is over.

const net = require('net')

const HEADER = 10
const MAX_PAYLOAD = 1 << 20
const PIECE = 256 << 10
const SLAB = 128 << 10
const OVERDUE = 50 // milliseconds that code which never yields may keep queued frames from leaving

const TYPE = {
  HELLO: 1, LOAD: 2, READY: 3, FAILED: 4, REQUEST: 5, DATA: 6, WINDOW: 7, LOG: 8, RESPONSE: 9, CANCEL: 10, PING: 11, PONG: 12, DRAIN: 13
}
const END = 1
const DROPPED = 2

// A link that is not connected writes to nowhere.
const NOWHERE = { write () {}, end () {} }

class Link {
  // receive(type, flags, id, buffer, start, end) gets every frame; the buffer is only valid during the call.
  constructor (receive) {
    this.receive = receive
    this.closed = () => {}
    this.before = [] // callbacks that add frames right before a flush
    this.scheduled = false
    this.since = 0
    this.socket = NOWHERE
    this.slab = Buffer.allocUnsafeSlow(SLAB)
    this.start = 0
    this.used = 0
    this.partial = Buffer.allocUnsafeSlow(HEADER)
    this.held = 0
    this.onTurn = () => this.flush()
  }

  connect (path, closed) {
    this.closed = closed
    this.socket = net.connect({ path, onread: { buffer: Buffer.allocUnsafeSlow(SLAB), callback: (n, buffer) => this.read(n, buffer) } })
    this.socket.on('error', () => {}) // 'close' follows
    this.socket.on('close', () => this.closed())
    this.socket.on('end', () => this.closed())
  }

  read (n, buffer) {
    let at = this.held === 0 ? 0 : this.complete(buffer, n)
    while (n - at >= HEADER) {
      const length = this.check(buffer, at)
      if (n - at - HEADER < length) break
      this.take(buffer, at, length)
      at += HEADER + length
    }
    if (at < n) this.hold(buffer, at, n)
    return true
  }

  check (buffer, at) {
    const length = buffer[at] * 16777216 + (buffer[at + 1] << 16) + (buffer[at + 2] << 8) + buffer[at + 3]
    const type = buffer[at + 4]
    if (length > MAX_PAYLOAD || type < TYPE.HELLO || type > TYPE.DRAIN) {
      throw new Error(`protocol error: frame of type ${type} with ${length} bytes`) // uncaught: ends the process
    }
    return length
  }

  take (buffer, at, length) {
    const id = buffer[at + 6] * 16777216 + (buffer[at + 7] << 16) + (buffer[at + 8] << 8) + buffer[at + 9]
    this.receive(buffer[at + 4], buffer[at + 5], id, buffer, at + HEADER, at + HEADER + length)
  }

  // complete fills up the frame that was held back from earlier reads and returns how much of the buffer it used.
  complete (buffer, n) {
    let at = 0
    if (this.held < HEADER) {
      at = Math.min(HEADER - this.held, n)
      this.hold(buffer, 0, at)
      if (this.held < HEADER) return at
    }
    const length = this.check(this.partial, 0)
    const more = Math.min(HEADER + length - this.held, n - at)
    this.hold(buffer, at, at + more)
    if (this.held === HEADER + length) {
      this.held = 0
      this.take(this.partial, 0, length)
    }
    return at + more
  }

  hold (buffer, from, to) {
    const want = this.held + to - from
    if (want > this.partial.length) {
      const bigger = Buffer.allocUnsafeSlow(Math.min(Math.max(want, 2 * this.partial.length), HEADER + MAX_PAYLOAD))
      this.partial.copy(bigger, 0, 0, this.held)
      this.partial = bigger
    }
    buffer.copy(this.partial, this.held, from, to)
    this.held = want
  }

  // room makes space for n bytes at this.used and promises that they will be written.
  room (n) {
    if (this.used + n > this.slab.length) {
      this.push()
      this.slab = Buffer.allocUnsafeSlow(Math.max(SLAB, n))
      this.start = this.used = 0
    }
    this.schedule()
  }

  schedule () {
    if (this.scheduled) return
    this.scheduled = true
    this.since = 0
    setImmediate(this.onTurn)
  }

  push () {
    if (this.used > this.start) this.socket.write(this.slab.subarray(this.start, this.used))
    this.start = this.used
  }

  flush () {
    this.scheduled = false
    this.since = 0
    for (const add of this.before) add()
    this.push()
  }

  // hurry flushes when the current turn has taken so long that what is queued should not wait for its end.
  hurry () {
    const now = Date.now()
    if (this.since === 0) this.since = now
    else if (now - this.since > OVERDUE) this.flush()
  }

  header (at, length, type, flags, id) {
    const b = this.slab
    b[at] = length >>> 24
    b[at + 1] = length >>> 16
    b[at + 2] = length >>> 8
    b[at + 3] = length
    b[at + 4] = type
    b[at + 5] = flags
    b[at + 6] = id >>> 24
    b[at + 7] = id >>> 16
    b[at + 8] = id >>> 8
    b[at + 9] = id
  }

  frame (type, flags, id, payload) {
    const n = payload.length
    this.room(HEADER + n)
    const at = this.used
    this.header(at, n, type, flags, id)
    this.slab.set(payload, at + HEADER)
    this.used = at + HEADER + n
  }

  text (type, id, text) {
    this.frame(type, 0, id, Buffer.from(text, 'utf8'))
  }

  // response queues a response frame; body is a string or bytes and fits into one frame.
  response (flags, id, head, body) {
    const string = typeof body === 'string'
    this.room(HEADER + 4 + 3 * head.length + (string ? 3 : 1) * body.length)
    const at = this.used
    const b = this.slab
    const from = at + HEADER + 4
    const n = b.utf8Write(head, from)
    b[at + HEADER] = n >>> 24
    b[at + HEADER + 1] = n >>> 16
    b[at + HEADER + 2] = n >>> 8
    b[at + HEADER + 3] = n
    let end = from + n
    if (!string) {
      b.set(body, end)
      end += body.length
    } else if (body.length > 0) {
      end += b.utf8Write(body, end)
    }
    this.header(at, end - at - HEADER, TYPE.RESPONSE, flags, id)
    this.used = end
  }

  window (id, bytes) {
    this.room(HEADER + 4)
    const at = this.used
    this.header(at, 4, TYPE.WINDOW, 0, id)
    this.slab.writeUInt32BE(bytes, at + HEADER)
    this.used = at + HEADER + 4
  }

  // log queues text of a stream (0 logs, 1 errors), in as many frames as it needs.
  log (id, stream, text, flags) {
    if (text.length <= PIECE / 3) return this.logPiece(id, stream, text, flags)
    for (let at = 0; at < text.length;) {
      let to = Math.min(at + (PIECE / 3 | 0), text.length)
      if (to < text.length && (text.charCodeAt(to - 1) & 0xfc00) === 0xd800) to-- // keep surrogate pairs together
      this.logPiece(id, stream, text.slice(at, to), flags)
      flags = 0
      at = to
    }
  }

  logPiece (id, stream, text, flags) {
    this.room(HEADER + 1 + 3 * text.length)
    const at = this.used
    this.slab[at + HEADER] = stream
    const n = 1 + this.slab.utf8Write(text, at + HEADER + 1)
    this.header(at, n, TYPE.LOG, flags, id)
    this.used = at + HEADER + n
  }

  // finish writes all that is queued, then calls done; a peer that does not read is waited for no longer than a second.
  finish (done) {
    this.closed = done
    this.flush()
    setTimeout(done, 1000)
    this.socket.end(done)
  }
}

module.exports = { Link, TYPE, END, DROPPED, PIECE }
