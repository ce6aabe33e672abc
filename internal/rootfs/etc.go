package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Inside is where a sandbox finds the directory that its links in /etc point into. /etc itself can be added to by the
// spec, because it is no mount.
const Inside = "/run/flint/etc"

// systemDirs are shown read-only one by one, so that /usr/local can be put together by the spec.
var systemDirs = []string{ //nolint:gochecknoglobals // read only
	"/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/share", "/usr/include",
}

// rootLinks are symbolic links on today's systems and directories on others.
var rootLinks = []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64"} //nolint:gochecknoglobals // read only

// etcDirs are shown read-only. Of /etc/ssl only what is public: keys lie beside it.
var etcDirs = []string{ //nolint:gochecknoglobals // read only
	"/etc/ssl/certs", "/etc/ca-certificates", "/etc/pki/ca-trust", "/etc/pki/tls/certs", "/etc/alternatives",
}

// etcFiles are copied, because a name in /etc is often replaced as a whole and a mount would keep the old file.
var etcFiles = []string{ //nolint:gochecknoglobals // read only
	ResolvConf, "ld.so.cache", "ld.so.conf", "localtime", "mime.types", "protocols", "services", "os-release",
	"ssl/openssl.cnf", "ssl/cert.pem", "pki/tls/cert.pem", "pki/tls/openssl.cnf",
}

// etcOwn are the files of /etc that say who is there: nobody but the sandbox.
var etcOwn = map[string]string{ //nolint:gochecknoglobals // read only
	"passwd": "root:x:0:0:root:/:/usr/sbin/nologin\nflint:x:1000:1000:flint:/tmp:/bin/sh\n" +
		"nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
	"group":         "root:x:0:\nflint:x:1000:\nnogroup:x:65534:\n",
	"hosts":         "127.0.0.1 localhost flint\n::1 localhost ip6-localhost ip6-loopback\n",
	"hostname":      "flint\n",
	"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
}

// Etc is the directory that all sandboxes of a driver share their /etc from.
type Etc struct {
	dir string

	mu     sync.Mutex
	copied map[string]stamp
	names  []string
}

type stamp struct {
	modified time.Time
	size     int64
}

// The host's name servers are no good to a sandbox with a network of its own. It sees the second file instead of the
// first, which leads to NameServer on its own loopback.
const (
	ResolvConf    = "resolv.conf"
	OwnResolvConf = "resolv.own.conf"
	NameServer    = "127.0.0.53"
)

// ownResolver keeps what else the host's file says.
func ownResolver(host []byte) []byte {
	var b strings.Builder
	b.WriteString("nameserver " + NameServer + "\n")
	for line := range strings.Lines(string(host)) {
		if f := strings.Fields(line); len(f) > 0 && (f[0] == "search" || f[0] == "domain" || f[0] == "options") {
			b.WriteString(strings.Join(f, " ") + "\n")
		}
	}
	return []byte(b.String())
}

// OpenEtc makes the directory dir, or takes over what an earlier life left in it.
func OpenEtc(dir string) (*Etc, error) {
	b := &Etc{dir: dir, copied: map[string]stamp{}}
	// The modes are set apart from the creation: the mask of the process must not hide these from sandboxes.
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
		return nil, err
	}
	for name, text := range etcOwn {
		if err := b.put(name, []byte(text)); err != nil {
			return nil, err
		}
	}
	_, err := b.Refresh()
	return b, err
}

// Refresh copies what has changed on the host, the name servers most of all, and returns the files there are.
func (b *Etc) Refresh() ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	files := etcFiles
	more, _ := filepath.Glob("/etc/ld.so.conf.d/*.conf") // the pattern is well-formed
	for _, m := range more {
		files = append(slices.Clip(files), strings.TrimPrefix(m, "/etc/"))
	}
	for _, name := range files {
		info, err := os.Stat(filepath.Join("/etc", name))
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		s := stamp{modified: info.ModTime(), size: info.Size()}
		if b.copied[name] == s {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/etc", name))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := b.put(name, text); err != nil {
			return nil, err
		}
		if name == ResolvConf {
			if err := b.write(OwnResolvConf, ownResolver(text)); err != nil {
				return nil, err
			}
		}
		b.copied[name] = s
	}
	return slices.Clone(b.names), nil
}

// Dir is where the files are on the host.
func (b *Etc) Dir() string { return b.dir }

// put writes a file that sandboxes have in /etc.
func (b *Etc) put(name string, text []byte) error {
	if err := b.write(name, text); err != nil {
		return err
	}
	if !slices.Contains(b.names, name) {
		b.names = append(b.names, name)
	}
	return nil
}

// write replaces a file by renaming, so that no sandbox reads half of it.
func (b *Etc) write(name string, text []byte) error {
	root, err := os.OpenRoot(b.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if err := errors.Join(root.MkdirAll(dir, 0o755), root.Chmod(dir, 0o755)); err != nil {
			return err
		}
	}
	tmp := name + ".new"
	return errors.Join(root.WriteFile(tmp, text, 0o644), root.Chmod(tmp, 0o644), root.Rename(tmp, name))
}
