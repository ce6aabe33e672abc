// Package runtimes knows the languages that functions may be written in. A language is one folder here: runtime.json (its
// versions, how its toolchain is found, how its workers start), adapter/ (what speaks the worker protocol for it), build/
// (what a build does beside the user's commands), fixture/ (the function that the conformance suite calls). Adding a
// language adds a folder and no Go code.
package runtimes

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"
)

//go:embed all:*/runtime.json all:*/adapter all:*/build build.sh
var files embed.FS

// Paths that the contract fixes, as a worker or a build sees them.
const (
	ServerDir    = "/usr/local/server"              // working directory of a worker
	ExchangeDir  = "/usr/local/server/src"          // holds the code and the worker's socket
	CodeDir      = "/usr/local/server/src/function" // the deployment's package
	AdapterDir   = "/usr/local/server/adapter"      // the language's adapter
	HooksDir     = "/usr/local/server/hooks"        // the language's build scripts
	BuildDir     = "/usr/local/build"               // working directory of a build
	CacheDir     = "/usr/local/cache"               // dependency caches of a build
	SeedDir      = "/usr/local/seed"                // caches that Flint filled itself, read-only
	ToolchainDir = "/usr/local/toolchain"           // a toolchain that Flint installed
	SocketName   = "worker.sock"                    // in ExchangeDir
)

// Language is one folder of this package.
type Language struct {
	Key       string    `json:"key"`
	Name      string    `json:"name"`
	Order     int       `json:"order"` // place in lists
	Versions  []Version `json:"versions"`
	Toolchain Finder    `json:"toolchain"`
	Worker    Worker    `json:"worker"`
}

// Version is one version of a language that functions may ask for.
type Version struct {
	Version  string   `json:"version"`
	Match    string   `json:"match"` // prefix of the toolchain versions that serve it
	Base     string   `json:"base"`  // the reference's base image; shown by the API
	Supports []string `json:"supports"`
}

// Finder says how a language's toolchain is found on the host. {version}, {match} and {id} stand for the version's.
type Finder struct {
	Executables []string `json:"executables"` // looked for on PATH
	Probe       []string `json:"probe"`       // arguments; prints the version, then one path per line that it needs
	NPM         []string `json:"npm"`         // packages that hold it, for Install; empty: Install cannot fetch it
	Also        []string `json:"also"`        // further programs that builds like to have
	Hint        string   `json:"hint"`        // how to get it
}

// Worker says how a language's workers start. {executable} and {adapter} stand for paths in the sandbox.
type Worker struct {
	Command     []string `json:"command"`     // of a stem that waits for a function
	Exec        string   `json:"exec"`        // for compiled languages instead: the program in the package
	Concurrency int      `json:"concurrency"` // requests at once, unless the worker says otherwise
	Dedicated   []string `json:"dedicated"`   // variables (NAME or PREFIX*) that the process must be started with
}

// NeedsDedicated reports whether a worker with these variables cannot come from a stem, because the language reads one of
// them when its process starts.
func (w *Worker) NeedsDedicated(env map[string]string) bool {
	for name := range env {
		for _, pattern := range w.Dedicated {
			prefix, wild := strings.CutSuffix(pattern, "*")
			if name == pattern || wild && strings.HasPrefix(name, prefix) {
				return true
			}
		}
	}
	return false
}

// Languages returns every language, in the order of the reference's lists.
func Languages() ([]*Language, error) {
	names, err := fs.Glob(files, "*/runtime.json")
	if err != nil {
		return nil, err
	}
	var all []*Language
	for _, name := range names {
		raw, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		l := &Language{}
		if err := json.Unmarshal(raw, l); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if dir := path.Dir(name); l.Key != dir || len(l.Versions) == 0 || l.Worker.Concurrency < 1 ||
			(len(l.Worker.Command) == 0) == (l.Worker.Exec == "") {
			return nil, fmt.Errorf("%s: key, versions, worker.concurrency and one of worker.command and worker.exec are needed", name)
		}
		all = append(all, l)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Order < all[j].Order })
	return all, nil
}
