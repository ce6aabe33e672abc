package probe

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// plan is what the attacker is told. Its paths and numbers are the host's.
type plan struct {
	HostFile, HostSocket, HostAbstract, Data string
	HostAddrs                                []string
	HostPid                                  int
	HostCommand                              string // its arguments
	Package                                  string // as the sandbox sees it
	Files, Processes                         int
	Tmp, Memory                              int64
	Victim                                   victim
}

// victim is what the victim has, for the attacker to find.
type victim struct {
	Pid      int // as the host numbers it
	Addrs    []string
	Abstract string
	Key      int // of System V shared memory
	File     string
}

// observation is what the attacker got of an attempt.
type observation struct {
	Check string `json:"check"`
	Got   string `json:"got"`
}

// attacker is the program inside a sandbox.
type attacker struct {
	plan     plan
	token    string
	exchange string
	program  string   // itself
	args     []string // before the mode
	stdin    *bufio.Reader
	out      *json.Encoder
	leaked   string
}

// Attack is the program inside the sandbox: it carries out the plan that it reads, and writes a line for each attempt. args
// are what follows Config.Args: a mode, a token and the path of the exchange directory. before are Config.Args.
func Attack(before, args []string, stdin io.Reader, stdout io.Writer) error {
	leaked := openFiles() // before anything else opens one
	if len(args) != 3 {
		return errors.New("this command is for the probe, which runs it in sandboxes")
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	a := &attacker{
		token: args[1], exchange: args[2], program: program, args: before, stdin: bufio.NewReader(stdin), out: json.NewEncoder(stdout), leaked: leaked,
	}
	switch args[0] {
	case modeVictim:
		return a.suffer(stdout)
	case modeOrphan, modeSleeper:
		return linger()
	}
	line, err := a.stdin.ReadString('\n')
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(line), &a.plan); err != nil {
		return err
	}
	switch args[0] {
	case modeAttack:
		err = a.attackAll()
	case modeMemory:
		err = a.say("memory", takeMemory(a.plan.Memory))
	case modeProcesses:
		err = a.say("processes", a.takeProcesses())
	case modeProcessor:
		burn()
		err = a.say("", "") // the processor's limit shows from outside, while this still runs
	default:
		err = fmt.Errorf("mode %q is unknown", args[0])
	}
	if err != nil {
		return err
	}
	_ = a.say("", "")
	_, _ = io.Copy(io.Discard, a.stdin) // until it is killed
	return nil
}

func (a *attacker) say(check, got string) error {
	return a.out.Encode(observation{Check: check, Got: got})
}

func (a *attacker) attackAll() error {
	for _, c := range Checks() {
		if c.attempt == nil {
			continue
		}
		if err := a.say(c.Name, c.attempt(a)); err != nil {
			return err
		}
	}
	return nil
}

// suffer is the victim: it opens what it has, says where, and waits.
func (a *attacker) suffer(stdout io.Writer) error {
	v := victim{Abstract: "@flint-probe-victim-" + a.token, File: "/tmp/flint-probe-" + a.token, Key: 0x666c6e74}
	if err := os.WriteFile(v.File, []byte(os.Getenv("SECRET")), 0o666); err != nil { //nolint:forbidigo // everybody in its sandbox may read it
		return err
	}
	defer os.Remove(v.File)
	tcp, err := net.Listen("tcp4", "0.0.0.0:0") //nolint:noctx // it ends with the sandbox
	if err != nil {
		return err
	}
	defer tcp.Close()
	v.Addrs = addrsOf(tcp)
	abstract, err := net.Listen("unix", v.Abstract) //nolint:noctx // as above
	if err != nil {
		return err
	}
	defer abstract.Close()
	id, err := unix.SysvShmGet(v.Key, 4096, unix.IPC_CREAT|0o666)
	if err != nil {
		return fmt.Errorf("make shared memory: %w", err)
	}
	defer unix.SysvShmCtl(id, unix.IPC_RMID, nil) //nolint:errcheck // it ends with the sandbox
	if err := json.NewEncoder(stdout).Encode(v); err != nil {
		return err
	}
	for {
		if _, err := a.stdin.ReadString('\n'); err != nil {
			return nil // nobody asks any more
		}
		if err := a.say("", "alive"); err != nil {
			return err
		}
	}
}

func parseVictim(line string) (v victim, err error) {
	if err := json.Unmarshal([]byte(line), &v); err != nil {
		return v, fmt.Errorf("the victim wrote %q: %w", line, err)
	}
	return v, nil
}

// lingerTime is how long what is left behind lives, if nothing ends it before.
const lingerTime = time.Minute

func linger() error {
	timer := time.NewTimer(lingerTime)
	<-timer.C
	return nil
}

// again starts the program once more in another mode, in a session of its own and without descriptors of this one.
func (a *attacker) again(mode string) (*exec.Cmd, error) {
	cmd := exec.Command(a.program, append(append([]string(nil), a.args...), mode, a.token, a.exchange)...) //nolint:noctx // it is to outlive this
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd, cmd.Start()
}

// result names what a system call returned: "done", or the error.
func result(err error) string {
	if err == nil {
		return "done"
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		if name := unix.ErrnoName(errno); name != "" {
			return name
		}
	}
	return err.Error()
}

// call makes a system call that does nothing.
func call(number uintptr, args ...uintptr) string {
	args = append(args, make([]uintptr, 6)...)
	_, _, errno := unix.Syscall6(number, args[0], args[1], args[2], args[3], args[4], args[5])
	if errno == 0 {
		return "done"
	}
	return result(errno)
}

// status returns a field of /proc/self/status.
func status(field string) string {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return result(err)
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && name == field {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return "missing"
}

// openFiles lists the descriptors beside the standard ones and those of the language.
func openFiles() string {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return result(err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return result(err)
	}
	var found []string
	for _, name := range names {
		n, err := strconv.Atoi(name)
		if err != nil || n < 3 || uintptr(n) == dir.Fd() {
			continue
		}
		to, err := os.Readlink("/proc/self/fd/" + name)
		if err == nil && !strings.HasPrefix(to, "anon_inode:[event") {
			found = append(found, to)
		}
	}
	if len(found) == 0 {
		return "none"
	}
	return strings.Join(found, ", ")
}
