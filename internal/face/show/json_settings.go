package show

import (
	"time"

	"culvert/internal/core/policy"
	"culvert/internal/core/status"
)

// Policies is "show crypto isakmp policy".
type Policies struct {
	Policies []ISAKMPPolicyItem `json:"isakmp_policies"`
}

// PolicyView is the view of "show crypto isakmp policy".
func PolicyView(g *status.Gateway) Policies {
	v := Policies{Policies: []ISAKMPPolicyItem{}}
	for _, p := range settings(g).Policies {
		v.Policies = append(v.Policies, policyItem(p))
	}
	return v
}

// Keys is "show crypto isakmp key", without the keys.
type Keys struct {
	Keys []KeyItem `json:"isakmp_keys"`
}

// KeyItem says which peers have a key and where it was written.
type KeyItem struct {
	Keyring string  `json:"keyring"`
	Peers   string  `json:"peers"`    // a prefix, "" for a key by name
	Host    string  `json:"hostname"` // "" for a key by address
	Origin  *Origin `json:"origin"`
}

// KeyView is the view of "show crypto isakmp key".
func KeyView(g *status.Gateway) Keys {
	v := Keys{Keys: []KeyItem{}}
	for _, k := range heldKeys(g) {
		item := KeyItem{Keyring: k.ring, Host: k.Host, Origin: originOf(k.Origin)}
		if k.Peers.IsValid() {
			item.Peers = k.Peers.String()
		}
		v.Keys = append(v.Keys, item)
	}
	return v
}

// Sets is "show crypto ipsec transform-set".
type Sets struct {
	Sets []SetItem `json:"transform_sets"`
}

// SetItem is one transform set.
type SetItem struct {
	Name      string  `json:"name"`
	Transform string  `json:"transform"`
	Mode      string  `json:"mode"`
	Require   bool    `json:"require"` // never tunnel instead of transport
	ESN       bool    `json:"esn"`
	Origin    *Origin `json:"origin"`
}

func setItems(sets []policy.TransformSet) []SetItem {
	out := []SetItem{}
	for _, t := range sets {
		out = append(out, SetItem{t.Name, t.Words(), t.Mode.String(), t.Require, t.ESN, originOf(t.Origin)})
	}
	return out
}

// TransformSetView is the view of "show crypto ipsec transform-set".
func TransformSetView(g *status.Gateway) Sets { return Sets{setItems(transformSets(g))} }

// Lifetimes is "show crypto ipsec security-association lifetime".
type Lifetimes struct {
	Lifetime Life `json:"lifetime"`
}

// Associations is "show crypto ipsec security-association".
type Associations struct {
	Lifetime     Life `json:"lifetime"`
	ReplayWindow int  `json:"replay_window"` // packets; 0 when it is disabled
}

// SecurityAssociationView is the view of "show crypto ipsec security-association".
func SecurityAssociationView(g *status.Gateway) Associations {
	return Associations{lifeOf(globalLifetime(g)), settings(g).ReplayWindow}
}

// LifetimeView is the view of "show crypto ipsec security-association lifetime".
func LifetimeView(g *status.Gateway) Lifetimes { return Lifetimes{lifeOf(globalLifetime(g))} }

// Maps is "show crypto map".
type Maps struct {
	Maps []MapItem `json:"crypto_maps"`
}

// MapItem is one crypto map.
type MapItem struct {
	Name       string      `json:"name"`
	Interfaces []string    `json:"interfaces"`
	Entries    []EntryItem `json:"entries"`
}

// EntryItem is one entry of a crypto map.
type EntryItem struct {
	Sequence      int       `json:"sequence"`
	Complete      bool      `json:"complete"`
	Peers         []string  `json:"peers"`
	CurrentPeer   string    `json:"current_peer"`
	AccessList    string    `json:"access_list"`
	Lifetime      Life      `json:"lifetime"`
	PFSGroup      int       `json:"pfs_group"` // 0 without PFS
	TransformSets []SetItem `json:"transform_sets"`
	Profile       string    `json:"isakmp_profile"` // "" for none
	DynamicMap    string    `json:"dynamic_map"`    // the crypto dynamic-map it stands for, "" for none
	ResponderOnly bool      `json:"responder_only"`
	PerHost       bool      `json:"per_host"`
	IdleSeconds   int64     `json:"idle_seconds"` // 0 for never
	Origin        *Origin   `json:"origin"`
}

