// Command culvert is a site-to-site IPsec VPN gateway that reads Cisco IOS
// configuration. This package holds flags, signals and exit codes; nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker: -X main.version=….
var version = "development"

// Exit codes of the interface contract.
const (
	exitDone  = 0
	exitNo    = 1 // the answer is no
	exitUsage = 2 // usage, unreadable or invalid input
)

// exit is an error that carries an exit code. A message that was printed
// already is empty.
type exit struct {
	code    int
	message string
}

func (e *exit) Error() string { return e.message }

// no is the answer no, with what there is to say on stderr.
func no(format string, args ...any) error { return &exit{exitNo, fmt.Sprintf(format, args...)} }

// bad is invalid input.
func bad(format string, args ...any) error { return &exit{exitUsage, fmt.Sprintf(format, args...)} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program: arguments in, exit code out.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := command()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	c, err := root.ExecuteContextC(ctx)
	var e *exit
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &e):
		if e.message != "" {
			fmt.Fprintln(stderr, e.message)
		}
		return e.code
	}
	fmt.Fprintf(stderr, "culvert: %v\n", err)
	if c == root {
		fmt.Fprintln(stderr, "See culvert --help.")
	} else {
		fmt.Fprintf(stderr, "Usage: %s %s\n", c.Parent().CommandPath(), c.Use)
	}
	return exitUsage
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "culvert",
		Short:         "A site-to-site IPsec VPN gateway that reads Cisco IOS configuration and explains itself",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(runCommand(), checkCommand(), simulateCommand(), explainCommand(), reloadCommand(), guardCommand(), labCommand(), versionCommand())
	root.AddCommand(execCommands()...)
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(c.OutOrStdout(), "culvert %s\n", version)
			return err
		},
	}
}

// isTerminal reports whether w is a terminal: colours are for people.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	s, err := f.Stat()
	return err == nil && s.Mode()&os.ModeCharDevice != 0
}
