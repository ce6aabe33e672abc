// Command flint runs and administers Flint.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // schedules have zones, hosts may have none

	"flint/cli"
)

func main() {
	if os.Getenv("GOGC") == "" {
		// What a node keeps is small beside what calls leave behind: collecting a quarter as often costs little memory.
		debug.SetGCPercent(400)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal is not caught and ends the process
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
