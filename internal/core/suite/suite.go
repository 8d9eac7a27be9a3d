// Package suite names every algorithm once. One row holds the IOS words, the
// RFC name, the numbers in IKEv1 phase 1 (RFC 2409 appendix A), in ESP and AH
// (RFC 2407, RFC 4868, RFC 4106), sizes in octets and the verdict.
// Configuration, show, debug, the wire, tests and documents read that row.
package suite

import "fmt"

// Verdict says whether an algorithm may be negotiated.
type Verdict uint8

// The verdicts, after RFC 8247 and RFC 8221.
const (
	OK     Verdict = iota // negotiated
	Legacy                // only with "crypto engine compliance shield disable"
	Never                 // parsed and explained, never negotiated
)

func (v Verdict) String() string {
	switch v {
	case OK:
		return "ok"
	case Legacy:
		return "legacy"
	}
	return "never"
}

// Cipher is an encryption algorithm, without its key length.
type Cipher uint8

// The ciphers. The zero Cipher is "none".
const (
	NoCipher Cipher = iota
	DES
	TripleDES
	AESCBC
	AESGCM // 16-octet ICV
	NullCipher
)

// CipherRow is all that is known of a cipher. Sizes are octets, KeyBits bits.
type CipherRow struct {
	RFC     string // "AES-CBC"
	IKE     string // IOS word in an ISAKMP policy, "" when it has none
	ESP     string // IOS word in a transform set: "esp-aes"
	IKEv1   uint16 // Encryption Algorithm, RFC 2409 appendix A; 0 when not defined
	IPsec   uint8  // ESP transform identifier, RFC 2407 4.4.4; 0 when not defined
	KeyBits []int  // key lengths that may be asked for; the first is the default
	Sized   bool   // the Key Length attribute is mandatory on the wire
	Block   int    // padding granularity of the cipher
	IV      int    // explicit IV in each ESP packet
	Salt    int    // implicit octets taken from the keying material after the key
	ICV     int    // for combined modes, else 0
	// Wireshark is its name in Wireshark's table of ESP SAs (esp_sa).
	Wireshark string
	Verdict   Verdict
}

var ciphers = [...]CipherRow{
	NoCipher:   {RFC: "none", Wireshark: "NULL"},
	DES:        {RFC: "DES-CBC", IKE: "des", ESP: "esp-des", IKEv1: 1, IPsec: 2, KeyBits: []int{64}, Block: 8, IV: 8, Wireshark: "DES-CBC [RFC2405]", Verdict: Legacy},
	TripleDES:  {RFC: "3DES-CBC", IKE: "3des", ESP: "esp-3des", IKEv1: 5, IPsec: 3, KeyBits: []int{192}, Block: 8, IV: 8, Wireshark: "TripleDES-CBC [RFC2451]", Verdict: Legacy},
	AESCBC:     {RFC: "AES-CBC", IKE: "aes", ESP: "esp-aes", IKEv1: 7, IPsec: 12, KeyBits: []int{128, 192, 256}, Sized: true, Block: 16, IV: 16, Wireshark: "AES-CBC [RFC3602]"},
	AESGCM:     {RFC: "AES-GCM", ESP: "esp-gcm", IPsec: 20, KeyBits: []int{128, 192, 256}, Sized: true, Block: 1, IV: 8, Salt: 4, ICV: 16, Wireshark: "AES-GCM with 16 octet ICV [RFC4106]"},
	NullCipher: {RFC: "NULL", ESP: "esp-null", IPsec: 11, KeyBits: []int{0}, Block: 1, Wireshark: "NULL"},
}

// Row returns what is known of c. An unknown value yields the row of NoCipher.
func (c Cipher) Row() *CipherRow {
	if int(c) >= len(ciphers) {
		return &ciphers[NoCipher]
	}
	return &ciphers[c]
}

// Known reports whether c has a row; NoCipher has one.
func (c Cipher) Known() bool { return int(c) < len(ciphers) }

// Combined reports whether c protects integrity too (AEAD).
func (c Cipher) Combined() bool { return c.Row().ICV > 0 }

func (c Cipher) String() string { return c.Row().RFC }

// Ciphers lists every cipher but NoCipher, in table order.
func Ciphers() []Cipher {
	out := make([]Cipher, 0, len(ciphers)-1)
	for c := range ciphers[1:] {
		out = append(out, Cipher(c+1))
	}
	return out
}

// CipherOfIKEv1 finds the cipher with that phase 1 number.
func CipherOfIKEv1(n uint16) (Cipher, bool) {
	for _, c := range Ciphers() {
		if n != 0 && c.Row().IKEv1 == n {
			return c, true
		}
	}
	return NoCipher, false
}

// CipherOfESP finds the cipher with that ESP transform identifier.
func CipherOfESP(n uint8) (Cipher, bool) {
	for _, c := range Ciphers() {
		if n != 0 && c.Row().IPsec == n {
			return c, true
		}
	}
	return NoCipher, false
}

