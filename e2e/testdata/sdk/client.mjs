// What a user of node-appwrite does with functions, from the first to the last call.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AppwriteException, Client, Functions, ID, Query } from 'node-appwrite'
import { InputFile } from 'node-appwrite/file'

const env = process.env
const functions = new Functions(new Client().setEndpoint(env.FLINT_ENDPOINT).setProject(env.FLINT_PROJECT).setKey(env.FLINT_KEY))
const scratch = mkdtempSync(join(tmpdir(), 'flint-sdk-'))

const languages = {
  node: { entrypoint: 'main.js', commands: 'npm install', breakage: { 'package.json': '{"dependencies":{"ms":"99.0.0"}}' }, complaint: /ms@99\.0\.0/ },
  python: { entrypoint: 'main.py', commands: 'pip install -r requirements.txt', breakage: { 'requirements.txt': 'six==99.0.0\n' }, complaint: /six==99\.0\.0/ },
  go: { entrypoint: 'main.go', commands: '', breakage: { 'main.go': 'package handler\n\nvar x int = "text"\n' }, complaint: /main\.go:3/ }
}

const rejects = (promise, code, type) => assert.rejects(promise, e => {
  assert(e instanceof AppwriteException, String(e))
  assert.equal(`${e.code} ${e.type}`, `${code} ${type}`)
  return true
})

