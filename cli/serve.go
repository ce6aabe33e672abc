package cli

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"

	"flint"
	"flint/config"
	"flint/server"
)

func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", Short: "Run a node", Args: cobra.NoArgs,
		Long: "Run a node with everything in it: the API, the builder, the workers and the functions' domains. SIGTERM lets what\n" +
			"runs finish and then stops it; a second one stops it at once.",
		Example: "  FLINT_BOOTSTRAP_PROJECT=demo FLINT_BOOTSTRAP_KEY=standard_$(openssl rand -hex 128) flint serve",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := settings(cmd.Flags())
			if err != nil {
				return err
			}
			logger, err := server.NewLogger(c, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			logger.Info("starting", slog.String("version", flint.Version), slog.String("data", c.Data), slog.String("sandbox", c.Sandbox))
			err = server.Run(cmd.Context(), c, logger, func(n server.Node) {
				logger.Info("taking calls", slog.String("addr", n.Addr.String()), slog.String("functions", "*."+c.Domain), slog.Int("workers", n.Workers))
			})
			logger.Info("stopped")
			if errors.Is(err, context.Canceled) && cmd.Context().Err() != nil {
				return nil //nolint:nilerr // told to stop before it took calls
			}
			return err
		},
	}
	config.Flags(cmd.Flags())
	return cmd
}
