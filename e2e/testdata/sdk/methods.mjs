// Calls every method that the services Functions and Proxy of node-appwrite have, and checks what each answers. A
// method that the package has and this script does not call is a failure.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AppwriteException, Client, Functions, Proxy as Rules, Query } from 'node-appwrite'
import { InputFile } from 'node-appwrite/file'

const env = process.env
const client = new Client().setEndpoint(env.FLINT_ENDPOINT).setProject(env.FLINT_PROJECT).setKey(env.FLINT_KEY)
const calls = new Map() // method -> number of calls

// counted notes every method that is called.
const counted = (name, service) => {
  const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(service)).filter(m => m !== 'constructor')
  for (const m of methods) calls.set(`${name}.${m}`, 0)
  return new Proxy(service, {
    get: (target, m) => {
      const value = target[m]
      if (!calls.has(`${name}.${String(m)}`)) return value
      calls.set(`${name}.${m}`, calls.get(`${name}.${m}`) + 1)
      return value.bind(target)
    }
  })
}
const functions = counted('functions', new Functions(client))
const rules = counted('proxy', new Rules(client))

const rejects = (promise, code, type) => assert.rejects(promise, e => {
  assert(e instanceof AppwriteException, String(e))
  assert.equal(`${e.code} ${e.type}`, `${code} ${type}`)
  return true
})

