package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"modernc.org/sqlite"
	code "modernc.org/sqlite/lib"

	"flint"
)

// This file, behind.go, tally.go, gram.go, rank.go and the schema's files named *.sqlite.sql are the only ones that know which database
// it is. The rest speaks what SQLite and PostgreSQL share.

const (
	beginText    = "begin immediate"
	commitText   = "commit"
	rollbackText = "rollback"

	checkpointText = "pragma wal_checkpoint(passive)"
)

// durability returns the statement that makes later commits survive the loss of power, or only that of the process.
func durability(power bool) string {
	if power {
		return "pragma synchronous = full"
	}
	return "pragma synchronous = normal"
}

// placeholders turns $1, $2 … into the form that binds fastest. The driver looks every numbered one up by its text, in
// all arguments; bare ones it only counts. That is possible where each number occurs once and in order.
func placeholders(query string) string {
	var b strings.Builder
	next := 1
	for i := 0; i < len(query); i++ {
		if query[i] != '$' {
			b.WriteByte(query[i])
			continue
		}
		name := strconv.Itoa(next)
		rest := query[i+1:]
		if !strings.HasPrefix(rest, name) || len(rest) > len(name) && '0' <= rest[len(name)] && rest[len(name)] <= '9' {
			return query
		}
		b.WriteByte('?')
		i += len(name)
		next++
	}
	return b.String()
}

// rowsInCommon selects rows of parameters: those that all rows begin with, which are given once, and then the others of each.
func rowsInCommon(common, rows, own int) string {
	return "select s.*, r.* from (select " + placeholderList(0, common) + ") s cross join (values " + placeholderRows(common, rows, own) + ") r"
}

// matches is the condition that a text matches a regular expression.
func matches(text, pattern string) string { return "regexp(" + pattern + ", " + text + ")" }

// using is a table, named with its alias, that is read through an index which the statement's conditions allow for.
func using(table, index string) string { return table + " indexed by " + index }

// like is the condition that a text is as a pattern says, where small and capital ASCII letters are the same. A statement in which the
// pattern alone is a parameter would be parsed again for every pattern.
func like(expr, pattern string) string { return expr + " like (" + pattern + ` || '') escape '\'` }

// holds is the condition that a text in small letters has another one in it.
func holds(expr, part string) string { return "instr(" + expr + ", " + part + ") > 0" }

// searchIndex finds rows by a part of their text.
type searchIndex struct {
	from, join string // the table beside it
	table      string // that table alone
	index      string // it alone
	match      func(c *compiler, words string) string
	anywhere   func(c *compiler, words string) string // the same in any project
	words      string                                 // select statement for what begins with a text, given the text and a bound after it
	texts      string                                 // index of what is searched, in small letters
}

const (
	searchLeast = 3  // characters that the index for searches knows in a row
	searchWords = 64 // ways to go on from fewer characters that are tried
)

// functionSearch finds the functions of a project, which the scope of the list has bound first.
func functionSearch() *searchIndex {
	return &searchIndex{
		from: "function_search s cross join functions t", join: "t.uid = s.rowid", table: "functions t", index: "function_search s",
		match: func(c *compiler, words string) string {
			return `s.function_search match 'project : "<' || $1 || '>" AND {id name runtime} : ' || ` + c.bind(words)
		},
		anywhere: func(c *compiler, words string) string {
			return "s.function_search match '{id name runtime} : ' || " + c.bind(words)
		},
		words: "select term from function_parts where term >= $1 and term < $2 limit $3",
		texts: "functions_text",
	}
}

// rowsKnown compiles numbers of rows that have been read from the index for searches.
func rowsKnown(c *compiler, rows []int64) string {
	list, err := json.Marshal(rows)
	if err != nil {
		panic(err) // numbers have no such error
	}
	return "(select value as rowid from json_each(" + c.bind(string(list)) + "))"
}

// searchable reports whether the indexes for searches have a text as it is.
func searchable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsAny(text, "\x00\x1f")
}

// phrase quotes a text for a search.
func phrase(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }

// connector opens connections with a driver of our own, so that nothing is registered for the whole process.
type connector struct {
	driver *sqlite.Driver
	dsn    string
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c.driver.Open(c.dsn)
}

func (c connector) Driver() driver.Driver { return c.driver }

func open(path string, pragmas ...string) *sql.DB {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	q := url.Values{"_pragma": append(pragmas, "busy_timeout(5000)", "foreign_keys(0)", "temp_store(memory)")}
	d := &sqlite.Driver{}
	d.MustRegisterDeterministicScalarFunction("regexp", 2, newMatcher().match)
	d.MustRegisterDeterministicScalarFunction("rank", -1, rank)
	return sql.OpenDB(connector{driver: d, dsn: (&url.URL{Scheme: "file", Path: path}).String() + "?" + q.Encode()})
}

func openWriter(path string) *sql.DB {
	db := open(path, "journal_mode(wal)", "synchronous(normal)", "cache_size(-32768)", "wal_autocheckpoint(16000)", "journal_size_limit(67108864)")
	db.SetMaxOpenConns(1)
	return db
}

// openCheckpointer is for checkpoints only, beside the writer.
func openCheckpointer(path string) *sql.DB {
	db := open(path, "synchronous(normal)", "cache_size(-64)")
	db.SetMaxOpenConns(1)
	return db
}

func openReaders(path string, n int) *sql.DB {
	db := open(path, "query_only(1)", "cache_size(-8192)")
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db
}

// backup copies the database to a new file.
func backup(ctx context.Context, c *sql.Conn, path string) error {
	_, err := c.ExecContext(ctx, "vacuum into $1", path)
	return err
}

// isDuplicate reports whether a unique constraint refused a row.
func isDuplicate(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code() == code.SQLITE_CONSTRAINT_UNIQUE || e.Code() == code.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// isMissingOwner reports whether a row was refused because what it belongs to is not there.
func isMissingOwner(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code() == code.SQLITE_CONSTRAINT_NOTNULL
}

// isTrouble reports whether an error is about the database itself and not about one statement. The database may have
// ended the transaction on its own then.
func isTrouble(err error) bool {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return true
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case code.SQLITE_FULL, code.SQLITE_IOERR, code.SQLITE_NOMEM, code.SQLITE_BUSY, code.SQLITE_LOCKED, code.SQLITE_CANTOPEN,
		code.SQLITE_READONLY, code.SQLITE_PERM, code.SQLITE_CORRUPT, code.SQLITE_NOTADB, code.SQLITE_PROTOCOL, code.SQLITE_INTERRUPT:
		return true
	}
	return false
}

// translate turns an error of the database into one of the platform's where a caller can act on it.
func translate(err error) error {
	var known *flint.Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case isTrouble(err):
		return flint.ErrStorageUnavailable.Because(err)
	}
	return fmt.Errorf("store: %w", err)
}

// matcher answers regexp(pattern, text). A query asks with one pattern for many rows, so the last one is kept compiled.
type matcher struct {
	mu      sync.Mutex
	pattern string
	last    *regexp.Regexp
}

func newMatcher() *matcher { return &matcher{} }

func (m *matcher) match(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	pattern, _ := args[0].(string)
	text, _ := args[1].(string)
	m.mu.Lock()
	re := m.last
	if re == nil || m.pattern != pattern {
		var err error
		if re, err = regexp.Compile(pattern); err != nil {
			m.mu.Unlock()
			return nil, err
		}
		m.pattern, m.last = pattern, re
	}
	m.mu.Unlock()
	return re.MatchString(text), nil
}
