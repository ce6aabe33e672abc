'use strict'

// context.req. Most functions look at few of its fields, so the dear ones are made when they are asked for.

const HEADERS = '"headers":{'
const AFTER = '},"logging":'

let seen = { before: '', after: '', head: null } // the last head without its headers: most requests repeat it

// parse reads the head of a request. Flint writes the headers second to last: they are cut out unparsed, which is the
// larger half of the work. Both marks have bare quotation marks in them, so no string in the head can contain them.
function parse (text) {
  const same = seen.head !== null && text.startsWith(seen.before) && text.startsWith(HEADERS, seen.before.length)
  const from = same ? seen.before.length : text.indexOf(HEADERS)
  const to = from < 0 ? -1 : text.lastIndexOf(AFTER)
  if (to < from) return JSON.parse(text)
  const after = text.slice(to + 2)
  if (!same || after !== seen.after) {
    const before = text.slice(0, from)
    seen = { before, after, head: JSON.parse(before + after) }
  }
  const { method, scheme, host, port, path, queryString, url, logging } = seen.head
  return { method, scheme, host, port, path, queryString, url, logging, headers: text.slice(from + HEADERS.length - 1, to + 1) }
}

function parseQuery (text) {
  const query = {}
  if (text === '') return query
  for (const part of text.split('&')) {
    const at = part.indexOf('=')
    const key = at < 0 ? part : part.slice(0, at)
    if (key !== '') query[key] = at < 0 ? '' : part.slice(at + 1)
  }
  return query
}

function headersOf (head) {
  if (typeof head.headers === 'string') head.headers = JSON.parse(head.headers)
  return head.headers
}

function isJson (headers) {
  const type = headers['content-type']
  return typeof type === 'string' && type.slice(0, 16).toLowerCase() === 'application/json'
}

// Fields is what is there at once. The classes below add what is made when it is asked for.
class Fields {
  constructor (head) {
    this.method = head.method
    this.scheme = head.scheme
    this.host = head.host
    this.port = head.port
    this.path = head.path
    this.query = parseQuery(head.queryString)
    this.queryString = head.queryString
    this.url = head.url
  }
}

// Bare is a request without a body. Its lazy fields sit on the prototype, because own accessors take time. No copy of
// such an object can tell: a copy with own accessors would read bodyJson, which throws without a body.
class Bare extends Fields {
  #head

  constructor (head) {
    super(head)
    this.#head = head
    this.bodyText = ''
    this.bodyRaw = ''
  }

  get headers () { return headersOf(this.#head) }
  set headers (value) { this.#head.headers = value }
  get bodyBinary () { return Buffer.alloc(0) }
  get bodyJson () { return JSON.parse('') }
  get body () { return isJson(headersOf(this.#head)) ? {} : '' }
}

// Full is a request with a body, whose bytes are its own. Its lazy fields are own properties, so that copies of it have
// them. All objects share the same accessors, set by the old methods: literals and defineProperties are four times slower.
class Full extends Fields {
  #head
  #text

  constructor (head, bytes) {
    super(head)
    this.#head = head
    this.#text = undefined
    this.bodyBinary = bytes
    this.__defineGetter__('headers', Full.#headers)
    this.__defineSetter__('headers', Full.#setHeaders)
    this.__defineGetter__('body', Full.#body)
    this.__defineGetter__('bodyJson', Full.#json)
    this.__defineGetter__('bodyText', Full.#decoded)
    this.__defineGetter__('bodyRaw', Full.#decoded)
  }

  static #headers = function () { return headersOf(this.#head) }
  static #setHeaders = function (value) { this.#head.headers = value }
  static #json = function () { return JSON.parse(Full.#decoded.call(this)) }
  static #body = function () { return isJson(headersOf(this.#head)) ? Full.#json.call(this) : Full.#decoded.call(this) }
  static #decoded = function () {
    if (this.#text === undefined) this.#text = this.bodyBinary.utf8Slice(0, this.bodyBinary.length)
    return this.#text
  }
}

function request (head, bytes) {
  return bytes === null || bytes.length === 0 ? new Bare(head) : new Full(head, bytes)
}

module.exports = { parse, request }
