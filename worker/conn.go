package worker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"

	"flint/internal/frame"
	"flint/internal/proc"
	"flint/sandbox"
)

// stuckAfter is how long a worker may leave its socket unread while there is something for it.
const stuckAfter = 30 * time.Second

// maxWorkerOutput is how much of what a worker writes outside of calls is kept, for crash reports.
const maxWorkerOutput = 8 << 10

// worker is one sandbox with its connection.
type worker struct {
	pool *Pool
	id   string
	box  sandbox.Sandbox
	dir  string // its exchange directory on the host

	conn    *socket
	in      *inbox
	account account

	wmu     sync.Mutex
	pending []byte        // frames that wait to be written
	spare   []byte        // the other buffer
	writing bool          // somebody writes; new frames are left in pending
	rest    int           // requests that are written without letting others run before
	blocked chan struct{} // capacity 1: the socket was full, the writer goroutine takes over

	mu     sync.Mutex
	group  *group // set once, before its first call
	calls  map[uint32]*call
	nextID uint32
	quick  bool   // its last call was answered so soon that it is worth to look for the next answer
	reason string // why Flint ended it
	ended  *EndedError
	output tail

	control chan controlFrame // hello, ready and failed, for whoever starts the worker
	dead    chan struct{}     // closed when the worker has ended and its calls know
	done    sync.WaitGroup

	// Owned by the group's lock once the worker has a group.
	concurrency int
	inFlight    int
	overdue     int  // calls that missed their deadline and have not ended
	spent       bool // work that nobody waits for goes on in it: no new calls
	draining    bool
	leaving     bool // no new calls: it goes after those that it has
	removed     bool // from its group
	start       span // when it was made ready
	idleSince   time.Time
	looked      time.Time     // when its load was looked at
	used        time.Duration // processor time until then
	delay       time.Duration // that its threads had waited for a processor until then
	onEnd       func()        // lets go of the package
}

type controlFrame struct {
	typ     frame.Type
	payload []byte
}

// attach gives the worker its connection and starts its goroutines.
func (w *worker) attach(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	pid, _ := proc.Peer(raw) // 0 then: the control group alone counts
	if w.conn, err = openSocket(conn); err != nil {
		return err
	}
	w.in = newInbox(w.conn, w.deliver)
	w.account.box, w.account.pid = w.box, pid
	w.done.Go(w.read)
	w.done.Go(w.write)
	return nil
}

// Limits of the pause before a shared write.
const (
	slowPause = 5 * time.Millisecond // half of what a goroutine that computes is given
	pauseRest = 1000                 // requests
)

// send queues frames and writes them soon.
func (w *worker) send(build func([]byte) []byte) { w.post(build, false) }

// post queues frames and writes what is queued, unless another goroutine is writing already, which then takes them
// along: calls that come at the same time share one write. It never waits for the worker.
//
// shared: other calls are on their way in this worker. Then goroutines that are ready to run go first. Those that have
// a request for the worker leave it for the same write, which saves the worker wake-ups, too. Where goroutines compute for
// long this would cost a call their time slices, so that the next ones do without.
func (w *worker) post(build func([]byte) []byte, shared bool) {
	w.wmu.Lock()
	w.pending = build(w.pending)
	if w.writing {
		w.wmu.Unlock()
		return
	}
	w.writing = true
	switch {
	case shared && w.rest > 0:
		w.rest--
	case shared:
		w.wmu.Unlock()
		begun := time.Now()
		runtime.Gosched()
		slow := time.Since(begun) > slowPause
		w.wmu.Lock()
		if slow {
			w.rest = pauseRest
		}
	}
	for len(w.pending) > 0 {
		buf := w.pending
		w.pending = w.spare[:0]
		w.wmu.Unlock()
		n, err := w.conn.tryWrite(buf)
		w.wmu.Lock()
		if err != nil || n < len(buf) {
			w.pending = append(append([]byte(nil), buf[n:]...), w.pending...)
			w.wmu.Unlock()
			w.blocked <- struct{}{} // never full: only who set writing sends, and the writer clears it
			return
		}
		if w.spare = buf; cap(buf) > 1<<20 {
			w.spare = nil
		}
	}
	w.writing = false
	w.wmu.Unlock()
}

