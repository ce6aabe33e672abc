package functions

import (
	"strings"

	"flint"
)

// checkEvent says what is wrong with an event that is to trigger a function. A function must not trigger itself.
func checkEvent(event string) string {
	switch {
	case strings.HasPrefix(event, "functions."):
		return "Triggering a function on a function event is not allowed."
	case !flint.ValidEventName(event):
		return "Event is not valid."
	}
	return ""
}
