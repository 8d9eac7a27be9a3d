package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"culvert/internal/edge/guard"
)

func guardCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "guard",
		Short: "What keeps interesting traffic closed, also after a stop, and how to take it away",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		&cobra.Command{Use: "show [HOSTNAME]", Short: "Show what stands", Args: cobra.MaximumNArgs(1), RunE: guardShow},
		&cobra.Command{Use: "clear [HOSTNAME]", Short: "Take it away: interesting traffic then leaves in clear", Args: cobra.MaximumNArgs(1), RunE: guardClear},
	)
	return c
}

// guards are the gateways meant: the one named, or all that stand here.
func guards(args []string) ([]string, error) {
	if len(args) == 1 {
		return args, nil
	}
	names, err := guard.List()
	if err != nil {
		return nil, no("culvert: %v", err)
	}
	return names, nil
}

func guardShow(c *cobra.Command, args []string) error {
	names, err := guards(args)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return no("No guard stands: no gateway has run here, or its guard was cleared.")
	}
	for _, n := range names {
		s, err := guard.Show(n)
		if err != nil {
			return no("culvert: guard of %s: %v", n, err)
		}
		fmt.Fprintln(c.OutOrStdout(), s)
	}
	return nil
}

func guardClear(c *cobra.Command, args []string) error {
	names, err := guards(args)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return no("No guard stands here: there is nothing to clear.")
	}
	for _, n := range names {
		switch err := guard.Clear(n); {
		case errors.Is(err, guard.ErrNothing):
			return no("culvert: no guard of %s stands", n)
		case err != nil:
			return no("culvert: guard of %s: %v", n, err)
		}
		fmt.Fprintf(c.OutOrStdout(), "The guard of %s is gone: traffic between its sites is routed in clear now.\n", n)
	}
	return nil
}
