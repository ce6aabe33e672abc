package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"flint"
	"flint/auth"
	"flint/internal/forwarded"
	"flint/wire"
)

// statusGone is logged for requests whose client left before the answer. Nothing is sent then.
const statusGone = 499

// drainTime bounds the wait for the rest of a body that nobody wants.
const drainTime = 10 * time.Second

// exchange is one request with its answer.
type exchange struct {
	api       *API
	route     *boundRoute
	w         http.ResponseWriter
	r         *http.Request
	id        string
	start     time.Time
	principal *auth.Principal
	format    wire.Format

	status int
	bytes  int
	err    error
}

type requestIDKey struct{}

// RequestID returns the identifier of the request that ctx belongs to, or nothing. Answers carry it as X-Request-Id.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// serve does everything about one request: its one recover, its one log line.
func (a *API) serve(route *boundRoute, w http.ResponseWriter, r *http.Request) {
	x := &exchange{api: a, route: route, w: w, r: r, id: newRequestID(), start: time.Now()}
	h := w.Header()
	x.always(h)
	a.allowOrigin(h, r, false)
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // a sentinel that is thrown, not wrapped
				x.finish(nil)
				panic(p)
			}
			stack := debug.Stack()
			x.fail(fmt.Errorf("panic: %v", p))
			x.finish(stack)
			return
		}
		x.finish(nil)
	}()
	if err := x.handle(); err != nil {
		x.fail(err)
	}
}

// always sets what every answer carries.
func (x *exchange) always(h http.Header) {
	h.Set("Server", "Appwrite")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Request-Id", x.id)
	if x.api.config.Forwarded.Secure(x.r) {
		h.Set("Strict-Transport-Security", "max-age=10886400")
	}
}

// WantsHTTPS reports whether a request came by plain http and must not.
func (a *API) WantsHTTPS(r *http.Request) bool {
	if !a.config.Secure || a.config.Forwarded.Secure(r) {
		return false
	}
	host := (&url.URL{Host: r.Host}).Hostname()
	return !forwarded.Loopback(host) && host != a.config.PlainHost
}

// secure sends those who came by plain http to https, where that is demanded.
func (x *exchange) secure() error {
	if !x.api.WantsHTTPS(x.r) {
		return nil
	}
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		return flint.ErrProtocol
	}
	x.status = http.StatusMovedPermanently
	http.Redirect(x.w, x.r, "https://"+x.r.Host+x.r.URL.RequestURI(), x.status)
	return nil
}

func (x *exchange) handle() error {
	if err := x.secure(); err != nil || x.status != 0 {
		return err
	}
	if x.route == x.api.unknown {
		return flint.ErrRouteNotFound
	}
	if err := x.identify(); err != nil {
		return err
	}
	if x.r.Body != nil && x.r.Body != http.NoBody {
		limit := int64(maxBody)
		if x.route.Handler.file != "" {
			limit = x.api.config.MaxUpload
		}
		x.r.Body = http.MaxBytesReader(x.w, x.r.Body, limit)
	}
	ctx := context.WithValue(x.r.Context(), requestIDKey{}, x.id)
	if x.principal != nil {
		ctx = flint.WithActor(ctx, x.principal.Actor())
	}
	out, err := x.route.Handler.call(ctx, x)
	if err != nil {
		return err
	}
	return x.render(out)
}

// admit counts the request against the route's limit and says so in the answer's head.
func (x *exchange) admit() error {
	if x.route.limits == nil || x.api.config.Unlimited {
		return nil
	}
	who := string(x.principal.ProjectID())
	if x.route.Limit.Exempt {
		who += "/" + x.principal.UserID + "/" + x.api.config.Forwarded.Client(x.r)
	}
	left, reset, ok := x.route.limits.take(who, x.start, x.route.Limit.Exempt && x.principal.Privileged())
	h := x.w.Header()
	h.Set("X-RateLimit-Limit", fmt.Sprint(x.route.Limit.Max))
	h.Set("X-RateLimit-Remaining", fmt.Sprint(left))
	h.Set("X-RateLimit-Reset", fmt.Sprint(reset.Unix()))
	if !ok {
		return flint.ErrRateLimited
	}
	return nil
}

// fail answers with an error, unless the client is gone or the answer has begun.
func (x *exchange) fail(err error) {
	x.err = err
	if x.status != 0 {
		return
	}
	if errors.Is(err, context.Canceled) && x.r.Context().Err() != nil {
		x.status = statusGone
		return
	}
	x.drain()
	x.writeError(err)
}

// drain reads what is left of the body: a client that is still sending would see a broken connection instead of the answer.
func (x *exchange) drain() {
	if x.r.Body == nil || x.r.Header.Get("Expect") != "" {
		return
	}
	// Neither matters for the answer. Servers reset the deadline before the next request.
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(drainTime))
	_, _ = io.CopyN(io.Discard, x.r.Body, maxBody)
}

// finish counts and logs the request.
func (x *exchange) finish(stack []byte) {
	took := time.Since(x.start)
	x.api.metrics.observe(x.route.Path, x.r.Method, x.status, took)
	level := slog.LevelInfo
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs,
		slog.String("request_id", x.id), slog.String("method", x.r.Method), slog.String("route", x.route.Path),
		slog.Int("status", x.status), slog.Duration("dur", took), slog.Int("bytes", x.bytes))
	if x.principal != nil && x.principal.Project != nil {
		attrs = append(attrs, slog.String("project_id", string(x.principal.Project.ID)))
	}
	if x.err != nil {
		if x.status == http.StatusInternalServerError {
			level = slog.LevelError // the others are the client's business, or say themselves what they are
		}
		attrs = append(attrs, slog.String("err", x.err.Error()))
	}
	if stack != nil {
		attrs = append(attrs, slog.String("stack", string(stack)))
	}
	x.api.config.Logger.LogAttrs(x.r.Context(), level, "request", attrs...)
}

func newRequestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// inAPI reports whether a path belongs to the API. Errors elsewhere are pages for people.
func inAPI(path string) bool { return path == "/v1" || strings.HasPrefix(path, "/v1/") }
