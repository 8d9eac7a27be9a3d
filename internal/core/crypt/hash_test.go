package crypt

import (
	"bytes"
	"crypto/hmac"
	"strings"
	"testing"

	"culvert/internal/core/suite"
)

var hmacs = []struct {
	source         string
	hash           suite.Hash
	key, data, mac string
}{
	{"RFC 2202 section 2 case 1", suite.MD5,
		strings.Repeat("0b", 16),
		"4869205468657265",
		"9294727a3638bb1c13f48ef8158bfc9d"},
	{"RFC 2202 section 2 case 2", suite.MD5,
		"4a656665",
		"7768617420646f2079612077616e7420666f72206e6f7468696e673f",
		"750c783e6ab0b503eaa86e310a5db738"},
	{"RFC 2202 section 2 case 3", suite.MD5,
		strings.Repeat("aa", 16),
		strings.Repeat("dd", 50),
		"56be34521d144c88dbb8c733f0e8b3f6"},
	{"RFC 2202 section 2 case 4", suite.MD5,
		"0102030405060708090a0b0c0d0e0f10111213141516171819",
		strings.Repeat("cd", 50),
		"697eaf0aca3a3aea3a75164746ffaa79"},
	{"RFC 2202 section 2 case 6", suite.MD5,
		strings.Repeat("aa", 80),
		"54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579" +
			"204669727374",
		"6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd"},
	{"RFC 2202 section 2 case 7", suite.MD5,
		strings.Repeat("aa", 80),
		"54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b657920616e64204c6172676572" +
			"205468616e204f6e6520426c6f636b2d53697a652044617461",
		"6f630fad67cda0ee1fb1f562db3aa53e"},
	{"RFC 2202 section 3 case 1", suite.SHA1,
		strings.Repeat("0b", 20),
		"4869205468657265",
		"b617318655057264e28bc0b6fb378c8ef146be00"},
	{"RFC 2202 section 3 case 2", suite.SHA1,
		"4a656665",
		"7768617420646f2079612077616e7420666f72206e6f7468696e673f",
		"effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
	{"RFC 2202 section 3 case 3", suite.SHA1,
		strings.Repeat("aa", 20),
		strings.Repeat("dd", 50),
		"125d7342b9ac11cd91a39af48aa17b4f63f175d3"},
	{"RFC 2202 section 3 case 4", suite.SHA1,
		"0102030405060708090a0b0c0d0e0f10111213141516171819",
		strings.Repeat("cd", 50),
		"4c9007f4026250c6bc8414f9bf50c86c2d7235da"},
	{"RFC 2202 section 3 case 6", suite.SHA1,
		strings.Repeat("aa", 80),
		"54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579" +
			"204669727374",
		"aa4ae5e15272d00e95705637ce8a3b55ed402112"},
	{"RFC 2202 section 3 case 7", suite.SHA1,
		strings.Repeat("aa", 80),
		"54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b657920616e64204c6172676572" +
			"205468616e204f6e6520426c6f636b2d53697a652044617461",
		"e8e99d0f45237d786d6bbaa7965c7808bbff1a91"},
	{"RFC 4231 section 4.2", suite.SHA256,
		strings.Repeat("0b", 20),
		"4869205468657265",
		"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
	{"RFC 4231 section 4.2", suite.SHA384,
		strings.Repeat("0b", 20),
		"4869205468657265",
		"afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6"},
	{"RFC 4231 section 4.2", suite.SHA512,
		strings.Repeat("0b", 20),
		"4869205468657265",
		"87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4" +
			"be9d914eeb61f1702e696c203a126854"},
	{"RFC 4231 section 4.4", suite.SHA256,
		strings.Repeat("aa", 20),
		strings.Repeat("dd", 50),
		"773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
	{"RFC 4231 section 4.4", suite.SHA384,
		strings.Repeat("aa", 20),
		strings.Repeat("dd", 50),
		"88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b2a5ab39dc13814b94e3ab6e101a34f27"},
	{"RFC 4231 section 4.4", suite.SHA512,
		strings.Repeat("aa", 20),
		strings.Repeat("dd", 50),
		"fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67c807" +
			"b946a337bee8942674278859e13292fb"},
	{"RFC 4231 section 4.5", suite.SHA256,
		"0102030405060708090a0b0c0d0e0f10111213141516171819",
		strings.Repeat("cd", 50),
		"82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
	{"RFC 4231 section 4.5", suite.SHA384,
		"0102030405060708090a0b0c0d0e0f10111213141516171819",
		strings.Repeat("cd", 50),
		"3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e6801dd23c4a7d679ccf8a386c674cffb"},
	{"RFC 4231 section 4.5", suite.SHA512,
		"0102030405060708090a0b0c0d0e0f10111213141516171819",
		strings.Repeat("cd", 50),
		"b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa25eb4d679275cc5788063" +
			"a5f19741120c4f2de2adebeb10a298dd"},
	{"RFC 4231 section 4.7", suite.SHA256,
		strings.Repeat("aa", 131),
		"54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579" +
			"204669727374",
		"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
	{"RFC 4231 section 4.7", suite.SHA384,
		strings.Repeat("aa", 131),
		"54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579" +
			"204669727374",
		"4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952"},
	{"RFC 4231 section 4.7", suite.SHA512,
		strings.Repeat("aa", 131),
		"54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579" +
			"204669727374",
		"80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e52" +
			"95e64f73f63f0aec8b915a985d786598"},
	{"RFC 4231 section 4.8", suite.SHA256,
		strings.Repeat("aa", 131),
		"5468697320697320612074657374207573696e672061206c6172676572207468616e20626c6f636b2d73697a65206b65" +
			"7920616e642061206c6172676572207468616e20626c6f636b2d73697a6520646174612e20546865206b6579206e6565" +
			"647320746f20626520686173686564206265666f7265206265696e6720757365642062792074686520484d414320616c" +
			"676f726974686d2e",
		"9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
	{"RFC 4231 section 4.8", suite.SHA384,
		strings.Repeat("aa", 131),
		"5468697320697320612074657374207573696e672061206c6172676572207468616e20626c6f636b2d73697a65206b65" +
			"7920616e642061206c6172676572207468616e20626c6f636b2d73697a6520646174612e20546865206b6579206e6565" +
			"647320746f20626520686173686564206265666f7265206265696e6720757365642062792074686520484d414320616c" +
			"676f726974686d2e",
		"6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5a678cc31e799176d3860e6110c46523e"},
	{"RFC 4231 section 4.8", suite.SHA512,
		strings.Repeat("aa", 131),
		"5468697320697320612074657374207573696e672061206c6172676572207468616e20626c6f636b2d73697a65206b65" +
			"7920616e642061206c6172676572207468616e20626c6f636b2d73697a6520646174612e20546865206b6579206e6565" +
			"647320746f20626520686173686564206265666f7265206265696e6720757365642062792074686520484d414320616c" +
			"676f726974686d2e",
		"e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac3c4982b10d5eeb55c3e4de15" +
			"134676fb6de0446065c97440fa8c6a58"},
}

func TestPRFIsTheWholeHMAC(t *testing.T) {
	for _, v := range hmacs {
		key, data := NewSecret(unhex(t, v.key)), unhex(t, v.data)
		if got := PRF(v.hash, key, data); !bytes.Equal(got, unhex(t, v.mac)) {
			t.Errorf("%s: %x, want %s", v.source, got, v.mac)
		}
		for cut := range data {
			if got := PRF(v.hash, key, data[:cut], nil, data[cut:]); !bytes.Equal(got, unhex(t, v.mac)) {
				t.Fatalf("%s: another value in parts cut at %d", v.source, cut)
			}
		}
	}
}

// SP 800-135 (CAVP, IKEv2): SKEYSEED = prf(Ni | Nr, g^ir), nonces as the key.
func TestPRFOfASharedSecret(t *testing.T) {
	for _, v := range []struct {
		hash                suite.Hash
		nonces, gir, wanted string
	}{
		{suite.SHA256, "ed80dc79912c32a935fb6d1a3feac078",
			"42968e5d0ccc3cfc5a3e4bc1bba370cea1fae0d54c49ccba34b2bee804beeb2e9e8c57a4e01bd45102cf2433aacc6cfe" +
				"c06792f363e5170e6aa6650274e906648e449d27a8f00b5b44261982c9835c748a751ec5138eaacc5e025661339538a6" +
				"1bf418e454699e19c32db8d9ce5dd86b220f1e89afc5872e68be36cb1a0c8866",
			"37fde90b81d63692620f67367b62092e3efdc6a03509137d731004767ff35010"},
		{suite.SHA384, "d672b0bc852829b93509f3b724706364",
			"4df040b70978629c49437cff41a0d46cbea68c8d75b370ffc11d7b387144ea83bb5903fbb92e473df50a9b19ea43e9c2" +
				"f3da9a849c03864276c6f264ecf02a60d40ba65c06656b633f02a87427e928eb66a2dabd9dc05744717bcaf7ae78c296" +
				"872f5c48d1a8120c2155b70c565ce271998e3e44af263d487ea3ba7f56132d7d",
			"54436a9ea95d6ff79b967f4b07f6de976a376e8ea26aa9574709afc60243c9c141da4ca0e158e627a75ea87f6feb07ef"},
		{suite.SHA512, "df7931db9b429e10b8aa8e4d46042393",
			"1e3b007d2da913ca60ecc98c25a22db08073d5c35c11b2524b298a922b6abfe6acf7359db66ae5f85d67aacff686419c" +
				"d8666d05ae7977cefad7f54dd8e312a8e8e5e0370f88142fbdd659dd6fde22bdd531f5402881a8de85c1024e595ec93c" +
				"575618af7fd3dbac7982919078d71cc13eff1910a032750e1ff428675de189ee",
			"daf9bd6f2f912da553867966af386e67909a8df0ca7e84b83b355cb7d7f1026f17d8ea34b5d57fd0d1ba389528fca1e8" +
				"1d1c8ce511b28a2458241143fee30ccc"},
	} {
		if got := PRF(v.hash, NewSecret(unhex(t, v.nonces)), unhex(t, v.gir)); !bytes.Equal(got, unhex(t, v.wanted)) {
			t.Errorf("%s: %x, want %s", v.hash, got, v.wanted)
		}
	}
}

func TestSum(t *testing.T) {
	// The digests of "abc": RFC 1321 appendix A.5 and FIPS 180-4's examples.
	for h, want := range map[suite.Hash]string{
		suite.MD5:    "900150983cd24fb0d6963f7d28e17f72",
		suite.SHA1:   "a9993e364706816aba3e25717850c26c9cd0d89d",
		suite.SHA256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		suite.SHA384: "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
		suite.SHA512: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a" +
			"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
	} {
		if got := Sum(h, []byte("a"), nil, []byte("bc")); !bytes.Equal(got, unhex(t, want)) {
			t.Errorf("%s: %x, want %s", h, got, want)
		}
	}
}

func TestHashSizesAreThoseOfTheirRows(t *testing.T) {
	for _, h := range suite.Hashes() {
		d := NewHash(h)()
		if d.Size() != h.Row().Size || d.BlockSize() != h.Row().Block {
			t.Errorf("%s: %d octets of %d, the row says %d of %d", h, d.Size(), d.BlockSize(), h.Row().Size, h.Row().Block)
		}
	}
}

// A digest of no octets would equal an empty HASH payload.
func TestNoHashStillHashes(t *testing.T) {
	for _, h := range []suite.Hash{suite.NoHash, 200} {
		if len(Sum(h)) == 0 || len(PRF(h, Secret{})) == 0 || Expand(h, Secret{}, nil, 9).Len() != 9 {
			t.Errorf("hash %d yields nothing", h)
		}
	}
}

// RFC 2409 section 5.5, written out:
// KEYMAT = K1 | K2 | K3 where K1 = prf(SKEYID_d, seed), K2 = prf(SKEYID_d, K1 | seed) …
func TestExpandIsTheKEYMATOfQuickMode(t *testing.T) {
	key, seed := []byte("SKEYID_d"), []byte("\x03SPI.Ni_bNr_b")
	for _, h := range suite.Hashes() {
		prf := func(parts ...[]byte) []byte {
			m := hmac.New(NewHash(h), key)
			m.Write(bytes.Join(parts, nil))
			return m.Sum(nil)
		}
		k1 := prf(seed)
		k2 := prf(k1, seed)
		k3 := prf(k2, seed)
		all := bytes.Join([][]byte{k1, k2, k3}, nil)
		for n := 0; n <= len(all); n++ {
			if got := Expand(h, NewSecret(key), seed, n); !bytes.Equal(got.Bytes(), all[:n]) {
				t.Fatalf("%s: %d octets: %x, want %x", h, n, got.Bytes(), all[:n])
			}
		}
	}
	if Expand(suite.SHA1, NewSecret(key), seed, -1).Len() != 0 {
		t.Error("a negative length yields octets")
	}
}

// What was computed beyond n octets must not stay reachable behind the key.
func TestExpandLeavesNothingBehindTheKey(t *testing.T) {
	b := Expand(suite.SHA256, NewSecret([]byte("k")), nil, 5).Bytes()
	if cap(b) != 5 {
		t.Errorf("capacity %d, want 5", cap(b))
	}
}
