package store

import (
	"context"
	"strings"
	"unicode/utf8"

	"flint"
)

// chooseSearch decides how a search is read. Where many rows have what is searched for they are met soon enough in order, and it is
// the texts alone that are counted. Otherwise the index knows where they are.
func (r *lister[T]) chooseSearch(ctx context.Context) (plan, error) {
	p := plan{total: -1}
	if r.noun.found == nil || !searchable(r.list.Search) {
		return p, nil
	}
	alone := len(r.list.Filters) == 0 && r.times == allTimes()
	if alone {
		dense, err := r.dense(ctx)
		if err != nil || dense {
			p.count.texts, p.count.likely = true, true
			return p, err
		}
	}
	var err error
	if r.words, err = r.searchWords(ctx); err != nil || r.words == "" {
		p.count.texts = alone
		return p, err
	}
	rows, err := r.foundRows(ctx)
	if err != nil {
		return p, err
	}
	n := len(rows)
	if rows == nil {
		most := fewRows
		if alone && !r.list.NoTotal {
			most = flint.MaxListTotal
		}
		c := r.compiler()
		if n, err = r.sought(ctx, c, r.noun.found.index+" where "+r.noun.found.match(c, r.words), most); err != nil {
			return p, err
		}
	}
	if alone {
		p.total = n
	}
	if n < fewRows {
		p.page, p.count = way{found: true, rows: rows}, way{found: true, rows: rows}
	}
	return p, nil
}

// foundMost is how many rows are handed back to the database, which is cheaper than to have it look for them again.
const foundMost = 512

// foundRows reads the rows that the index for searches says, or nothing if they are many.
func (r *lister[T]) foundRows(ctx context.Context) ([]int64, error) {
	c := r.compiler()
	rows := []int64{}
	err := r.each(ctx, "select s.rowid from "+r.noun.found.index+" where "+r.noun.found.match(c, r.words)+" limit "+c.bind(int64(foundMost+1)), c.args,
		func(s scanner) error {
			var row int64
			err := s.Scan(&row)
			rows = append(rows, row)
			return err
		})
	if err != nil || len(rows) > foundMost {
		return nil, err
	}
	return rows, nil
}

// searchWords returns what the index is asked for: the text, or for a short one all that go on from it. It is empty when these
// are too many.
func (r *lister[T]) searchWords(ctx context.Context) (string, error) {
	text := lower(r.list.Search)
	if utf8.RuneCountInString(text) >= searchLeast {
		return phrase(text), nil
	}
	var words []string
	err := r.each(ctx, r.noun.found.words, []any{text, text + "\U0010FFFF", int64(searchWords + 1)}, func(s scanner) error {
		var word string
		err := s.Scan(&word)
		words = append(words, phrase(word))
		return err
	})
	switch {
	case err != nil || len(words) > searchWords:
		return "", err
	case len(words) == 0:
		return phrase("\x1f\x1f\x1f"), nil // nothing has that
	}
	return "(" + strings.Join(words, " OR ") + ")", nil
}
