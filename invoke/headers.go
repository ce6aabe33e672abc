package invoke

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"flint"
	"flint/worker"
)

const (
	internalPrefix = "x-open-runtimes-"
	attemptHeader  = "x-flint-attempt" // ours: of calls that may be made several times, which one it is, from 1
)

// given are the headers of a call without the platform's own, with the host that it is for, and its scheme.
func (i *Invoker) given(c *Call) (headers []flint.Header, host, scheme string) {
	headers, scheme = make([]flint.Header, 0, len(c.Headers)+12), "http"
	for _, h := range c.Headers {
		if strings.HasPrefix(h.Name, internalPrefix) || strings.HasPrefix(h.Name, "x-appwrite-") || h.Name == attemptHeader {
			continue // the platform's names are the platform's to give
		}
		switch h.Name {
		case "host":
			host = h.Value
		case "x-forwarded-proto":
			scheme = h.Value
		}
		headers = addHeader(headers, h)
	}
	if host == "" {
		host = flint.DomainLabel(c.Function) + "." + i.config.Domain
		headers = append(headers, flint.Header{Name: "host", Value: host})
	}
	return headers, host, scheme
}

// stored are those of the headers of a call that its record keeps.
func stored(headers []flint.Header, c *Call) (kept []flint.Header) {
	kept = make([]flint.Header, 0, 4) // as many as a browser's requests have of them
	for _, h := range headers {
		if flint.StoredRequestHeader(h.Name) {
			kept = append(kept, h)
		}
	}
	if c.ClientIP != "" {
		kept = append(kept, flint.Header{Name: "x-appwrite-client-ip", Value: c.ClientIP})
	}
	return kept
}

// request makes what the worker gets of a call, and what its record keeps of the headers.
func (i *Invoker) request(t *target, c *Call) (*worker.Request, []flint.Header) {
	path, _, _ := strings.Cut(c.Path, "#") // a fragment is the client's own
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	headers, host, scheme := i.given(c)
	kept := stored(headers, c)
	var place flint.Place
	if !c.async && c.ClientIP != "" && i.config.Locate != nil {
		place = i.config.Locate(c.ClientIP)
	}
	headers = append(headers,
		flint.Header{Name: "x-appwrite-execution-id", Value: string(c.id)},
		flint.Header{Name: "x-appwrite-key", Value: t.keys.get(i.config.Signer, t.function, depthBelow(c), c.Caller.Hops)},
		flint.Header{Name: "x-appwrite-trigger", Value: string(c.Trigger)},
		flint.Header{Name: "x-appwrite-user-id", Value: c.Caller.User},
		flint.Header{Name: "x-appwrite-user-jwt", Value: c.Caller.UserJWT},
		flint.Header{Name: "x-appwrite-country-code", Value: place.Country},
		flint.Header{Name: "x-appwrite-continent-code", Value: place.Continent},
		flint.Header{Name: "x-appwrite-continent-eu", Value: strconv.FormatBool(place.EU)},
	)
	if c.attempt > 0 {
		headers = append(headers, flint.Header{Name: attemptHeader, Value: strconv.Itoa(c.attempt)})
	}
	if c.ClientIP != "" {
		headers = append(headers, flint.Header{Name: "x-appwrite-client-ip", Value: c.ClientIP})
	}
	if c.async {
		headers = append(headers, flint.Header{Name: "x-appwrite-event", Value: c.Event})
	}
	name, port := splitHost(host, scheme)
	pathOnly, query, _ := strings.Cut(path, "?")
	r := &worker.Request{
		Method: c.Method, Scheme: scheme, Host: name, Port: port, Path: pathOnly, QueryString: query,
		Headers: headers, Logging: t.function.Logging, Body: c.Body, More: c.More, Depth: c.Caller.Depth,
	}
	r.URL = requestURL(r)
	return r, kept
}

func requestURL(r *worker.Request) string {
	authority := r.Host
	if !(r.Scheme == "https" && r.Port == 443 || r.Scheme != "https" && r.Port == 80) {
		authority = net.JoinHostPort(r.Host, strconv.Itoa(r.Port))
	}
	url := r.Scheme + "://" + authority + r.Path
	if r.QueryString != "" {
		url += "?" + r.QueryString
	}
	return url
}

// addHeader joins repeated names, as the contract has them.
func addHeader(headers []flint.Header, h flint.Header) []flint.Header {
	for i := range headers {
		if headers[i].Name == h.Name {
			separator := ", "
			if h.Name == "cookie" {
				separator = "; "
			}
			headers[i].Value += separator + h.Value
			return headers
		}
	}
	return append(headers, h)
}

// responseHeaders applies the contract's rules to what a function answered: names in lower case, internal ones dropped,
// a content type with a character set. They take the place of given.
func responseHeaders(given []flint.Header) ([]flint.Header, error) {
	headers := given[:0]
	typed := false
	for _, h := range given {
		name := strings.ToLower(h.Name)
		if strings.HasPrefix(name, internalPrefix) {
			continue
		}
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(h.Value) {
			return nil, fmt.Errorf("The function answered with the header %q, whose name or value HTTP does not allow.", h.Name) //nolint:staticcheck,revive // shown as it is
		}
		if name == "content-type" {
			if typed {
				continue
			}
			typed, h.Value = true, contentType(h.Value)
		}
		headers = append(headers, flint.Header{Name: name, Value: h.Value})
	}
	if !typed {
		headers = append(headers, flint.Header{Name: "content-type", Value: "text/plain; charset=utf-8"})
	}
	return headers, nil
}

// contentType adds the character set that the contract promises.
func contentType(value string) string {
	switch value { // what most functions answer with needs no new text
	case "application/json":
		return "application/json; charset=utf-8"
	case "text/html":
		return "text/html; charset=utf-8"
	}
	lower := strings.ToLower(value)
	if strings.HasPrefix(lower, "multipart/") || strings.Contains(lower, "charset=") {
		return value
	}
	return lower + "; charset=utf-8"
}

var errStatus = errors.New("The function answered with a status code that HTTP does not have.") //nolint:staticcheck,revive // shown as it is

func validStatus(status int) error {
	if status < 200 || status > 599 {
		return errStatus
	}
	return nil
}

// storedHeaders are the response headers that the record keeps.
func storedHeaders(headers []flint.Header) []flint.Header {
	var stored []flint.Header
	for _, h := range headers {
		if flint.StoredResponseHeader(h.Name) {
			stored = append(stored, h)
		}
	}
	return stored
}

// lastOfEach keeps the last value of repeated headers, as the API shows them.
func lastOfEach(headers []flint.Header) []flint.Header {
	kept := make([]flint.Header, 0, len(headers)+1)
	for _, h := range headers {
		found := false
		for i := range kept {
			if kept[i].Name == h.Name {
				kept[i].Value, found = h.Value, true
			}
		}
		if !found {
			kept = append(kept, h)
		}
	}
	return kept
}
