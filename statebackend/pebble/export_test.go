package pebble

import "context"

// Metrics is what Pebble says of a backend's cold tier.
func Metrics(b *Backend) string {
	if b.cold.db == nil {
		return "no cold tier"
	}
	return b.cold.db.Metrics().String()
}

// Compact has Pebble compact everything.
func Compact(b *Backend) error {
	b.cold.admit()
	return b.cold.db.Compact(context.Background(), []byte{0}, []byte{0xff, 0xff, 0xff}, false)
}
