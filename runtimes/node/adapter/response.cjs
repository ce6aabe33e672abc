'use strict'

// context.res, and how what a function returns becomes a head and a body.

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/ // may stand in a JSON string as it is
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

function text (body, statusCode = 200, headers = {}) {
  if (typeof body !== 'string') body = Buffer.from(body, 'utf8') // throws for what is neither text nor bytes
  return { body, statusCode, headers }
}

function binary (body, statusCode = 200, headers = {}) {
  return { body, statusCode, headers }
}

function json (value, statusCode = 200, headers = {}) {
  return text(JSON.stringify(value), statusCode, withHeader(headers, 'content-type', 'application/json'))
}

function redirect (url, statusCode = 301, headers = {}) {
  return { body: '', statusCode, headers: withHeader(headers, 'location', url) }
}

function empty () {
  return { body: '', statusCode: 204, headers: {} }
}

function withHeader (headers, name, value) {
  if (isPairs(headers)) headers.set(name, value)
  else headers[name] = value
  return headers
}

// Asking for the global Headers would load the whole of fetch; anything with pairs and set() is one.
function isPairs (headers) {
  return headers !== null && typeof headers === 'object' && typeof headers[Symbol.iterator] === 'function' && typeof headers.set === 'function'
}

// The helpers need no `this` and no request, so that they also work detached.
function helpers () {
  return { send: binary, text, binary, json, empty, redirect }
}

function badHeader (message, code) {
  const e = new TypeError(message)
  e.code = code
  return e
}

function quote (name, value) {
  if (typeof value !== 'string') {
    if (value === undefined) throw badHeader(`Invalid value "undefined" for header "${name}"`, 'ERR_HTTP_INVALID_HEADER_VALUE')
    value = String(value)
  }
  if (PLAIN.test(value)) return '"' + value + '"'
  if (!VALUE.test(value)) throw badHeader(`Invalid character in header content ["${name}"]`, 'ERR_INVALID_CHAR')
  return JSON.stringify(value)
}

function entry (name, value) {
  if (!NAME.test(name)) throw badHeader(`Header name must be a valid HTTP token ["${name}"]`, 'ERR_INVALID_HTTP_TOKEN')
  if (!Array.isArray(value)) return '"' + name + '":' + quote(name, value)
  return '"' + name + '":[' + value.map(v => quote(name, v)).join(',') + ']'
}

function gather (pairs) {
  const all = new Map()
  for (const [name, value] of pairs) {
    const before = all.get(name)
    if (before === undefined) all.set(name, value)
    else if (Array.isArray(before)) before.push(value)
    else all.set(name, [before, value])
  }
  return all
}

// head encodes the head of a response.
function head (statusCode, headers) {
  const status = statusCode === undefined || statusCode === null ? 200 : Number(statusCode)
  if (!(status >= 100 && status <= 999 && Number.isInteger(status))) throw new RangeError(`Invalid status code: ${String(statusCode)}`)
  let text = '{"status":' + status + ',"headers":{'
  let first = true
  if (headers === undefined || headers === null) return text + '}}'
  if (isPairs(headers)) {
    for (const [name, value] of gather(headers)) {
      text += (first ? '' : ',') + entry(name, value)
      first = false
    }
  } else {
    for (const name of Object.keys(headers)) {
      text += (first ? '' : ',') + entry(name, headers[name])
      first = false
    }
  }
  return text + '}}'
}

// content returns a string, bytes, or something to iterate over asynchronously.
function content (body) {
  if (typeof body === 'string') return body
  if (body === undefined || body === null) return ''
  if (typeof body === 'object') {
    if (body instanceof Uint8Array) return body
    if (ArrayBuffer.isView(body)) return new Uint8Array(body.buffer, body.byteOffset, body.byteLength)
    if (body instanceof ArrayBuffer || Object.prototype.toString.call(body) === '[object SharedArrayBuffer]') return new Uint8Array(body)
    if (typeof body.stream === 'function' && typeof body.arrayBuffer === 'function') body = body.stream() // a Blob
    if (typeof body[Symbol.asyncIterator] === 'function') return body
    if (typeof body.getReader === 'function') return readAll(body.getReader())
  }
  const encoded = JSON.stringify(body)
  return encoded === undefined ? '' : encoded
}

// Web streams of older versions cannot be iterated.
async function * readAll (reader) {
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      yield value
    }
  } finally {
    reader.cancel().catch(() => {})
  }
}

module.exports = { helpers, head, content }
