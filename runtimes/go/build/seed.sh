#!/bin/sh
# Fills the directory $1 as a GOCACHE with what most functions compile, so that their first builds are quick.
# Reads FLINT_EXECUTABLE (go) and FLINT_ADAPTER. Give the result to compile.sh as FLINT_SEED.
set -eu

mkdir -p "$1"
seed=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
stage=$(mktemp -d "${TMPDIR:-/tmp}/flint-seed.XXXXXX")
trap 'rm -rf "$stage"' EXIT
trap 'exit 130' INT TERM

mkdir -p "$stage/work" "$stage/cache"
ln -s "$seed" "$stage/cache/go-build" # filled in place: the directory may be a mount, and large for a copy in /tmp
cat >"$stage/work/go.mod" <<'END'
module openruntimes/handler

go 1.23

require github.com/open-runtimes/types-for-go/v4 v4.0.3
END
cat >"$stage/work/main.go" <<'END'
package handler

import (
	_ "bufio"
	_ "compress/gzip"
	_ "crypto/ed25519"
	_ "crypto/hmac"
	_ "crypto/md5"
	_ "database/sql"
	_ "encoding/csv"
	_ "encoding/xml"
	_ "html/template"
	_ "log/slog"
	_ "math/rand"
	_ "net/http"
	_ "net/smtp"
	_ "os/exec"
	_ "regexp"

	"github.com/open-runtimes/types-for-go/v4/openruntimes"
)

func Main(Context openruntimes.Context) openruntimes.Response {
	return Context.Res.Text("seed")
}
END
cd "$stage/work"
FLINT_CACHE=$stage/cache FLINT_SEED='' sh "$here/compile.sh"
