package ikev1

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strings"

	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
)

// ownID is who we say we are: as the configuration for this peer, the profile or
// "crypto isakmp identity" wants it. What has no value falls back to the address.
func (s *SA) ownID(c *Context) isakmp.Identification {
	x, self := s.phase1, c.Settings.Identity
	switch {
	case s.Aggressive() && x.with != nil && x.with.HasSelf:
		self = x.with.Self
	case s.Profile != nil && s.Profile.HasSelf:
		self = s.Profile.Self
	}
	name := self.Value
	if self.Kind == policy.IdentityFQDN && name == "" {
		name = c.Settings.Hostname
		if c.Settings.Domain != "" && name != "" {
			name += "." + c.Settings.Domain
		}
	}
	switch {
	case self.Kind == policy.IdentityDN:
		if subject := s.ownSubject(c); subject != nil {
			return isakmp.Identification{Type: isakmp.IDDN, Data: subject}
		}
	case name == "":
	case self.Kind == policy.IdentityFQDN:
		return isakmp.Identification{Type: isakmp.IDFQDN, Data: []byte(name)}
	case self.Kind == policy.IdentityUser:
		return isakmp.Identification{Type: isakmp.IDUserFQDN, Data: []byte(name)}
	case self.Kind == policy.IdentityGroup:
		return isakmp.Identification{Type: isakmp.IDKeyID, Data: []byte(name)}
	}
	return isakmp.IDAddress(s.Local.Addr())
}

// identityOf is an identity of phase 1 as the configuration compares it; one
// that nothing recognises when there is no way to write it.
func identityOf(id isakmp.Identification) policy.Identity {
	if a, ok := id.Address(); ok {
		return policy.Identity{Kind: policy.IdentityAddress, Addr: a}
	}
	switch id.Type {
	case isakmp.IDFQDN:
		return policy.Identity{Kind: policy.IdentityFQDN, Value: string(id.Data)}
	case isakmp.IDUserFQDN:
		return policy.Identity{Kind: policy.IdentityUser, Value: string(id.Data)}
	case isakmp.IDDN:
		var name pkix.RDNSequence
		if rest, err := asn1.Unmarshal(id.Data, &name); err == nil && len(rest) == 0 {
			return policy.Identity{Kind: policy.IdentityDN, Value: name.String()}
		}
	case isakmp.IDKeyID:
		return policy.Identity{Kind: policy.IdentityGroup, Value: string(id.Data)}
	}
	return policy.Identity{Kind: policy.IdentityGroup}
}

// said is an identity for people, and the RFC's word for its sort.
func said(body []byte) (identity, kind string) {
	id, err := isakmp.ParseID(body)
	if err != nil {
		return "", ""
	}
	return id.String(), id.Type.String()
}

// ProfileName is the name of the isakmp profile in force, "" for none.
func (s *SA) ProfileName() string {
	if s.Profile == nil {
		return ""
	}
	return s.Profile.Name
}

// identify decides whether a peer that has proved an identity is one we expect,
// and what isakmp profile is in force with it.
func (s *SA) identify(c *Context, m *message, id isakmp.Identification) error {
	who := identityOf(id)
	profile, r := s.recognise(c, who)
	if r == nil {
		r = s.checkAddress(id, who, profile)
	}
	if x := s.phase1; r == nil && profile != nil && s.Role == event.Responder && x.key.Keyring != "" && !profile.Holds(x.key.Keyring) {
		r = &Refusal{Code: event.NoProfile, Reason: fmt.Sprintf("is recognised by isakmp profile %s, which does not use keyring %s that holds its key",
			profile.Name, x.key.Keyring), Profile: profile.Name}
	}
	s.emit(c, event.Identified{Kind: id.Type.String(), Identity: id.String(), Profile: nameOf(profile), Keyring: s.phase1.key.Keyring})
	if r != nil {
		r.Reason = fmt.Sprintf("%s: the peer %s, which calls itself %s %s, %s", m.name, s.Remote.Addr(), id.Type, id, r.Reason)
		r.Notify, r.Authentic, r.Identity, r.Kind = isakmp.NotifyInvalidIDInformation, true, id.String(), id.Type.String()
		return r
	}
	s.Identity, s.Profile, s.who = id.String(), profile, who
	return nil
}

