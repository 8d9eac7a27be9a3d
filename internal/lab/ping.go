package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// PingOptions are how echo requests are sent; zero values mean the defaults.
type PingOptions struct {
	Count    int           // requests to send; 5
	Interval time.Duration // from one request to the next; 200 ms
	Timeout  time.Duration // how long to wait for the last replies; 5 s
	Size     int           // octets of data behind the ICMP header; 56
	DontFrag bool          // sets DF, so that a packet too big is told of
}

// PingResult is what came of some echo requests.
type PingResult struct {
	Sent, Received int
	// RTTs are the round-trip times of the replies in the order of arrival.
	RTTs []time.Duration
	// Refusals are ICMP errors that came instead: "from 10.10.10.1: destination unreachable".
	Refusals []string
	// Output is the same as ping(8) would print it.
	Output string
}

// Ping sends count ICMP echo requests from a host to another host's name or
// address, without any program. A request that stays unanswered is no error:
// see Received.
func (n *Net) Ping(ctx context.Context, from, to string, count int) (PingResult, error) {
	return n.PingWith(ctx, from, to, PingOptions{Count: count})
}

// PingWith is Ping with more to choose.
func (n *Net) PingWith(ctx context.Context, from, to string, o PingOptions) (PingResult, error) {
	host, err := HostOf(from)
	if err != nil {
		return PingResult{}, err
	}
	dst, err := addrOf(to)
	if err != nil {
		return PingResult{}, err
	}
	o.fill()
	p := &pinger{options: o, dst: dst, id: uint16(rand.Uint32()), sentAt: make(map[uint16]time.Time)}
	if err := n.In(host, p.open); err != nil {
		return PingResult{}, fmt.Errorf("lab: ping from %s: %w", host, err)
	}
	defer p.conn.Close()
	return p.run(ctx)
}

func (o *PingOptions) fill() {
	if o.Count <= 0 {
		o.Count = 5
	}
	if o.Interval <= 0 {
		o.Interval = 200 * time.Millisecond
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Size <= 0 {
		o.Size = 56
	}
}

type pinger struct {
	options PingOptions
	dst     netip.Addr
	id      uint16
	conn    *ipv4.RawConn
	sentAt  map[uint16]time.Time // by sequence number; gone once answered
	result  PingResult
	out     strings.Builder
}

// open makes the raw socket; it runs in the host's namespace.
func (p *pinger) open() error {
	c, err := net.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return err
	}
	p.conn, err = ipv4.NewRawConn(c)
	if err != nil {
		return errors.Join(err, c.Close())
	}
	return nil
}

func (p *pinger) run(ctx context.Context) (PingResult, error) {
	fmt.Fprintf(&p.out, "PING %s (%s) %d(%d) bytes of data.\n", p.dst, p.dst, p.options.Size, p.options.Size+28)
	begin := time.Now()
	for seq := 1; seq <= p.options.Count; seq++ {
		if err := p.send(uint16(seq)); err != nil {
			return p.result, err
		}
		until := time.Now().Add(p.options.Interval)
		if seq == p.options.Count {
			until = time.Now().Add(p.options.Timeout)
		}
		if err := p.receive(ctx, until, seq == p.options.Count); err != nil {
			return p.result, err
		}
	}
	p.summarise(time.Since(begin))
	return p.result, nil
}

func (p *pinger) send(seq uint16) error {
	data := make([]byte, p.options.Size)
	for i := range data {
		data[i] = byte(i)
	}
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(p.id), Seq: int(seq), Data: data}}
	body, err := m.Marshal(nil)
	if err != nil {
		return fmt.Errorf("lab: ping: %w", err)
	}
	h := &ipv4.Header{Version: 4, Len: ipv4.HeaderLen, TotalLen: ipv4.HeaderLen + len(body), TTL: 64, Protocol: 1, Dst: p.dst.AsSlice()}
	if p.options.DontFrag {
		h.Flags = ipv4.DontFragment
	}
	p.sentAt[seq] = time.Now()
	p.result.Sent++
	if err := p.conn.WriteTo(h, body, nil); err != nil {
		// An unreachable route or a filter says no at once; that is an answer, too.
		p.refused(fmt.Sprintf("own host: %v", err), seq)
	}
	return nil
}

