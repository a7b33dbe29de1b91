// Package bloom is a set of hashes in little memory, that may say yes to one that is not in it.
//
// A table asks one, for each bundle with entries in the cold tier, whether a key is worth a
// read there. Hashes are well mixed when they come: the set does not hash.
//
// It belongs to one goroutine. It knows nothing of keys and states, and never forgets.
package bloom
