package store

import (
	"context"
	"database/sql"
	"sync"
)

// maxStatements is how many are kept prepared, each for some tens of kilobytes.
const maxStatements = 128

// statements keeps those prepared that were asked for last: lists have as many texts as clients have ideas. It is safe for
// concurrent use.
type statements struct {
	mu     sync.Mutex
	known  map[string]*statement
	uses   uint64
	closed bool
}

type statement struct {
	*sql.Stmt
	query   string
	last    uint64 // the use that was its last one
	readers int
}

// take returns nil when there is no prepared statement for a text: the database says why when it is run. The caller releases it.
func (p *statements) take(ctx context.Context, db *sql.DB, query string) *statement {
	if s := p.prepared(query); s != nil {
		return s
	}
	stmt, err := db.PrepareContext(ctx, placeholders(query))
	if err != nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &statement{Stmt: stmt, query: query}
	if !p.closed && p.known[query] == nil { // otherwise another caller was quicker, and it is for this one alone
		if p.known == nil {
			p.known = map[string]*statement{}
		}
		if len(p.known) >= maxStatements {
			p.forgetOldest()
		}
		p.known[query] = s
	}
	p.use(s)
	return s
}

func (p *statements) prepared(query string) *statement {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.known[query]
	if s != nil {
		p.use(s)
	}
	return s
}

func (p *statements) use(s *statement) {
	p.uses++
	s.last = p.uses
	s.readers++
}

func (p *statements) release(s *statement) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.readers--
	p.closeUnused(s)
}

// closeUnused closes a statement that nobody will ask for again.
func (p *statements) closeUnused(s *statement) {
	if s.readers == 0 && p.known[s.query] != s {
		_ = s.Close()
	}
}

func (p *statements) forgetOldest() {
	var oldest *statement
	for _, s := range p.known {
		if oldest == nil || s.last < oldest.last {
			oldest = s
		}
	}
	delete(p.known, oldest.query)
	p.closeUnused(oldest)
}

func (p *statements) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.known
	p.closed, p.known = true, nil
	for _, s := range known {
		p.closeUnused(s)
	}
}
