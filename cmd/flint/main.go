// Command flint runs and administers Flint.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"flint/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal is not caught and ends the process
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
