// One call of a function's module, and the end: what a container that lives for one call does.

const { default: main } = await import(process.argv[2])
const { body } = await main({
  req: { path: '/wait', query: {} },
  res: { json: value => ({ body: JSON.stringify(value) }) },
  log: () => {}
})
process.stdout.write(body)
