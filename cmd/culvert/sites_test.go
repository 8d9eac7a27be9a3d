package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// theKey is the pre-shared key of the sites below: no output may hold it.
const theKey = "Tunnel-of-two-sites-4711"

// router is a configuration of the article's two sites, written short. The words
// in capitals are replaced.
const router = `hostname NAME
crypto isakmp policy 10
 encryption aes 256
 hash sha256
 authentication pre-share
 group 19
crypto isakmp key KEY address PEER
crypto ipsec transform-set STRONG esp-aes 256 esp-sha256-hmac
 mode tunnel
crypto map CMAP 10 ipsec-isakmp
 set peer PEER
 set transform-set STRONG
 match address 102
interface GigabitEthernet0/0
 ip address INSIDE 255.255.255.0
interface GigabitEthernet0/1
 ip address LOCAL 255.255.255.0
 ip access-group 101 in
 crypto map CMAP
ip route FARNET 255.255.255.0 PEER
access-list 101 permit esp host PEER host LOCAL
access-list 101 permit ahp host PEER host LOCAL
access-list 101 permit udp host PEER host LOCAL eq isakmp
access-list 101 permit udp host PEER host LOCAL eq non500-isakmp
access-list 102 permit ip HERENET 0.0.0.255 FARNET 0.0.0.255
end
`

// sites are both ends.
func sites() [2]string {
	fill := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(router) }
	return [2]string{
		fill("NAME", "R1", "KEY", theKey, "LOCAL", "198.51.100.1", "PEER", "198.51.100.2", "INSIDE", "10.10.10.1", "HERENET", "10.10.10.0", "FARNET", "10.20.20.0"),
		fill("NAME", "R2", "KEY", theKey, "LOCAL", "198.51.100.2", "PEER", "198.51.100.1", "INSIDE", "10.20.20.1", "HERENET", "10.20.20.0", "FARNET", "10.10.10.0"),
	}
}

// edit replaces text that must be there; in new, PEER, LOCAL, HERENET and
// FARNET are those of the side.
func edit(t *testing.T, side int, text, old, new string) string {
	t.Helper()
	places := [2][]string{
		{"LOCAL", "198.51.100.1", "PEER", "198.51.100.2", "HERENET", "10.10.10.0", "FARNET", "10.20.20.0"},
		{"LOCAL", "198.51.100.2", "PEER", "198.51.100.1", "HERENET", "10.20.20.0", "FARNET", "10.10.10.0"},
	}
	r := strings.NewReplacer(places[side]...)
	old, new = r.Replace(old), r.Replace(new)
	if !strings.Contains(text, old) {
		t.Fatalf("there is no %q in:\n%s", old, text)
	}
	return strings.Replace(text, old, new, 1)
}

// culvert runs the program.
func culvert(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(context.Background(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// write puts the sites into files r1.cfg and r2.cfg.
func write(t *testing.T, dir string, texts [2]string) [2]string {
	t.Helper()
	files := [2]string{filepath.Join(dir, "r1.cfg"), filepath.Join(dir, "r2.cfg")}
	for i := range files {
		if err := os.WriteFile(files[i], []byte(texts[i]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// simulate negotiates the sites and reads the JSON.
func simulate(t *testing.T, dir string, texts [2]string) simulationJSON {
	t.Helper()
	files := write(t, dir, texts)
	code, stdout, stderr := culvert("simulate", "--json", files[0], files[1])
	var r simulationJSON
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("exit %d, %v: %s%s", code, err, stdout, stderr)
	}
	if (code == exitDone) != r.Up || code == exitUsage {
		t.Fatalf("exit %d, and up is %t", code, r.Up)
	}
	return r
}
