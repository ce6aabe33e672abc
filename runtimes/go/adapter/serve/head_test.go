package serve

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const typical = `{"method":"POST","scheme":"https","host":"a.example","port":443,"path":"/x","queryString":"a=b",` +
	`"url":"https://a.example/x?a=b","headers":{"accept":"*/*","accept-encoding":"gzip, deflate, br","accept-language":"en",` +
	`"content-type":"application/json","cookie":"a=1; b=2","host":"a.example","origin":"https://a.example",` +
	`"sec-ch-ua":"\"Chromium\";v=\"131\"","sec-fetch-mode":"cors","user-agent":"Mozilla/5.0 (X11; Linux x86_64)",` +
	`"x-appwrite-trigger":"http","x-appwrite-user-id":"","x-appwrite-country-code":"de","x-appwrite-client-ip":"192.0.2.1"},` +
	`"logging":true}`

func TestParseRequestHead(t *testing.T) {
	tests := []struct {
		name, in string
		want     requestHead
		fails    bool
	}{
		{name: "empty", in: `{}`, want: requestHead{logging: true}},
		{name: "spaces", in: " { \"port\" :\n80 , \"logging\" : false } ", want: requestHead{port: 80}},
		{
			name: "unknown members", in: `{"a":[1,{"b":"]"}],"c":{"d":[]},"e":null,"method":"GET","f":-1.5e3}`,
			want: requestHead{method: "GET", logging: true},
		},
		{
			name: "escapes", in: `{"headers":{"a\u00e9":"\"\ud83d\ude00\\"},"host":"ü","path":"/\"\n"}`,
			want: requestHead{headers: map[string]string{"aé": "\"😀\\"}, host: "ü", path: "/\"\n", logging: true},
		},
		{name: "nothing", in: ``, fails: true},
		{name: "open", in: `{"method":"GET"`, fails: true},
		{name: "open string", in: `{"method":"GET`, fails: true},
		{name: "open escape", in: `{"method":"GET\`, fails: true},
		{name: "no colon", in: `{"method" "GET"}`, fails: true},
		{name: "comma at the end", in: `{"method":"GET",}`, fails: true},
		{name: "more", in: `{}{}`, fails: true},
		{name: "port as text", in: `{"port":"80"}`, fails: true},
		{name: "header as number", in: `{"headers":{"a":1}}`, fails: true},
		{name: "brackets", in: `{"x":[[}`, fails: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseRequestHead(test.in)
			if test.fails {
				if !errors.Is(err, errProtocol) {
					t.Errorf("error is %v", err)
				}
				return
			}
			if test.want.headers == nil {
				test.want.headers = map[string]string{}
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(requestHead{})); err != nil || diff != "" {
				t.Errorf("error %v, head (-want +got):\n%s", err, diff)
			}
		})
	}
}

// FuzzParseRequestHead holds the parser to encoding/json where that accepts the text.
func FuzzParseRequestHead(f *testing.F) {
	f.Add(typical)
	f.Add(`{"headers":{"a\u00e9":"\"\ud83d"},"x":[{},[]],"port":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		var want struct {
			Method  *string
			Port    *int
			Headers map[string]string
		}
		got, err := parseRequestHead(text)
		exact := map[string]json.RawMessage{} // encoding/json folds the case of names, the parser does not
		if json.Unmarshal([]byte(text), &exact) != nil || json.Unmarshal([]byte(text), &want) != nil || err != nil {
			return
		}
		for name := range exact {
			switch name {
			case "method", "headers", "port":
			default:
				return
			}
		}
		if want.Method != nil && got.method != *want.Method || want.Port != nil && got.port != *want.Port {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestAppendResponseHead(t *testing.T) {
	tests := []struct {
		name    string
		status  int
		headers map[string]string
		want    string
	}{
		{name: "zero", want: `{"status":200,"headers":{}}`},
		{name: "one", status: 404, headers: map[string]string{"A": "b"}, want: `{"status":404,"headers":{"A":"b"}}`},
		{name: "escapes", headers: map[string]string{"a": "\"\\\x00é"}, want: `{"status":200,"headers":{"a":"\"\\\u0000é"}}`},
		{
			name: "cookies", headers: map[string]string{"Set-Cookie": "a=1\r\nb=2"},
			want: `{"status":200,"headers":{"Set-Cookie":["a=1","b=2"]}}`,
		},
		{name: "lines elsewhere", headers: map[string]string{"a": "1\n2"}, want: `{"status":200,"headers":{"a":"1\n2"}}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := string(appendResponseHead(nil, test.status, test.headers)); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func BenchmarkParseRequestHead(b *testing.B) {
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := parseRequestHead(typical); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var head struct {
				Method, Scheme, Host, Path, QueryString, URL string
				Port                                         int
				Headers                                      map[string]string
			}
			if err := json.Unmarshal([]byte(typical), &head); err != nil {
				b.Fatal(err)
			}
		}
	})
}
