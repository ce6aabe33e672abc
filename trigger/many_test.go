//go:build !race

package trigger

// manyEvents happen at once.
const manyEvents = 10_000
