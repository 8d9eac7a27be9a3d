package door

import (
	"net/netip"
	"testing"

	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
)

// A clear command names pairs by peer, by map, or by one of their four SPIs
// together with where that SA ends.
func TestClearNames(t *testing.T) {
	local, peer := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")
	pair := &sadb.Child{Flow: policy.FlowID{Map: "CMAP", Seq: 10}, Local: netip.AddrPortFrom(local, 500), Remote: netip.AddrPortFrom(peer, 500),
		In: sadb.Keys{SPI: 1, AHSPI: 2}, Out: sadb.Keys{SPI: 3, AHSPI: 4}}
	for _, c := range []struct {
		clear Clear
		named bool
	}{
		{Clear{}, true}, {Clear{Peer: peer}, true}, {Clear{Peer: local}, false}, {Clear{Map: "CMAP"}, true}, {Clear{Map: "OTHER"}, false},
		{Clear{Dest: local, SPI: 1}, true}, {Clear{Dest: local, SPI: 1, AH: true}, false}, {Clear{Dest: local, SPI: 2, AH: true}, true},
		{Clear{Dest: peer, SPI: 3}, true}, {Clear{Dest: peer, SPI: 1}, false}, {Clear{Dest: peer, SPI: 4, AH: true}, true}, {Clear{Dest: local, SPI: 3}, false},
	} {
		if got := c.clear.Names(pair); got != c.named {
			t.Errorf("%+v names the pair: %t", c.clear, got)
		}
	}
}
