package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

//go:embed schema/*.sql
var schema embed.FS

func migrations() fs.FS {
	sub, err := fs.Sub(schema, "schema")
	if err != nil {
		panic(err) // the folder is part of the binary
	}
	return sub
}

// migrate brings the database to the newest schema: every file in dir that was not applied yet, in the order of names,
// each in a transaction of its own. It refuses a database whose history is not a beginning of ours. A database that
// holds something is copied first.
func migrate(ctx context.Context, c *sql.Conn, dir fs.FS, path string) error {
	if _, err := c.ExecContext(ctx, "create table if not exists migrations (name text not null primary key, checksum text not null, applied_at bigint not null)"); err != nil {
		return err
	}
	applied := map[string]string{}
	rows, err := c.QueryContext(ctx, "select name, checksum from migrations")
	if err != nil {
		return err
	}
	if err := drain(rows, func(r scanner) error {
		var name, sum string
		err := r.Scan(&name, &sum)
		applied[name] = sum
		return err
	}); err != nil {
		return err
	}
	names, err := fs.Glob(dir, "*.sql")
	if err != nil {
		return err
	}
	slices.Sort(names)
	for name := range applied {
		if !slices.Contains(names, name) {
			return fmt.Errorf("the database was made by a newer version: it holds schema %s, which this one does not know", name)
		}
	}
	copied := len(applied) == 0 // nothing to lose
	for _, name := range names {
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			return err
		}
		hash := sha256.Sum256(text)
		sum := hex.EncodeToString(hash[:])
		if old, done := applied[name]; done {
			if old != sum {
				return fmt.Errorf("schema %s was changed after it was applied", name)
			}
			continue
		}
		if !copied {
			if err := backup(ctx, c, path+".before-"+name); err != nil {
				return fmt.Errorf("copy before schema %s: %w", name, err)
			}
			copied = true
		}
		if err := apply(ctx, c, name, sum, string(text)); err != nil {
			return fmt.Errorf("schema %s: %w", name, err)
		}
	}
	return nil
}

func apply(ctx context.Context, c *sql.Conn, name, sum, text string) error {
	if _, err := c.ExecContext(ctx, beginText); err != nil {
		return err
	}
	_, err := c.ExecContext(ctx, text)
	if err == nil {
		_, err = c.ExecContext(ctx, "insert into migrations (name, checksum, applied_at) values ($1, $2, $3)", name, sum, now().UnixMilli())
	}
	if err == nil {
		_, err = c.ExecContext(ctx, commitText)
	}
	if err != nil {
		_, undo := c.ExecContext(ctx, rollbackText)
		return errors.Join(err, undo)
	}
	return nil
}
