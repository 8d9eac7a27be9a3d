package ikev1

import (
	"slices"

	"culvert/internal/core/event"
	"culvert/internal/core/policy"
)

// Configured reports whether the SA would come up, or would have come up, the
// same under other settings: with the same policy, key or certificates, profile
// and identities. old are the settings it began under.
func (s *SA) Configured(old, now *policy.Settings) bool {
	if !now.HasPeer(s.Local.Addr(), s.Remote.Addr()) || !s.samePolicy(now) {
		return false
	}
	if s.Profile != nil {
		if !policy.SameProfile(s.Profile, now.ProfileNamed(s.Profile.Name)) {
			return false
		}
	} else if old.Identity.Kind != now.Identity.Kind || old.Identity.Value != now.Identity.Value {
		return false
	}
	if s.Policy.Auth.Signature() {
		return policy.SameTrust(old, now)
	}
	return s.sameKey(now)
}

// samePolicy reports whether the policy that was agreed, or all that were
// offered, may be agreed still. Lifetimes count for later SAs.
func (s *SA) samePolicy(now *policy.Settings) bool {
	usable := now.Usable()
	allowed := func(p policy.ISAKMP) bool {
		return slices.ContainsFunc(usable, func(o policy.ISAKMP) bool { return o.Mismatch(p) == "" })
	}
	if s.Policy.Group != 0 {
		return allowed(s.Policy)
	}
	return s.Role == event.Responder || s.phase1 == nil || !slices.ContainsFunc(s.phase1.offers, func(p policy.ISAKMP) bool { return !allowed(p) })
}

// sameKey reports whether the peer's pre-shared key is the one that was used.
func (s *SA) sameKey(now *policy.Settings) bool {
	if s.phase1 == nil || s.phase1.key.Secret.Len() == 0 {
		return true
	}
	used := s.phase1.key.Secret
	if k, ok := now.KeyAt(s.Profile, s.Local.Addr(), s.Remote.Addr()); ok && k.Secret.Equal(used) {
		return true
	}
	if k, ok := now.KeyNamed(s.Profile, s.Local.Addr(), s.Identity); ok && k.Secret.Equal(used) {
		return true
	}
	return slices.ContainsFunc(now.Aggressive, func(a policy.AggressivePeer) bool {
		return a.Secret.Len() > 0 && a.Secret.Equal(used) && (a.Addr == s.Remote.Addr() || a.Host != "" && a.Host == s.Identity)
	})
}

// Adopt makes the SA look at other settings, under which it is Configured.
func (s *SA) Adopt(now *policy.Settings) {
	if s.Profile != nil {
		s.Profile = now.ProfileNamed(s.Profile.Name)
	}
}

// Forsake gives up the quick modes that we began for a flow.
func (s *SA) Forsake(c *Context, gone func(policy.FlowID) bool) {
	for _, id := range sortedIDs(s.quick) {
		if q := s.quick[id]; q.role == event.Initiator && !q.done && gone(q.flow.ID) {
			s.failQuick(c, q, event.Failed{Code: event.Cleared, Reason: "the configuration changed"})
		}
	}
}
