package conformance

import "testing"

// language is what the contract lets a language do in its own way. A language that has no row here has none of its own:
// it is played with the canonical behaviour, and only its entrypoint must be known.
type language struct {
	key        string
	runtime    string // what the node offers
	entrypoint string
	commands   string

	text map[string]string // names of texts to what they are in this language; what is missing is canonical

	decodesPath  bool // path is percent-decoded
	decodesQuery bool // values of query are form-decoded
	decodesText  bool // queryString is decoded as a whole
	firstWins    bool // of query keys that are repeated
	oneCookie    bool // only one set-cookie header can be answered
	noMissing    bool // a function cannot forget its return value
	exactJSON    bool // body is parsed for the type application/json alone, without parameters
	badEscapes   bool // a query with a bad escape fails the call
	onePrinter   bool // nothing tells whose of several calls at once printed a text: the newest gets it

	exception []string // what errors hold after an exception
	broken    []broken
}

// broken is a deployment that cannot work, and what says so.
type broken struct {
	name       string
	files      map[string]string
	entrypoint string
	build      string // the build fails and its log holds this; empty: it succeeds
	errors     string // the execution fails with 503 and its errors hold this
}

// canonical texts, by name.
var canonical = map[string]string{
	"true":   "true",
	"object": `{"objectKey":"objectValue"}`,
	"list":   `["arrayValue"]`,
	"notice": "Native logs detected. Use context.log() or context.error() for better experience.",
	"return": "Return statement missing. return context.res.empty() if no response is expected.",
}

func (l *language) says(name string) string {
	if own, ok := l.text[name]; ok {
		return own
	}
	return canonical[name]
}

var languages = map[string]language{
	"node": {
		entrypoint: "index.js",
		exception:  []string{"Error: Error!", "index.js:"},
		broken: []broken{
			{
				name: "missing entrypoint", files: map[string]string{"other.js": "module.exports = 1"}, entrypoint: "src/main.js",
				errors: "Failed to load entrypoint, file src/main.js does not exist.",
			},
			{
				name: "no handler", files: map[string]string{"main.js": "exports.main = () => {}"}, entrypoint: "main.js",
				errors: "Function signature invalid. Did you forget to export a 'main' function?",
			},
			{
				name: "syntax error", files: map[string]string{"main.js": "module.exports = async ({ res }) => {"}, entrypoint: "main.js",
				errors: "Syntax error in main.js: ",
			},
			{
				name: "missing package", files: map[string]string{"main.js": "require('no-such-package')"}, entrypoint: "main.js",
				errors: "Failed to load module: Cannot find module 'no-such-package'",
			},
			{
				name: "top-level error", files: map[string]string{"main.js": "throw new Error('not today')"}, entrypoint: "main.js",
				errors: "Failed to load module: not today",
			},
		},
	},
	"python": {
		entrypoint:  "main.py",
		text:        map[string]string{"true": "True"},
		decodesPath: true, decodesQuery: true, decodesText: true,
		exception: []string{"Traceback (most recent call last):", "Exception: Error!", "main.py"},
		broken: []broken{
			{
				name: "missing entrypoint", files: map[string]string{"other.py": "x = 1"}, entrypoint: "src/main.py",
				errors: "Failed to load entrypoint, file src/main.py does not exist.",
			},
			{
				name: "no handler", files: map[string]string{"main.py": "x = 1"}, entrypoint: "main.py",
				errors: "main",
			},
			{
				name: "syntax error", files: map[string]string{"main.py": "def main(context:\n"}, entrypoint: "main.py",
				errors: "Syntax error in ",
			},
			{
				name: "missing package", files: map[string]string{"main.py": "import no_such_package"}, entrypoint: "main.py",
				errors: "Module not found: no_such_package",
			},
			{
				name: "top-level error", files: map[string]string{"main.py": "raise Exception('not today')"}, entrypoint: "main.py",
				errors: "Failed to load module: ",
			},
		},
	},
	"go": {
		entrypoint: "main.go",
		text: map[string]string{
			"notice": "Native logs detected. Use context.Log() or context.Error() for better experience.",
			"object": `map[string]string{"objectKey":"objectValue"}`,
			"list":   `[]string{"arrayValue"}`,
		},
		decodesPath: true, decodesQuery: true, firstWins: true, noMissing: true, exactJSON: true, badEscapes: true, onePrinter: true,
		exception: []string{"Error!"},
		broken: []broken{
			{
				name: "syntax error", entrypoint: "main.go",
				files: map[string]string{"go.mod": "module openruntimes/handler\n\ngo 1.23\n", "main.go": "package handler\n\nfunc Main("},
				build: "main.go:3",
			},
			{
				name: "no handler", entrypoint: "main.go",
				files: map[string]string{"go.mod": "module openruntimes/handler\n\ngo 1.23\n", "main.go": "package handler\n"},
				build: "Package handler has no Main",
			},
			{
				name: "other module", entrypoint: "main.go",
				files: map[string]string{"go.mod": "module example.com/mine\n\ngo 1.23\n", "main.go": "package handler\n"},
				build: "The module in go.mod is called 'example.com/mine'",
			},
		},
	},
}

// choose returns a text by a property of the language.
func choose(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

func TestLanguagesAreFixtures(t *testing.T) {
	known := fixtures(t)
	for key := range languages {
		if _, ok := known[key]; !ok {
			t.Errorf("language %q has a row but no fixture", key)
		}
	}
}
