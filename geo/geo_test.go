package geo_test

import (
	"testing"

	"flint"
	"flint/geo"
)

func TestLocate(t *testing.T) {
	t.Parallel()
	db, err := geo.Open("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	for address, want := range map[string]flint.Place{
		"8.8.8.8":            {Country: "US", Continent: "NA"},
		"::ffff:8.8.8.8":     {Country: "US", Continent: "NA"},
		"193.0.6.139":        {Country: "NL", Continent: "EU", EU: true},
		"2001:67c:2e8:22::1": {Country: "NL", Continent: "EU", EU: true},
		"200.160.2.3":        {Country: "BR", Continent: "SA"},
		"127.0.0.1":          {},
		"10.1.2.3":           {},
		"":                   {},
		"no address":         {},
	} {
		if got := db.Locate(address); got != want {
			t.Errorf("%s is in %+v, want %+v", address, got, want)
		}
	}
	if _, err := geo.Open("/does/not/exist"); err == nil {
		t.Error("a file that is not there opens")
	}
}

func BenchmarkLocate(b *testing.B) {
	db, err := geo.Open("")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		db.Locate("193.0.6.139")
	}
}
