package main

import (
	"os"

	"github.com/spf13/cobra"

	"culvert/internal/face/control"
)

// execCommands ask or tell a running gateway, in IOS words.
func execCommands() []*cobra.Command {
	return []*cobra.Command{
		execCommand("show", "Show what is: culvert show crypto isakmp sa"),
		execCommand("clear", "Clear SAs or counters: culvert clear crypto sa"),
		execCommand("debug", "Watch live: culvert debug crypto isakmp"),
		execCommand("undebug", "End all debugging: culvert undebug all"),
	}
}

func execCommand(verb, short string) *cobra.Command {
	var socket string
	var json bool
	c := &cobra.Command{
		Use: verb + " WORDS… [--socket PATH] [--json]",
		// IOS takes every beginning that is not ambiguous.
		Aliases: beginnings(verb),
		Short:   short,
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			return ask(c, socket, control.Request{Words: append([]string{verb}, args...), JSON: json})
		},
	}
	askFlags(c, &socket, &json)
	return c
}

// beginnings are the abbreviations of a verb: from two letters on, which no two
// commands of this program share.
func beginnings(verb string) []string {
	var out []string
	for n := 2; n < len(verb); n++ {
		out = append(out, verb[:n])
	}
	return out
}

func reloadCommand() *cobra.Command {
	var socket string
	c := &cobra.Command{
		Use:   "reload [--socket PATH]",
		Short: "Have a running gateway read its configuration again",
		Long: "Have a running gateway read its configuration again, as SIGHUP does. Tunnels whose settings did not change keep\n" +
			"their SAs and lose no packet; those that changed are deleted and come back with the next packet. A file with\n" +
			"an error changes nothing.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return ask(c, socket, control.Request{Words: []string{"configure", "replace"}})
		},
	}
	c.Flags().StringVar(&socket, "socket", os.Getenv(socketEnv), "control socket (default: $"+socketEnv+", else the only one in "+control.DefaultDir+")")
	return c
}

func explainCommand() *cobra.Command {
	var socket string
	var json bool
	c := &cobra.Command{
		Use:   "explain [PEER] [--socket PATH] [--json]",
		Short: "Tell why the tunnel is not up (or that it is), in the five steps",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return ask(c, socket, control.Request{Words: append([]string{"explain"}, args...), JSON: json})
		},
	}
	askFlags(c, &socket, &json)
	return c
}

// socketEnv names the control socket for a whole shell; lab exec sets it.
const socketEnv = "CULVERT_SOCKET"

func askFlags(c *cobra.Command, socket *string, json *bool) {
	c.Flags().StringVar(socket, "socket", os.Getenv(socketEnv), "control socket (default: $"+socketEnv+", else the only one in "+control.DefaultDir+")")
	c.Flags().BoolVar(json, "json", false, "answer as JSON")
}

// ask puts a request to the gateway and copies its answer.
func ask(c *cobra.Command, socket string, r control.Request) error {
	code, err := control.Do(c.Context(), socket, r, c.OutOrStdout())
	if err != nil {
		return &exit{max(code, exitNo), err.Error()}
	}
	if code != exitDone {
		return &exit{code: code}
	}
	return nil
}
