// Package node starts real Flint nodes for tests and talks to them as clients do: over HTTP, to the API and to the
// domains of functions. It knows nothing of Flint's packages, so that it tests what users get.
//
// Variables of the environment: FLINT_TEST_BINARY names a built program to use instead of building one,
// FLINT_TEST_TOOLCHAINS a directory of toolchains that `flint runtimes install` made, FLINT_TEST_SEEDS one with what nodes
// build ahead for compilers.
package node
