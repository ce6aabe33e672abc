package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"flint/config"
	"flint/runtimes"
	"flint/server"
)

func newRuntimes() *cobra.Command {
	cmd := &cobra.Command{
		Use: "runtimes", Short: "List the runtimes and where their toolchains are", Args: cobra.NoArgs,
	}
	format := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*format); err != nil {
			return err
		}
		c, err := settings(cmd.Flags())
		if err != nil {
			return err
		}
		catalog, err := server.OpenCatalog(cmd.Context(), c)
		if err != nil {
			return err
		}
		return listRuntimes(cmd, catalog, *format)
	}
	config.Flags(cmd.PersistentFlags())
	cmd.AddCommand(&cobra.Command{
		Use: "install KEY...", Short: "Fetch toolchains that npm carries", Args: cobra.MinimumNArgs(1),
		Long:    "Fetch the toolchains of runtimes with npm into the data directory, for the languages that npm carries. What is\ninstalled already is left alone.",
		Example: "  flint runtimes install node-22",
		RunE: func(cmd *cobra.Command, ids []string) error {
			c, err := settings(cmd.Flags())
			if err != nil {
				return err
			}
			catalog, err := server.OpenCatalog(cmd.Context(), c)
			if err != nil {
				return err
			}
			for _, id := range ids {
				r, ok, err := catalog.Lookup(cmd.Context(), id)
				if err != nil {
					return err
				}
				if ok && (r.Toolchain == nil || !r.Toolchain.Installed) {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s: fetching, which takes up to a minute\n", id)
				}
				if err := catalog.Install(cmd.Context(), id, cmd.ErrOrStderr()); err != nil {
					return err
				}
				if r, _, err = catalog.Lookup(cmd.Context(), id); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", id, r.Toolchain)
			}
			return nil
		},
	})
	return cmd
}

func listRuntimes(cmd *cobra.Command, catalog *runtimes.Catalog, format string) error {
	type row struct {
		ID        string `json:"id"`
		Name      string `json:"name"`
		Available bool   `json:"available"`
		Version   string `json:"version,omitempty"`
		Path      string `json:"path,omitempty"`
		Hint      string `json:"hint,omitempty"`
	}
	rows := []row{}
	for _, r := range catalog.All() {
		line := row{ID: r.ID, Name: r.Name}
		if t := r.Toolchain; t != nil {
			line.Available, line.Version, line.Path = true, t.Version, t.Host
		} else {
			line.Hint = r.Hint
		}
		rows = append(rows, line)
	}
	if format == "json" {
		return writeJSON(cmd.OutOrStdout(), rows)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "RUNTIME\tVERSION\tTOOLCHAIN")
	for _, r := range rows {
		if r.Available {
			fmt.Fprintf(w, "%s\t%s\t%s\n", r.ID, r.Version, r.Path)
		} else {
			fmt.Fprintf(w, "%s\t-\tmissing: %s\n", r.ID, r.Hint)
		}
	}
	return w.Flush()
}
