package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"culvert/internal/conf/config"
	"culvert/internal/core/diagnose"
	"culvert/internal/core/policy"
	"culvert/internal/face/explain"
	"culvert/internal/face/trace"
	"culvert/internal/sim"
)

func simulateCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "simulate FILE PEERFILE [--json]",
		Short: "Negotiate both configurations in memory and print the exchange; exit 0 when every flow came up",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			var both [2]*config.Config
			for i, path := range args {
				cfg, err := load(path, c.ErrOrStderr())
				if err != nil {
					return err
				}
				both[i] = cfg
			}
			r := negotiate(both[0], both[1])
			if note := unlooked(both[0], both[1]); note != "" {
				fmt.Fprintln(c.ErrOrStderr(), note)
			}
			print := printSimulation
			if asJSON {
				print = jsonSimulation
			}
			if err := print(c.OutOrStdout(), r); err != nil {
				return err
			}
			if !r.Up() {
				return &exit{code: exitNo}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "answer as JSON")
	return c
}

// negotiate tries two configurations against each other. Routers of one
// hostname are told apart by their place on the command line.
func negotiate(a, b *config.Config) *sim.Result {
	var sites [2]sim.Site
	var begin time.Time
	for i, c := range []*config.Config{a, b} {
		settings := c.Settings()
		if len(settings.Trustpoints) > 0 {
			begin = time.Now()
		}
		for j := range settings.Trustpoints {
			if t := &settings.Trustpoints[j]; fetches(t) {
				t.Revocation = []string{"none"}
			}
		}
		settings.Hostname = c.Hostname
		if a.Hostname == b.Hostname {
			settings.Hostname = fmt.Sprintf("%s (%d)", c.Hostname, i+1)
		}
		sites[i] = sim.Site{Name: settings.Hostname, Settings: &settings}
	}
	return sim.Simulate(sites[0], sites[1], 1, begin)
}

// fetches reports whether a trustpoint needs a network to look at revocation: a
// simulation has none, and does not look then.
func fetches(t *policy.Trustpoint) bool {
	return len(t.CRLs) == 0 || slices.Contains(t.Revocation, "ocsp")
}

// unlooked is said where a simulation did not look at revocation.
func unlooked(configs ...*config.Config) string {
	for _, c := range configs {
		settings := c.Settings()
		if slices.ContainsFunc(settings.Trustpoints, func(t policy.Trustpoint) bool {
			return fetches(&t) && (len(t.Revocation) == 0 || t.Revocation[0] != "none")
		}) {
			return "Not looked at: whether certificates are revoked. That takes lists or answers from the network, or \"crl file\"."
		}
	}
	return ""
}

// printSimulation tells the first round in full, the second one only when it
// went otherwise.
func printSimulation(w io.Writer, r *sim.Result) error {
	for i := range r.Rounds {
		round := &r.Rounds[i]
		if round.Waits != "" {
			if _, err := fmt.Fprintf(w, "%s does not begin: %s.\n", round.Initiator, round.Waits); err != nil {
				return err
			}
			continue
		}
		if i == 1 && r.Up() && r.Rounds[0].Waits == "" {
			_, err := fmt.Fprintf(w, "\n%s begins: the same, %s up.\nOutcome: every flow came up, whoever begins.\n", round.Initiator, plural(len(round.Outcomes), "flow"))
			return err
		}
		if i == 1 {
			fmt.Fprintln(w)
		}
		if err := printRound(w, round); err != nil {
			return err
		}
	}
	if r.Up() {
		_, err := fmt.Fprintln(w, "\nOutcome: every flow came up, when the side begins that may.")
		return err
	}
	_, err := fmt.Fprintln(w, "\nOutcome: not every flow came up.")
	return err
}

func printRound(w io.Writer, r *sim.Round) error {
	fmt.Fprintf(w, "%s begins\n\n", r.Initiator)
	err := trace.Ladder(w, trace.Options{
		Color:     isTerminal(w),
		Initiator: trace.Party{Name: r.Initiator, Addr: r.InitiatorAddr}, Responder: trace.Party{Name: r.Responder, Addr: r.ResponderAddr},
	}, r.Events)
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, o := range r.Outcomes {
		state, detail := "UP", "a packet went there and back"
		if !o.Up {
			state, detail = "DOWN", o.Reason
		}
		if o.Line == "" {
			fmt.Fprintf(w, "%s: %s, %s\n", o.Site, state, detail)
			continue
		}
		fmt.Fprintf(w, "%s %s: %s: %s, %s\n", o.Site, o.Flow, o.Line, state, detail)
	}
	if r.Up() {
		return nil
	}
	fmt.Fprintln(w)
	return explain.Text(w, down(r.Reports), explain.Options{Color: isTerminal(w)})
}

// down are the reports of tunnels that did not come up. Where one side knows
// what both want, what the other side guesses is left out.
func down(reports []diagnose.Report) []diagnose.Report {
	var known, guessed []diagnose.Report
	for _, r := range reports {
		switch {
		case r.Culprit != 0 && r.Both:
			known = append(known, r)
		case r.Culprit != 0:
			guessed = append(guessed, r)
		}
	}
	if len(known) > 0 {
		return known
	}
	return guessed
}

// The JSON of a simulation: a stable interface, added to, never changed.
type simulationJSON struct {
	Up     bool        `json:"up"`
	Rounds []roundJSON `json:"rounds"`
}

type roundJSON struct {
	Initiator string            `json:"initiator"`
	Responder string            `json:"responder"`
	Up        bool              `json:"up"`
	Waits     string            `json:"waits,omitempty"`
	Flows     []flowJSON        `json:"flows"`
	Explain   []diagnose.Report `json:"explain"`
}

type flowJSON struct {
	Site      string `json:"site"`
	Map       string `json:"crypto_map"`
	Seq       int    `json:"sequence"`
	Line      string `json:"line"`
	Selectors string `json:"selectors"`
	Up        bool   `json:"up"`
	Reason    string `json:"reason,omitempty"`
}

func jsonSimulation(w io.Writer, r *sim.Result) error {
	out := simulationJSON{Up: r.Up()}
	for i := range r.Rounds {
		x := &r.Rounds[i]
		j := roundJSON{Initiator: x.Initiator, Responder: x.Responder, Up: x.Up(), Waits: x.Waits, Explain: x.Reports}
		for _, o := range x.Outcomes {
			j.Flows = append(j.Flows, flowJSON{o.Site, o.Flow.Map, o.Flow.Seq, o.Line, o.Selectors, o.Up, o.Reason})
		}
		out.Rounds = append(out.Rounds, j)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(out)
}
