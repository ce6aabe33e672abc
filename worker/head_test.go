package worker

import (
	"cmp"
	"encoding/json"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"flint"
)

// FuzzParseHead holds the quick way of reading a head against encoding/json.
func FuzzParseHead(f *testing.F) {
	for _, seed := range []string{
		`{"status":200,"headers":{}}`, `{"status":404,"headers":{"content-type":"text/html","x-a":"ü"}}`,
		`{"headers":{"set-cookie":["a=1","b=2"],"x":"\u00e9\n"},"status":500}`, `{"status":2,"headers":{"a":"1","a":"2"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		if _, _, err := parseHead(head); err != nil {
			return
		}
		status, headers, ok := parsePlainHead(string(head))
		if !ok {
			return
		}
		var want struct {
			Status  int
			Headers map[string]string
		}
		if err := json.Unmarshal(head, &want); err != nil {
			t.Fatalf("%q was read, but is not JSON: %v", head, err)
		}
		names := map[string]bool{}
		for _, h := range headers {
			names[h.Name] = true
		}
		if len(names) != len(headers) {
			return // a name that comes twice: encoding/json keeps the last
		}
		var all []flint.Header
		for name, value := range want.Headers {
			all = append(all, flint.Header{Name: name, Value: value})
		}
		byName := func(a, b flint.Header) int { return cmp.Compare(a.Name, b.Name) }
		slices.SortFunc(all, byName)
		slices.SortFunc(headers, byName)
		if diff := gocmp.Diff(all, headers); diff != "" || status != want.Status {
			t.Errorf("%q: status %d, want %d; headers (-want +got):\n%s", head, status, want.Status, diff)
		}
	})
}
