package sandbox

// InsideID is the user and the group of every process in a sandbox, as it sees itself.
const InsideID = 1000

// MaskedPaths are the files and directories of /proc that sandboxes see empty: what they say is about the host.
func MaskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/config.gz", "/proc/interrupts", "/proc/kallsyms", "/proc/kcore", "/proc/keys",
		"/proc/key-users", "/proc/latency_stats", "/proc/modules", "/proc/sched_debug", "/proc/scsi", "/proc/slabinfo", "/proc/timer_list", "/proc/timer_stats", "/proc/vmallocinfo",
	}
}

// ReadonlyPaths are the files and directories of /proc that a sandbox may read but not write, whoever owns them.
func ReadonlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}