// CryptoMapView is the view of "show crypto map".
func CryptoMapView(g *status.Gateway) Maps {
	v := Maps{Maps: []MapItem{}}
	for _, m := range cryptoMaps(Entries(g)) {
		item := MapItem{Name: m.name, Interfaces: append([]string{}, m.interfaces...), Entries: []EntryItem{}}
		for _, e := range m.entries {
			item.Entries = append(item.Entries, entryItem(g, e))
		}
		v.Maps = append(v.Maps, item)
	}
	return v
}

func entryItem(g *status.Gateway, e *policy.Entry) EntryItem {
	item := EntryItem{
		Sequence: e.Seq, Complete: !incomplete(e), Peers: []string{}, CurrentPeer: word(entryPeer(g, e)),
		Lifetime: lifeOf(entryLifetime(g, e)), PFSGroup: int(e.PFS), TransformSets: setItems(e.Sets), Origin: originOf(e.Origin),
		DynamicMap: e.DynamicMap, ResponderOnly: e.ResponderOnly, PerHost: e.PerHost, IdleSeconds: seconds(e.IdleTime),
	}
	if e.Profile != nil {
		item.Profile = e.Profile.Name
	}
	for _, a := range e.Peers {
		item.Peers = append(item.Peers, word(a))
	}
	if e.ACL != nil {
		item.AccessList = e.ACL.Name
	}
	return item
}

// DynamicMapsView is the view of "show crypto dynamic-map".
func DynamicMapsView(g *status.Gateway) DynamicMapList {
	v := DynamicMapList{Maps: []MapItem{}}
	for _, m := range g.Dynamic {
		item := MapItem{Name: m.Name, Interfaces: []string{}, Entries: []EntryItem{}}
		for i := range m.Entries {
			item.Entries = append(item.Entries, entryItem(g, &m.Entries[i]))
		}
		v.Maps = append(v.Maps, item)
	}
	return v
}

// DynamicMapList is "show crypto dynamic-map".
type DynamicMapList struct {
	Maps []MapItem `json:"crypto_dynamic_maps"`
}

// Lists is "show access-lists".
type Lists struct {
	Lists []ListItem `json:"access_lists"`
}

// ListItem is one access list.
type ListItem struct {
	Name    string     `json:"name"`
	Kind    string     `json:"kind"` // "extended" or "standard"
	Applied []string   `json:"applied"`
	Lines   []LineItem `json:"lines"`
	Origin  *Origin    `json:"origin"`
}

// LineItem is one line of an access list.
type LineItem struct {
	Sequence int     `json:"sequence"`
	Action   string  `json:"action"`
	Text     string  `json:"text"`
	Matches  uint64  `json:"matches"`
	Origin   *Origin `json:"origin"`
}

// AccessListView is the view of "show access-lists [NAME]".
func AccessListView(g *status.Gateway, name string) Lists {
	v := Lists{Lists: []ListItem{}}
	for i := range g.Lists {
		l := &g.Lists[i]
		if l.List == nil || (name != "" && l.List.Name != name) {
			continue
		}
		item := ListItem{Name: l.List.Name, Kind: "standard", Applied: append([]string{}, l.Applied...), Lines: []LineItem{}, Origin: originOf(l.List.Origin)}
		if l.List.Extended {
			item.Kind = "extended"
		}
		for j := range l.List.Lines {
			if line := &l.List.Lines[j]; !line.IsRemark() {
				item.Lines = append(item.Lines, LineItem{line.Seq, line.Action.String(), listLine(l.List, line), l.Hits[line.Seq], originOf(line.Origin)})
			}
		}
		v.Lists = append(v.Lists, item)
	}
	return v
}

// About is "show version".
type About struct {
	Program  string     `json:"program"`
	Version  string     `json:"version"`
	Hostname string     `json:"hostname"`
	Started  *time.Time `json:"started"`
	Uptime   int64      `json:"uptime_seconds"`
}

// VersionView is the view of "show version".
func VersionView(g *status.Gateway) About {
	v := About{Program: "culvert", Version: g.Version, Hostname: g.Hostname, Started: instant(g.Started)}
	if v.Started != nil {
		v.Uptime = seconds(g.Now.Sub(g.Started))
	}
	return v
}
