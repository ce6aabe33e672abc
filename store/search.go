package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
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
	rows, sorted, err := r.foundRows(ctx)
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
		if sorted {
			p.page.rows = r.pageOf(rows)
		}
	}
	return p, nil
}

// foundMost is how many rows are handed back to the database, which is cheaper than to have it look for them again.
const foundMost = 512

// foundRows reads the rows that the index for searches says, the newest first, or nothing if they are many. That a row is of the
// project is dear to ask of the index, which must then go through all of the project's rows: where few rows of all projects have
// the words, their table says it sooner.
func (r *lister[T]) foundRows(ctx context.Context) (rows []int64, sorted bool, err error) {
	found := r.noun.found
	c := r.compiler()
	met := "select s.rowid as k, case when " + r.noun.scope + " then 1 else 0 end as ours, t.created_at as at, t.id as id from " + found.from +
		" where " + found.join + " and " + found.anywhere(c, r.words) + " limit " + c.bind(int64(2*foundMost+1))
	query := "select count(*), sum(m.ours), json_group_array(m.k order by m.at desc, m.id desc) filter (where m.ours) from (" + met + ") m"
	var all, ours sql.NullInt64
	var list string // one row for all is read sooner than a row for each
	if err := r.each(ctx, query, c.args, func(s scanner) error { return s.Scan(&all, &ours, &list) }); err != nil {
		return nil, false, err
	}
	switch {
	case ours.Int64 > foundMost:
		return nil, false, nil
	case all.Int64 <= 2*foundMost:
		err := json.Unmarshal([]byte(list), &rows)
		return rows, true, err
	}
	rows = []int64{}
	c = r.compiler()
	query = "select s.rowid from " + found.index + " where " + found.match(c, r.words) + " limit " + c.bind(int64(foundMost+1))
	err = r.each(ctx, query, c.args, func(s scanner) error {
		var row int64
		err := s.Scan(&row)
		rows = append(rows, row)
		return err
	})
	if err != nil || len(rows) > foundMost {
		return nil, false, err
	}
	return rows, false, nil
}

// pageOf returns those of all the rows of a search, the newest first, that a page can be about: with nothing else asked for, no
// row after the page is looked at.
func (r *lister[T]) pageOf(rows []int64) []int64 {
	offset, limit := r.list.Offset, r.list.Limit
	newest := []key{{"t.created_at", true}, {"t.id", true}}
	plain := len(r.list.Filters) == 0 && r.times == allTimes() && !r.random && r.list.Cursor == "" && slices.Equal(r.keys, newest)
	if plain && limit > 0 && offset < len(rows) && limit < len(rows)-offset {
		return rows[:offset+limit]
	}
	return rows
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