func nameOf(p *policy.Profile) string {
	if p == nil {
		return ""
	}
	return p.Name
}

// Fits reports whether an entry is for whom phase 1 found in the peer: its
// profile is the one in force, and "set identity" names the peer.
func (s *SA) Fits(e *policy.Entry) bool {
	if e.Profile != nil && e.Profile.Name != s.ProfileName() {
		return false
	}
	return len(e.Identity) == 0 || policy.Recognised(e.Identity, s.who, s.certificateFits)
}

// recognise finds the profile for an identity: the closest match, if a crypto
// map entry that this negotiation may be for wants that one or none in
// particular, else the entry's own where it matches too.
func (s *SA) recognise(c *Context, who policy.Identity) (*policy.Profile, *Refusal) {
	best := c.Settings.ProfileFor(s.Local.Addr(), who, s.certificateFits)
	var found *policy.Profile
	var r *Refusal
	ok := len(s.phase1.entries) == 0
	for _, e := range s.phase1.entries {
		if p := e.Profile; p != nil && (len(p.Match) > 0 || s.Role == event.Responder) && !policy.Recognised(p.Match, who, s.certificateFits) {
			if r == nil || r.Code == event.BadIdentity {
				r = &Refusal{Code: event.NoProfile, Profile: nameOf(best),
					Reason: fmt.Sprintf("is not recognised by isakmp profile %s of crypto map %s %d, which expects %s", p.Name, e.Map, e.Seq, matchWords(p.Match))}
			}
			continue
		}
		if len(e.Identity) > 0 && !policy.Recognised(e.Identity, who, s.certificateFits) {
			if r == nil {
				r = &Refusal{Code: event.BadIdentity, Profile: nameOf(e.Profile),
					Reason: fmt.Sprintf("is not the one that set identity of crypto map %s %d expects: %s", e.Map, e.Seq, matchWords(e.Identity))}
			}
			continue
		}
		if ok = true; e.Profile == nil || best != nil && e.Profile.Name == best.Name {
			return best, nil
		}
		if found == nil {
			found = e.Profile
		}
	}
	if ok {
		if found == nil {
			found = best
		}
		return found, nil
	}
	return best, r
}

// checkAddress demands that an address is the one that the peer comes from,
// unless a NAT stands between or the configuration names the address.
func (s *SA) checkAddress(id isakmp.Identification, who policy.Identity, p *policy.Profile) *Refusal {
	a, ok := id.Address()
	if !ok || a == s.Remote.Addr() || s.NAT.PeerBehind || p != nil && policy.Recognised(p.Match, who, nil) {
		return nil
	}
	for _, e := range s.phase1.entries {
		if policy.Recognised(e.Identity, who, nil) {
			return nil
		}
	}
	return &Refusal{Code: event.BadIdentity, Reason: "should be known by the address it comes from", Profile: nameOf(p)}
}

// matchWords tells what is expected of an identity, in IOS words.
func matchWords(all []policy.IdentityMatch) string {
	if len(all) == 0 {
		return "nobody: it has no match line"
	}
	var words []string
	for _, m := range all {
		var w string
		switch {
		case m.Certificate != nil:
			w = "certificate map " + m.Certificate.Name
		case m.Kind == policy.IdentityAddress:
			w = "address " + m.Prefix.String()
		case m.Domain:
			w = m.Kind.String() + " domain " + m.Value
		default:
			w = m.Kind.String() + " " + m.Value
		}
		words = append(words, w)
	}
	return strings.Join(words, ", ")
}
