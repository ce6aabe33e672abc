package main

import (
	"context"
	"fmt"
	"io"
)

// result is what one part of the benchmark has found.
type result interface {
	print(w io.Writer) // as lines of a tab-separated table
	check() error      // nil when all bounds are kept
}

// part is one entry beside the tables of warm and cold calls. It has a node of its own.
type part struct {
	name    string
	measure func(context.Context, *bed, options) (result, error)
}

func parts() []part {
	return []part{
		{"idle", idle},
		{"growth", growth},
		{"worker", workerMemory},
		{"burst", burst},
		{"day", day},
		{"neighbour", neighbour},
		{"overload", overload},
		{"replace", replace},
		{"queue", queue},
	}
}

// within reports a missed bound.
func within(what string, got, bound float64, unit string) error {
	if got <= bound {
		return nil
	}
	return fmt.Errorf("bound missed: %s is %.4g %s, at most %.4g is allowed", what, got, unit, bound)
}