// Hash is a hash function: the one of an ISAKMP policy, and the one under a
// PRF and under an HMAC integrity algorithm.
type Hash uint8

// The hashes. The zero Hash is "none".
const (
	NoHash Hash = iota
	MD5
	SHA1
	SHA256
	SHA384
	SHA512
)

// HashRow is all that is known of a hash and of its HMAC in ESP and AH.
type HashRow struct {
	RFC   string // "SHA2-256"
	IKE   string // IOS word in an ISAKMP policy: "sha256"
	ESP   string // IOS word in a transform set: "esp-sha256-hmac"
	AH    string // "ah-sha256-hmac"
	Long  string // as show crypto isakmp policy prints it
	IKEv1 uint16 // Hash Algorithm, RFC 2409 appendix A and IANA
	Auth  uint16 // Authentication Algorithm attribute of phase 2, RFC 2407 4.5 and RFC 4868
	AHID  uint8  // AH transform identifier
	Size  int    // octets of a digest
	Block int    // octets of a block
	ICV   int    // octets of the truncated HMAC in ESP and AH (RFC 2403, 2404, 4868)
	// Wireshark is the HMAC's name in Wireshark's table of ESP SAs (esp_sa).
	Wireshark string
	Verdict   Verdict
}

var hashes = [...]HashRow{
	NoHash: {RFC: "none", Wireshark: "NULL"},
	MD5:    {RFC: "MD5", IKE: "md5", ESP: "esp-md5-hmac", AH: "ah-md5-hmac", Long: "Message Digest 5", IKEv1: 1, Auth: 1, AHID: 2, Size: 16, Block: 64, ICV: 12, Wireshark: "HMAC-MD5-96 [RFC2403]", Verdict: Legacy},
	SHA1:   {RFC: "SHA1", IKE: "sha", ESP: "esp-sha-hmac", AH: "ah-sha-hmac", Long: "Secure Hash Standard", IKEv1: 2, Auth: 2, AHID: 3, Size: 20, Block: 64, ICV: 12, Wireshark: "HMAC-SHA-1-96 [RFC2404]"},
	SHA256: {RFC: "SHA2-256", IKE: "sha256", ESP: "esp-sha256-hmac", AH: "ah-sha256-hmac", Long: "Secure Hash Standard 2 (256 bit)", IKEv1: 4, Auth: 5, AHID: 5, Size: 32, Block: 64, ICV: 16, Wireshark: "HMAC-SHA-256-128 [RFC4868]"},
	SHA384: {RFC: "SHA2-384", IKE: "sha384", ESP: "esp-sha384-hmac", AH: "ah-sha384-hmac", Long: "Secure Hash Standard 2 (384 bit)", IKEv1: 5, Auth: 6, AHID: 6, Size: 48, Block: 128, ICV: 24, Wireshark: "HMAC-SHA-384-192 [RFC4868]"},
	SHA512: {RFC: "SHA2-512", IKE: "sha512", ESP: "esp-sha512-hmac", AH: "ah-sha512-hmac", Long: "Secure Hash Standard 2 (512 bit)", IKEv1: 6, Auth: 7, AHID: 7, Size: 64, Block: 128, ICV: 32, Wireshark: "HMAC-SHA-512-256 [RFC4868]"},
}

// Row returns what is known of h. An unknown value yields the row of NoHash.
func (h Hash) Row() *HashRow {
	if int(h) >= len(hashes) {
		return &hashes[NoHash]
	}
	return &hashes[h]
}

// Known reports whether h has a row; NoHash has one.
func (h Hash) Known() bool { return int(h) < len(hashes) }

func (h Hash) String() string { return h.Row().RFC }

// Hashes lists every hash but NoHash, in table order.
func Hashes() []Hash {
	out := make([]Hash, 0, len(hashes)-1)
	for h := range hashes[1:] {
		out = append(out, Hash(h+1))
	}
	return out
}

// HashOfIKEv1 finds the hash with that phase 1 number.
func HashOfIKEv1(n uint16) (Hash, bool) {
	for _, h := range Hashes() {
		if h.Row().IKEv1 == n {
			return h, true
		}
	}
	return NoHash, false
}

// HashOfAuth finds the hash whose HMAC has that phase 2 Authentication Algorithm number.
func HashOfAuth(n uint16) (Hash, bool) {
	for _, h := range Hashes() {
		if h.Row().Auth == n {
			return h, true
		}
	}
	return NoHash, false
}

// HashOfAH finds the hash with that AH transform identifier (RFC 2407 4.4.3, RFC 4868).
func HashOfAH(n uint8) (Hash, bool) {
	for _, h := range Hashes() {
		if n != 0 && h.Row().AHID == n {
			return h, true
		}
	}
	return NoHash, false
}

// Group is a Diffie-Hellman group; its value is the number on the wire and in IOS.
type Group uint16

