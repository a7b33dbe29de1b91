// Package metapb is what Weir keeps on disk and in etcd, as protobuf messages:
// plans, checkpoint metadata and the records of the high-availability store. It
// carries no RPC. Conversions live in the packages that own the meaning.
//
// Generated from meta.proto by `make proto`; formats are versioned, fields are
// never renumbered or reused.
package metapb
