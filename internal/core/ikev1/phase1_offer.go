package ikev1

import (
	"fmt"
	"slices"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// nonceOctets is the length of our nonces: within the 8 to 256 octets of RFC
// 2409 section 5, and half of the largest PRF's key.
const nonceOctets = 32

// maxOffers is how many transforms one proposal can hold (RFC 2408 3.5: one
// octet counts them).
const maxOffers = 255

// newPrivate draws octets until they make a private value of the group. A
// single try fails with negligible probability for every group.
func newPrivate(c *Context, g suite.Group) (crypt.Private, error) {
	var err error
	for range 16 {
		var p crypt.Private
		if p, err = crypt.NewPrivate(g, c.octets(crypt.PrivateSize(g))); err == nil {
			return p, nil
		}
	}
	return crypt.Private{}, err
}

// offerPolicies is the SA payload of MM1: one proposal, one transform for each
// policy in priority order.
func offerPolicies(own []policy.ISAKMP) isakmp.SA {
	p := isakmp.Proposal{Number: 1, Protocol: isakmp.ProtocolISAKMP}
	for i, o := range own {
		p.Transforms = append(p.Transforms, isakmp.Transform{Number: uint8(i + 1), ID: isakmp.KeyIKE, Attributes: policyAttributes(o)})
	}
	return isakmp.NewSA(p)
}

// policyAttributes are the attributes of RFC 2409 appendix A.
func policyAttributes(o policy.ISAKMP) []isakmp.Attribute {
	a := []isakmp.Attribute{
		isakmp.BasicAttribute(isakmp.Phase1Encryption, o.Cipher.Row().IKEv1),
		isakmp.BasicAttribute(isakmp.Phase1Hash, o.Hash.Row().IKEv1),
		isakmp.BasicAttribute(isakmp.Phase1Group, uint16(o.Group)),
		isakmp.BasicAttribute(isakmp.Phase1Auth, uint16(o.Auth)),
		isakmp.BasicAttribute(isakmp.Phase1LifeType, isakmp.LifeSeconds),
		lifeDuration(isakmp.Phase1LifeDuration, uint64(o.Lifetime/time.Second)),
	}
	if o.Cipher.Row().Sized {
		a = append(a, isakmp.BasicAttribute(isakmp.Phase1KeyLength, uint16(o.KeyBits)))
	}
	return a
}

// lifeDuration is a life duration, cut to the four octets of the long form.
func lifeDuration(t uint16, n uint64) isakmp.Attribute {
	return isakmp.DurationAttribute(t, uint32(min(n, 1<<32-1)))
}

// readPolicy turns a phase 1 transform into a policy. What is unknown makes a
// policy that matches nothing; why is the error.
func readPolicy(t isakmp.Transform) (policy.ISAKMP, error) {
	p := policy.ISAKMP{Lifetime: 0}
	seen := map[uint16]bool{}
	var bits, lifeType uint64
	var ok = true
	var err error
	for _, a := range t.Attributes {
		n, fits := a.Uint()
		if !fits {
			return p, fmt.Errorf("attribute %d of %d octets", a.Type, len(a.Value))
		}
		// Life type and duration come in pairs, the rest once.
		if seen[a.Type] && a.Type != isakmp.Phase1LifeType && a.Type != isakmp.Phase1LifeDuration {
			return p, fmt.Errorf("attribute %d comes twice", a.Type)
		}
		seen[a.Type] = true
		switch a.Type {
		case isakmp.Phase1Encryption:
			p.Cipher, ok = suite.CipherOfIKEv1(uint16(n))
		case isakmp.Phase1Hash:
			p.Hash, ok = suite.HashOfIKEv1(uint16(n))
		case isakmp.Phase1Auth:
			p.Auth, ok = suite.Auth(n), n < 1<<16
		case isakmp.Phase1Group:
			p.Group, ok = suite.Group(n), n < 1<<16
		case isakmp.Phase1KeyLength:
			bits = n
		case isakmp.Phase1LifeType:
			lifeType = n
		case isakmp.Phase1LifeDuration:
			if lifeType == uint64(isakmp.LifeSeconds) {
				p.Lifetime = time.Duration(min(n, 1<<32)) * time.Second
			}
		default:
			err = fmt.Errorf("attribute %d is unknown", a.Type)
		}
		if !ok {
			err = fmt.Errorf("attribute %d has the unknown value %d", a.Type, n)
			ok = true
		}
	}
	if err != nil {
		return p, err
	}
	return setKeyBits(p, bits)
}

// prepareOffers finds the peer's pre-shared key and the policies that may be
// offered.
func (s *SA) prepareOffers(c *Context) *Refusal {
	x := s.phase1
	x.offers = s.provable(c)
	x.offers = x.offers[:min(len(x.offers), maxOffers)]
	if len(x.offers) == 0 {
		return s.nothingProvable(c)
	}
	return nil
}

// provable lists the policies that may be negotiated with this peer: usable
// ones, with a method that we can prove and check.
func (s *SA) provable(c *Context) []policy.ISAKMP {
	var out []policy.ISAKMP
	looked, found := false, false
	for _, p := range c.Settings.Usable() {
		switch {
		case p.Auth == suite.PSK:
			if !looked {
				looked, found = true, s.findKey(c)
			}
			if found {
				out = append(out, p)
			}
		case p.Auth.Signature() && s.canSign(c, p.Auth):
			out = append(out, p)
		}
	}
	return out
}

// findKey looks the peer's pre-shared key up: by its name in aggressive mode,
// else by its address, the closest match first.
func (s *SA) findKey(c *Context) bool {
	x := s.phase1
	key, found := s.lookUpKey(c)
	s.emit(c, event.KeyLookup{Found: found, Origin: key.Origin})
	if x.decoy && !found {
		// The answer must look as if there were one.
		key, found = policy.FoundKey{Key: policy.Key{Secret: crypt.NewSecret(c.octets(nonceOctets))}}, true
	}
	x.key = key
	return found
}

func (s *SA) lookUpKey(c *Context) (best policy.FoundKey, found bool) {
	x, local := s.phase1, s.Local.Addr()
	if x.decoy {
		return best, false
	}
	if x.with != nil && x.with.Secret.Len() > 0 {
		return policy.FoundKey{Key: policy.Key{Host: x.with.Host, Secret: x.with.Secret, Origin: x.with.Origin}}, true
	}
	for _, p := range s.keyProfiles() {
		if x.name.Value != "" {
			if k, ok := c.Settings.KeyNamed(p, local, x.name.Value); ok {
				return k, true
			}
		}
		if k, ok := c.Settings.KeyAt(p, local, s.Remote.Addr()); ok && (!found || k.Peers.Bits() > best.Peers.Bits()) {
			best, found = k, true
		}
	}
	if !found && s.Role == event.Initiator && s.Profile != nil {
		return s.keyOfName(c)
	}
	return best, found
}

// keyOfName finds the key under a name that the entry's profile expects of the
// peer: whom we call we know by more than the address.
func (s *SA) keyOfName(c *Context) (policy.FoundKey, bool) {
	for _, m := range s.Profile.Match {
		if m.Certificate != nil || m.Domain || m.Kind != policy.IdentityFQDN && m.Kind != policy.IdentityUser {
			continue
		}
		if k, ok := c.Settings.KeyNamed(s.Profile, s.Local.Addr(), m.Value); ok {
			return k, true
		}
	}
	return policy.FoundKey{}, false
}

// keyProfiles are the profiles whose keyrings apply: the one that is known, else
// those of the entries that name the peer; nil stands for all keyrings.
func (s *SA) keyProfiles() []*policy.Profile {
	if s.Profile != nil {
		return []*policy.Profile{s.Profile}
	}
	var out []*policy.Profile
	for _, e := range s.phase1.entries {
		if e.Profile == nil {
			return []*policy.Profile{nil}
		}
		out = append(out, e.Profile)
	}
	if len(out) == 0 {
		return []*policy.Profile{nil}
	}
	return out
}

// nothingProvable tells why no policy is left.
func (s *SA) nothingProvable(c *Context) *Refusal {
	own := c.Settings.Usable()
	switch {
	case len(own) == 0 && len(c.Settings.Policies) > 0:
		return &Refusal{Code: event.LegacyOnly, Notify: isakmp.NotifyNoProposalChosen, Reason: "no ISAKMP policy that may be offered"}
	case len(own) == 0:
		return &Refusal{Code: event.NoPolicy, Notify: isakmp.NotifyNoProposalChosen, Reason: "no ISAKMP policy that may be offered"}
	}
	return s.cannotProve(own[0].Auth)
}

// cannotProve is the refusal of a method that we lack the key or the certificate for.
func (s *SA) cannotProve(a suite.Auth) *Refusal {
	if a.Signature() {
		return &Refusal{Code: event.NoCertificate, Notify: isakmp.NotifyNoProposalChosen, Reason: "no certificate and key for " + a.String()}
	}
	r := &Refusal{Code: event.NoKey, Notify: isakmp.NotifyNoProposalChosen, Reason: "no pre-shared key for " + s.Remote.Addr().String()}
	if s.phase1.peer != nil {
		r.Identity, r.Kind = said(s.phase1.peer)
		r.Reason += ", which calls itself " + r.Identity
	}
	return r
}

// respChoose takes the offers of the first message and chooses.
func (s *SA) respChoose(c *Context, body []byte) error {
	sa, err := isakmp.ParseSA(body)
	if err != nil {
		return err
	}
	proposals, transforms, offers := readOffers(sa)
	own := s.provable(c)
	x := s.phase1
	if s.Aggressive() {
		oneGroup(offers)
	}
	x.offers = offers
	i, j, ok := policy.ChooseISAKMP(offers, own, func(i, j int, mismatch string) {
		s.emit(c, event.PolicyCheck{Transform: i + 1, Offer: offers[i], Against: own[j], Mismatch: mismatch})
	})
	if !ok {
		s.emit(c, event.PolicyRefused{Offers: offers})
		return s.noneChosen(c, offers)
	}
	s.Policy = own[j]
	s.Policy.Lifetime = policy.Shorter(own[j].Lifetime, offers[i].Lifetime)
	chosen := proposals[i]
	chosen.Transforms = []isakmp.Transform{transforms[i]}
	x.answer = isakmp.SA{DOI: sa.DOI, Situation: sa.Situation, Proposals: []isakmp.Proposal{chosen}}
	return nil
}

// noneChosen tells why no offer was taken: what stands between may be a key, a
// certificate, the compliance shield, or a method that site-to-site has no use for.
func (s *SA) noneChosen(c *Context, offers []policy.ISAKMP) *Refusal {
	r := &Refusal{Code: event.NoPolicy, Notify: isakmp.NotifyNoProposalChosen, Reason: "no ISAKMP policy in common", Offers: offers}
	common := func(offers, own []policy.ISAKMP) (int, bool) {
		_, j, ok := policy.ChooseISAKMP(offers, own, func(int, int, string) {})
		return j, ok
	}
	usable := c.Settings.Usable()
	plain, xauth := withoutXAUTH(offers)
	if j, ok := common(offers, usable); ok {
		lacks := s.cannotProve(usable[j].Auth)
		r.Code, r.Reason, r.Identity, r.Kind = lacks.Code, lacks.Reason, lacks.Identity, lacks.Kind
	} else if _, ok := common(plain, c.Settings.Policies); xauth && (ok || !slices.ContainsFunc(offers, plainMethod)) {
		r.Code, r.Reason = event.NoXAUTH, "the peer wants extended authentication (XAUTH), which is for remote access"
	} else if slices.ContainsFunc(offers, rsaEncrypted) && !slices.ContainsFunc(offers, plainMethod) || encryptedOnly(offers, c.Settings.Policies) {
		r.Code, r.Reason = event.RSAEncrypted, "all that is in common is authentication by RSA encryption, which is not spoken"
	} else if _, ok := common(offers, c.Settings.Policies); ok {
		r.Code = event.LegacyOnly
	}
	return r
}

// withoutXAUTH are the offers as they would be without extended authentication;
// false when none asks for it.
func withoutXAUTH(offers []policy.ISAKMP) (out []policy.ISAKMP, any bool) {
	for _, o := range offers {
		if o.Auth.XAUTH() {
			any = true
			o.Auth = plainOf(o.Auth)
		}
		out = append(out, o)
	}
	return out, any
}

// plainOf is the method behind one with extended authentication:
// draft-ietf-ipsec-isakmp-xauth-06 section 7.2 has two numbers, initiator and
// responder, for each method in the order of RFC 2409.
func plainOf(a suite.Auth) suite.Auth { return suite.PSK + (a-65001)/2 }

func plainMethod(o policy.ISAKMP) bool {
	return o.Auth == suite.PSK || o.Auth.Signature()
}

func rsaEncrypted(o policy.ISAKMP) bool { return o.Auth == suite.RSAEncr || o.Auth == suite.RSARev }

// encryptedOnly reports whether an offer of RSA encryption is one of our policies
// but for the method, or a policy of ours has that method.
func encryptedOnly(offers, own []policy.ISAKMP) bool {
	for _, o := range offers {
		for _, p := range own {
			if rsaEncrypted(o) && (p.Auth == o.Auth && p.Mismatch(o) == "") {
				return true
			}
		}
	}
	return false
}

// readOffers flattens the proposals of MM1, in order, skipping what is not ISAKMP.
func readOffers(sa isakmp.SA) (ps []isakmp.Proposal, ts []isakmp.Transform, offers []policy.ISAKMP) {
	for _, p := range sa.Proposals {
		if p.Protocol != isakmp.ProtocolISAKMP {
			continue
		}
		for _, t := range p.Transforms {
			o, err := readPolicy(t)
			if err != nil || t.ID != isakmp.KeyIKE {
				o = policy.ISAKMP{Priority: -1} // matches no policy
			}
			ps, ts, offers = append(ps, p), append(ts, t), append(offers, o)
		}
	}
	return ps, ts, offers
}

// chosenPolicy reads the SA payload of the responder's answer, called name: one proposal with one transform, which
// must be one that we offered (RFC 2409 section 5: the responder must not modify it).
func chosenPolicy(name string, body []byte, offered []policy.ISAKMP) (policy.ISAKMP, error) {
	sa, err := isakmp.ParseSA(body)
	if err != nil {
		return policy.ISAKMP{}, err
	}
	if len(sa.Proposals) != 1 || len(sa.Proposals[0].Transforms) != 1 {
		return policy.ISAKMP{}, malformed("%s does not choose exactly one transform", name)
	}
	t := sa.Proposals[0].Transforms[0]
	if sa.Proposals[0].Protocol != isakmp.ProtocolISAKMP || t.ID != isakmp.KeyIKE {
		return policy.ISAKMP{}, malformed("%s chooses %s, transform %d, which was not offered", name, isakmp.ProtocolName(sa.Proposals[0].Protocol), t.ID)
	}
	got, err := readPolicy(t)
	if err != nil {
		return policy.ISAKMP{}, malformed("%s: %v", name, err)
	}
	for _, o := range offered {
		if o.Mismatch(got) == "" {
			o.Lifetime = policy.Shorter(o.Lifetime, got.Lifetime)
			return o, nil
		}
	}
	return policy.ISAKMP{}, malformed("%s chooses a policy that was not offered: %s", name, got)
}

// setKeyBits checks the Key Length attribute: mandatory for ciphers with
// several lengths, forbidden for the rest (RFC 2409 appendix A).
func setKeyBits(p policy.ISAKMP, bits uint64) (policy.ISAKMP, error) {
	n, err := keyBits(p.Cipher, bits)
	p.KeyBits = n
	return p, err
}

func keyBits(c suite.Cipher, bits uint64) (int, error) {
	row := c.Row()
	if !row.Sized {
		if bits != 0 && len(row.KeyBits) > 0 && bits != uint64(row.KeyBits[0]) {
			return 0, fmt.Errorf("%s with a key length of %d", row.RFC, bits)
		}
		if len(row.KeyBits) == 0 {
			return 0, nil
		}
		return row.KeyBits[0], nil
	}
	for _, n := range row.KeyBits {
		if uint64(n) == bits {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%s with a key length of %d", row.RFC, bits)
}
