package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"flint"
	"flint/client"
)

func newKey() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "Make, list and delete API keys", Args: cobra.NoArgs, Aliases: []string{"keys"}}
	cmd.AddCommand(newKeyCreate(), newKeyList(), newKeyDelete())
	return cmd
}

func newKeyCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create", Short: "Make an API key and print its secret", Args: cobra.NoArgs,
		Long:    "Make an API key and print its secret, which is not shown again.",
		Example: "  flint key create --project demo --name deploy --scopes functions.read,functions.write\n  flint key create --scopes all --expires 24h",
	}
	project, format := projectFlag(cmd), outputFlag(cmd)
	name := cmd.Flags().String("name", "", "name")
	scopes := cmd.Flags().StringSlice("scopes", nil, "what the key may do, separated by commas; all for everything")
	expires := cmd.Flags().Duration("expires", 0, "how long the key is valid; 0: for ever")
	_ = cmd.MarkFlagRequired("scopes")
	_ = cmd.RegisterFlagCompletionFunc("scopes", func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		before := typed[:strings.LastIndexByte(typed, ',')+1]
		words := []string{before + "all"}
		for _, s := range flint.Scopes() {
			words = append(words, before+s)
		}
		return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	})
	return operate(cmd, func(cmd *cobra.Command, _ []string, c *client.Client) error {
		if err := checkOutput(*format); err != nil {
			return err
		}
		if *expires < 0 {
			return fmt.Errorf("--expires=%s: a key cannot end before it begins", *expires)
		}
		id, err := chooseProject(cmd.Context(), c, *project)
		if err != nil {
			return err
		}
		k := client.Key{Project: id, Name: *name, Scopes: []string{}}
		for _, s := range *scopes {
			if s == "all" {
				k.Scopes = flint.Scopes()
				break
			}
			k.Scopes = append(k.Scopes, s)
		}
		if *expires > 0 {
			k.ExpireAt = time.Now().Add(*expires)
		}
		if k, err = c.CreateKey(cmd.Context(), k); err != nil {
			return err
		}
		if *format == "json" {
			return writeJSON(cmd.OutOrStdout(), k)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), k.Secret)
		return err
	})
}

func newKeyList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the API keys of a project", Args: cobra.NoArgs}
	return inProject(cmd, func(cmd *cobra.Command, _ []string, c *client.Client, id, format string) error {
		all, err := c.Keys(cmd.Context(), id)
		if err != nil {
			return err
		}
		if format == "json" {
			return writeJSON(cmd.OutOrStdout(), all)
		}
		var rows [][]string
		for _, k := range all {
			scopes := strings.Join(k.Scopes, ",")
			switch {
			case len(k.Scopes) == len(flint.Scopes()):
				scopes = "all"
			case len(scopes) > 60:
				scopes = fmt.Sprintf("%s, … (%d)", strings.Join(k.Scopes[:2], ", "), len(k.Scopes))
			}
			rows = append(rows, []string{k.ID, k.Name, scopes, when(k.ExpireAt), when(k.CreatedAt)})
		}
		return table(cmd.OutOrStdout(), "ID NAME SCOPES EXPIRES CREATED", rows)
	})
}

func newKeyDelete() *cobra.Command {
	cmd := &cobra.Command{Use: "delete ID", Short: "Delete an API key", Args: cobra.ExactArgs(1), ValidArgsFunction: completeKeys}
	project := projectFlag(cmd)
	return operate(cmd, func(cmd *cobra.Command, args []string, c *client.Client) error {
		id, err := chooseProject(cmd.Context(), c, *project)
		if err != nil {
			return err
		}
		return c.DeleteKey(cmd.Context(), id, args[0])
	})
}
