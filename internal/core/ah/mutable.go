package ah

// Kinds of IPv4 options (RFC 791 section 3.1): copied flag, class and number in
// one octet.
const (
	optEnd         = 0
	optNop         = 1
	optLooseRoute  = 131
	optStrictRoute = 137
)

// immutable reports whether an IPv4 option is covered by the ICV: the ones that
// RFC 4302 appendix A1 lists as immutable. All others are zeroed: the mutable,
// the experimental and the superseded ones, and those it does not know.
func immutable(kind byte) bool {
	switch kind {
	case optEnd, optNop,
		130, // Security
		133, // Extended Security
		134, // Commercial Security
		148, // Router Alert
		149: // Sender Directed Multi-Destination Delivery
		return true
	}
	return false
}

// headerOf puts into scratch the IPv4 header as the ICV covers it: RFC 4302
// section 3.3.3.1.1. Zeroed are the type of service (DSCP and ECN), the flags,
// the fragment offset, the time to live, the checksum, and every option that is
// not immutable, as a whole. With a source route that still has stops the
// destination is the last of them, as the receiver will see it.
func headerOf(scratch *[maxIPv4Header]byte, header []byte) ([]byte, error) {
	h := scratch[:copy(scratch[:], header)]
	h[1] = 0
	h[6], h[7] = 0, 0
	h[8] = 0
	h[10], h[11] = 0, 0
	for at := ipv4Header; at < len(h); {
		if h[at] == optEnd {
			break // what follows is padding, which no router changes
		}
		if h[at] == optNop {
			at++
			continue
		}
		if at+1 >= len(h) || h[at+1] < 2 || at+int(h[at+1]) > len(h) {
			return nil, ErrOptions
		}
		option := h[at : at+int(h[at+1])]
		if option[0] == optLooseRoute || option[0] == optStrictRoute {
			destination(h, option)
		}
		if !immutable(option[0]) {
			clear(option)
		}
		at += len(option)
	}
	return h, nil
}

// destination predicts the destination that a source-routed packet arrives
// with. The option holds its kind, its length, the pointer to the next stop,
// counted from 1, and the stops; past the last one the route is done.
func destination(h, option []byte) {
	if len(option) < 7 || (len(option)-3)%4 != 0 || int(option[2]) > len(option) {
		return
	}
	copy(h[16:20], option[len(option)-4:])
}
