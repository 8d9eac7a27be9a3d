package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"culvert/internal/lab"
	"culvert/internal/lab/tour"
)

func labCommand() *cobra.Command {
	o := tour.Options{}
	c := &cobra.Command{
		Use:   "lab [run|up|down|ping|exec HOST CMD…]",
		Short: "The two sites in network namespaces: run tells it all, up leaves them standing for play",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return labRun(c, o) },
	}
	c.PersistentFlags().StringVar(&o.Peer, "peer", tour.Culvert, "who is at R2: culvert, strongswan, or kernel (strongSwan on a Linux kernel of its own)")
	c.PersistentFlags().StringVar(&o.Scenario, "scenario", "", "what is special: "+strings.Join(tour.Scenarios(), ", "))
	c.PersistentFlags().StringVar(&o.Name, "lab", "lab", "name of the lab, so that several can stand at once")
	down := &cobra.Command{
		Use: "down", Short: "Take the lab away", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return labDown(o) },
	}
	in := &cobra.Command{
		Use: "exec HOST CMD…", Short: "Run a command in a host: a, r1, r2 or b", Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return labExec(c, o, args) },
	}
	in.Flags().SetInterspersed(false)
	c.AddCommand(
		&cobra.Command{Use: "run", Short: "Bring the sites up, show everything, take them down", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error { return labRun(c, o) }},
		&cobra.Command{Use: "up", Short: "Bring the sites up and leave them standing", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error { return labUp(c, o) }},
		&cobra.Command{Use: "ping [FROM TO]", Short: "Ping from host to host, from a to b unless told", Args: cobra.MaximumNArgs(2),
			RunE: func(c *cobra.Command, args []string) error { return labPing(c, o, args) }},
		down, in,
	)
	return c
}

// labReady makes sure of the rights, and of the path of this program.
func labReady(o *tour.Options) (err error) {
	if err := o.Check(); err != nil {
		return bad("culvert: %v", err)
	}
	if err := lab.EnsureRoot(o.Name); err != nil {
		return no("culvert: %v", err)
	}
	if o.Binary, err = os.Executable(); err != nil {
		return no("culvert: %v", err)
	}
	return nil
}

func labRun(c *cobra.Command, o tour.Options) error {
	if err := labReady(&o); err != nil {
		return err
	}
	err := tour.Run(c.Context(), o, c.OutOrStdout(), isTerminal(c.OutOrStdout()))
	switch {
	case errors.Is(err, tour.ErrNotAsItShouldBe):
		return &exit{code: exitNo}
	case err != nil:
		return no("culvert: %v", err)
	}
	return nil
}

func labUp(c *cobra.Command, o tour.Options) error {
	if o.Peer == tour.Kernel {
		return bad("culvert: --peer %s: its kernel ends with the command that started it: culvert lab run shows it", o.Peer)
	}
	if err := labReady(&o); err != nil {
		return err
	}
	s, err := tour.Up(c.Context(), o)
	if err != nil {
		return no("culvert: %v", err)
	}
	if err := s.Net.Hold(); err != nil {
		return no("culvert: %v", err)
	}
	fmt.Fprintf(c.OutOrStdout(), `The lab stands. Try:
  culvert lab ping
  culvert lab exec r1 culvert show crypto ipsec sa
  culvert lab exec r1 culvert explain
  culvert show crypto session --socket %s
  culvert lab down
`, s.R1.Socket())
	return nil
}

func labDown(o tour.Options) error {
	if err := labReady(&o); err != nil {
		return err
	}
	n, err := lab.Open(o.Name)
	if err != nil {
		return no("culvert: %v", err)
	}
	if err := n.Down(); err != nil {
		return no("culvert: %v", err)
	}
	return nil
}

// labPing needs no ping in the system.
func labPing(c *cobra.Command, o tour.Options, args []string) error {
	if err := labReady(&o); err != nil {
		return err
	}
	n, err := lab.Open(o.Name)
	if err != nil {
		return no("culvert: %v", err)
	}
	if len(args) != 2 {
		args = []string{lab.HostA, lab.HostB}
	}
	r, err := n.Ping(c.Context(), args[0], args[1], 5)
	if err != nil {
		return no("culvert: %v", err)
	}
	fmt.Fprintln(c.OutOrStdout(), strings.TrimSuffix(r.Output, "\n"))
	if r.Received < r.Sent {
		return &exit{code: exitNo}
	}
	return nil
}

func labExec(c *cobra.Command, o tour.Options, args []string) error {
	if err := labReady(&o); err != nil {
		return err
	}
	n, err := lab.Open(o.Name)
	if err != nil {
		return no("culvert: %v", err)
	}
	x := n.Command(c.Context(), args[0], args[1:]...)
	if g, runs := n.Gateway(args[0], o.Binary); runs {
		x.Env = append(os.Environ(), socketEnv+"="+g.Socket())
	}
	x.Stdin, x.Stdout, x.Stderr = os.Stdin, c.OutOrStdout(), c.ErrOrStderr()
	err = x.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return &exit{code: ended.ExitCode()}
	}
	if err != nil {
		return no("culvert: %v", err)
	}
	return nil
}
