package proxy

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"flint"
	"flint/wire"
)

//go:embed page.html
var pages embed.FS

var page = template.Must(template.ParseFS(pages, "page.html")) //nolint:gochecknoglobals // parsed once

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }

// writeError answers with a page about an error of the platform.
func (p *Proxy) writeError(w http.ResponseWriter, r *http.Request, err error) {
	known := flint.Known(err)
	status := wire.Status(known)
	said := errors.Is(err, flint.ErrProtocol) || errors.Is(err, flint.ErrTooBusy) || errors.Is(err, flint.ErrShuttingDown)
	if known.Is(flint.ErrStorageUnavailable) { // all calls suffer from it, and one line is enough
		_, first := p.storage.Pass()
		said = !first
	}
	if status >= 500 && !said {
		p.config.Logger.ErrorContext(r.Context(), "call on a domain failed", slog.String("host", r.Host), slog.String("err", err.Error()))
	}
	if known.Kind == flint.Unavailable || known.Kind == flint.RateLimited {
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(known.Retry.Seconds()))))
	}
	p.writePage(w, r, status, known)
}

type pageData struct {
	Status               int
	Title, Message, Type string
}

// writePage writes an error page: HTML, or JSON for programs that ask for it. A nil err is a function that answered with
// an error status and said nothing.
func (p *Proxy) writePage(w http.ResponseWriter, r *http.Request, status int, err error) {
	data := pageData{Status: status, Title: http.StatusText(status), Type: "function_error"}
	if data.Title == "" {
		data.Title = "Error"
	}
	var known *flint.Error
	switch {
	case errors.As(err, &known):
		data.Message, data.Type = known.Message, known.Type
	case status >= 500:
		data.Message = "The function failed. Its author finds the reason in the errors of the execution that the x-appwrite-execution-id header names."
	default:
		data.Message = "The function answered with this status and without a body."
	}
	h := w.Header()
	h["Cache-Control"] = []string{"no-cache, no-store, must-revalidate"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	accept := r.Header.Get("Accept")
	if strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html") {
		h.Set("Content-Type", "application/json; charset=UTF-8")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"message": data.Message, "code": status, "type": data.Type, "version": flint.ReferenceVersion})
		return
	}
	h.Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(p.pages.of(data)) // who has gone has gone
	}
}

// rendered are pages as they were sent before. Those of refusals are sent again and again just when there is no time to make
// them. It is safe for concurrent use.
type rendered struct {
	mu    sync.RWMutex
	pages map[pageData][]byte
}

// They bound the memory. Messages that name something of the request are made anew beyond it.
const (
	maxPages = 64
	maxPage  = 16 << 10
)

func (r *rendered) of(data pageData) []byte {
	r.mu.RLock()
	text, ok := r.pages[data]
	r.mu.RUnlock()
	if ok {
		return text
	}
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		return b.Bytes() // a buffer has no such error
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pages) < maxPages && b.Len() < maxPage {
		if r.pages == nil {
			r.pages = map[pageData][]byte{}
		}
		r.pages[data] = b.Bytes()
	}
	return b.Bytes()
}
