package probe

import (
	"fmt"
	"slices"
	"strings"
)

// Check is one attempt of the attacker.
type Check struct {
	Name  string
	Area  string
	Tries string // what the attacker does
	Why   string // what an attacker has of it
	Grave Weight

	want    []string                     // what the attacker gets where the sandbox holds, or:
	judge   func(h *host, o string) bool // says whether it held
	network bool                         // nothing can hold where the sandbox has the host's network
	attempt func(a *attacker) string     // nil: it shows from outside
}

// Weight is how bad it is that an attempt succeeds.
type Weight int

// The weights.
const (
	Minor   Weight = iota + 1 // one layer of several is missing
	Serious                   // it disturbs others, or tells of them
	Grave                     // it gets at secrets of others or at the host
)

// Areas, in the order of reports.
const (
	areaIdentity   = "identity"
	areaNamespaces = "namespaces"
	areaFiles      = "files and sockets"
	areaProc       = "kernel files"
	areaCalls      = "system calls"
	areaLimits     = "limits"
	areaNetwork    = "network"
	areaOthers     = "other sandboxes"
)

// Checks returns the table of all attempts.
func Checks() []Check {
	return slices.Concat(identityChecks(), namespaceChecks(), fileChecks(), procChecks(), callChecks(), limitChecks(), networkChecks(), otherChecks())
}

// refusals are what the kernel says to those who may not.
func refusals() []string { return []string{"EPERM", "EACCES"} }

// absences are what it says about what is not there.
func absences() []string { return []string{"ENOENT", "EACCES", "EPERM", "ENOTDIR"} }

// unwritable is what it says about what can only be read.
func unwritable() []string { return []string{"EROFS", "EACCES", "EPERM", "ENOENT"} }

func (c *Check) held(h *host, got string) bool {
	if c.judge != nil {
		return c.judge(h, got)
	}
	return slices.Contains(c.want, got)
}

// Verdict is what became of an attempt.
type Verdict string

// The verdicts.
const (
	Held        Verdict = "held"
	Open        Verdict = "open"
	Unprotected Verdict = "not protected" // by the node's settings; Detail says which
)

// Result is a check and what became of it.
type Result struct {
	Name    string  `json:"name"`
	Area    string  `json:"area"`
	Verdict Verdict `json:"verdict"`
	Got     string  `json:"got"` // what the attacker got
	Tries   string  `json:"tries"`
	Why     string  `json:"why"`
	Detail  string  `json:"detail,omitempty"`
	grave   Weight
}

// Grade is the worst of a report: A all held; B what did not is not protected by choice; C, D and F something is open, from
// minor to grave.
type Grade string

// Below says whether the grade is worse than floor. Nothing is below an empty floor.
func (g Grade) Below(floor string) bool { return floor != "" && string(g) > floor }

// Report is what a probe found.
type Report struct {
	Grade       Grade    `json:"grade"`
	Held        int      `json:"held"`
	Unprotected int      `json:"notProtected"`
	Open        int      `json:"open"`
	Checks      []Result `json:"checks"`
}

// report judges what was seen.
func (p *probe) report() *Report {
	r := &Report{Grade: "A"}
	shared := p.seen["net-namespace"].Got == p.host.namespaces["net"]
	for _, c := range Checks() {
		got, ok := p.seen[c.Name]
		res := Result{Name: c.Name, Area: c.Area, Verdict: Open, Got: got.Got, Tries: c.Tries, Why: c.Why, grave: c.Grave}
		switch {
		case !ok:
			res.Detail = "the attacker did not get that far"
		case shared && c.network:
			res.Verdict, res.Detail = Unprotected, "sandboxes have the network of the host"
		case c.held(p.host, got.Got):
			res.Verdict = Held
		}
		r.count(res)
		r.Checks = append(r.Checks, res)
	}
	return r
}

func (r *Report) count(res Result) {
	worst := Grade("A")
	switch res.Verdict {
	case Held:
		r.Held++
	case Unprotected:
		r.Unprotected++
		worst = "B"
	case Open:
		r.Open++
		worst = map[Weight]Grade{Minor: "C", Serious: "D", Grave: "F"}[res.grave]
	}
	r.Grade = max(r.Grade, worst)
}

// Summary says in a line what was found.
func (r *Report) Summary() string {
	s := fmt.Sprintf("grade %s: %d attempts held", r.Grade, r.Held)
	if r.Unprotected > 0 {
		s += fmt.Sprintf(", %d not protected", r.Unprotected)
	}
	var open []string
	for _, c := range r.Checks {
		if c.Verdict == Open {
			open = append(open, c.Name)
		}
	}
	if len(open) > 0 {
		s += fmt.Sprintf(", %d open: %s", len(open), strings.Join(open, ", "))
	}
	return s
}
