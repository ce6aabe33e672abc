// Package e2e looks at a node from outside: real clients, load, crashes, hostile functions and hostile requests against a
// real flint serve.
package e2e
