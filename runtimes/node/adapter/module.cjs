'use strict'

// Loading the user's module.

const fs = require('fs')
const path = require('path')
const { pathToFileURL } = require('url')

const NEEDS_IMPORT = new Set(['ERR_REQUIRE_ESM', 'ERR_REQUIRE_ASYNC_MODULE'])
const FRESH = 100 // failed ES modules stay in memory, so that the number of fresh tries has a limit

// LoadError carries the text that the contract words.
class LoadError extends Error {}

class Loader {
  constructor (code, entrypoint) {
    this.file = path.join(code, entrypoint)
    this.entrypoint = entrypoint
    this.tries = 0
  }

  // load returns the handler or throws a LoadError.
  async load () {
    let file = this.file
    if (this.entrypoint === '' || !fs.existsSync(file)) file = this.resolve()
    let exported
    try {
      exported = await this.module(file)
    } catch (e) {
      throw new LoadError(this.explain(e))
    }
    let handler = exported && exported.default ? exported.default : exported
    if (typeof handler !== 'function' && handler && typeof handler.default === 'function') handler = handler.default
    if (typeof handler !== 'function') throw new LoadError("Function signature invalid. Did you forget to export a 'main' function?")
    return handler
  }

  resolve () {
    try {
      if (this.entrypoint !== '') return require.resolve(this.file)
    } catch (e) {} // worded below
    throw new LoadError(`Failed to load entrypoint, file ${this.entrypoint} does not exist.`)
  }

  async module (file) {
    try {
      return require(file)
    } catch (e) {
      if (!e || !NEEDS_IMPORT.has(e.code)) throw e
    }
    // A module that failed is remembered under its address; another address lets a passing cause pass.
    const url = pathToFileURL(file)
    if (this.tries > 0 && this.tries <= FRESH) url.search = `?try=${this.tries}`
    this.tries++
    return import(url.href)
  }

  explain (e) {
    const message = e instanceof Error ? e.message : String(e)
    if (e instanceof SyntaxError) return `Syntax error in ${this.entrypoint}: ${message}`
    if (e instanceof TypeError) return message
    return `Failed to load module: ${message}`
  }
}

module.exports = { Loader, LoadError }
