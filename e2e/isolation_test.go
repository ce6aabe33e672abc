package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"flint/e2e/node"
)

// spy is a function that does what it is told.
type spy struct {
	node     *node.Node
	function *node.Function
	args     []string // of the node
}

func newSpy(t *testing.T, n *node.Node, id string, timeout int) *spy {
	t.Helper()
	f := n.Deploy(t, node.Function{
		ID: id, Runtime: runtime(t, n, "node"), Entrypoint: "index.js", Timeout: timeout, Size: "s-0.5vcpu-512mb",
	}, map[string]string{"OWN_SECRET": "secret of " + id}, map[string]string{"index.js": read(t, "functions/spy.js"), "own.txt": "source of " + id})
	return &spy{node: n, function: f}
}

// run runs code in the function and returns its value or the message of its error.
func (s *spy) run(t *testing.T, code string) (value any, failure string) {
	t.Helper()
	e, err := s.node.Execute(t.Context(), s.function.ID, node.Call{Body: code})
	if err != nil {
		t.Fatal(err)
	}
	var out struct {
		Value any    `json:"value"`
		Error string `json:"error"`
	}
	if err := json.Unmarshal([]byte(e.Body), &out); err != nil {
		t.Fatalf("the execution is %s %d, errors %q", e.Status, e.Code, e.Errors)
	}
	return out.Value, out.Error
}

func TestIsolation(t *testing.T) {
	t.Parallel()
	isolation(t)
}

// TestIsolationByRuntime is the same for the sandboxes of an OCI runtime.
func TestIsolationByRuntime(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run OCI runtimes")
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("runc is not installed (on Debian: apt-get install runc)")
	}
	t.Parallel()
	isolation(t, "--sandbox=oci", "--oci-runtime=runc")
}

// isolation has a function try what it must not.
func isolation(t *testing.T, args ...string) {
	t.Helper()
	n := node.Start(t, node.Options{Args: args})
	victim := newSpy(t, n, "victim", 30)
	if value, failure := victim.run(t, "return process.env.OWN_SECRET + fs.readFileSync(__filename.replace(/[^/]*$/, '') + 'own.txt')"); failure == "" {
		t.Logf("the victim sees %v", value)
	}
	s := newSpy(t, n, "spy", 30)
	s.args = args

	for _, path := range []string{
		"/etc/shadow", "/root", "/home", n.Data, filepath.Join(n.Data, "flint.db"), filepath.Join(n.Data, "secret"), filepath.Join(n.Data, "run"),
		filepath.Join(n.Data, "packages"), filepath.Join(n.Data, "blobs"), "/sys/fs/cgroup", "/proc/1/root/etc/shadow", "/dev/mem", "/dev/sda", "/var/log",
	} {
		t.Run("cannot read "+strings.ReplaceAll(path, n.Data, "data"), func(t *testing.T) {
			code := fmt.Sprintf("const p = %q; const s = fs.statSync(p); const c = s.isDirectory() ? fs.readdirSync(p) : fs.readFileSync(p); return c.length", path)
			value, failure := s.run(t, code)
			if failure == "" && value != 0.0 { // an empty directory of the sandbox's own says nothing
				t.Errorf("read %v", value)
			}
		})
	}
	for _, path := range []string{"/", "/usr", "/usr/bin", "/etc", "/usr/local/server", "/usr/local/server/src", "/usr/local/server/src/function", "/usr/local/server/adapter", "/proc/sys/kernel", "/dev"} {
		t.Run("cannot write to "+path, func(t *testing.T) {
			if _, failure := s.run(t, fmt.Sprintf("fs.writeFileSync(%q + '/intruder', 'x')", path)); failure == "" {
				t.Error("wrote a file")
			}
		})
	}
	t.Run("can write to /tmp, and nobody else sees it", func(t *testing.T) {
		if _, failure := s.run(t, "fs.writeFileSync('/tmp/mine', 'x')"); failure != "" {
			t.Errorf("cannot write: %s", failure)
		}
		if _, failure := victim.run(t, "return String(fs.readFileSync('/tmp/mine'))"); failure == "" {
			t.Error("the victim sees the file")
		}
		if _, err := os.Stat("/tmp/mine"); err == nil {
			t.Error("the host sees the file")
		}
	})
	t.Run("has no capabilities and gains none", func(t *testing.T) {
		value, failure := s.run(t, "return String(fs.readFileSync('/proc/self/status'))")
		status := fmt.Sprint(value)
		for _, want := range []string{"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !strings.Contains(status, want) {
				t.Errorf("status has no %q (%s):\n%s", want, failure, status)
			}
		}
		if value, _ := s.run(t, "return [process.getuid(), process.geteuid()]"); fmt.Sprint(value) == "[0 0]" {
			t.Errorf("the function runs as %v", value)
		}
		for _, command := range []string{"mount -t tmpfs none /mnt", "unshare -Ur true", "chroot / true", "mknod /tmp/d b 8 0"} {
			if value, failure := s.run(t, fmt.Sprintf("child.execSync(%q, {stdio: 'pipe'}); return 'done'", command)); failure == "" {
				t.Errorf("%s: %v", command, value)
			}
		}
	})
	t.Run("finds nothing of the node in the first process", func(t *testing.T) {
		value, _ := s.run(t, "return String(fs.readFileSync('/proc/1/environ')) + fs.readFileSync('/proc/1/cmdline')") // it may be closed to it
		for _, secret := range []string{"secret of", node.Key, "FLINT_SECRET", n.Data} {
			if strings.Contains(fmt.Sprint(value), secret) {
				t.Errorf("it has %q", value)
			}
		}
	})
	t.Run("sees only its own processes and environment", func(t *testing.T) { s.seesOnlyItself(t) })
	t.Run("cannot reach the node's sockets", func(t *testing.T) { s.cannotReachSockets(t) })
	t.Run("has a network of its own", func(t *testing.T) { s.hasItsOwnNetwork(t) })
}

