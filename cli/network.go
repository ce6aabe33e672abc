package cli

import (
	"github.com/spf13/cobra"

	"flint/internal/network"
	"flint/server"
)

// newJoinNetwork is what a node that is not root starts in the networks of its sandboxes.
func newJoinNetwork() *cobra.Command {
	return &cobra.Command{
		Use: server.JoinNetwork, Hidden: true, DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error { return network.Join(args) },
	}
}
