package invoke

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"flint"
)

// Page writes an error to the caller of a domain: for the errors of the platform, and for answers of a function that
// have an error status and no body.
type Page func(w http.ResponseWriter, status int, err error)

// Serve makes a call that came in on a function's domain and writes the function's own answer to w. An error means that
// nothing was written and no execution was made.
func (i *Invoker) Serve(ctx context.Context, c *Call, w http.ResponseWriter, page Page) error {
	c.domain, c.Trigger = true, flint.TriggerHTTP
	if !c.Identified {
		c.Caller = Caller{}
	}
	t, err := i.admit(ctx, c)
	if err != nil {
		return err
	}
	a, err := i.attempt(ctx, t, c)
	if err != nil {
		return err
	}
	defer a.deadline.stop()
	if a.response == nil {
		return i.serveWhole(a, nil, w, page)
	}
	piece, err := a.next()
	if err == nil && a.response.Ended() {
		if _, err = a.next(); !errors.Is(err, io.EOF) {
			return i.serveWhole(a, nil, w, page)
		}
	}
	if err != nil {
		return i.serveWhole(a, piece, w, page)
	}
	i.serveStream(a, piece, w)
	return nil
}

// serveStream passes a body on as it comes. The caller knows the end only from the end of this call, which comes after
// the record.
func (i *Invoker) serveStream(a *attempt, piece []byte, w http.ResponseWriter) {
	writeHead(w, a, -1)
	flush := http.NewResponseController(w).Flush
	gone := false
	var err error
	for err == nil {
		if !gone {
			_, writeErr := w.Write(piece)
			gone = writeErr != nil || flush() != nil // the function finishes all the same
		}
		piece, err = a.next()
	}
	recordErr := i.append(a, i.config.Store.KeepExecution)
	if recordErr != nil {
		i.config.Logger.Error("execution not recorded", errAttr(recordErr))
	}
	i.finished(a)
	if !errors.Is(err, io.EOF) || recordErr != nil {
		panic(http.ErrAbortHandler) // the head has gone out: the caller must see that the body is not whole
	}
}

// serveWhole writes an answer that is complete, after its record.
func (i *Invoker) serveWhole(a *attempt, body []byte, w http.ResponseWriter, page Page) error {
	if err := i.append(a, i.config.Store.KeepExecution); err != nil {
		return err
	}
	i.finished(a)
	switch {
	case errors.Is(a.cause, flint.ErrSynchronousTimeout):
		w.Header().Set(executionHeader, string(a.execution.ID))
		page(w, http.StatusRequestTimeout, flint.ErrSynchronousTimeout)
	case a.status >= 400 && len(body) == 0:
		w.Header().Set(executionHeader, string(a.execution.ID))
		page(w, a.status, nil)
	default:
		writeHead(w, a, len(body))
		if a.call.Method != http.MethodHead {
			_, _ = w.Write(body) // who has gone has gone
		}
	}
	return nil
}

const executionHeader = "X-Appwrite-Execution-Id"

func writeHead(w http.ResponseWriter, a *attempt, length int) {
	h := w.Header()
	values := make([]string, 0, len(a.headers)+2) // of all headers that have one
	one := func(value string) []string {
		values = append(values, value)
		return values[len(values)-1 : len(values) : len(values)]
	}
	h[executionHeader] = one(string(a.execution.ID))
	for _, f := range a.headers {
		switch f.Name {
		case "transfer-encoding", "connection", "content-length", "keep-alive", "upgrade", "trailer":
			continue // of this connection, not of the function's
		}
		name := http.CanonicalHeaderKey(f.Name)
		if given := h[name]; given != nil {
			h[name] = append(given, f.Value)
		} else {
			h[name] = one(f.Value)
		}
	}
	if length >= 0 && a.status != http.StatusNoContent && a.status != http.StatusNotModified {
		h["Content-Length"] = one(strconv.Itoa(length))
	}
	w.WriteHeader(a.status)
}
