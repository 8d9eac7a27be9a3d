package vty

import (
	"io"
	"net/netip"

	"culvert/internal/conf/ios"
	"culvert/internal/core/status"
	"culvert/internal/face/show"
)

// row is a show command: its syntax, the text and the JSON of its answer.
type row struct {
	syntax, help string
	text         func(w io.Writer, g *status.Gateway, c Command) error
	view         func(g *status.Gateway, c Command) any
}

// plain makes a row of a command without arguments.
func plain[V any](syntax, help string, text func(io.Writer, *status.Gateway) error, view func(*status.Gateway) V) row {
	return row{
		syntax, help,
		func(w io.Writer, g *status.Gateway, _ Command) error { return text(w, g) },
		func(g *status.Gateway, _ Command) any { return view(g) },
	}
}

// saRow makes a row of "show crypto ipsec sa" with whatever selects its peer.
func saRow(syntax, help string, text func(io.Writer, *status.Gateway, netip.Addr) error) row {
	return row{
		syntax, help,
		func(w io.Writer, g *status.Gateway, c Command) error { return text(w, g, c.Peer) },
		func(g *status.Gateway, c Command) any { return show.IPsecSAView(g, c.Peer) },
	}
}

// listRow makes a row of "show access-lists" in one of its two spellings.
func listRow(syntax string) row {
	return row{
		syntax, "List access lists",
		func(w io.Writer, g *status.Gateway, c Command) error { return show.AccessLists(w, g, c.List) },
		func(g *status.Gateway, c Command) any { return show.AccessListView(g, c.List) },
	}
}

// shows lists the show commands that only need a snapshot.
func shows() []row {
	return []row{
		listRow("show access-lists [ <name:WORD> ]"),
		listRow("show ip access-lists [ <name:WORD> ]"),
		plain("show crypto isakmp sa", "Show ISAKMP Security Associations", show.ISAKMPSA, show.ISAKMPSAView),
		plain("show crypto isakmp sa detail", "Show ISAKMP SA detail", show.ISAKMPSADetail, show.ISAKMPSAView),
		plain("show crypto isakmp sa count", "Show ISAKMP SA count", show.ISAKMPSACount, show.ISAKMPCountView),
		plain("show crypto isakmp policy", "Show ISAKMP protection suite policy", show.ISAKMPPolicy, show.PolicyView),
		plain("show crypto isakmp default policy", "Show the default policies, of which there are none", show.DefaultPolicy, show.DefaultPolicyView),
		plain("show crypto isakmp profile", "Show ISAKMP profiles", show.ISAKMPProfiles, show.ProfileView),
		plain("show crypto isakmp key", "Show which peers have a pre-shared key", show.ISAKMPKey, show.KeyView),
		plain("show crypto isakmp peers", "Show ISAKMP peer structures", show.ISAKMPPeers, show.PeersView),
		saRow("show crypto ipsec sa", "IPSEC SA table", show.IPsecSA),
		saRow("show crypto ipsec sa detail", "Show counter detail", show.IPsecSADetail),
		saRow("show crypto ipsec sa peer <peer:A.B.C.D>", "IPSEC SAs of one peer", show.IPsecSA),
		saRow("show crypto ipsec sa peer <peer:A.B.C.D> detail", "", show.IPsecSADetail),
		plain("show crypto ipsec sa count", "Show IPSEC SA count", show.IPsecSACount, show.IPsecCountView),
		plain("show crypto ipsec transform-set", "Crypto transform sets", show.TransformSets, show.TransformSetView),
		plain("show crypto ipsec security-association", "Parameters of new IPSEC SAs", show.SecurityAssociation, show.SecurityAssociationView),
		plain("show crypto ipsec security-association lifetime", "Lifetime of new IPSEC SAs", show.Lifetime, show.LifetimeView),
		plain("show crypto session", "Status of crypto sessions (tunnels)", show.Session, show.SessionView),
		plain("show crypto session detail", "Detailed crypto session status", show.SessionDetail, show.SessionView),
		plain("show crypto map", "Crypto maps", show.CryptoMap, show.CryptoMapView),
		plain("show crypto dynamic-map", "Crypto map templates", show.DynamicMaps, show.DynamicMapsView),
		plain("show crypto pki trustpoints", "Trustpoints", show.Trustpoints, show.PKIView),
		plain("show crypto pki trustpoints status", "What each trustpoint has", show.TrustpointsStatus, show.PKIView),
		plain("show crypto pki certificates", "Certificates of ours and of the CAs", show.Certificates, show.PKIView),
		plain("show version", "System software status", show.Version, show.VersionView),
	}
}

