package flint

import (
	"strconv"
	"time"
)

// Scaling says how many workers a function has and how long they stay. The zero value leaves all of it to the node.
type Scaling struct {
	MinWarm        int       `json:"minWarm,omitempty"`        // workers that are kept ready although nobody calls
	MaxWorkers     int       `json:"maxWorkers,omitempty"`     // 0: as many as the node gives to one function
	CallsPerWorker int       `json:"callsPerWorker,omitempty"` // at once; 0: as many as the language can. It can only lower that
	KeepAlive      KeepAlive `json:"keepAlive,omitempty"`
}

// KeepAlive is how long a worker without calls stays: a number of seconds, or one of the two below.
type KeepAlive int

// Values of KeepAlive that are no number of seconds.
const (
	KeepAliveDefault KeepAlive = 0  // the node's
	KeepAliveLearned KeepAlive = -1 // learned from the times at which the function was called
)

// Bounds of Scaling.
const (
	MaxMinWarm        = 100
	MaxMaxWorkers     = 1000
	MaxCallsPerWorker = 1000
	MaxKeepAlive      = 24 * time.Hour
)

// ParseKeepAlive reads default, learned, or a number of seconds from 1 to those of MaxKeepAlive.
func ParseKeepAlive(s string) (KeepAlive, bool) {
	switch s {
	case "", "default":
		return KeepAliveDefault, true
	case "learned":
		return KeepAliveLearned, true
	}
	n, err := strconv.Atoi(s)
	return KeepAlive(n), err == nil && n >= 1 && n <= int(MaxKeepAlive/time.Second)
}

func (k KeepAlive) String() string {
	switch k {
	case KeepAliveDefault:
		return "default"
	case KeepAliveLearned:
		return "learned"
	}
	return strconv.Itoa(int(k))
}

// Duration returns how long workers stay when the node's own answer is fallback.
func (k KeepAlive) Duration(fallback time.Duration) time.Duration {
	if k <= 0 {
		return fallback
	}
	return time.Duration(k) * time.Second
}

// Check returns what is wrong with s: the name of the field and why. maxWorkers are those of the node.
func (s Scaling) Check(maxWorkers int) (field, why string) {
	switch {
	case s.MinWarm < 0 || s.MinWarm > MaxMinWarm:
		return "minWarm", "Value must be a valid range between 0 and " + strconv.Itoa(MaxMinWarm)
	case s.MaxWorkers < 0 || s.MaxWorkers > MaxMaxWorkers:
		return "maxWorkers", "Value must be a valid range between 0 and " + strconv.Itoa(MaxMaxWorkers)
	case s.CallsPerWorker < 0 || s.CallsPerWorker > MaxCallsPerWorker:
		return "callsPerWorker", "Value must be a valid range between 0 and " + strconv.Itoa(MaxCallsPerWorker)
	case s.MaxWorkers > 0 && s.MinWarm > s.MaxWorkers:
		return "minWarm", "Value must not be larger than maxWorkers, which is " + strconv.Itoa(s.MaxWorkers)
	case maxWorkers > 0 && s.MinWarm > maxWorkers:
		return "minWarm", "Value must not be larger than the number of workers that this node has for all functions, which is " + strconv.Itoa(maxWorkers)
	}
	return "", ""
}