// seesOnlyItself looks through /proc from inside.
func (s *spy) seesOnlyItself(t *testing.T) {
	value, failure := s.run(t, `
		const found = []
		for (const pid of fs.readdirSync('/proc').filter(n => /^[0-9]+$/.test(n))) {
			let env = ''
			try { env = String(fs.readFileSync('/proc/' + pid + '/environ')) } catch {}
			found.push({ command: String(fs.readFileSync('/proc/' + pid + '/cmdline')).replaceAll('\0', ' '), env })
		}
		return found`)
	found, ok := value.([]any)
	if !ok || len(found) == 0 || len(found) > 4 {
		t.Fatalf("the function sees %v (%s)", value, failure)
	}
	all := fmt.Sprint(value)
	for _, secret := range []string{"secret of victim", node.Key, "FLINT_SECRET", s.node.Data} {
		if strings.Contains(all, secret) {
			t.Errorf("the function sees %q in %s", secret, all)
		}
	}
	value, _ = s.run(t, "return Object.entries(process.env).map(([k, v]) => k + '=' + v)")
	if env := fmt.Sprint(value); strings.Contains(env, "FLINT_") || !strings.Contains(env, "OWN_SECRET=secret of spy") {
		t.Errorf("the function's environment is %s", env)
	}
}

// cannotReachSockets tries every socket that has a name on the host.
func (s *spy) cannotReachSockets(t *testing.T) {
	b, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{"/run/docker.sock", "/var/run/docker.sock", "/run/systemd/private", "/run/dbus/system_bus_socket", "/usr/local/server/src/worker.sock"}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) == 8 && strings.HasPrefix(fields[7], "/") && !slices.Contains(paths, fields[7]) && len(paths) < 200 {
			paths = append(paths, fields[7])
		}
	}
	list, err := json.Marshal(paths)
	if err != nil {
		t.Fatal(err)
	}
	value, failure := s.run(t, `
		const reached = []
		for (const path of `+string(list)+`) {
			await new Promise(done => {
				const c = net.connect(path)
				c.setTimeout(1000, () => { c.destroy(); done() })
				c.on('connect', () => { reached.push(path); c.destroy(); done() })
				c.on('error', done)
			})
		}
		return reached`)
	if reached, ok := value.([]any); !ok || len(reached) > 0 {
		t.Errorf("the function reached %v (%s)", value, failure)
	}
}

