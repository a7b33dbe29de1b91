package codec

import (
	"encoding/binary"
	"math/bits"
	"unsafe"

	"github.com/zeebo/xxh3"
)

// The hash of a key is xxh3-64, seed 0, of its encoded bytes. The lengths that keys
// mostly have, 1 to 16 bytes, are written out here from the algorithm (Y. Collet,
// xxHash 0.8, XXH3_len_1to3_64b, XXH3_len_4to8_64b and XXH3_len_9to16_64b) so that no bytes need to be
// put into memory; the tests compare them with the library.

// HashBytes is the hash of an encoded key.
func HashBytes(enc []byte) uint64 { return xxh3.Hash(enc) }

// HashWord is the hash of an encoded key of width bytes, 1 to 8, given as a word
// (see Key.Word).
func HashWord(w uint64, width int) uint64 {
	if width == 8 {
		return hash8(w)
	}
	if width >= 4 {
		le := bits.ReverseBytes64(w << (64 - 8*width))
		return hash4to8(uint32(le), uint32(le>>(8*width-32)), width)
	}
	return hash1to3(byte(w>>(8*width-8)), byte(w>>(8*(width-width/2-1))), byte(w), width)
}

// hash8 is the hash of the eight bytes that w is big endian.
func hash8(w uint64) uint64 {
	le := bits.ReverseBytes64(w)
	return hash4to8(uint32(le), uint32(le>>32), 8)
}

// hash1to3 hashes n bytes, 1 to 3: the first, the one at n/2 and the last.
func hash1to3(first, mid, last byte, n int) uint64 {
	const secret = 0x396cfeb8 ^ 0xbe4ba423 // its halves of words at 0 and 4
	h := uint64(uint32(first)<<16|uint32(mid)<<24|uint32(last)|uint32(n)<<8) ^ secret
	h ^= h >> 33
	h *= 0xc2b2ae3d27d4eb4f
	h ^= h >> 29
	h *= 0x165667b19e3779f9
	return h ^ h>>32
}

// hash4to8 hashes n bytes, 4 to 8: first and last are the first and the last four,
// little endian.
func hash4to8(first, last uint32, n int) uint64 {
	const secret = 0x1cad21f72c81017c ^ 0xdb979083e96dd4de // its words at 8 and 16
	h := (uint64(last) + uint64(first)<<32) ^ secret
	h ^= bits.RotateLeft64(h, 49) ^ bits.RotateLeft64(h, 24)
	h *= 0x9fb21c651e98df25
	h ^= h>>35 + uint64(n)
	h *= 0x9fb21c651e98df25
	return h ^ h>>28
}

// hash9to16 hashes n bytes, 9 to 16: first and last are the first and the last
// eight, little endian.
func hash9to16(first, last uint64, n int) uint64 {
	first ^= 0x1f67b3b7a4a44072 ^ 0x78e5c0cc4ee679cb // the secret at 24 and 32
	last ^= 0x2172ffcc7dd05a82 ^ 0x8e2443f7744608b8  // and at 40 and 48
	hi, lo := bits.Mul64(first, last)
	h := uint64(n) + bits.ReverseBytes64(first) + last + (hi ^ lo)
	h ^= h >> 37
	h *= 0x165667919e3779f9
	return h ^ h>>32
}

// hashString is the hash of the encoding of s, see appendEscaped.
func hashString(s string) uint64 {
	n := len(s)
	p := unsafe.Pointer(unsafe.StringData(s))
	switch {
	case n >= 8 && n <= 14:
		first, last := load64(p), load64(unsafe.Add(p, n-8))
		if !hasZero(first) && !hasZero(last) {
			return hash9to16(first, last>>16|1<<56, n+2)
		}
	case n == 7:
		all := uint64(load32(p)) | uint64(load32(unsafe.Add(p, 3)))<<24
		if !hasZero(all | 1<<56) {
			return hash9to16(all, all>>8|1<<56, 9)
		}
	case n >= 4 && n < 7:
		first, last := load32(p), load32(unsafe.Add(p, n-4))
		if !hasZero(uint64(first) | uint64(last)<<32) {
			return hash4to8(first, last>>16|1<<24, n+2)
		}
	}
	return hashShortString(s)
}

// hashShortString is hashString for 1 to 3 bytes, and for whatever has no shortcut.
func hashShortString(s string) uint64 {
	switch n := len(s); {
	case n == 1 && s[0] != 0:
		return hash1to3(s[0], 0, 1, 3)
	case n == 2 && s[0] != 0 && s[1] != 0:
		all := uint32(s[0]) | uint32(s[1])<<8 | 1<<24
		return hash4to8(all, all, 4)
	case n == 3 && s[0] != 0 && s[1] != 0 && s[2] != 0:
		all := uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16
		return hash4to8(all, all>>8|1<<24, 5)
	}
	if len(s) > scratch-2 {
		return hashLongString(s)
	}
	var b [scratch]byte
	return xxh3.Hash(appendEscaped(b[:0], s))
}

// hashLongString is hashString with more room on the stack, kept out of the frame
// of the short ones. It allocates beyond that.
//
//go:noinline
func hashLongString(s string) uint64 {
	var b [1024]byte
	return xxh3.Hash(appendEscaped(b[:0], s))
}

// scratch is room on the stack for encoded keys of usual length.
const scratch = 64

func load64(p unsafe.Pointer) uint64 { return binary.LittleEndian.Uint64((*[8]byte)(p)[:]) }
func load32(p unsafe.Pointer) uint32 { return binary.LittleEndian.Uint32((*[4]byte)(p)[:]) }

// hasZero says whether one of the bytes of w is 0.
func hasZero(w uint64) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	return (w-ones)&^w&tops != 0
}
