package server

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flint/client"
)

// TestTheOperatorsSocket covers who may open it and where it may lie; e2e speaks through it.
func TestTheOperatorsSocket(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{"short": "d", "long": strings.Repeat("d", 120)} {
		data := filepath.Join(t.TempDir(), dir)
		if err := os.Mkdir(data, 0o755); err != nil {
			t.Fatal(err)
		}
		socket := filepath.Join(data, client.SocketName)
		for range 2 { // the second finds what the first left
			l, err := listenAdmin(data)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			info, err := os.Stat(socket)
			if err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != os.ModeSocket {
				t.Errorf("%s: the socket is %v, %v", name, info, err)
			}
			if c, err := client.Dial(t.Context(), data); err != nil {
				t.Errorf("%s: %v", name, err)
			} else {
				c.Close()
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		l, err := listenAdmin(data)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := serveAdmin(l, http.NotFoundHandler(), data)(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(socket); !os.IsNotExist(err) {
			t.Errorf("%s: a node that stopped left its socket: %v", name, err)
		}
	}
}
