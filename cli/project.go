package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"flint/client"
)

func newProject() *cobra.Command {
	cmd := &cobra.Command{Use: "project", Short: "Make, list and delete projects", Args: cobra.NoArgs, Aliases: []string{"projects"}}
	cmd.AddCommand(newProjectCreate(), newProjectList(), newProjectDelete())
	return cmd
}

func newProjectCreate() *cobra.Command {
	cmd := &cobra.Command{Use: "create [ID]", Short: "Make a project", Args: cobra.MaximumNArgs(1), Example: "  flint project create shop --name \"The shop\""}
	name := cmd.Flags().String("name", "", "name; the id when left out")
	format := outputFlag(cmd)
	return operate(cmd, func(cmd *cobra.Command, args []string, c *client.Client) error {
		if err := checkOutput(*format); err != nil {
			return err
		}
		id := ""
		if len(args) == 1 {
			id = args[0]
		}
		p, err := c.CreateProject(cmd.Context(), client.Project{ID: id, Name: *name})
		if err != nil {
			return err
		}
		if *format == "json" {
			return writeJSON(cmd.OutOrStdout(), p)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), p.ID)
		return err
	})
}

func newProjectList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the projects", Args: cobra.NoArgs}
	format := outputFlag(cmd)
	return operate(cmd, func(cmd *cobra.Command, _ []string, c *client.Client) error {
		if err := checkOutput(*format); err != nil {
			return err
		}
		all, err := c.Projects(cmd.Context())
		if err != nil {
			return err
		}
		if *format == "json" {
			return writeJSON(cmd.OutOrStdout(), all)
		}
		var rows [][]string
		for _, p := range all {
			rows = append(rows, []string{p.ID, p.Name, when(p.CreatedAt)})
		}
		return table(cmd.OutOrStdout(), "ID NAME CREATED", rows)
	})
}

func newProjectDelete() *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete ID", Short: "Delete a project with its functions, keys and domains", Args: cobra.ExactArgs(1), ValidArgsFunction: completeProjects,
	}
	yes := cmd.Flags().BoolP("yes", "y", false, "do not ask")
	return operate(cmd, func(cmd *cobra.Command, args []string, c *client.Client) error {
		if !*yes {
			functions, err := c.Functions(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := confirm(cmd, fmt.Sprintf("Delete project %s with its %d functions, and all their executions?", args[0], len(functions))); err != nil {
				return err
			}
		}
		return c.DeleteProject(cmd.Context(), args[0])
	})
}

// confirm asks on the terminal. Where there is none nobody can answer.
func confirm(cmd *cobra.Command, question string) error {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return errors.New("say --yes: there is no terminal to ask on")
	}
	fmt.Fprint(cmd.ErrOrStderr(), question+" [y/N] ")
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("nothing was deleted")
	}
	return nil
}