const until = async (what, read, done) => {
  const deadline = Date.now() + 240_000
  for (;;) {
    const value = await read()
    if (done(value)) return value
    assert(Date.now() < deadline, `${what}: ${JSON.stringify(value)}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}
const built = (functionId, d) => until('build', () => functions.getDeployment({ functionId, deploymentId: d.$id }), v => ['ready', 'failed', 'canceled'].includes(v.status))

// The fields of an answer are those of the model, no more and no fewer.
const shape = (answer, fields) => assert.deepEqual(Object.keys(answer).sort(), fields.split(' ').sort())
const models = {
  function: '$id $createdAt $updatedAt execute name enabled live logging runtime deploymentRetention deploymentId deploymentCreatedAt latestDeploymentId latestDeploymentCreatedAt latestDeploymentStatus scopes vars events schedule timeout entrypoint commands version installationId providerRepositoryId providerBranch providerRootDirectory providerSilentMode providerBranches providerPaths buildSpecification runtimeSpecification',
  variable: '$id $createdAt $updatedAt key value secret resourceType resourceId',
  execution: '$id $createdAt $updatedAt $permissions functionId deploymentId trigger status requestMethod requestPath requestHeaders responseStatusCode responseBody responseHeaders logs errors duration scheduledAt',
  deployment: '$id $createdAt $updatedAt type resourceId resourceType entrypoint sourceSize buildSize totalSize buildId activate screenshotLight screenshotDark status buildLogs buildDuration providerRepositoryName providerRepositoryOwner providerRepositoryUrl providerCommitHash providerCommitAuthorUrl providerCommitAuthor providerCommitMessage providerCommitUrl providerBranch providerBranchUrl',
  rule: '$id $createdAt $updatedAt domain type trigger redirectUrl redirectStatusCode deploymentId deploymentResourceType deploymentResourceId deploymentVcsProviderBranch status logs renewAt'
}

const functionId = 'every-method'
const runtime = env.FLINT_RUNTIME_NODE
const scratch = mkdtempSync(join(tmpdir(), 'flint-methods-'))

// archive packs the function, with so many bytes that cannot be made smaller.
const archive = (noise = 0) => {
  const dir = mkdtempSync(join(scratch, 'code-'))
  cpSync(join(env.FLINT_FUNCTIONS, 'node'), dir, { recursive: true })
  writeFileSync(join(dir, 'noise'), randomBytes(noise))
  const path = `${dir}.tar.gz`
  execFileSync('tar', ['-czf', path, '-C', dir, '.'])
  return path
}

const aboutFunctions = async () => {
  const runtimes = await functions.listRuntimes()
  assert.equal(runtimes.total, runtimes.runtimes.length)
  assert.equal(runtimes.runtimes.find(r => r.$id === runtime).key, 'node')
  const specifications = await functions.listSpecifications({ type: 'runtimes' })
  assert.equal(specifications.total, specifications.specifications.length)
  assert(specifications.specifications.some(s => s.enabled && s.slug === 's-1vcpu-512mb' && s.memory === 512 && s.cpus === 1))

  const made = await functions.create({
    functionId, name: 'Every method', runtime, execute: ['any'], events: ['users.*.create'], schedule: '0 0 1 1 *', timeout: 12, enabled: true, logging: true,
    entrypoint: 'main.js', commands: 'npm install', scopes: ['users.read'], runtimeSpecification: 's-1vcpu-512mb', deploymentRetention: 3
  })
  shape(made, models.function)
  assert.deepEqual([made.$id, made.execute, made.events, made.schedule, made.timeout, made.scopes, made.deploymentRetention, made.live], [functionId, ['any'], ['users.*.create'], '0 0 1 1 *', 12, ['users.read'], 3, true])
  assert.deepEqual(await functions.get({ functionId }), made)
  const changed = await functions.update({ functionId, name: 'Changed', runtime, execute: ['any'], timeout: 20, entrypoint: 'main.js', commands: 'npm install' })
  shape(changed, models.function)
  assert.deepEqual([changed.name, changed.timeout, changed.events, changed.schedule, changed.scopes], ['Changed', 20, [], '', []])
  const list = await functions.list({ queries: [Query.equal('name', ['Changed']), Query.limit(1)], search: functionId })
  assert.equal(list.total, 1)
  assert.deepEqual(list.functions, [changed])
  assert.equal((await functions.list({ queries: [Query.equal('name', ['Changed'])], total: false })).total, 0)
}

const aboutVariables = async () => {
  const one = await functions.createVariable({ functionId, variableId: 'methods-greeting', key: 'GREETING', value: 'hello', secret: false })
  shape(one, models.variable)
  assert.deepEqual([one.$id, one.key, one.value, one.secret, one.resourceType, one.resourceId], ['methods-greeting', 'GREETING', 'hello', false, 'function', functionId])
  assert.deepEqual(await functions.getVariable({ functionId, variableId: 'methods-greeting' }), one)
  const changed = await functions.updateVariable({ functionId, variableId: 'methods-greeting', key: 'GREETING', value: 'changed' })
  assert.equal(changed.value, 'changed')
  const secret = await functions.createVariable({ functionId, variableId: 'methods-secret', key: 'SECRET', value: 'hidden', secret: true })
  assert.deepEqual([secret.secret, secret.value], [true, ''])
  const list = await functions.listVariables({ functionId, queries: [Query.equal('key', ['GREETING'])] })
  assert.equal(list.total, 1)
  assert.deepEqual(list.variables, [changed])
  await functions.deleteVariable({ functionId, variableId: 'methods-secret' })
  await rejects(functions.getVariable({ functionId, variableId: 'methods-secret' }), 404, 'variable_not_found')
}

const aboutDeployments = async () => {
  const sent = await functions.createDeployment({ functionId, code: InputFile.fromPath(archive(), 'code.tar.gz'), activate: true })
  shape(sent, models.deployment)
  assert.deepEqual([sent.type, sent.resourceId, sent.resourceType, sent.activate, sent.entrypoint], ['manual', functionId, 'functions', true, 'main.js'])
  const first = await built(functionId, sent)
  shape(first, models.deployment)
  assert.equal(first.status, 'ready', first.buildLogs)
  assert.equal(first.totalSize, first.sourceSize + first.buildSize)

  const twin = await functions.createDuplicateDeployment({ functionId, deploymentId: first.$id })
  assert.notEqual(twin.$id, first.$id)
  assert.equal(twin.sourceSize, first.sourceSize)
  const second = await built(functionId, twin)
  assert.equal(second.status, 'ready', second.buildLogs)
  await until('activation', () => functions.get({ functionId }), f => f.deploymentId === second.$id)
  const active = await functions.updateFunctionDeployment({ functionId, deploymentId: first.$id })
  shape(active, models.function)
  assert.equal(active.deploymentId, first.$id)

  const source = Buffer.from(await functions.getDeploymentDownload({ functionId, deploymentId: first.$id, type: 'source' }))
  assert.equal(source.length, first.sourceSize)
  assert.equal(source.readUInt16BE(0), 0x1f8b, 'a gzip archive')
  assert.deepEqual(Buffer.from(await functions.getDeploymentDownload({ functionId, deploymentId: second.$id })), source)
  const output = await functions.getDeploymentDownload({ functionId, deploymentId: first.$id, type: 'output' })
  assert.equal(output.byteLength, first.buildSize)

  // The package sends what is larger than 5 MiB in parts.
  const large = archive(12_000_000)
  const progress = []
  const parts = await functions.createDeployment({ functionId, code: InputFile.fromPath(large, 'code.tar.gz'), activate: false, onProgress: p => progress.push(p.progress) })
  assert.equal(progress.at(-1), 100)
  assert(progress.length >= 3, `in ${progress.length} parts`)
  const third = await built(functionId, parts)
  assert.equal(third.status, 'ready', third.buildLogs)
  assert(Buffer.from(await functions.getDeploymentDownload({ functionId, deploymentId: third.$id, type: 'source' })).equals(readFileSync(large)), 'the same bytes')

  // One that takes its time, to be canceled.
  await functions.update({ functionId, name: 'Changed', runtime, execute: ['any'], timeout: 20, entrypoint: 'main.js', commands: 'sleep 200' })
  const slow = await functions.createDuplicateDeployment({ functionId, deploymentId: first.$id })
  await until('the start of a build', () => functions.getDeployment({ functionId, deploymentId: slow.$id }), d => d.status !== 'waiting')
  const canceled = await functions.updateDeploymentStatus({ functionId, deploymentId: slow.$id })
  shape(canceled, models.deployment)
  assert.equal(canceled.status, 'canceled')
  assert.match(canceled.buildLogs, /Build has been canceled\./)
  await functions.update({ functionId, name: 'Changed', runtime, execute: ['any'], timeout: 20, entrypoint: 'main.js', commands: 'npm install' })
  await rejects(functions.updateDeploymentStatus({ functionId, deploymentId: first.$id }), 400, 'build_already_completed')

  const list = await functions.listDeployments({ functionId, queries: [Query.equal('status', ['canceled'])] })
  assert.equal(list.total, 1)
  assert.equal(list.deployments[0].$id, slow.$id)
  await functions.deleteDeployment({ functionId, deploymentId: slow.$id })
  await rejects(functions.getDeployment({ functionId, deploymentId: slow.$id }), 404, 'deployment_not_found')

  // As on a platform without an installation of a version control system.
  const template = { functionId, repository: 'templates', owner: 'appwrite', rootDirectory: 'node/starter', type: 'tag', reference: '0.3.*', activate: true }
  await rejects(functions.createTemplateDeployment(template), 404, 'installation_not_found')
  await rejects(functions.createVcsDeployment({ functionId, type: 'branch', reference: 'main', activate: true }), 404, 'installation_not_found')
}

const aboutExecutions = async () => {
  const call = { functionId, body: 'the body', xpath: '/a/path?x=1', method: 'PUT', headers: { 'x-own': '1' } }
  const sync = await functions.createExecution(call)
  shape(sync, models.execution)
  assert.deepEqual([sync.status, sync.responseStatusCode, sync.trigger, sync.requestMethod, sync.requestPath], ['completed', 200, 'http', 'PUT', '/a/path?x=1'], sync.errors)
  assert.deepEqual(JSON.parse(sync.responseBody), { dependency: 172800000, greeting: 'changed', body: 'the body', path: '/a/path' })
  const queued = await functions.createExecution({ ...call, async: true })
  assert.equal(queued.status, 'waiting')
  const ended = await until('execution', () => functions.getExecution({ functionId, executionId: queued.$id }), e => ['completed', 'failed'].includes(e.status))
  shape(ended, models.execution)
  assert.equal(ended.status, 'completed', ended.errors)
  const later = new Date(Math.ceil(Date.now() / 60_000) * 60_000 + 3_600_000).toISOString()
  const scheduled = await functions.createExecution({ ...call, async: true, scheduledAt: later })
  assert.equal(scheduled.status, 'scheduled')
  assert.equal(Date.parse(scheduled.scheduledAt), Date.parse(later))
  const list = await functions.listExecutions({ functionId, queries: [Query.equal('status', ['completed']), Query.orderDesc('$createdAt')] })
  assert.equal(list.total, 2)
  assert.deepEqual(list.executions.map(e => e.$id), [queued.$id, sync.$id])
  for (const executionId of [scheduled.$id, queued.$id]) {
    await functions.deleteExecution({ functionId, executionId })
    await rejects(functions.getExecution({ functionId, executionId }), 404, 'execution_not_found')
  }
}

const aboutRules = async () => {
  const made = await rules.createFunctionRule({ domain: `methods.${env.FLINT_DOMAIN}`, functionId })
  shape(made, models.rule)
  assert.deepEqual([made.type, made.trigger, made.status, made.deploymentResourceType, made.deploymentResourceId], ['deployment', 'manual', 'verified', 'function', functionId])
  assert.equal(made.deploymentId, (await functions.get({ functionId })).deploymentId)
  const api = await rules.createAPIRule({ domain: 'methods-api.example.test' })
  assert.deepEqual([api.type, api.status], ['api', 'unverified'])
  const sent = await rules.createRedirectRule({ domain: `methods-old.${env.FLINT_DOMAIN}`, url: 'https://example.com/new', statusCode: '308', resourceId: functionId, resourceType: 'function' })
  assert.deepEqual([sent.type, sent.redirectUrl, sent.redirectStatusCode], ['redirect', 'https://example.com/new', 308])
  await rejects(rules.createSiteRule({ domain: `methods-site.${env.FLINT_DOMAIN}`, siteId: 'none' }), 404, 'rule_resource_not_found') // there are no sites
  await rejects(rules.createFunctionRule({ domain: made.domain, functionId }), 409, 'rule_already_exists')

  const read = await rules.getRule({ ruleId: made.$id })
  shape(read, models.rule)
  assert.equal(read.domain, made.domain)
  await rejects(rules.updateRuleStatus({ ruleId: api.$id }), 400, 'rule_verification_failed')
  assert.equal((await rules.updateRuleStatus({ ruleId: made.$id })).status, 'verified')
  const list = await rules.listRules({ queries: [Query.equal('deploymentResourceId', [functionId]), Query.equal('domain', [made.domain, sent.domain, api.domain])] })
  assert.deepEqual(list.rules.map(r => r.$id).sort(), [made.$id, sent.$id].sort())
  assert.equal(list.total, 2)
  for (const { $id: ruleId } of [api, sent]) {
    await rules.deleteRule({ ruleId })
    await rejects(rules.getRule({ ruleId }), 404, 'rule_not_found')
  }
}

try {
  for (const part of [aboutFunctions, aboutVariables, aboutDeployments, aboutExecutions, aboutRules]) await part()
  await functions.delete({ functionId })
  await rejects(functions.get({ functionId }), 404, 'function_not_found')
  for (const [method, times] of calls) console.log(`${method}: ${times ? `good, called ${times}×` : 'NOT CALLED'}`)
  assert.deepEqual([...calls].filter(([, times]) => !times).map(([method]) => method), [], 'methods that are not called')
} finally {
  rmSync(scratch, { recursive: true })
}