// write is the writer goroutine: it waits where senders do not.
func (w *worker) write() {
	for {
		select {
		case <-w.blocked:
		case <-w.dead:
			return
		}
		for {
			w.wmu.Lock()
			buf := w.pending
			w.pending = nil
			if len(buf) == 0 {
				w.writing = false
				w.wmu.Unlock()
				break
			}
			w.wmu.Unlock()
			if err := w.conn.write(buf, time.Now().Add(stuckAfter)); err != nil {
				if errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EPIPE) {
					w.kill("")
				} else {
					w.kill("it did not read its requests for " + stuckAfter.String())
				}
				<-w.dead
				return
			}
		}
	}
}

// read is the reader goroutine. It ends when the connection does, and then ends everything else.
func (w *worker) read() {
	err := w.in.run()
	if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.ErrUnexpectedEOF) {
		w.kill(fmt.Sprintf("it broke the worker protocol: %v", err))
	}
	w.end()
}

// deliver hands on a frame that the worker has sent.
func (w *worker) deliver(h frame.Header, payload []byte) error {
	switch h.Type { //nolint:exhaustive // the others belong to a call
	case frame.Hello, frame.Ready, frame.Failed:
		select {
		case w.control <- controlFrame{h.Type, payload}:
			return nil
		default:
			return fmt.Errorf("%w: unexpected type %d", frame.ErrMalformed, h.Type)
		}
	case frame.Pong:
		return nil
	case frame.Log:
		if h.ID == 0 {
			if len(payload) > 0 {
				_, _ = w.Write(payload[1:])
			}
			return nil
		}
	}
	w.mu.Lock()
	c, g := w.calls[h.ID], w.group
	w.mu.Unlock()
	if c == nil {
		if h.Type == frame.Log || h.Type == frame.Window { // may cross the end of its call
			return nil
		}
		return fmt.Errorf("%w: type %d for request %d, which is not in flight", frame.ErrMalformed, h.Type, h.ID)
	}
	ended, overdue, err := c.receive(h, payload)
	if err != nil {
		return err
	}
	if ended {
		w.mu.Lock()
		delete(w.calls, h.ID)
		w.quick = c.run < lookTime
		w.mu.Unlock()
		if h.Flags&frame.Abandoned != 0 {
			g.spend(w)
		}
		g.release(w, overdue)
		c.signal()
	}
	return nil
}

// begin registers a new call; nil when the worker has ended.
func (w *worker) begin(waited toll, r *Request) *call {
	c := newCall(w)
	if r.Logging {
		c.execution, c.said = r.Execution, r.Said
	}
	c.waited, c.mark = waited, w.account.begin(time.Now())
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended != nil {
		return nil
	}
	for {
		w.nextID++
		if _, taken := w.calls[w.nextID]; w.nextID != 0 && !taken {
			break
		}
	}
	c.id = w.nextID
	w.calls[c.id] = c
	c.shared = len(w.calls) > 1
	c.alone = w.quick && w.pool.canLook && w.pool.inFlight.Load() == 1
	return c
}

// Write takes what the process tree writes to its standard output and error: it belongs to no call.
func (w *worker) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.output.write(p)
	return len(p), nil
}

// kill ends the worker. The first reason stays.
func (w *worker) kill(reason string) {
	w.mu.Lock()
	if w.reason == "" && w.ended == nil {
		w.reason = reason
	}
	w.mu.Unlock()
	w.box.Kill()
}

// end waits for the sandbox to be gone and tells every call. A worker whose connection ended has no way back.
func (w *worker) end() {
	grace := time.NewTimer(w.pool.config.CancelGrace)
	defer grace.Stop()
	select {
	case <-w.box.Done():
	case <-grace.C:
		w.kill("it closed its connection and did not exit")
		<-w.box.Done()
	}
	w.account.finish(time.Now())
	w.mu.Lock()
	w.ended = &EndedError{Reason: w.reason, Exit: w.box.Exit(), Output: string(w.output.bytes())}
	if w.ended.Exit.OutOfMemory {
		w.ended.Reason = "" // says more than why Flint ended it
	}
	calls, g := w.calls, w.group
	w.calls = nil
	w.mu.Unlock()
	if g != nil {
		g.remove(w) // before its calls know: the next call of theirs must not meet it
	}
	for _, c := range calls {
		c.fail(w.ended)
	}
	w.conn.close()
	close(w.dead)
}

// close ends the worker, if it has not ended, and gives back what it held.
func (w *worker) close() {
	w.box.Kill()
	w.done.Wait()
	if err := w.box.Close(); err != nil {
		w.pool.config.Logger.Error("sandbox left something behind", errAttr(err), workerAttr(w.id))
	}
	removeExchange(w.dir, w.pool.config.Logger)
}
