package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// What thrashing is: at its limit, with hardly any room left for pages of files, a group reads all that it has of them
// again and again, and its processes wait for that.
const (
	fullShare   = 32      // less than this part of the limit is free
	fileShare   = 16      // pages of files have less than this part of it
	leastChurn  = 1 << 20 // bytes read again in a second, and no less than what there is of files
	leastFaults = 10      // times in a second that a process waited for the disk
	tooLong     = 3       // looks in a row
	pageSize    = 4 << 10 // the kernel counts in pages
)

// thrash is what a group's memory was like when it was last looked at.
type thrash struct {
	limit int64 // bytes; 0: none
	used  gauge
	in    string // the directory of its file; empty: nobody counts
	names map[string]string

	at       time.Time
	refaults int64 // pages of files that were read again after they had been thrown out
	faults   int64 // times that a process waited for one
	looks    int   // that have found it thrashing, in a row
}

// Thrashing reports whether the group has been out of memory for some looks in a row without the kernel's ending anything:
// when the programs themselves are charged to the group, as to whoever runs them first, the kernel finds something to
// throw out each time, which is needed at once again, and this can go on for minutes. To be called once a second, not while
// SetLimits is. A look at a group that is not at its limit costs one short reading; kernels that do not count what is read
// again (version 1 before Linux 5.9) never tell.
func (g *Group) Thrashing(now time.Time) bool {
	t := &g.thrash
	if t.in == "" || t.limit <= 0 || t.used.read(t.in) < t.limit-t.limit/fullShare {
		t.looks, t.at = 0, time.Time{}
		return false
	}
	files, refaults, faults := t.stat()
	if seconds := now.Sub(t.at).Seconds(); !t.at.IsZero() && seconds > 0 {
		churn := float64((refaults-t.refaults)*pageSize) / seconds
		waits := float64(faults-t.faults) / seconds
		t.looks++
		if files > t.limit/fileShare || churn < float64(max(files, leastChurn)) || waits < leastFaults {
			t.looks = 0
		}
	}
	t.at, t.refaults, t.faults = now, refaults, faults
	return t.looks >= tooLong
}

// count notes where the numbers are.
func (t *thrash) count(p part) {
	t.in, t.used.name = p.dir, "memory.current"
	t.names = map[string]string{"file": "file", "shmem": "shmem", "workingset_refault_file": "refaults", "pgmajfault": "faults"}
	if p.version == 1 {
		t.used.name = "memory.usage_in_bytes"
		t.names = map[string]string{"total_cache": "file", "total_shmem": "shmem", "total_workingset_refault_file": "refaults", "total_pgmajfault": "faults"}
	}
}

// stat reads how many bytes of files the group has in memory that the kernel can throw out, and what it counts of that.
func (t *thrash) stat() (files, refaults, faults int64) {
	b, err := os.ReadFile(filepath.Join(t.in, "memory.stat"))
	if err != nil {
		return 0, 0, 0
	}
	all := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name := t.names[key]; name != "" {
			all[name], _ = strconv.ParseInt(value, 10, 64)
		}
	}
	return max(0, all["file"]-all["shmem"]), all["refaults"], all["faults"]
}
