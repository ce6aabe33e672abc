package main

import (
	"context"
	"debug/buildinfo"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// machine is where and with what a run was made.
type machine struct {
	Processors int               `json:"processors"`
	Model      string            `json:"model"`
	Memory     string            `json:"memory"`
	Kernel     string            `json:"kernel"`
	Before     string            `json:"load_before"` // /proc/loadavg
	After      string            `json:"load_after"`
	Versions   map[string]string `json:"versions"`
}

func survey() machine {
	m := machine{Processors: runtime.NumCPU(), Versions: map[string]string{"bench": runtime.Version()}, Before: loadAverage()}
	m.Model = fieldOf("/proc/cpuinfo", "model name")
	m.Memory = fieldOf("/proc/meminfo", "MemTotal")
	var u syscall.Utsname
	if err := syscall.Uname(&u); err == nil {
		for _, c := range u.Release {
			if c == 0 {
				break
			}
			m.Kernel += string(rune(c))
		}
	}
	return m
}

func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	return strings.Join(strings.Fields(string(b))[:min(3, len(strings.Fields(string(b))))], " ")
}

// fieldOf returns the value of the first line of a file that begins with a name.
func fieldOf(file, name string) string {
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// flintVersion is what the program says of itself, with the commit that it was built from.
func flintVersion(ctx context.Context, program string) string {
	out, err := exec.CommandContext(ctx, program, "version").Output()
	if err != nil {
		return "unknown"
	}
	version := strings.TrimSpace(string(out))
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return version
	}
	version += ", " + info.GoVersion
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			version += ", commit " + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			version += " with changes"
		}
	}
	return version
}
