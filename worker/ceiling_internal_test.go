package worker

import "testing"

// serve plays a function for some seconds: demand calls come in each, of which those that find no room wait, and the
// function ends as many as rate says for the number in flight. It returns the calls in flight at the end.
func serve(c *ceiling, seconds, demand int, rate func(inFlight int) float64) (inFlight int, ended float64) {
	return play(c, 1, seconds, demand, rate, false)
}

// play is serve with several steps in each second, and for workers that may be short of processors.
func play(c *ceiling, steps, seconds, demand int, rate func(inFlight int) float64, hot bool) (inFlight int, ended float64) {
	const most = 400
	waiting, flying := 0.0, 0.0
	per := float64(steps)
	for range seconds {
		mean, done := 0.0, 0.0
		for range steps {
			waiting = min(waiting+float64(demand)/per, 2000)
			room := float64(min(most, c.most()))
			enter := max(0, min(waiting, room-flying))
			waiting -= enter
			flying += enter
			mean += flying / per
			now := min(flying, rate(int(flying))/per)
			done += now
			flying -= now
			again := max(0, min(waiting, room-flying)) // slots are taken again at once
			waiting -= again
			flying += again
		}
		ended += done
		c.look(flow{rate: done, mean: mean, workers: 4, hot: hot, inFlight: int(flying), waiting: int(waiting)})
	}
	return int(flying), ended
}

func TestCeiling(t *testing.T) {
	t.Parallel()
	busy := func(int) float64 { return 40 }                                 // processors do 40 calls a second
	sleepy := func(inFlight int) float64 { return float64(inFlight) / 5 }   // each call takes five seconds
	quick := func(inFlight int) float64 { return float64(inFlight) / 0.05 } // each takes 50 ms

	t.Run("workers that are short of processors", func(t *testing.T) {
		t.Parallel()
		var c ceiling
		play(&c, 10, 5, 30, busy, true)
		if inFlight, _ := play(&c, 10, 6, 200, busy, true); inFlight > 30 {
			t.Errorf("%d calls in flight, want about what ends in half a second", inFlight)
		}
		if _, ended := play(&c, 10, 30, 200, busy, true); ended < 0.95*30*40 {
			t.Errorf("%v calls ended", ended)
		}
		if play(&c, 10, 60, 10, busy, true); c.limit != 0 {
			t.Errorf("a limit of %d is left", c.limit)
		}
	})
	t.Run("calls that wait for something else", func(t *testing.T) {
		t.Parallel()
		var c ceiling
		serve(&c, 10, 5, quick) // the function has calls of both kinds
		inFlight, ended := serve(&c, 60, 200, sleepy)
		if c.limit != 0 || inFlight < 390 || ended < 60*70 {
			t.Errorf("a limit of %d, %d in flight, %v ended", c.limit, inFlight, ended)
		}
	})
	t.Run("long calls after short ones", func(t *testing.T) {
		t.Parallel()
		var c ceiling
		c.look(flow{rate: 5, mean: 0.5, workers: 1})
		for range 60 {
			if c.look(flow{rate: 2, mean: 20, inFlight: 20, workers: 1}); c.most() < firstFlood {
				t.Fatalf("no more than %d of the calls that only wait are let in at once", c.most())
			}
		}
	})
	t.Run("a cut that was wrong is taken back", func(t *testing.T) {
		t.Parallel()
		var c ceiling
		play(&c, 10, 90, 200, sleepy, true)
		if c.regret == 0 || c.limit != 0 {
			t.Errorf("a limit of %d is left; cuts were taken back: %v", c.limit, c.regret > 0)
		}
		if inFlight, _ := play(&c, 10, 10, 200, sleepy, true); inFlight < 390 {
			t.Errorf("%d calls in flight", inFlight)
		}
	})
	t.Run("a flood", func(t *testing.T) {
		t.Parallel()
		var c ceiling
		play(&c, 10, 5, 5, busy, true)
		if inFlight, _ := play(&c, 10, 1, 2000, busy, true); inFlight > firstFlood {
			t.Errorf("%d calls are let in at once", inFlight)
		}
		c = ceiling{}
		if inFlight, _ := serve(&c, 4, 2000, sleepy); inFlight < 390 {
			t.Errorf("%d calls are let in when none of them is slower for it", inFlight)
		}
	})
	t.Run("quick calls", func(t *testing.T) {
		t.Parallel()
		var c ceiling
		serve(&c, 60, 500, quick)
		if c.limit != 0 {
			t.Errorf("a limit of %d", c.limit)
		}
	})
}
