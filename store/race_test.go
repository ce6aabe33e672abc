//go:build race

package store

// underRace: the race detector makes SQLite twenty times slower.
const underRace = true
