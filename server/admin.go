package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"flint/admin"
	blobfs "flint/blob/fs"
	"flint/client"
	"flint/config"
	"flint/explain"
	"flint/store"
)

// listenAdmin makes the operator's socket. The caller holds the lock of the directory: a socket that is there is a dead
// node's. The name goes through the open directory because that of a socket must be short.
func listenAdmin(data string) (_ net.Listener, err error) {
	name := filepath.Join(data, client.SocketName)
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	bind := name
	if len(name) > 100 {
		dir, err := os.Open(data)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		bind = fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), client.SocketName)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: bind, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // under the name that was bound, which may mean something else by then
	if err := os.Chmod(name, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// serveAdmin serves the operator until the node stops. Who follows something then is told so by the end of the answer.
func serveAdmin(l net.Listener, h http.Handler, data string) func(context.Context) error {
	return func(ctx context.Context) error {
		s := &http.Server{
			Handler: h, ReadHeaderTimeout: 15 * time.Second, IdleTimeout: time.Minute,
			BaseContext: func(net.Listener) context.Context { return ctx },
			ErrorLog:    slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		}
		failed := make(chan error, 1)
		go func() { failed <- s.Serve(l) }() // ends with Shutdown or Close
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
		}
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err := s.Shutdown(stop)
		if errors.Is(err, context.DeadlineExceeded) {
			err = s.Close()
		}
		if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return errors.Join(err, os.Remove(filepath.Join(data, client.SocketName)))
	}
}

// Operate opens the data directory of a node that does not run, for an operator's command. It fails while a node runs.
func Operate(ctx context.Context, c config.Config, logger *slog.Logger) (_ http.Handler, closeAll func() error, err error) {
	if _, err := os.Stat(c.Data); err != nil {
		return nil, nil, fmt.Errorf("there is no data directory %s: start a node, or name another --data", c.Data)
	}
	unlock, err := lockData(c.Data)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			unlock()
		}
	}()
	secret, _, err := identity(c)
	if err != nil {
		return nil, nil, err
	}
	blobs, err := blobfs.Open(filepath.Join(c.Data, "blobs"))
	if err != nil {
		return nil, nil, err
	}
	db, err := store.Open(ctx, store.Config{Path: filepath.Join(c.Data, "flint.db"), Logger: logger, Secret: secret, Model: eventModel, ScheduleSpread: time.Duration(c.ScheduleSpread) * time.Second})
	if err != nil {
		return nil, nil, err
	}
	handler := admin.New(admin.Config{Store: db, Logger: logger, Explainer: explain.New(explain.Config{Store: db}), Collect: func(ctx context.Context, digests ...string) error {
		used, err := db.DigestsInUse(ctx, digests)
		for _, digest := range digests {
			if err == nil && !used[digest] {
				err = blobs.Delete(ctx, digest)
			}
		}
		return err
	}})
	return handler, func() error { defer unlock(); return db.Close() }, nil
}
