#!/bin/sh
# Compiles the module in the work directory, with the adapter around it, to the static program ./server.
# Reads FLINT_EXECUTABLE (go), FLINT_ADAPTER, FLINT_CACHE (survives builds) and FLINT_SEED (a filled GOCACHE, optional).
set -eu

work=$PWD
fail() {
	echo "$1" >&2
	exit 1
}

[ -f go.mod ] ||
	fail "There is no go.mod in the root of the source: add one that starts with the line 'module openruntimes/handler'."
name=$(sed -n 's/^[[:space:]]*module[[:space:]]\{1,\}"\{0,1\}\([^"[:space:]]*\).*/\1/p' go.mod | head -n 1)
[ "$name" = openruntimes/handler ] ||
	fail "The module in go.mod is called '$name': change that line to 'module openruntimes/handler', the name that every function has."
[ ! -d server ] ||
	fail "The folder 'server' stands where the compiled program goes: give it another name."

cache=$FLINT_CACHE/go-build
mkdir -p "$cache"
stage=$(mktemp -d "${TMPDIR:-/tmp}/flint-go.XXXXXX")

# The trusted cache is lent by symbolic links, which cost milliseconds where a copy writes a hundred megabytes: it is
# read-only, so nothing that a build writes reaches other functions. After the build the links go again, and every
# function's cache holds only what is its own.
seeded() { [ -n "${FLINT_SEED:-}" ] && [ -d "$FLINT_SEED" ]; }
cleanup() {
	if seeded; then (cd "$FLINT_SEED" && find . -type f) | (cd "$cache" && xargs rm -f); fi
	rm -rf "$stage"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
if seeded; then
	cp -Rsf "$FLINT_SEED"/. "$cache" 2>/dev/null || cp -Rf "$FLINT_SEED"/. "$cache"
	chmod u+w "$cache" "$cache"/??
	rm -f "$cache/trim.txt"
fi

export GOCACHE="$cache" GOMODCACHE="$FLINT_CACHE/go-mod" GOPATH="$FLINT_CACHE/go"
export GOTOOLCHAIN=local GOWORK=off GO111MODULE=on CGO_ENABLED=0 GOFLAGS="-mod=mod -modcacherw"
unset GOBIN GOOS GOARCH

# The main module is the adapter's. It takes over the language version and the checksums of the function, and go
# completes its requirements from the function's.
cp -R "$FLINT_ADAPTER"/. "$stage"
chmod -R u+w "$stage"
mv "$stage/main.go.tmpl" "$stage/main.go"
mv "$stage/go.mod.tmpl" "$stage/go.mod"
mv "$stage/types/go.mod.tmpl" "$stage/types/go.mod"
[ ! -f go.sum ] || cp go.sum "$stage/go.sum"

cd "$stage"
"$FLINT_EXECUTABLE" mod edit -replace "openruntimes/handler=$work"
"$FLINT_EXECUTABLE" build -trimpath -buildvcs=false -ldflags "-s -w" -o "$work/server" . && exit 0

cd "$work"
if ! ls ./*.go >/dev/null 2>&1; then
	fail "There is no Go file in the root of the source: the function is 'package handler' there."
elif ! grep -q '^package handler\b' ./*.go; then
	fail "The Go files in the root of the source must start with 'package handler', not with '$(grep -h '^package ' ./*.go | head -n 1)'."
elif ! grep -q '^func Main(\|^var Main\b' ./*.go; then
	fail "Package handler has no Main: add 'func Main(Context openruntimes.Context) openruntimes.Response'."
fi
if grep -q '^func Main(.*openruntimes\.Context) *(\{0,1\}\(.* \)\{0,1\}openruntimes\.Response' ./*.go; then
	fail "The function does not compile: the messages above say where."
fi
fail "The function does not compile: the messages above say where. Main must be 'func Main(Context openruntimes.Context) openruntimes.Response'."
