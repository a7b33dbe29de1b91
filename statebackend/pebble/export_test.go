package pebble

import (
	"context"
	"fmt"
)

// Metrics is what Pebble says of a backend's cold tier.
func Metrics(b *Backend) string {
	if b.cold.db == nil {
		return "no cold tier"
	}
	m := b.cold.db.Metrics()
	s := fmt.Sprintf("cache %d MB, %d hits, %d misses; filter: %d hits, %d misses; %d compactions;", m.BlockCache.Size>>20, m.BlockCache.Hits, m.BlockCache.Misses, m.Filter.Hits, m.Filter.Misses, m.Compact.Count)
	for i, l := range m.Levels {
		if l.TablesCount > 0 {
			s += fmt.Sprintf(" L%d: %d tables, %d MB, %d sublevels, %d MB written;", i, l.TablesCount, l.TablesSize>>20, l.Sublevels, l.TableBytesCompacted>>20)
		}
	}
	return s
}

// Compact has Pebble compact everything.
func Compact(b *Backend) error {
	b.cold.admit()
	return b.cold.db.Compact(context.Background(), []byte{0}, []byte{0xff, 0xff, 0xff}, false)
}

// FilterHits is how many reads of files were saved by their filters.
func FilterHits(b *Backend) int64 { return b.cold.db.Metrics().Filter.Hits }

// BeginClose is the beginning of Close.
func BeginClose(b *Backend) { b.cold.behind.closing.Store(true) }
