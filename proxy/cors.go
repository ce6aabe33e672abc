package proxy

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"flint"
)

// isPreflight reports whether a browser asks if it may send a request.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// preflight answers a browser in the function's place. An origin that is not allowed hears nothing of what would be.
func preflight(w http.ResponseWriter, r *http.Request, c *flint.CORS) {
	h := w.Header()
	h.Add("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
	if origin := r.Header.Get("Origin"); c.Allows(origin) {
		allow(h, c, origin)
		methods := c.Methods
		if len(methods) == 0 {
			methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
		}
		h.Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
		headers := strings.Join(c.Headers, ", ")
		if slices.Contains(c.Headers, "*") { // a star would not cover Authorization, nor requests with credentials
			headers = strings.Join(r.Header.Values("Access-Control-Request-Headers"), ", ")
		}
		if headers != "" {
			h.Set("Access-Control-Allow-Headers", headers)
		}
		if c.MaxAge > 0 {
			h.Set("Access-Control-Max-Age", strconv.Itoa(c.MaxAge))
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func allow(h http.Header, c *flint.CORS, origin string) {
	if slices.Contains(c.Origins, "*") && !c.Credentials {
		origin = "*"
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if c.Credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}

// corsWriter puts the platform's word to browsers in the place of the function's own.
type corsWriter struct {
	http.ResponseWriter
	rules  *flint.CORS
	origin string
	begun  bool
}

// Unwrap is for http.ResponseController.
func (w *corsWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *corsWriter) WriteHeader(status int) {
	if !w.begun {
		w.begun = true
		h := w.Header()
		for name := range h {
			if strings.HasPrefix(name, "Access-Control-") {
				h.Del(name)
			}
		}
		if !slices.Contains(h.Values("Vary"), "Origin") {
			h.Add("Vary", "Origin")
		}
		if w.rules.Allows(w.origin) {
			allow(h, w.rules, w.origin)
			if len(w.rules.Exposed) > 0 {
				h.Set("Access-Control-Expose-Headers", strings.Join(w.rules.Exposed, ", "))
			}
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *corsWriter) Write(b []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}
