package functions_test

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"flint"
	"flint/api/apitest"
)

func TestReceipts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.function(t, "f")
	for id, r := range map[flint.ExecutionID]*flint.Receipt{
		"all": {
			Queue: 1500 * time.Microsecond, ColdStart: 20 * time.Millisecond, Run: time.Second, CPU: 700 * time.Millisecond, PeakMemory: 64 << 20,
			RequestBytes: 3, ResponseBytes: 5,
		},
		"shared":  {Run: time.Second, CPU: 0, PeakMemory: 1, Shared: true, Estimated: true, PeakOfStart: true},
		"unknown": {CPU: -1, PeakMemory: -1},
		"none":    nil,
	} {
		e := &flint.Execution{Project: apitest.Project, ID: id, Function: "f", Status: flint.ExecutionCompleted, Receipt: r}
		if err := b.Store.AppendExecution(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	const root = "/v1/flint/functions/f/executions/"
	apitest.Run(t, b, []apitest.Scenario{
		{Name: "all of it", As: apitest.Key, Method: "GET", Path: root + "all/receipt", Status: 200, Want: `{"functionId":"f","executionId":"all","queueTime":0.0015,"coldStart":true,
			"coldStartTime":0.02,"runTime":1,"cpuTime":0.7,"peakMemory":67108864,"peakMemorySince":"call","shared":false,"estimated":false,"requestBytes":3,"responseBytes":5}`},
		{Name: "of a shared worker", As: apitest.Key, Method: "GET", Path: root + "shared/receipt", Status: 200, Want: `{"coldStart":false,"cpuTime":0,"shared":true,"estimated":true,"peakMemorySince":"worker"}`},
		{Name: "not known", As: apitest.Key, Method: "GET", Path: root + "unknown/receipt", Status: 200, Want: `{"cpuTime":null,"peakMemory":null}`},
		{Name: "none", As: apitest.Key, Method: "GET", Path: root + "none/receipt", Status: 404, Type: "execution_receipt_not_found"},
		{Name: "no execution", As: apitest.Key, Method: "GET", Path: root + "nope/receipt", Status: 404, Type: "execution_not_found"},
		{Name: "no function", As: apitest.Key, Method: "GET", Path: "/v1/flint/functions/g/executions/all/receipt", Status: 404, Type: "function_not_found"},
		{Name: "guests", As: apitest.Guest, Method: "GET", Path: root + "all/receipt", Status: 401, Type: "general_unauthorized_scope"},
		{Name: "the reference's model has nothing of it", As: apitest.Key, Method: "GET", Path: "/v1/functions/f/executions/all", Status: 200, Want: `{"$id":"all"}`, Check: func(t *testing.T, _ *http.Response, got []byte) {
			if bytes.Contains(bytes.ToLower(got), []byte("receipt")) || bytes.Contains(got, []byte("queueTime")) {
				t.Errorf("%s", got)
			}
		}},
	})
}
