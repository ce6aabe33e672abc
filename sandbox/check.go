package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Defaults of a spec's limits. Memory and processors have none.
const (
	DefaultProcesses = 256
	DefaultFiles     = 4096
	DefaultTmp       = 256 << 20
)

// SharedMemory is the size of /dev/shm in bytes.
const SharedMemory = 64 << 20

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,127}$`)

// Check refuses specs that a driver would misread, and returns a copy with defaults and with its mounts in order.
func Check(spec Spec) (Spec, error) {
	if !idPattern.MatchString(spec.ID) {
		return spec, fmt.Errorf("sandbox id %q is not of the form [a-z0-9-]+", spec.ID)
	}
	if len(spec.Args) == 0 || spec.Args[0] == "" {
		return spec, errors.New("sandbox has no program to run")
	}
	spec.Dir = cmp.Or(spec.Dir, "/")
	for _, e := range spec.Env {
		if i := strings.IndexByte(e, '='); i <= 0 {
			return spec, fmt.Errorf("environment entry %q is not of the form KEY=value", e)
		}
	}
	for _, s := range slices.Concat(spec.Args, spec.Env, []string{spec.Dir}) {
		if strings.IndexByte(s, 0) >= 0 {
			return spec, fmt.Errorf("sandbox value %q has a NUL byte", s)
		}
	}
	spec.Mounts = slices.Clone(spec.Mounts)
	for i, m := range spec.Mounts {
		for _, p := range []string{m.Source, m.Target} {
			if !path.IsAbs(p) || strings.IndexByte(p, 0) >= 0 {
				return spec, fmt.Errorf("mount path %q is not absolute", p)
			}
		}
		if spec.Mounts[i].Target = path.Clean(m.Target); spec.Mounts[i].Target == "/" {
			return spec, errors.New("nothing can be mounted over the root directory of a sandbox")
		}
	}
	// Parents come before what lies on them; among equals the order of the spec counts.
	slices.SortStableFunc(spec.Mounts, func(a, b Mount) int {
		return cmp.Compare(strings.Count(a.Target, "/"), strings.Count(b.Target, "/"))
	})
	l := &spec.Limits
	l.Processes, l.Files = cmp.Or(l.Processes, DefaultProcesses), cmp.Or(l.Files, DefaultFiles)
	l.Tmp = cmp.Or(l.Tmp, DefaultTmp)
	return spec, nil
}
