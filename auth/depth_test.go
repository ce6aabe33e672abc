package auth_test

import (
	"testing"
	"time"
)

func TestAFunctionsKeySaysHowManyWaitAndWhatLedToIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for key, want := range map[string]int{
		b.signer.FunctionKey("demo", nil, 2, 5, time.Minute): 2,
		b.signer.EphemeralKey("demo", nil, time.Minute):      0,
		"standard_good": 0,
	} {
		p, err := b.Authenticate(request("/", "X-Appwrite-Project", "demo", "X-Appwrite-Key", key))
		if err != nil {
			t.Fatal(err)
		}
		if p.Depth != want {
			t.Errorf("depth %d, want %d", p.Depth, want)
		}
		if hops := map[int]int{2: 5}[want]; p.Hops != hops || p.Actor().Hops != hops {
			t.Errorf("%d hops, want %d", p.Hops, hops)
		}
	}
}
