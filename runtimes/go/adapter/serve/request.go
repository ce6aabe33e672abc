package serve

import (
	"bytes"
	"fmt"
	"net/url"
	"sync"
)

const nativeNotice = "Native logs detected. Use context.Log() or context.Error() for better experience.\n"

// Streams of log text.
const (
	streamLogs   byte = 0
	streamErrors byte = 1
)

// Call is one request as the function is to see it.
type Call struct {
	Method, Scheme, Host   string
	Port                   int
	Path, QueryString, URL string
	Query, Headers         map[string]string
	Body                   []byte

	request *request
}

// WriteLog sends a log entry: kind "error" to the errors of the execution, any other to its logs. Once the call is
// answered or cancelled it does nothing.
func (c *Call) WriteLog(kind, text string) {
	stream := streamLogs
	if kind == "error" {
		stream = streamErrors
	}
	c.request.log(stream, text)
}

// Reply is what the function answered. A status of zero means 200.
type Reply struct {
	Body       []byte
	StatusCode int
	Headers    map[string]string
}

// request is one request from its first frame to the frame that ends its answer. Locks are taken in the order
// request, server, output.
type request struct {
	s  *server
	id uint32

	head     string // these belong to the loop that reads until the request runs
	body     []byte
	complete bool

	before, after *request // neighbours in the server's list of running requests

	mu      sync.Mutex
	room    sync.Cond // the window grew, or the request is over
	window  int       // bytes of the answer's body that may be sent
	begun   bool      // the head of the answer is sent
	over    bool      // the end of the answer is sent: nothing may follow
	working bool      // the function runs
	silent  bool      // logging is off
	noticed bool      // the notice about native output is sent
}

// serve runs the function and answers.
func (r *request) serve() {
	head, err := parseRequestHead(r.head)
	if err != nil {
		r.s.fail(err)
		return
	}
	r.silent = !head.logging
	call := &Call{
		Method: head.method, Scheme: head.scheme, Host: head.host, Port: head.port,
		Path: head.path, QueryString: head.queryString, URL: head.url,
		Headers: head.headers, Body: r.body, request: r,
	}
	if path, err := url.PathUnescape(head.path); err == nil {
		call.Path = path
	}
	if call.Query, err = parseQuery(head.queryString); err != nil {
		r.answer(Reply{StatusCode: 500}, "Could not parse url params.\n")
		return
	}

	r.s.native.settle() // what was printed up to now is not of this request
	r.s.start(r)
	reply, returned := Reply{StatusCode: 500}, false
	defer func() { // also runs when the function panics, or ends its goroutine
		failure := ""
		if value := recover(); value != nil {
			failure = limit(fmt.Sprintf("%v", value)) + "\n"
		} else if !returned {
			failure = "The function ended its goroutine instead of returning a response.\n"
		}
		r.s.native.drain()
		r.answer(reply, failure)
	}()
	r.setWorking(true)
	defer r.setWorking(false)
	reply = r.s.handle(call)
	returned = true
}

// limit keeps one text within one frame.
func limit(text string) string {
	const most = 64 << 10
	if len(text) > most {
		return text[:most]
	}
	return text
}

// parseQuery decodes a query as an HTML form. The first of several values counts.
func parseQuery(query string) (map[string]string, error) {
	if query == "" {
		return map[string]string{}, nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("parse query: %w", err)
	}
	first := make(map[string]string, len(values))
	for name, list := range values {
		first[name] = list[0]
	}
	return first, nil
}

// log sends log text before it returns, so that it survives whatever the function does next.
func (r *request) log(stream byte, text string) {
	if r.silent {
		return
	}
	r.s.out.wait()
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return
	}
	end := r.addLog(stream, text)
	r.mu.Unlock()
	r.s.write(end, r.s.alone())
}

// native sends printed text and reports whether the request could still take it.
func (r *request) native(stream byte, text []byte) bool {
	if r.silent {
		return true
	}
	r.s.out.wait()
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return false
	}
	if !r.noticed {
		r.noticed = true
		r.addLog(stream, nativeNotice)
	}
	r.addLog(stream, string(text))
	r.mu.Unlock()
	r.s.out.flush()
	return true
}

// addLog queues log text. The caller holds mu.
func (r *request) addLog(stream byte, text string) (end uint64) {
	return r.s.out.add(func(b []byte) []byte { return appendLog(b, r.id, stream, text) })
}

// answer sends the reply, in pieces as the window allows, after a last text for the errors.
func (r *request) answer(reply Reply, failure string) {
	head := appendResponseHead(make([]byte, 0, 256), reply.StatusCode, reply.Headers)
	if len(head) > maxPayload-maxPiece-4 {
		head = appendResponseHead(nil, 500, nil)
		reply.Body = nil
		failure += fmt.Sprintf("The headers of the response are larger than %d bytes.\n", maxPayload-maxPiece-4)
	}
	body := reply.Body
	for {
		r.s.out.wait()
		r.mu.Lock()
		for r.window <= 0 && len(body) > 0 && !r.over {
			r.room.Wait()
		}
		if r.over {
			r.mu.Unlock()
			return
		}
		if failure != "" && !r.silent {
			r.addLog(streamErrors, failure)
		}
		failure = ""
		n := min(len(body), maxPiece, r.window)
		piece := body[:n]
		body = body[n:]
		r.window -= n
		if len(body) == 0 {
			end, alone := r.end(flagEnd, head, piece)
			r.mu.Unlock()
			r.s.write(end, alone)
			return
		}
		r.send(0, head, piece)
		r.mu.Unlock()
		r.s.out.flush()
	}
}

// send queues a piece of the answer. The caller holds mu.
func (r *request) send(flags byte, head, piece []byte) (end uint64) {
	first := !r.begun
	r.begun = true
	return r.s.out.add(func(b []byte) []byte {
		if first {
			return appendResponse(b, flags, r.id, head, piece)
		}
		return appendFrame(b, typeData, flags, r.id, piece)
	})
}

// end queues the last piece of the answer. The server forgets the request first: Flint may use the id again as soon
// as it has read the frame. It reports whether no other request is in flight. The caller holds mu.
func (r *request) end(flags byte, head, piece []byte) (end uint64, alone bool) {
	r.over = true
	r.room.Broadcast()
	alone = r.s.forget(r, func() { end = r.send(flags, head, piece) })
	return end, alone
}

// cancel answers at once. A goroutine cannot be stopped: one that works goes on until it returns, unheard, and Flint is
// told of it.
func (r *request) cancel() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	flags := flagEnd
	if r.working {
		flags |= flagAbandoned
	}
	r.end(flags, []byte(`{"status":500,"headers":{}}`), nil)
}

func (r *request) setWorking(working bool) {
	r.mu.Lock()
	r.working = working
	r.mu.Unlock()
}

// grow widens the window.
func (r *request) grow(n int) {
	r.mu.Lock()
	r.window += n
	r.mu.Unlock()
	r.room.Broadcast()
}

// abandon ends a request whose connection is gone.
func (r *request) abandon() {
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	r.room.Broadcast()
}

// receive takes bytes of the body; it is called by the loop that reads, before the request runs.
func (r *request) receive(piece []byte) error {
	if len(r.body)+len(piece) > maxBody {
		return fmt.Errorf("%w: body of more than %d bytes", errProtocol, maxBody)
	}
	if r.body == nil {
		r.body = bytes.Clone(piece)
		return nil
	}
	r.body = append(r.body, piece...)
	return nil
}
