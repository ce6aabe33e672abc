package invoke

import (
	"context"
	"errors"
	"testing"

	"flint"
	"flint/runtimes"
)

var testRuntime = &runtimes.Runtime{ID: "node-22", Language: &runtimes.Language{Key: "node"}}

func TestTargetsAreReadOnceUntilTheyChange(t *testing.T) {
	t.Parallel()
	loads := 0
	cache := newTargets(func(context.Context, functionKey) (*target, error) {
		loads++
		return &target{function: &flint.Function{}}, nil
	})
	get := func(function flint.FunctionID) {
		t.Helper()
		if _, err := cache.get(t.Context(), "p", function); err != nil {
			t.Fatal(err)
		}
	}
	get("a")
	get("a")
	get("b")
	if loads != 2 {
		t.Fatalf("%d loads, want 2", loads)
	}
	cache.forget("p", "a")
	get("a")
	get("b")
	if loads != 3 {
		t.Errorf("%d loads after a changed, want 3", loads)
	}
	cache.forget("p", "") // a variable of the project
	get("a")
	get("b")
	if loads != 5 {
		t.Errorf("%d loads after the project changed, want 5", loads)
	}
}

func TestWhatWasReadBeforeAChangeIsNotKept(t *testing.T) {
	t.Parallel()
	for _, changed := range []flint.FunctionID{"f", ""} {
		loads := 0
		var cache *targets
		cache = newTargets(func(context.Context, functionKey) (*target, error) {
			if loads++; loads == 1 {
				cache.forget("p", changed) // it changes while it is read
			}
			return &target{function: &flint.Function{}}, nil
		})
		for range 3 {
			if _, err := cache.get(t.Context(), "p", "f"); err != nil {
				t.Fatal(err)
			}
		}
		if loads != 2 {
			t.Errorf("forget(%q): %d loads, want 2: the first was stale", changed, loads)
		}
	}
}

func TestForgettingAllIncludesWhatIsBeingRead(t *testing.T) {
	t.Parallel()
	loads := 0
	var cache *targets
	cache = newTargets(func(context.Context, functionKey) (*target, error) {
		if loads++; loads == 2 {
			if keys := cache.forgetAll(); len(keys) != 1 || keys[0] != (functionKey{"p", "a"}) {
				t.Errorf("forgot %v", keys)
			}
		}
		return &target{function: &flint.Function{}}, nil
	})
	for _, f := range []flint.FunctionID{"a", "b", "a", "b", "a", "b"} {
		if _, err := cache.get(t.Context(), "p", f); err != nil {
			t.Fatal(err)
		}
	}
	if loads != 4 {
		t.Errorf("%d loads, want each once more after everything was forgotten", loads)
	}
}

func TestFailuresAreNotKept(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	fail := true
	cache := newTargets(func(context.Context, functionKey) (*target, error) {
		if fail {
			return nil, boom
		}
		return &target{}, nil
	})
	if _, err := cache.get(t.Context(), "p", "f"); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	fail = false
	if _, err := cache.get(t.Context(), "p", "f"); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestWhatWasStaysUntilItIsReplaced(t *testing.T) {
	t.Parallel()
	loads := 0
	cache := newTargets(func(context.Context, functionKey) (*target, error) {
		loads++
		return &target{function: &flint.Function{}}, nil
	})
	get := func() *target {
		t.Helper()
		got, err := cache.get(t.Context(), "p", "f")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	key := functionKey{"p", "f"}
	was := get()
	first, second := &target{}, &target{}
	first.setOrder(cache.mark(key))
	second.setOrder(cache.mark(key))
	if get() != was || loads != 1 {
		t.Error("a change that is only noted is met already")
	}
	cache.put(key, second)
	cache.put(key, first) // read before, put later
	if get() != second {
		t.Error("what was read earlier replaced what was read later")
	}
	cache.forget("p", "f")
	cache.put(key, second)
	if got := get(); got == second || loads != 2 {
		t.Error("what was read before a change came back after it")
	}
	if now := get(); now.order <= second.order {
		t.Errorf("order %d of what was read last, %d before", now.order, second.order)
	}
}

// What is about to change is read at each call, even while it is in memory, and what a call read of it then is never kept.
func TestWhatChangesIsReadAnew(t *testing.T) {
	t.Parallel()
	loads := 0
	cache := newTargets(func(context.Context, functionKey) (*target, error) {
		loads++
		return &target{function: &flint.Function{}}, nil
	})
	get := func(f flint.FunctionID) *target {
		t.Helper()
		got, err := cache.get(t.Context(), "p", f)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	was, other := get("f"), get("other")
	first, second := cache.hold(functionKey{"p", "f"}), cache.hold(functionKey{"p", "f"})
	one, two := get("f"), get("f")
	if one == was || two == one || loads != 4 {
		t.Errorf("%d loads of two functions, want one more for each call meanwhile", loads)
	}
	if was.order >= one.order || one.order >= two.order {
		t.Errorf("orders %d, %d, %d of what was read one after the other", was.order, one.order, two.order)
	}
	if get("other") != other || loads != 4 {
		t.Error("another function was read anew")
	}
	first()
	if get("f"); loads != 5 {
		t.Error("one of two changes is over, and the other is forgotten")
	}
	cache.forget("p", "f")
	second()
	now := get("f")
	if now.order <= two.order || get("f") != now || loads != 6 {
		t.Errorf("%d loads and order %d after the changes", loads, now.order)
	}
	if len(cache.held) > 0 {
		t.Errorf("held for ever: %v", cache.held)
	}
}
