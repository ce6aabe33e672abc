package main

import (
	"cmp"
	"slices"
	"time"
)

// quantile returns the nearest-rank quantile of sorted values.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

// median returns the middle of values, of an even number the lower of the two in the middle.
func median[T cmp.Ordered](values []T) T {
	if len(values) == 0 {
		var none T
		return none
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

// medianBy returns the median of what of returns for each item.
func medianBy[S any, T cmp.Ordered](items []S, of func(S) T) T {
	values := make([]T, 0, len(items))
	for _, item := range items {
		values = append(values, of(item))
	}
	return median(values)
}

// ratio returns a/b, or nothing when there is no b.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
