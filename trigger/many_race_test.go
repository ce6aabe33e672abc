//go:build race

package trigger

// manyEvents happen at once. The race detector makes SQLite ten times slower.
const manyEvents = 1000
