package store

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"flint"
)

// pathGrams returns what a path has that meets a condition: every three characters of one of its values. There are none where a condition
// does not say three.
func pathGrams(q flint.Query) (sets [][]string) {
	switch q.Method {
	case "contains", "containsAny", "containsAll", "startsWith", "endsWith":
	default:
		return nil
	}
	for _, v := range q.Values {
		text, _ := v.(string)
		if !searchable(text) || utf8.RuneCountInString(text) < searchLeast {
			if q.Method == "containsAll" {
				continue // the other values say enough
			}
			return nil
		}
		runes := []rune(lower(text))
		var grams []string
		for i := 0; i+searchLeast <= len(runes) && i < fewValues; i++ {
			grams = append(grams, string(runes[i:i+searchLeast]))
		}
		if q.Method == "containsAll" && len(sets) > 0 {
			sets[0] = append(sets[0], grams...)
		} else {
			sets = append(sets, grams)
		}
	}
	return sets
}

const (
	rareShare = 8 // a gram that one of so many texts has says little
	rareMost  = 4 // grams that are looked for at once
)

// rareGrams returns those of some grams that say most: that few of some texts have. The index goes past all texts of all functions that
// have one of the grams, so that common ones cost more than they spare.
func rareGrams(grams, texts []string) []string {
	having := map[string]int{}
	for _, g := range grams {
		having[g] = 0
		for _, text := range texts {
			if strings.Contains(text, g) {
				having[g]++
			}
		}
	}
	rare := slices.Compact(slices.SortedFunc(slices.Values(grams), func(a, b string) int { return cmp.Or(having[a]-having[b], cmp.Compare(a, b)) }))
	for i, g := range rare {
		if i == rareMost || i > 0 && having[g]*rareShare > len(texts) {
			return rare[:i]
		}
	}
	return rare
}

// matchGrams compiles what the index is asked for texts that have all grams of one of some lists.
func matchGrams(sets [][]string) string {
	all := make([]string, len(sets))
	for i, grams := range sets {
		phrases := make([]string, len(grams))
		for j, g := range grams {
			phrases[j] = phrase(g)
		}
		all[i] = "(" + strings.Join(phrases, " AND ") + ")"
	}
	return strings.Join(all, " OR ")
}
