package store

import (
	"context"
	"database/sql"
	"log/slog"
	"time"
)

// Commits append to a log, which has to be copied into the database now and then. Whoever commits would do that and keep
// all others waiting meanwhile, for tens of milliseconds: a goroutine does it beside them. The writer does it itself
// only when the log has grown much longer all the same.

const (
	checkpointRows  = 4000             // writes after which the log is copied
	checkpointEvery = 10 * time.Second // if there are any at all
	checkpointLimit = 30 * time.Second // for one copy
)

// checkpoint copies the log on a connection of its own until ctx ends. The last connection that closes copies the rest.
func (s *Store) checkpoint(ctx context.Context, db *sql.DB) {
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.writer.full:
		case <-tick.C:
			if s.writer.rows.Load() == 0 {
				continue
			}
		case <-ctx.Done():
			return
		}
		s.writer.rows.Store(0)
		limited, cancel := context.WithTimeout(ctx, checkpointLimit)
		if _, err := db.ExecContext(limited, checkpointText); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "log of the database not copied", slog.String("err", err.Error()))
		}
		cancel()
	}
}

// wrote counts writes that are committed.
func (w *writer) wrote(n int) {
	w.wroteBehind(n)
	before := w.rows.Add(int64(n)) - int64(n)
	if before < checkpointRows && before+int64(n) >= checkpointRows {
		w.full.Ring()
	}
}
