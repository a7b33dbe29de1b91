package weirpb

// ProtocolVersion is the minor version of the control protocol that this program
// speaks, as JobManager, TaskManager and worker.
const ProtocolVersion = 1

// OldestProtocol is the oldest minor version that it still serves: the two before its
// own.
const OldestProtocol = max(ProtocolVersion-2, 0)

// Speaks reports whether a peer of the given version is understood.
func Speaks(version uint32) bool { return version >= OldestProtocol && version <= ProtocolVersion }
