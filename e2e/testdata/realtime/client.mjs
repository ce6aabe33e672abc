// The unmodified web client, in Node.js with what of a browser it needs: it must hear of an execution that everybody may
// read, by both of its interfaces, and not of one that nobody may.
globalThis.window = globalThis
globalThis.localStorage ??= { getItem: () => null, setItem: () => {} }
const { Client, Realtime, Channel } = await import('appwrite')

const client = () => new Client().setEndpoint(process.env.FLINT_ENDPOINT).setProject(process.env.FLINT_PROJECT)

function check (event) {
  const { events, channels, payload, timestamp } = event
  if (payload.$id !== 'open') throw new Error(`heard of ${payload.$id}`)
  if (!events.includes('functions.f.executions.open.create') || !channels.includes('executions') || !timestamp) throw new Error(JSON.stringify(event))
}

const viaClient = new Promise(resolve => client().subscribe('executions', event => { check(event); resolve() }))

const realtime = new Realtime(client())
const viaRealtime = new Promise((resolve, reject) => {
  realtime.subscribe([Channel.execution('open').create()], event => { check(event); resolve() }).catch(reject)
})

process.on('unhandledRejection', error => { console.error(error); process.exit(1) })
process.on('uncaughtException', error => { console.error(error); process.exit(1) })
setTimeout(() => { console.error('nothing was heard'); process.exit(1) }, 60_000)
await Promise.all([viaClient, viaRealtime])
console.log('heard by both')
process.exit(0)
