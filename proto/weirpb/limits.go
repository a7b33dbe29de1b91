package weirpb

// MaxMessage bounds a control message in bytes, on all control streams. Acks that are
// larger than a chunk travel in pieces; what may be large is a Deploy with the inline runs
// of what it restores (coordinator.InlineLimit bounds those).
const MaxMessage = 256 << 20