// hasItsOwnNetwork tries the ports of the host, and the API's.
func (s *spy) hasItsOwnNetwork(t *testing.T) {
	if !offers(t, s.node, "network", s.args...) {
		t.Skip("this machine gives sandboxes no network of their own")
	}
	secret := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "of the host") }))
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	secret.Listener = l
	secret.Start()
	t.Cleanup(secret.Close)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_, nodePort, _ := net.SplitHostPort(s.node.Addr)
	_, metrics, _ := net.SplitHostPort(s.node.Metrics)
	urls := []string{"http://127.0.0.1:" + port, "http://127.0.0.1:" + metrics + "/metrics", "http://169.254.169.254/latest/meta-data/"}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			urls = append(urls, "http://"+net.JoinHostPort(n.IP.String(), port), "http://"+net.JoinHostPort(n.IP.String(), nodePort)+"/v1/health/version")
		}
	}
	for _, u := range urls {
		if value, failure := s.run(t, fmt.Sprintf("return String((await fetch(%q, { signal: AbortSignal.timeout(5000) })).status)", u)); failure == "" {
			t.Errorf("the function reaches %s: %v", u, value)
		}
	}
	value, failure := s.run(t, "return (await fetch(process.env.APPWRITE_FUNCTION_API_ENDPOINT + '/health/version')).status")
	if value != 200.0 {
		t.Errorf("the API answers %v (%s)", value, failure)
	}
}

// TestGreedyFunctions lets functions take what they can get, and looks at their neighbour.
func TestGreedyFunctions(t *testing.T) {
	n := node.Start(t, node.Options{})
	neighbour := newSpy(t, n, "neighbour", 15)
	greedy := newSpy(t, n, "greedy", 30)
	for _, c := range []struct {
		name, code, layer string
		timeout           int
		want              string
	}{
		{"memory", "const kept = []; for (;;) kept.push(Buffer.alloc(20e6, 1))", "memory limit", 30, "out of memory"},
		{"processes", "child.spawn('sh', ['-c', 'bomb() { bomb | bomb & }; bomb'], { stdio: 'ignore' }); await new Promise(() => {})", "process limit", 4, "timed out"},
		{"files of /tmp", "for (let i = 0; i < 50; i++) fs.writeFileSync('/tmp/f' + i, Buffer.alloc(50e6))", "", 30, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.layer != "" && !offers(t, n, c.layer) {
				t.Skipf("this machine has no %s", c.layer)
			}
			greedy.function.Timeout = c.timeout
			if err := n.Update(t.Context(), *greedy.function); err != nil {
				t.Fatal(err)
			}
			ended := make(chan *node.Execution, 1)
			go func() { // ends with the call
				e, err := n.Execute(t.Context(), greedy.function.ID, node.Call{Body: c.code})
				if err != nil {
					t.Error(err)
				}
				ended <- e
			}()
			for alive := true; alive; {
				begun := time.Now()
				if value, failure := neighbour.run(t, "return 1"); value != 1.0 {
					t.Errorf("the neighbour answers %v (%s)", value, failure)
				}
				if took := time.Since(begun); took > 10*time.Second {
					t.Errorf("the neighbour took %s", took)
				}
				select {
				case e := <-ended:
					alive = false
					if c.want != "" && (e.Status != "failed" || !strings.Contains(e.Errors, c.want)) {
						t.Errorf("the greedy execution is %s with errors %q, want failed with %q", e.Status, e.Errors, c.want)
					}
				default:
				}
			}
			greedy.function.Timeout = 30 // a new worker may be needed, on a busy machine
			if err := n.Update(t.Context(), *greedy.function); err != nil {
				t.Fatal(err)
			}
			if value, failure := greedy.run(t, "return 2"); value != 2.0 {
				t.Errorf("the next call answers %v (%s)", value, failure)
			}
		})
	}
}
