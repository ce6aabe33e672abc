// Package worker keeps warm sandboxes on this node and speaks the worker protocol (docs/protocol.md) with them.
//
// A worker is one process tree in one sandbox that serves one [Target] (a deployment with its environment), many
// requests at once where the language can. A stem is a worker that has started its language and holds no code yet. The
// [Pool] takes a stem for each cold start and keeps the resulting workers until nothing has called them for their
// keep-alive.
//
// Invariants:
//   - A worker serves one target for its whole life, and never comes back after a failure: it is thrown away.
//   - Every call ends: with a response, with the cause of its context, or with why its worker ended.
//   - A slot is given back when the worker has ended its response, not when the caller has read it or has given up, so
//     that what a worker is counted to be doing is what it does.
//   - Nothing here is persistent. A node that restarts starts cold.
//
// Goroutines: each worker has a reader and a writer, owned by the worker; starts, refills and the janitor are owned by
// the pool. [Pool.Close] waits for all of them.
package worker