const until = async (what, read, done) => {
  const deadline = Date.now() + 300_000
  for (;;) {
    const value = await read()
    if (done(value)) return value
    assert(Date.now() < deadline, `${what}: ${JSON.stringify(value)}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

const deploy = async (functionId, dir) => {
  const archive = join(scratch, `${functionId}.tar.gz`)
  execFileSync('tar', ['-czf', archive, '-C', dir, '.'])
  const { $id } = await functions.createDeployment({ functionId, code: InputFile.fromPath(archive, 'code.tar.gz'), activate: true })
  return until('build', () => functions.getDeployment({ functionId, deploymentId: $id }), d => ['ready', 'failed'].includes(d.status))
}

const play = async (language, runtime) => {
  const { entrypoint, commands, breakage, complaint } = languages[language]
  const functionId = `sdk-${language}`
  const made = await functions.create({ functionId, name: 'From the SDK', runtime, entrypoint, commands, execute: ['any'], timeout: 30 })
  assert.equal(made.$id, functionId)
  assert.equal(made.deploymentId, '')
  await rejects(functions.create({ functionId, name: 'Again', runtime }), 409, 'function_already_exists')
  await rejects(functions.createExecution({ functionId }), 404, 'deployment_not_found')

  const variable = await functions.createVariable({ functionId, variableId: ID.unique(), key: 'GREETING', value: 'hello', secret: false })
  await rejects(functions.createVariable({ functionId, variableId: ID.unique(), key: 'GREETING', value: 'x' }), 409, 'variable_already_exists')
  assert.equal((await functions.getVariable({ functionId, variableId: variable.$id })).value, 'hello')
  assert.equal((await functions.listVariables({ functionId })).total, 1)

  const source = join(env.FLINT_FUNCTIONS, language)
  const good = await deploy(functionId, source)
  assert.equal(good.status, 'ready', good.buildLogs)
  assert(good.buildSize > 0 && good.sourceSize > 0 && good.buildDuration > 0)
  assert.equal((await functions.get({ functionId })).deploymentId, good.$id)

  const call = { functionId, body: 'the body', xpath: '/a/path?x=1', method: 'POST', headers: { 'x-own': '1' } }
  const expected = greeting => ({ dependency: 172800000, greeting, body: 'the body', path: '/a/path' })
  const sync = await functions.createExecution(call)
  assert.equal(`${sync.status} ${sync.responseStatusCode}`, 'completed 200', sync.errors)
  assert.deepEqual(JSON.parse(sync.responseBody), expected('hello'))
  assert.equal(sync.logs.trim(), `hello from ${functionId}`)
  assert.equal(sync.errors.trim(), 'and an error')

  await functions.updateVariable({ functionId, variableId: variable.$id, key: 'GREETING', value: 'changed' })
  const changed = await functions.createExecution(call)
  assert.equal(JSON.parse(changed.responseBody).greeting, 'changed')

  const queued = await functions.createExecution({ ...call, async: true })
  assert.equal(queued.status, 'waiting')
  const executionId = queued.$id
  const ended = await until('execution', () => functions.getExecution({ functionId, executionId }), e => ['completed', 'failed'].includes(e.status))
  assert.equal(ended.status, 'completed', ended.errors)
  assert.equal(ended.logs.trim(), `hello from ${functionId}`)
  assert.equal(ended.responseBody, '')

  const list = await functions.listExecutions({ functionId, queries: [Query.equal('status', 'completed'), Query.orderDesc('$createdAt'), Query.limit(2)] })
  assert.equal(list.total, 3)
  assert.deepEqual(list.executions.map(e => e.$id), [queued.$id, changed.$id])
  const next = await functions.listExecutions({ functionId, queries: [Query.orderDesc('$createdAt'), Query.cursorAfter(changed.$id)] })
  assert.deepEqual(next.executions.map(e => e.$id), [sync.$id])
  await functions.deleteExecution({ functionId, executionId })
  await rejects(functions.getExecution({ functionId, executionId }), 404, 'execution_not_found')

  const broken = join(scratch, `${language}-broken`)
  cpSync(source, broken, { recursive: true })
  for (const [name, text] of Object.entries(breakage)) writeFileSync(join(broken, name), text)
  const bad = await deploy(functionId, broken)
  assert.equal(bad.status, 'failed')
  assert.match(bad.buildLogs, complaint)
  assert.equal((await functions.get({ functionId })).deploymentId, good.$id, 'the deployment that works stays')
  assert.equal((await functions.createExecution(call)).responseStatusCode, 200)

  const deployments = await functions.listDeployments({ functionId, queries: [Query.equal('status', ['failed'])] })
  assert.deepEqual(deployments.deployments.map(d => d.$id), [bad.$id])
  await functions.deleteDeployment({ functionId, deploymentId: bad.$id })
  await rejects(functions.getDeployment({ functionId, deploymentId: bad.$id }), 404, 'deployment_not_found')
  await rejects(functions.updateDeploymentStatus({ functionId, deploymentId: good.$id }), 400, 'build_already_completed')
  assert.equal((await functions.updateFunctionDeployment({ functionId, deploymentId: good.$id })).deploymentId, good.$id)

  const updated = await functions.update({ functionId, name: 'Renamed', runtime, entrypoint, commands, execute: ['users'], timeout: 20 })
  assert.equal(`${updated.name} ${updated.timeout} ${updated.execute}`, 'Renamed 20 users')
  const found = await functions.list({ queries: [Query.equal('name', 'Renamed'), Query.equal('runtime', runtime)], search: functionId })
  assert.deepEqual(found.functions.map(f => f.$id), [functionId])

  await functions.deleteVariable({ functionId, variableId: variable.$id })
  assert.equal((await functions.listVariables({ functionId })).total, 0)
  await functions.delete({ functionId })
  await rejects(functions.get({ functionId }), 404, 'function_not_found')
  console.log(`${runtime}: good`)
}

try {
  const offered = (await functions.listRuntimes()).runtimes.map(r => r.$id)
  assert((await functions.listSpecifications()).specifications.length > 0)
  await rejects(functions.get({ functionId: 'nothing' }), 404, 'function_not_found')
  await rejects(functions.create({ functionId: 'x', name: 'x', runtime: 'node-1' }), 400, 'general_argument_invalid')
  const chosen = Object.keys(languages).filter(l => env[`FLINT_RUNTIME_${l.toUpperCase()}`])
  for (const language of chosen) assert(offered.includes(env[`FLINT_RUNTIME_${language.toUpperCase()}`]))
  const results = await Promise.allSettled(chosen.map(l => play(l, env[`FLINT_RUNTIME_${l.toUpperCase()}`])))
  const failures = results.map((r, i) => r.reason && `${chosen[i]}: ${r.reason.stack}`).filter(Boolean)
  assert.equal(failures.length, 0, failures.join('\n'))
} finally {
  rmSync(scratch, { recursive: true })
}
