'use strict'

// How values become log text.

const LIMIT = 8000

function isPlain (value) {
  const proto = Object.getPrototypeOf(value)
  return proto === Object.prototype || proto === null
}

// A replacer sees the value after its toJSON; `this` still has the original, which tells -0, Buffers and dates apart.
function replacer (key, value) {
  switch (typeof value) {
    case 'undefined': return isPlain(this) ? null : undefined
    case 'bigint': return value.toString()
    case 'number': return numberValue(value)
    case 'object': break
    default: return value
  }
  if (value === null) return value
  const original = this[key]
  if (ArrayBuffer.isView(original)) return Array.from(original)
  if (value instanceof Set) return [...value]
  if (value instanceof Map) return [...value]
  if (value instanceof RegExp) return String(value)
  if (value instanceof Error) {
    const { name, message, cause } = value
    return cause === undefined ? { name, message } : { name, message, cause }
  }
  return value
}

function numberValue (value) {
  if (Number.isFinite(value)) return Object.is(value, -0) ? '-0' : value
  return String(value)
}

function structure (value) {
  try {
    const text = JSON.stringify(value, replacer)
    return text === undefined ? '' : text
  } catch (e) { // a cycle, or a toJSON that throws
    return require('util').inspect(value)
  }
}

function format (value) {
  switch (typeof value) {
    case 'string': return value
    case 'boolean': return value ? 'true' : 'false'
    case 'number': {
      const v = numberValue(value)
      return typeof v === 'string' ? `"${v}"` : String(v)
    }
    case 'bigint': return `"${value}"`
    case 'undefined': return 'null'
    case 'object':
      if (value === null) return 'null'
      return value instanceof Error ? errorText(value) : structure(value)
    default: return '' // symbols and functions
  }
}

// line joins the values of one call of log or error and limits it.
function line (values) {
  let text = values.length === 1 ? format(values[0]) : values.map(format).join(' ')
  if (text.length > LIMIT) text = text.slice(0, LIMIT) + `... Log truncated due to size limit (${LIMIT} characters)`
  return text + '\n'
}

// errorText is what a thrown value looks like in the errors.
function errorText (thrown) {
  try {
    if (thrown !== null && typeof thrown === 'object' && thrown.stack) return String(thrown.stack)
    return thrown instanceof Error ? String(thrown) : format(thrown)
  } catch (e) { // a stack getter that throws
    return 'An error that cannot be shown was thrown.'
  }
}

module.exports = { line, errorText }