// The names of the commands that are no row of shows.
const (
	showRunning     = "show running-config"
	showExchange    = "show crypto exchange"
	replaceConfig   = "configure replace"
	clearSA         = "clear crypto sa"
	clearSAPeer     = "clear crypto sa peer"
	clearSAMap      = "clear crypto sa map"
	clearSAEntry    = "clear crypto sa entry"
	clearSACounters = "clear crypto sa counters"
	clearISAKMP     = "clear crypto isakmp"
	clearSession    = "clear crypto session"
	clearLists      = "clear access-list counters"
	debugISAKMP     = "debug crypto isakmp"
	debugIPsec      = "debug crypto ipsec"
	debugEngine     = "debug crypto engine"
	debugCondition  = "debug crypto condition peer ipv4"
	debugReset      = "debug crypto condition reset"
	showCondition   = "show crypto debug-condition"
	undebugAll      = "undebug all"
	explain         = "explain"
	help            = "?"
	execMode        = "exec"
)

// others are the commands that are no row of shows.
func others() []ios.Command {
	return []ios.Command{
		{Name: showRunning, Syntax: showRunning, Help: "Current operating configuration, secrets hidden"},
		{Name: showExchange, Syntax: showExchange + " [ <peer:A.B.C.D> ]", Help: "The last exchanges with a peer, message by message"},
		{Name: replaceConfig, Syntax: replaceConfig, Help: "Read the configuration file again and put in force what changed"},
		{Name: clearSA, Syntax: clearSA, Help: "Clear IPSEC SAs"},
		{Name: clearSAPeer, Syntax: clearSAPeer + " <peer:A.B.C.D>", Help: "Clear the SAs of one peer"},
		{Name: clearSAMap, Syntax: clearSAMap + " <map:WORD>", Help: "Clear the SAs of one crypto map"},
		{Name: clearSAEntry, Syntax: clearSAEntry + " <dest:A.B.C.D> { esp | ah } <spi:WORD>", Help: "Clear one SA, and the one the other way with it"},
		{Name: clearSACounters, Syntax: clearSACounters, Help: "Reset the SA counters"},
		{Name: clearISAKMP, Syntax: clearISAKMP + " [ <conn:1-4294967295> ]", Help: "Clear ISAKMP SAs"},
		{Name: clearSession, Syntax: clearSession + " [ remote <peer:A.B.C.D> ]", Help: "Clear crypto sessions (tunnels), both phases"},
		{Name: clearLists, Syntax: clearLists + " [ <name:WORD> ]", Help: "Clear access list statistical information"},
		{Name: debugISAKMP, Syntax: debugISAKMP, Help: "Crypto ISAKMP debug"},
		{Name: debugIPsec, Syntax: debugIPsec, Help: "IPSEC processing"},
		{Name: debugEngine, Syntax: debugEngine, Help: "Crypto Engine debug"},
		{Name: debugCondition, Syntax: debugCondition + " <peer:A.B.C.D>", Help: "Debug only what concerns a peer; several may be named"},
		{Name: debugReset, Syntax: debugReset, Help: "Debug what concerns any peer again"},
		{Name: showCondition, Syntax: showCondition, Help: "The peers that debugging is limited to"},
		{Name: undebugAll, Syntax: undebugAll, Help: "Turn off all debugging, everybody's"},
		{Name: explain, Syntax: explain + " [ <peer:A.B.C.D> ]", Help: "Tell why the tunnel is not up, or that it is"},
	}
}

// grammar is the tree of the exec mode.
func grammar() *ios.Tree {
	m := ios.Mode{Name: execMode, Commands: others()}
	for _, r := range shows() {
		m.Commands = append(m.Commands, ios.Command{Name: r.syntax, Syntax: r.syntax, Help: r.help})
	}
	return ios.Must(ios.New(map[string]string{
		"show": "Show running system information", "clear": "Reset functions", "configure": "Another configuration", "debug": "Debugging functions", "undebug": "Disable debugging functions",
		"show crypto": "Encryption module", "show ip": "IP information", "show crypto isakmp": "Show ISAKMP", "show crypto isakmp default": "Show ISAKMP defaults", "show crypto pki": "Public key infrastructure", "show crypto ipsec": "Show IPSEC",
		"show crypto ipsec security-association": "Show parameters of SAs", "clear crypto": "Encryption subsystem", "clear access-list": "Clear access list information",
		"debug crypto": "Cryptographic subsystem", "<name>": "Access list name or number", "<peer>": "Address of the peer", "<conn>": "conn-id of an ISAKMP SA",
		"<map>": "Crypto map name", "<dest>": "Address the SA ends at: ours for an inbound one", "<spi>": "SPI, decimal or 0x and hexadecimal",
		"debug crypto condition": "Conditional debugging", "debug crypto condition peer": "By peer", "debug crypto condition peer ipv4": "By address",
		"show crypto ipsec security-association lifetime": "Lifetime of new IPSEC SAs", "clear crypto sa entry esp": "An ESP SA", "clear crypto sa entry ah": "An AH SA",
		"remote": "The sessions of one peer", "show crypto ipsec sa peer detail": "Show counter detail",
	}, m))
}