// receive takes replies until a time, or until none is missing.
func (p *pinger) receive(ctx context.Context, until time.Time, last bool) error {
	buf := make([]byte, 65536)
	for !last || len(p.sentAt) > 0 {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("lab: ping: %w", err)
		}
		// Short waits, so that a cancelled context is seen.
		wait := min(time.Until(until), 50*time.Millisecond)
		if wait <= 0 {
			return nil
		}
		if err := p.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return fmt.Errorf("lab: ping: %w", err)
		}
		h, payload, _, err := p.conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return fmt.Errorf("lab: ping: %w", err)
		}
		p.take(h, payload)
	}
	return nil
}

// take is one ICMP message that came; others' are ignored.
func (p *pinger) take(h *ipv4.Header, b []byte) {
	if len(b) < 8 {
		return
	}
	if b[0] == byte(ipv4.ICMPTypeEchoReply) {
		seq := binary.BigEndian.Uint16(b[6:])
		at, ok := p.sentAt[seq]
		if binary.BigEndian.Uint16(b[4:]) != p.id || !ok {
			return
		}
		delete(p.sentAt, seq)
		rtt := time.Since(at)
		p.result.Received++
		p.result.RTTs = append(p.result.RTTs, rtt)
		fmt.Fprintf(&p.out, "%d bytes from %s: icmp_seq=%d ttl=%d time=%s ms\n", len(b), h.Src, seq, h.TTL, millis(rtt))
		return
	}
	// RFC 792: an error holds the IP header and 8 octets of what it is about.
	inner := b[8:]
	if len(inner) < 20 || len(inner) < int(inner[0]&15)*4+8 {
		return
	}
	q := inner[int(inner[0]&15)*4:]
	seq := binary.BigEndian.Uint16(q[6:])
	if q[0] != byte(ipv4.ICMPTypeEcho) || binary.BigEndian.Uint16(q[4:]) != p.id {
		return
	}
	p.refused(fmt.Sprintf("from %s: %v (code %d)", h.Src, ipv4.ICMPType(b[0]), b[1]), seq)
}

func (p *pinger) refused(why string, seq uint16) {
	delete(p.sentAt, seq)
	p.result.Refusals = append(p.result.Refusals, why)
	fmt.Fprintf(&p.out, "%s: icmp_seq=%d\n", why, seq)
}

func (p *pinger) summarise(took time.Duration) {
	r := &p.result
	fmt.Fprintf(&p.out, "\n--- %s ping statistics ---\n", p.dst)
	fmt.Fprintf(&p.out, "%d packets transmitted, %d received, ", r.Sent, r.Received)
	if len(r.Refusals) > 0 {
		fmt.Fprintf(&p.out, "+%d errors, ", len(r.Refusals))
	}
	fmt.Fprintf(&p.out, "%d%% packet loss, time %dms\n", 100*(r.Sent-r.Received)/r.Sent, took.Milliseconds())
	if len(r.RTTs) > 0 {
		lo, hi, sum := r.RTTs[0], r.RTTs[0], time.Duration(0)
		for _, t := range r.RTTs {
			lo, hi, sum = min(lo, t), max(hi, t), sum+t
		}
		fmt.Fprintf(&p.out, "rtt min/avg/max = %s/%s/%s ms\n", millis(lo), millis(sum/time.Duration(len(r.RTTs))), millis(hi))
	}
	r.Output = p.out.String()
}

func millis(d time.Duration) string { return fmt.Sprintf("%.3f", float64(d.Microseconds())/1000) }
