package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// The statistics of a day of serverless functions as Shahrad et al. have published them ("Serverless in the Wild", USENIX
// ATC '20, on the Azure Functions trace of 2019), as far as a replay of minutes can have them.
const (
	traceFunctions = 500
	// Invocations in a day: 45 % of the applications have at most one in an hour, 81 % at most one in a minute. In
	// powers of ten that is a normal distribution with this mean and deviation.
	rateMean, rateDeviation = 1.60, 1.77
	rateWidest              = 3.0 // powers of ten between the mean and the ends, which are cut off
	traceRate               = 50  // calls in a second on average: the shape is the trace's, the sum is what a small machine does
	// How long a function runs on average: log-normal, in logarithms of seconds. The median is 0.68 s.
	durationMean, durationDeviation = -0.38, 2.36
	callDeviation                   = 0.3 // of single calls around their function's own median
	shortest, longest               = 10 * time.Millisecond, 10 * time.Second
	timers, bursty                  = 0.16, 0.40 // shares of functions called by a clock, and in bursts; the others at random
	burstSize                       = 6.0        // calls of a burst on average
	baseload                        = 0.5        // share of the day's highest rate that the night has too
)

// invocation is a call of the day.
type invocation struct {
	at       time.Duration
	function int
	runs     time.Duration // how long the function waits before it answers
}

// makeTrace returns the calls of a day that lasts d, in the order of their times: the same for the same seed.
func makeTrace(seed uint64, d time.Duration) []invocation {
	r := rand.New(rand.NewPCG(seed, 1))
	rates := traceRates(r)
	sum := 0.0
	for _, rate := range rates {
		sum += rate
	}
	for i := range rates {
		rates[i] *= traceRate / sum
	}
	var all []invocation
	for f, rate := range rates {
		all = append(all, callsOf(r, f, rate, d)...)
	}
	slices.SortStableFunc(all, func(a, b invocation) int { return int(a.at - b.at) })
	return all
}

// callsOf returns the calls of a function that is called so many times a second on average.
func callsOf(r *rand.Rand, f int, rate float64, d time.Duration) []invocation {
	var all []invocation
	median := math.Exp(durationMean + durationDeviation*r.NormFloat64())
	for _, at := range arrivals(r, rate, d.Seconds()) {
		seconds := median * math.Exp(callDeviation*r.NormFloat64())
		runs := min(max(time.Duration(min(seconds, 3600)*float64(time.Second)), shortest), longest)
		all = append(all, invocation{time.Duration(at * float64(time.Second)), f, runs.Round(time.Millisecond)})
	}
	return all
}

// traceRates returns how often each function is called in a second of a day that lasts a day, very unequally.
func traceRates(r *rand.Rand) []float64 {
	rates := make([]float64, traceFunctions)
	for i := range rates {
		power := math.Inf(1)
		for math.Abs(power-rateMean) > rateWidest {
			power = rateMean + rateDeviation*r.NormFloat64()
		}
		rates[i] = math.Pow(10, power) / (24 * time.Hour).Seconds()
	}
	return rates
}

// arrivals returns when a function is called, in seconds: at least once a day.
func arrivals(r *rand.Rand, rate, day float64) []float64 {
	var times []float64
	switch kind := r.Float64(); {
	case kind < timers:
		period := min(1/rate, day)
		for t := r.Float64() * period; t < day; t += period {
			times = append(times, t)
		}
	case kind < timers+bursty:
		for t := r.ExpFloat64() * burstSize / rate; t < day; t += r.ExpFloat64() * burstSize / rate {
			if r.Float64() > daylight(t/day) {
				continue
			}
			for at := t; at < day; at += r.ExpFloat64() * 0.1 / rate {
				times = append(times, at)
				if r.Float64() < 1/burstSize {
					break
				}
			}
		}
	default:
		for t := r.ExpFloat64() / rate; t < day; t += r.ExpFloat64() / rate {
			if r.Float64() <= daylight(t/day) {
				times = append(times, t)
			}
		}
	}
	if len(times) == 0 {
		times = append(times, r.Float64()*day)
	}
	return times
}

// daylight is the rate at a time of the day as a share of the highest.
func daylight(part float64) float64 {
	s := math.Sin(math.Pi * part)
	return baseload + (1-baseload)*s*s
}
