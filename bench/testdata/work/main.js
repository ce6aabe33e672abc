import { spawn } from 'node:child_process'
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'

// What a function may do to others: it is told by the path and does it for n milliseconds, or until it is stopped.

let served = 0
const wait = ms => new Promise(resolve => setTimeout(resolve, ms))

function burn (ms) {
  const from = process.cpuUsage()
  for (let x = 0, used = 0; used < ms * 1000; used = process.cpuUsage(from).user + process.cpuUsage(from).system) {
    for (let i = 0; i < 20000; i++) x += Math.sqrt(i)
  }
}

async function fork (ms) {
  const shells = []
  for (let i = 0; i < 16; i++) {
    const shell = spawn('/bin/sh', ['-c', 'while :; do /bin/true; done'], { detached: true, stdio: 'ignore' })
    shell.on('error', () => {}) // the limit of processes
    shells.push(shell)
  }
  await wait(ms)
  for (const { pid } of shells) if (pid) process.kill(-pid, 'SIGKILL')
}

async function eat () {
  const eaten = []
  while (eaten.length < 128) { // 2 GiB, where no limit comes first
    eaten.push(Buffer.alloc(16 << 20, 1))
    await wait(1)
  }
}

async function fill (ms, log) {
  const chunk = Buffer.alloc(1 << 20, 'x')
  const line = 'y'.repeat(1000)
  const file = openSync('/tmp/fill', 'w')
  try {
    for (let i = 0, end = Date.now() + ms; i < 1024 && Date.now() < end; i++) {
      writeSync(file, chunk)
      for (let j = 0; j < 100; j++) log(line)
      await wait(1)
    }
  } catch (e) {
    if (e.code !== 'ENOSPC' && e.code !== 'EDQUOT') throw e
  } finally {
    closeSync(file)
    rmSync('/tmp/fill')
  }
}

export default async ({ req, res, log }) => {
  const before = served++
  const ms = Number(req.query.n ?? 0)
  switch (req.path) {
    case '/wait': if (ms > 0) await wait(ms); break
    case '/burn': burn(ms); break
    case '/fork': await fork(ms); break
    case '/eat': await eat(); break
    case '/fill': await fill(ms, log); break
    case '/title': process.title = req.query.name; break
    case '/deployment': return res.json({ served: before, deployment: process.env.APPWRITE_FUNCTION_DEPLOYMENT })
    default: return res.json({ error: 'unknown path' }, 404)
  }
  return res.json({ served: before })
}
