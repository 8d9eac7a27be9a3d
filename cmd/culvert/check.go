package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"culvert/internal/conf/config"
	"culvert/internal/core/diagnose"
	"culvert/internal/face/explain"
)

func checkCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check FILE [PEERFILE] [--json]",
		Short: "Parse and verify the five steps; with two files, whether they fit each other",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			var r checked
			for _, path := range args {
				f, err := checkFile(path)
				if err != nil {
					return err
				}
				r.Files = append(r.Files, f)
			}
			r.conclude()
			print := printChecked
			if asJSON {
				print = jsonChecked
			}
			if err := print(c.OutOrStdout(), &r); err != nil {
				return err
			}
			return r.exit()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "answer as JSON")
	return c
}

// checked is the answer. Its JSON is a stable interface: added to, never changed.
type checked struct {
	OK    bool        `json:"ok"`
	Files []checkedAs `json:"files"`
	// Fits, with two files: whether every flow comes up. Explain says why not.
	Fits    *bool             `json:"fits,omitempty"`
	Explain []diagnose.Report `json:"explain,omitempty"`

	who string // who may begin, when they fit
}

type checkedAs struct {
	File     string        `json:"file"`
	Hostname string        `json:"hostname"`
	Ignored  int           `json:"ignored_lines"`
	Problems []problemJSON `json:"problems"`
	Findings []findingJSON `json:"findings"`

	config *config.Config
	broken bool // an error of the language: run refuses the file
}

type problemJSON struct {
	Severity string `json:"severity"`
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Word     string `json:"word,omitempty"`
	Expected string `json:"expected,omitempty"`
	Message  string `json:"message"`
	Fix      string `json:"fix,omitempty"`
	text     string
}

type findingJSON struct {
	Step        int    `json:"step"`
	Severity    string `json:"severity"`
	File        string `json:"file,omitempty"`
	Line        int    `json:"line,omitempty"`
	Message     string `json:"message"`
	Consequence string `json:"consequence,omitempty"`
	Fix         string `json:"fix,omitempty"`
	text        string
}

func checkFile(path string) (checkedAs, error) {
	c, problems, err := read(path)
	if err != nil {
		return checkedAs{}, err
	}
	out := checkedAs{File: path, Hostname: c.Hostname, Ignored: len(c.Ignored), Problems: []problemJSON{}, Findings: []findingJSON{}, config: c}
	for _, p := range problems {
		out.broken = out.broken || p.Severity == config.Error
		if p.Step != 0 && p.Severity != config.Error {
			continue // told as a finding, with its consequence
		}
		out.Problems = append(out.Problems, problemJSON{p.Severity.String(), p.File, p.Line, p.Column, p.Word, p.Expected, p.Message, p.Fix, p.String()})
	}
	for _, f := range config.Check(c) {
		out.Findings = append(out.Findings, findingJSON{f.Step, f.Severity.String(), f.Origin.File, f.Origin.Line, f.Message, f.Consequence, f.Fix, f.String()})
	}
	return out, nil
}

// conclude tries two good files against each other: check and simulate can
// never disagree, because it is the same code.
func (r *checked) conclude() {
	r.OK = true
	for i := range r.Files {
		r.OK = r.OK && !r.Files[i].broken && r.Files[i].worst() != config.Error.String()
	}
	if len(r.Files) != 2 || r.Files[0].broken || r.Files[1].broken {
		return
	}
	result := negotiate(r.Files[0].config, r.Files[1].config)
	fits := result.Up()
	r.Fits, r.OK, r.who = &fits, r.OK && fits, "whoever begins"
	for i := range result.Rounds {
		if result.Rounds[i].Waits != "" {
			r.who = "when " + result.Rounds[1-i].Initiator + " begins"
		}
	}
	for i := range result.Rounds {
		if !result.Rounds[i].Up() {
			r.Explain = down(result.Rounds[i].Reports)
			return
		}
	}
}

// worst is the worst severity of the findings.
func (f *checkedAs) worst() string {
	worst := ""
	for _, x := range f.Findings {
		if x.Severity == config.Error.String() || worst == "" || worst == config.Note.String() {
			worst = x.Severity
		}
	}
	return worst
}

func (r *checked) exit() error {
	for i := range r.Files {
		if r.Files[i].broken {
			return &exit{code: exitUsage}
		}
	}
	if !r.OK {
		return &exit{code: exitNo}
	}
	return nil
}

func jsonChecked(w io.Writer, r *checked) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

func printChecked(w io.Writer, r *checked) error {
	for i := range r.Files {
		printFile(w, &r.Files[i])
	}
	switch {
	case r.Fits != nil && *r.Fits:
		fmt.Fprintf(w, "%s and %s fit each other: every flow comes up, %s.\n", r.Files[0].File, r.Files[1].File, r.who)
		if note := unlooked(r.Files[0].config, r.Files[1].config); note != "" {
			fmt.Fprintln(w, note)
		}
	case r.Fits != nil:
		fmt.Fprintf(w, "%s and %s do not fit each other.\n\n", r.Files[0].File, r.Files[1].File)
		return explain.Text(w, r.Explain, explain.Options{Color: isTerminal(w)})
	}
	return nil
}

// printFile tells the five steps, each with what was found.
func printFile(w io.Writer, f *checkedAs) {
	fmt.Fprintf(w, "%s (%s)\n", f.File, f.Hostname)
	for _, p := range f.Problems {
		fmt.Fprintf(w, "  %s\n", p.text)
	}
	for i, title := range diagnose.Titles() {
		state := "ok"
		var texts []string
		for _, x := range f.Findings {
			if x.Step != i+1 {
				continue
			}
			texts = append(texts, x.text)
			switch {
			case x.Severity == config.Error.String():
				state = "wrong"
			case x.Severity == config.Warning.String() && state == "ok":
				state = "warned"
			}
		}
		fmt.Fprintf(w, "  step %d  %-21s  %s\n", i+1, title, state)
		for _, t := range texts {
			fmt.Fprintf(w, "          %s\n", t)
		}
	}
	if f.Ignored > 0 {
		fmt.Fprintf(w, "  %s outside the VPN commands kept and ignored\n", plural(f.Ignored, "line"))
	}
	fmt.Fprintln(w)
}
