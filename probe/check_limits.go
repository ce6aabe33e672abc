package probe

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

func limitChecks() []Check {
	checks := []Check{
		{
			Name: "memory", Tries: "takes twice the memory of its limit", Why: "it would take it from others", Grave: Serious,
			want: []string{"out of memory", "ENOMEM"}, // it shows from outside
		},
		{
			Name: "processes", Tries: "starts twice as many processes as its limit", Why: "when the host can start none, all stands still", Grave: Serious,
			want: []string{"EAGAIN"}, // in a sandbox of its own
		},
		{
			Name: "processor", Tries: "keeps processors busy beyond its share", Why: "others would wait", Grave: Serious,
			want: []string{"held back"}, // it shows from outside
		},
		{
			Name: "temporary-files", Tries: "writes more into /tmp than its size", Why: "it would fill the memory or the disk of the host", Grave: Serious,
			want: []string{"ENOSPC", "EFBIG", "EDQUOT"}, attempt: func(a *attacker) string { return fills("/tmp/flint-probe-fill-"+a.token, a.plan.Tmp+16<<20) },
		},
		{
			Name: "shared-memory", Tries: "writes 128 MB into /dev/shm", Why: "it would fill the memory of the host", Grave: Serious,
			want:    append(absences(), "ENOSPC", "EFBIG", "EDQUOT"),
			attempt: func(a *attacker) string { return fills("/dev/shm/flint-probe-fill-"+a.token, 128<<20) },
		},
		{
			Name: "open-files", Tries: "opens more files than its limit", Why: "when the host can open none, all stands still", Grave: Serious,
			want: []string{"EMFILE"}, attempt: func(a *attacker) string { return opensMany(a.plan.Files + 64) },
		},
		{
			Name: "raise-limits", Tries: "raises its own limits", Why: "none of them would hold", Grave: Serious,
			want: refusals(), attempt: func(*attacker) string { return raises() },
		},
		{
			Name: "core-dumps", Tries: "asks whether its memory is written down when it crashes", Why: "that fills the disk, and a program of the host handles it", Grave: Minor,
			want: []string{"0"}, attempt: func(*attacker) string {
				var l unix.Rlimit
				if err := unix.Getrlimit(unix.RLIMIT_CORE, &l); err != nil {
					return result(err)
				}
				return fmt.Sprint(l.Max)
			},
		},
		{
			Name: "priority", Tries: "gives itself a higher priority", Why: "others would wait", Grave: Serious,
			want: refusals(), attempt: func(*attacker) string { return hurries() },
		},
		{
			Name: "real-time", Tries: "asks to be scheduled before everything else", Why: "a loop would stop the host", Grave: Serious,
			want: refusals(), attempt: func(*attacker) string { return schedules() },
		},
		{
			Name: "orphans", Tries: "leaves a process behind that left its session, and ends", Why: "it would run for ever, at nobody's expense", Grave: Serious,
			want: []string{"none"}, // it shows from outside, for what this leaves behind
			attempt: func(a *attacker) string {
				if _, err := a.again(modeOrphan); err != nil {
					return result(err)
				}
				return "alive"
			},
		},
	}
	return in(areaLimits, checks)
}

// takeMemory takes twice the limit, in steps, and touches all of it. Where the limit holds it does not return.
func takeMemory(limit int64) string {
	const step = 8 << 20
	var all [][]byte
	for taken := int64(0); taken < 2*limit; taken += step {
		b, err := unix.Mmap(-1, 0, step, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return result(err)
		}
		for i := 0; i < step; i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
	runtime.KeepAlive(all)
	return fmt.Sprintf("took %d MB", 2*limit>>20)
}

// takeProcesses starts twice as many processes as the limit allows, each small and none for long.
func (a *attacker) takeProcesses() string {
	var started []*exec.Cmd
	defer func() {
		for _, cmd := range started {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // it was killed
		}
	}()
	for range 2 * a.plan.Processes {
		cmd := exec.Command("sleep", "60") //nolint:noctx // it is ended below
		if err := cmd.Start(); err != nil {
			return result(err)
		}
		started = append(started, cmd)
	}
	return fmt.Sprintf("started %d", len(started))
}

// burn uses many times the processor time that the limit allows in one period.
func burn() {
	const enough = 30_000_000 // nanoseconds of processor time
	var begin, now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &begin)
	for now = begin; now.Nano()-begin.Nano() < enough; {
		_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &now)
	}
}

// fills writes a file of size bytes, and removes it again.
func fills(name string, size int64) string {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return result(err)
	}
	defer os.Remove(name)
	defer f.Close()
	block := make([]byte, 1<<20)
	for written := int64(0); written < size; written += int64(len(block)) {
		if _, err := f.Write(block); err != nil {
			return result(err)
		}
	}
	return fmt.Sprintf("wrote %d MB", size>>20)
}

func opensMany(n int) string {
	var files []io.Closer
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	for range n {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return result(err)
		}
		files = append(files, f)
	}
	return fmt.Sprintf("opened %d", n)
}

func raises() string {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return result(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: l.Cur, Max: l.Max + 1}); err != nil {
		return result(err)
	}
	return fmt.Sprintf("raised to %d", l.Max+1)
}

func hurries() string {
	before, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return result(err)
	}
	before = 20 - before // as the kernel returns it
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, before-1); err != nil {
		return result(err)
	}
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, before)
	return "raised"
}

// schedules makes its thread one that runs before all others, and undoes it at once.
func schedules() string {
	const other, fifo = 0, 1
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	priority := int32(1)
	got := call(unix.SYS_SCHED_SETSCHEDULER, 0, fifo, uintptr(unsafe.Pointer(&priority)))
	if got == "done" {
		priority = 0
		_ = call(unix.SYS_SCHED_SETSCHEDULER, 0, other, uintptr(unsafe.Pointer(&priority)))
	}
	return got
}
