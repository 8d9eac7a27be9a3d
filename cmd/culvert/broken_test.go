package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// brokenLine is a block of lines of which the last is broken.
type brokenLine struct {
	lines  string
	column int
	word   string // at that place; "" at the end of a line
	says   string
}

func brokenLines() []brokenLine {
	return []brokenLine{
		{"crypto isakmp polcy 10", 15, "polcy", `did you mean "policy"?`},
		{"crypto isakmp policy 20000", 22, "20000", "expected <1-10000>"},
		{"crypto isakmp policy 10\n encryption ase 256", 13, "ase", "expected des, 3des or aes"},
		{"crypto isakmp policy 10\n encryption aes 512", 17, "512", "expected 128, 192, 256"},
		{"crypto isakmp policy 10\n hash", 6, "", "the line ends here: expected md5, sha"},
		{"crypto isakmp policy 10\n group 6", 8, "6", "expected 1, 2, 5, 14"},
		{"crypto isakmp policy 10\n lifetime 5", 11, "5", "expected <60-86400>"},
		{"crypto isakmp key 6 AbCdEfGh address 198.51.100.2", 21, "", "encrypted (type 6)"},
		{"crypto isakmp key S3CRET address", 33, "", "expected an IPv4 address"},
		{"crypto ipsec transform-set T esp-gcm esp-sha-hmac", 30, "esp-gcm", "esp-gcm protects integrity itself"},
		{"crypto ipsec transform-set T esp-aes 129", 38, "129", "expected 128, 192, 256"},
		{"crypto ipsec transform-set", 27, "", "expected a name"},
		{"crypto map CMAP 20 ipsec-isakmp\n set peer 198.51.100", 11, "198.51.100", "expected an IPv4 address"},
		{"crypto map CMAP 20 ipsec-isakmp\n set pfs group77", 10, "group77", `did you mean "group1"?`},
		{"crypto map CMAP 20 ipsec-isakmp\n set p 198.51.100.2", 6, "p", "ambiguous, it may be peer or pfs"},
		{"crypto map CMAP 10 ipsec-isakmp\n set transform-set NOTHERE", 2, "", "transform set NOTHERE is not defined"},
		{"crypto map CMAP 10 ipsec-isakmp\n match address 177", 2, "", "access list 177 is not defined"},
		{"interface GigabitEthernet0/1\n crypto map NOTHERE", 2, "", "crypto map NOTHERE, applied to GigabitEthernet0/1, has no entry"},
		{"interface GigabitEthernet0/1\n ip address 198.51.100.1 255.0.255.0", 26, "255.0.255.0", "expected a netmask"},
		{"interface GigabitEthernet0/1\n ip access-group 101 inn", 22, "inn", "expected in or out"},
		{"crypto ikev9 proposal X", 8, "ikev9", `did you mean "ikev2"?`},
		{"crypto i", 8, "i", "ambiguous"},
		{"crypto ipsec profile P", 14, "profile", "valid IOS that Culvert does not support yet"},
		{"access-list 102 permit ip 10.0.0.0 0.0.0.255", 45, "", "expected any, host"},
		{"access-list 102 permit tcp any any eq notaport", 39, "notaport", "expected <0-65535>"},
		{"access-list 9999 permit ip any any", 13, "9999", "expected <1-99>"},
		{"access-list 102 permit udp any range 20 10 any", 32, "range", "write range 10 20"},
		{"ip route 10.0.0.0 255.0.0.0", 28, "", "expected an IPv4 address or an interface"},
	}
}

// TestBrokenLines: every broken line is told as file:line:column, the word and
// what was expected, by every command that reads configurations, with exit
// status 2; and no key is told.
func TestBrokenLines(t *testing.T) {
	for i, b := range brokenLines() {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			texts := sites()
			texts[0] = strings.Replace(texts[0], "end\n", b.lines+"\nend\n", 1)
			files := write(t, t.TempDir(), texts)
			at := fmt.Sprintf("%s:%d:%d: ", files[0], lineOf(texts[0], b.lines), b.column)
			for _, args := range [][]string{{"check", files[0]}, {"check", files[1], files[0]}, {"simulate", files[0], files[1]}, {"simulate", files[1], files[0]}, {"run", "-c", files[0]}} {
				code, stdout, stderr := culvert(args...)
				text := stderr
				if args[0] == "check" {
					text = stdout
				}
				if code != exitUsage || !told(text, at, b.says) {
					t.Errorf("%s: exit %d, want 2 and %q with %q:\n%s%s", args[0], code, at, b.says, stdout, stderr)
				}
				if b.word != "" && !told(text, at, b.word) {
					t.Errorf("%s does not tell the word %q:\n%s", args[0], b.word, text)
				}
				if strings.Contains(stdout+stderr, theKey) || strings.Contains(stdout+stderr, "S3CRET") || strings.Contains(stdout+stderr, "AbCdEfGh") {
					t.Errorf("%s tells a key:\n%s%s", args[0], stdout, stderr)
				}
			}
			brokenJSON(t, files[0], b, lineOf(texts[0], b.lines))
		})
	}
}

