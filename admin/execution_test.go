package admin

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint"
	"flint/client"
)

func TestExecution(t *testing.T) {
	t.Parallel()
	c, s := setup(t, nil)
	ctx := t.Context()
	for _, e := range []*flint.Execution{
		{Project: "p", Function: "f", ID: "old", Status: flint.ExecutionCompleted},
		{Project: "p", Function: "f", ID: "new", Status: flint.ExecutionCompleted, Receipt: &flint.Receipt{Run: time.Second, CPU: time.Millisecond, PeakMemory: -1, Shared: true, RequestBytes: 7}},
	} {
		if err := s.AppendExecution(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := c.Execution(ctx, "p", "old"); err != nil || e.Function != "f" || e.Receipt != nil {
		t.Errorf("one without a receipt: %+v, %v", e, err)
	}
	e, err := c.Execution(ctx, "p", "new")
	if err != nil {
		t.Fatal(err)
	}
	cpu := 0.001
	want := &client.Receipt{RunTime: 1, CPUTime: &cpu, PeakMemorySince: "call", Shared: true, RequestBytes: 7}
	if diff := cmp.Diff(want, e.Receipt); diff != "" {
		t.Errorf("receipt (-want +got):\n%s", diff)
	}
	for project, id := range map[string]string{"p": "none", "other": "new"} {
		if _, err := c.Execution(ctx, project, id); err == nil {
			t.Errorf("execution %s of %s was found", id, project)
		}
	}
}
