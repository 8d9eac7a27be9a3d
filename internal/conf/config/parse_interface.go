package config

import (
	"net/netip"

	"culvert/internal/conf/ios"
)

// routeID tells two routes apart.
type routeID struct {
	dest  netip.Prefix
	hop   netip.Addr
	iface string
}

// maxSecondary bounds the secondary addresses of one interface.
const maxSecondary = 256

func globalHandlers() map[string]handler {
	return map[string]handler{
		"hostname": (*reader).hostname, "interface": (*reader).interfaceLine, "route": (*reader).route,
		"policy": (*reader).policyLine, "key": (*reader).key, "enable": (*reader).enable, "keepalive": (*reader).keepalive,
		"nat-keepalive": (*reader).natKeepalive, "identity": (*reader).identity, "spi-recovery": (*reader).flag,
		"fragmentation": (*reader).flag, "domain": (*reader).domain,
		"keyring": (*reader).keyringLine, "profile": (*reader).profileLine, "peer": (*reader).peerLine,
		"trustpoint": (*reader).trustpointLine, "chain": (*reader).chainLine, "certificate-map": (*reader).certMapLine, "key-import": (*reader).keyImport,
		"aggressive": (*reader).flag, "default-policy": (*reader).flag, "log-sessions": (*reader).flag, "shield": (*reader).flag,
		"nat-transparency": (*reader).natTransparency,
		"lifetime":         (*reader).globalLifetime, "replay-window": (*reader).replayWindow, "transform-set": (*reader).transformSet,
		"replay-disable": (*reader).replayDisable, "idle-time": (*reader).idleTime,
		"map": (*reader).mapLine, "map-all": (*reader).mapAll, "map-dynamic": (*reader).mapDynamic, "dynamic-map": (*reader).dynamicLine,
		"identity-list":     (*reader).identityList,
		"numbered-standard": (*reader).numbered, "numbered-extended": (*reader).numbered,
		"list-extended": (*reader).listLine, "list-standard": (*reader).listLine, "resequence": (*reader).resequence,
	}
}

func interfaceHandlers() map[string]handler {
	return map[string]handler{
		"description": func(r *reader, m *ios.Match, _ ios.Line) {
			r.iface.Description = m.Value("text")
			r.iface.clear(m, "description")
		},
		"address": (*reader).address, "access-group": (*reader).accessGroup,
		"crypto-map": func(r *reader, m *ios.Match, l ios.Line) {
			r.iface.CryptoMap, r.iface.CryptoMapOrigin = m.Value("name"), r.origin(l)
			r.iface.clear(m, "crypto-map")
		},
		"shutdown": func(r *reader, m *ios.Match, l ios.Line) {
			r.iface.Shutdown, r.iface.ShutdownOrigin = !undo(m), r.origin(l)
		},
	}
}

// clear undoes a setting of one value when the line says "no" or "default".
func (i *Interface) clear(m *ios.Match, setting string) {
	if !undo(m) {
		return
	}
	zero := Interface{}
	switch setting {
	case "description":
		i.Description = ""
	case "crypto-map":
		i.CryptoMap, i.CryptoMapOrigin = "", zero.CryptoMapOrigin
	case "address":
		i.Address, i.DHCP, i.AddressOrigin, i.Secondary = zero.Address, false, zero.AddressOrigin, nil
	}
}

func (r *reader) hostname(m *ios.Match, l ios.Line) {
	r.c.Hostname, r.c.HostnameOrigin = m.Value("name"), r.origin(l)
	if undo(m) {
		r.c.Hostname, r.c.HostnameOrigin = "", Config{}.HostnameOrigin
	}
}

func (r *reader) interfaceLine(m *ios.Match, l ios.Line) {
	name := m.Value("interface")
	if m.No {
		r.interfaces.remove(name)
		return
	}
	i := r.interfaces.get(name)
	if i == nil || m.Default {
		i = r.interfaces.put(name, &Interface{Name: name, Origin: r.origin(l)})
	}
	if m.Default {
		return
	}
	r.iface = i
	r.open(m, l)
}

func (r *reader) address(m *ios.Match, l ios.Line) {
	if m.Has("dhcp") && !undo(m) {
		r.iface.Address, r.iface.DHCP, r.iface.AddressOrigin = netip.Prefix{}, true, r.origin(l)
		return
	}
	addr, ok := m.Arg("address")
	if !ok {
		r.iface.clear(m, "address")
		return
	}
	p := netip.PrefixFrom(address(m, "address"), maskBits(address(m, "mask")))
	switch {
	case undo(m) && m.Has("secondary"):
		r.iface.Secondary = without(r.iface.Secondary, p)
	case undo(m):
		r.iface.clear(m, "address")
	case p.Bits() == 0 || p.Addr().IsUnspecified() || p.Addr().IsMulticast():
		r.fault(l, addr, "%s is no address for an interface", p)
	case m.Has("secondary") && len(r.iface.Secondary) >= maxSecondary:
		r.fault(l, addr, "an interface has at most %d secondary addresses", maxSecondary)
	case m.Has("secondary"):
		r.iface.Secondary = append(without(r.iface.Secondary, p), p)
	default:
		r.iface.Address, r.iface.DHCP, r.iface.AddressOrigin = p, false, r.origin(l)
	}
}

func without(list []netip.Prefix, p netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, q := range list {
		if q != p {
			out = append(out, q)
		}
	}
	return out
}

func (r *reader) accessGroup(m *ios.Match, l ios.Line) {
	name, at := m.Value("list"), r.origin(l)
	if undo(m) {
		name, at = "", Interface{}.AccessGroupInOrigin
	}
	if m.Value("direction") == "in" {
		r.iface.AccessGroupIn, r.iface.AccessGroupInOrigin = name, at
	} else {
		r.iface.AccessGroupOut, r.iface.AccessGroupOutOrigin = name, at
	}
}

func (r *reader) route(m *ios.Match, l ios.Line) {
	dest := netip.PrefixFrom(address(m, "net"), maskBits(address(m, "mask")))
	if dest != dest.Masked() {
		w, _ := m.Arg("net")
		r.fault(l, w, "%s has bits outside its mask: the network is %s", dest.Addr(), dest.Masked().Addr())
		return
	}
	to := Route{
		Dest: dest, NextHop: address(m, "hop"), Interface: m.Value("interface"), Distance: 1, Name: m.Value("name"),
		Tag: uint32(number(m, "tag")), Track: number(m, "track"), Permanent: m.Has("permanent"), Origin: r.origin(l),
	}
	if d, ok := m.Number("distance"); ok {
		to.Distance = d
	}
	id := routeID{dest: dest, hop: to.NextHop, iface: to.Interface}
	switch {
	case !undo(m):
		if r.routes.get(id) == nil {
			r.routesTo[dest] = append(r.routesTo[dest], id)
		}
		r.routes.put(id, &to)
	case id.hop.IsValid() || id.iface != "":
		r.routes.remove(id)
	default:
		for _, o := range r.routesTo[dest] {
			r.routes.remove(o)
		}
		delete(r.routesTo, dest)
	}
}