func brokenJSON(t *testing.T, file string, b brokenLine, line int) {
	t.Helper()
	code, stdout, _ := culvert("check", "--json", file)
	var r checked
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != exitUsage || r.OK {
		t.Fatalf("exit %d, ok %t, %v", code, r.OK, err)
	}
	for _, p := range r.Files[0].Problems {
		if p.Line == line && p.Column == b.column && p.Word == b.word && p.File == file && p.Severity == "error" {
			return
		}
	}
	t.Errorf("no problem at line %d, column %d with the word %q: %+v", line, b.column, b.word, r.Files[0].Problems)
}

// lineOf is the line on which the last line of a block stands.
func lineOf(text, block string) int {
	return strings.Count(text[:strings.LastIndex(text, block)]+block, "\n") + 1
}

// told reports whether a line of text has both parts.
func told(text, at, says string) bool {
	for _, l := range strings.Split(text, "\n") {
		if strings.Contains(l, at) && strings.Contains(l, says) {
			return true
		}
	}
	return false
}

// TestStrangeFiles: whatever is given as a file, the program answers with an
// exit status of the contract and does not fall over.
func TestStrangeFiles(t *testing.T) {
	good := sites()[0]
	binary := make([]byte, 100_000)
	for i := range binary {
		binary[i] = byte(i * i >> 3)
	}
	long := strings.Repeat("x", 1<<20)
	for _, f := range []struct {
		name  string
		text  []byte
		code  int    // of check
		wants string // on stdout or stderr
	}{
		{"empty", nil, exitDone, "step 5"},
		{"only line ends", []byte("\n\r\n\n"), exitDone, ""},
		{"CRLF", []byte(strings.ReplaceAll(good, "\n", "\r\n")), exitDone, "(R1)"},
		{"no end of the last line", []byte(strings.TrimRight(good, "\n")), exitDone, "(R1)"},
		{"a copied terminal", []byte("R1#show run\nBuilding configuration...\n\nCurrent configuration : 999 bytes\n!\n" + good + "\nR1#"), exitDone, "(R1)"},
		{"a long line that is none of ours", []byte("banner " + long + "\n" + good), exitDone, "(R1)"},
		{"a long crypto line", []byte(good + "crypto isakmp " + long + "\n"), exitUsage, ""},
		{"a long access list line", []byte("access-list 101 permit " + strings.Repeat("ip ", 1<<18) + "\n"), exitUsage, ""},
		{"binary", binary, -1, ""},
		{"nul octets", bytes.Repeat([]byte{0}, 4096), -1, ""},
		{"control characters", []byte("crypto isakmp \x1b[2J\x07policy 10\n"), exitUsage, ""},
	} {
		t.Run(f.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "strange.cfg")
			if err := os.WriteFile(path, f.text, 0o600); err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr := culvert("check", path)
			if code != f.code && f.code >= 0 || code < exitDone || code > exitUsage {
				t.Errorf("exit %d, want %d:\n%.2000s%.2000s", code, f.code, stdout, stderr)
			}
			if !strings.Contains(stdout+stderr, f.wants) {
				t.Errorf("no %q in\n%.2000s%.2000s", f.wants, stdout, stderr)
			}
			if n := len(stdout) + len(stderr); n > 1<<17 && f.name != "binary" {
				t.Errorf("%d octets of answer", n)
			}
			if i := strings.IndexFunc(stdout+stderr, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }); i >= 0 {
				t.Errorf("a control character reaches the terminal: %q", (stdout + stderr)[i:min(len(stdout+stderr), i+40)])
			}
			simulated, _, _ := culvert("simulate", path, path)
			if simulated != exitNo && simulated != exitUsage && f.name != "CRLF" {
				t.Errorf("simulate with itself: exit %d", simulated)
			}
		})
	}
}
