package exchange

import "github.com/weirstream/weir/taskmanager/inflight"

// The wire format of the data path, version 2. All integers are little endian.
// Both ends of a connection run the same binary (the handshake compares its hash),
// so the version guards against a stray peer, not for compatibility.
//
// # Handshake
//
// The accepting end speaks first:
//
//	greeting  magic "weirdata" (8) · version u16 · nonce (32)
//	hello     magic (8) · version u16 · length u16 · body · MAC (32)      from the dialling end
//	  body    nonce (32) · incarnation u64 · binary hash (32) ·
//	          cluster, job, from-worker, to-worker: each length u16 + bytes
//	answer    status u8 · length u16 · reason (bytes) · MAC (32)
//
// MACs are HMAC-SHA-256 under the job's secret: of "hello" · greeting nonce · body
// in the hello, of "answer" · hello nonce · status in the answer (zeros if the
// secret is not known). So neither end sends the secret, and neither answer can be
// used again. Statuses are those of refusal.
//
// # Frame
//
//	 0  u32  length of the payload
//	 4  u8   kind
//	 5  u8   flags of a data frame: 1 hashes, 2 times
//	 6  u16  records of a data frame, 1 to 512; else 0
//	 8  u32  edge: index into the graph's edges
//	12  u32  from: subtask index of the producer
//	16  u32  to: subtask index of the consumer
//	20  u64  incarnation
//	28  u32  crc32c of bytes 0–27 and the payload
//	32       payload
//
// Payloads:
//
//	1 data    [hash u64 each] [time i64 each, ms] records (codec.Codec.AppendBatch);
//	          at most 32 KiB unless it is a single record, then at most 64 MiB
//	2 event   kind u8 · barrier kind u8 · unaligned u8 · 0 u8 · checkpoint id u64 ·
//	          age i64 (ns) · time i64 (ms of event time) · alignment timeout i64 (ns)
//	3 credit  bytes u32: the consumer grants as many more; frames cost header and
//	          payload. The first grant comes when its gate is attached. Beyond what is
//	          granted up to 512 KiB may be sent if they are before a barrier that overtakes.
//	4 hint    want i32, from the consumer of a direct edge; the latest counts
//	5 bye     nothing: the sender closes its fabric on purpose; no channel
//
// Data and event frames run from producer to consumer, credit and hint frames the
// other way; edge, from and to always name the channel as its producer sees it.

const (
	magic         = "weirdata"
	formatVersion = 2
	headerBytes   = 32
	eventBytes    = 36
	nonceBytes    = 32
	macBytes      = 32
	// maxHelloBytes bounds the body of a hello: four ids of at most maxIDBytes.
	maxHelloBytes = nonceBytes + 8 + 32 + 4*(2+maxIDBytes)
	maxIDBytes    = 256
	// maxRecordBytes is the largest encoded record that fits an exchange between
	// workers. Source lines of 1.4 MB are real; 64 MiB is where a record is a mistake.
	maxRecordBytes = inflight.MaxPayload
)

// frameKind is the kind of a frame.
type frameKind uint8

// NB: on the wire; never renumber.
const (
	dataFrame   frameKind = 1
	eventFrame  frameKind = 2
	creditFrame frameKind = 3
	hintFrame   frameKind = 4
	byeFrame    frameKind = 5
)

// Flags of a data frame, which are those of a piece. NB: on the wire; never renumber.
const (
	flagHashes = inflight.FlagHashes // 1
	flagTimes  = inflight.FlagTimes  // 2
)