// NoGroup means no Diffie-Hellman: quick mode without PFS.
const NoGroup Group = 0

// GroupRow is all that is known of a group.
type GroupRow struct {
	Number  Group
	Kind    string // "MODP", "MODP subgroup", "ECP" or "Curve25519"
	Bits    int    // of the modulus or the curve
	Long    string // in brackets in show crypto isakmp policy
	Public  int    // octets of a KE payload
	Shared  int    // octets of the shared secret
	Verdict Verdict
}

var groups = []GroupRow{
	{1, "MODP", 768, "768 bit", 96, 96, Legacy},
	{2, "MODP", 1024, "1024 bit", 128, 128, Legacy},
	{5, "MODP", 1536, "1536 bit", 192, 192, Legacy},
	{14, "MODP", 2048, "2048 bit", 256, 256, OK},
	{15, "MODP", 3072, "3072 bit", 384, 384, OK},
	{16, "MODP", 4096, "4096 bit", 512, 512, OK},
	{19, "ECP", 256, "256 bit ecp", 64, 32, OK},
	{20, "ECP", 384, "384 bit ecp", 96, 48, OK},
	{21, "ECP", 521, "521 bit ecp", 132, 66, OK},
	{22, "MODP subgroup", 1024, "1024 bit, 160 bit subgroup", 128, 128, Legacy},
	{23, "MODP subgroup", 2048, "2048 bit, 224 bit subgroup", 256, 256, OK},
	{24, "MODP subgroup", 2048, "2048 bit, 256 bit subgroup", 256, 256, OK},
	{31, "Curve25519", 255, "255 bit curve25519", 32, 32, OK},
}

// Groups lists every known group number, ascending.
func Groups() []Group {
	out := make([]Group, len(groups))
	for i := range groups {
		out[i] = groups[i].Number
	}
	return out
}

// Row returns what is known of g; Kind is empty for an unknown group.
func (g Group) Row() *GroupRow {
	for i := range groups {
		if groups[i].Number == g {
			return &groups[i]
		}
	}
	return &GroupRow{Number: g, Verdict: Never}
}

// Known reports whether g has a row.
func (g Group) Known() bool { return g.Row().Kind != "" }

func (g Group) String() string {
	if g == NoGroup {
		return "none"
	}
	return fmt.Sprintf("group%d", uint16(g))
}

// Auth is an authentication method of phase 1; its value is the IKEv1 number.
type Auth uint16

// The methods (RFC 2409 appendix A, RFC 4754 section 3). ECDSA's number names
// the curve of the key, so "ecdsa-sig" in a policy becomes one of the three by
// the trustpoint's key.
const (
	NoAuth   Auth = 0
	PSK      Auth = 1
	DSS      Auth = 2
	RSASig   Auth = 3
	RSAEncr  Auth = 4
	RSARev   Auth = 5
	ECDSA256 Auth = 9  // SHA-256 on the P-256 curve
	ECDSA384 Auth = 10 // SHA-384 on the P-384 curve
	ECDSA521 Auth = 11 // SHA-512 on the P-521 curve
)

// Signature reports whether the method proves the peer by a certificate.
func (a Auth) Signature() bool { return a == RSASig || a >= ECDSA256 && a <= ECDSA521 }

// XAUTH reports whether the method demands extended authentication behind
// phase 1 (draft-ietf-ipsec-isakmp-xauth-06 section 7.2: 65001 to 65010).
func (a Auth) XAUTH() bool { return a >= 65001 && a <= 65010 }

// AuthRow is all that is known of an authentication method.
type AuthRow struct {
	IKE     string // IOS word
	Long    string // as show crypto isakmp policy prints it
	Short   string // as show crypto isakmp sa detail prints it
	Verdict Verdict
}

// Row returns what is known of a.
func (a Auth) Row() *AuthRow {
	switch a {
	case PSK:
		return &AuthRow{"pre-share", "Pre-Shared Key", "psk", OK}
	case RSASig:
		return &AuthRow{"rsa-sig", "Rivest-Shamir-Adleman Signature", "rsig", OK}
	case ECDSA256, ECDSA384, ECDSA521:
		return &AuthRow{"ecdsa-sig", "Elliptic Curve Digital Signature Algorithm", "esig", OK}
	case RSAEncr:
		return &AuthRow{"rsa-encr", "Rivest-Shamir-Adleman Encryption", "renc", Never}
	}
	return &AuthRow{IKE: fmt.Sprintf("auth(%d)", uint16(a)), Verdict: Never}
}

func (a Auth) String() string { return a.Row().IKE }

// Mode is the encapsulation of an IPsec SA.
type Mode uint8

// The modes; Tunnel is the default.
const (
	Tunnel Mode = iota
	Transport
)

func (m Mode) String() string {
	if m == Transport {
		return "transport"
	}
	return "tunnel"
}
