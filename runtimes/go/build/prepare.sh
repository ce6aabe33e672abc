# shellcheck shell=sh
# Sourced before the function's own build command: go and its caches, for commands like 'go generate' or 'go mod tidy'.
PATH=$(dirname "$FLINT_EXECUTABLE"):$PATH
GOCACHE=$FLINT_CACHE/go-build
GOMODCACHE=$FLINT_CACHE/go-mod
GOPATH=$FLINT_CACHE/go
GOTOOLCHAIN=local
GOFLAGS=-modcacherw
export PATH GOCACHE GOMODCACHE GOPATH GOTOOLCHAIN GOFLAGS
