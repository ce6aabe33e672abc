package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// served checks that an answer is that of testdata/work whose worker had served so many calls before, or any if before is
// negative.
func served(o outcome, before int) error {
	got, err := servedBefore(o)
	if err == nil && before >= 0 && got != before {
		err = fmt.Errorf("the worker had served %d calls instead of %d", got, before)
	}
	return err
}

// servedBefore returns how many calls the worker had served before, which its right answer says.
func servedBefore(o outcome) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	var body struct {
		Served *int `json:"served"`
	}
	if err := json.Unmarshal(o.body, &body); err != nil || o.status != http.StatusOK || body.Served == nil {
		return 0, fmt.Errorf("wrong answer after %s: status %d, %.60q", o.took.Round(time.Millisecond), o.status, o.body)
	}
	return *body.Served, nil
}

// refused reports whether an answer says that there is too much to do, which is right under overload.
func refused(o outcome) bool {
	return o.err == nil && (o.status == http.StatusTooManyRequests || o.status == http.StatusServiceUnavailable)
}

// failed reports whether an answer says that the call has failed or was refused. Such calls are counted; a wrong answer
// ends the measurement.
func failed(o outcome) bool { return o.err == nil && o.status >= http.StatusBadRequest }
