package bubblewrap

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// systemDirs are shown read-only one by one, so that /usr/local can be put together by the spec.
var systemDirs = []string{
	"/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/share", "/usr/include",
}

// rootLinks are symbolic links on today's systems and directories on others.
var rootLinks = []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64"}

// etcDirs are shown read-only. Of /etc/ssl only what is public: keys lie beside it.
var etcDirs = []string{
	"/etc/ssl/certs", "/etc/ca-certificates", "/etc/pki/ca-trust", "/etc/pki/tls/certs", "/etc/alternatives",
}

// etcFiles are copied, because a name in /etc is often replaced as a whole and a mount would keep the old file.
var etcFiles = []string{
	resolvConf, "ld.so.cache", "ld.so.conf", "localtime", "mime.types", "protocols", "services", "os-release",
	"ssl/openssl.cnf", "ssl/cert.pem", "pki/tls/cert.pem", "pki/tls/openssl.cnf",
}

// etcOwn are the files of /etc that say who is there: nobody but the sandbox.
var etcOwn = map[string]string{
	"passwd": "root:x:0:0:root:/:/usr/sbin/nologin\nflint:x:1000:1000:flint:/tmp:/bin/sh\n" +
		"nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
	"group":         "root:x:0:\nflint:x:1000:\nnogroup:x:65534:\n",
	"hosts":         "127.0.0.1 localhost flint\n::1 localhost ip6-localhost ip6-loopback\n",
	"hostname":      "flint\n",
	"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
}

// base is the directory that all sandboxes of a driver share their /etc from.
type base struct {
	dir string

	mu     sync.Mutex
	copied map[string]stamp
	names  []string
}

type stamp struct {
	modified time.Time
	size     int64
}

func newBase(dir string) (*base, error) {
	b := &base{dir: dir, copied: map[string]stamp{}}
	// The modes are set apart from the creation: the mask of the process must not hide these from sandboxes.
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
		return nil, err
	}
	for name, text := range etcOwn {
		if err := b.put(name, []byte(text)); err != nil {
			return nil, err
		}
	}
	if err := b.write(ownResolvConf, ownResolver(nil)); err != nil {
		return nil, err
	}
	_, err := b.refresh()
	return b, err
}

// refresh copies what has changed on the host, the name servers most of all, and returns the files there are.
func (b *base) refresh() ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	files := etcFiles
	more, _ := filepath.Glob("/etc/ld.so.conf.d/*.conf") // the pattern is well-formed
	for _, m := range more {
		files = append(files[:len(files):len(files)], strings.TrimPrefix(m, "/etc/"))
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
		if name == resolvConf {
			if err := b.write(ownResolvConf, ownResolver(text)); err != nil {
				return nil, err
			}
		}
		b.copied[name] = s
	}
	return slices.Clone(b.names), nil
}

// put writes a file that sandboxes have in /etc.
func (b *base) put(name string, text []byte) error {
	if err := b.write(name, text); err != nil {
		return err
	}
	if !slices.Contains(b.names, name) {
		b.names = append(b.names, name)
	}
	return nil
}

// write replaces a file by renaming, so that no sandbox reads half of it.
func (b *base) write(name string, text []byte) error {
	to := filepath.Join(b.dir, name)
	for dir := filepath.Dir(to); dir != b.dir; dir = filepath.Dir(dir) {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
			return err
		}
	}
	tmp := to + ".new"
	return errors.Join(os.WriteFile(tmp, text, 0o644), os.Chmod(tmp, 0o644), os.Rename(tmp, to))
}
