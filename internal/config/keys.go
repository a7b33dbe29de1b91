package config

import "math"

// The settings. Names are Flink 2's where the meaning is the same.
var (
	// Checkpoints.

	CheckpointInterval = durationKey("execution.checkpointing.interval", "10 s", Job,
		"Time between two checkpoints; 0 takes none but the one at the end of a bounded job.")
	CheckpointTimeout = durationKey("execution.checkpointing.timeout", "10 min", Job,
		"Age at which a checkpoint that is not complete is given up.")
	CheckpointMinPause = durationKey("execution.checkpointing.min-pause", "0 ms", Job,
		"Least time between the end of a checkpoint and the start of the next.")
	CheckpointDir = folderKey("execution.checkpointing.dir", "", Job,
		"Folder for checkpoints, a path or file:///…; by default checkpoints/ in high-availability.storageDir.",
		"state.checkpoints.dir", "state.checkpoint-storage.dir")
	SavepointDir = folderKey("execution.checkpointing.savepoint-dir", "", Job,
		"Folder for savepoints, a path or file:///…, where a command names none.",
		"state.savepoints.dir")
	CheckpointRetained = intKey("execution.checkpointing.num-retained", "3", 1, 1000, Job,
		"How many completed checkpoints are kept.", "state.checkpoints.num-retained")
	CheckpointTolerable = intKey("execution.checkpointing.tolerable-failed-checkpoints", "3", 0, math.MaxInt32, Job,
		"How many checkpoints may fail one after the other before the job fails.")
	CheckpointRetention = enumKey("execution.checkpointing.externalized-checkpoint-retention",
		[]string{"RETAIN_ON_CANCELLATION", "DELETE_ON_CANCELLATION"},
		map[string]string{"NO_EXTERNALIZED_CHECKPOINTS": "!Weir keeps the checkpoints of a FAILED job always"}, Job,
		"What becomes of the checkpoints of a cancelled job; those of a FINISHED job are deleted, those of a FAILED one kept.")
	CheckpointMode = enumKey("execution.checkpointing.mode", []string{"EXACTLY_ONCE", "AT_LEAST_ONCE"}, nil, Job,
		"Guarantee of checkpoints. With AT_LEAST_ONCE no input ever waits for a barrier, and records may count twice after a restart.")
	CheckpointUnaligned = enumKey("execution.checkpointing.unaligned.enabled", []string{"true", "false"}, nil, Job,
		"Whether barriers may overtake records when the job is backpressured; what they overtake is kept in the checkpoint.",
		"execution.checkpointing.unaligned")
	CheckpointAlignmentTimeout = durationKey("execution.checkpointing.aligned-checkpoint-timeout", "1 s", Job,
		"Age at which the barriers of a checkpoint begin to overtake records; 0 lets them from the start.",
		"execution.checkpointing.alignment-timeout")
	CheckpointIncremental = enumKey("execution.checkpointing.incremental", []string{"true"},
		map[string]string{"false": "!is not built: checkpoints write what changed"}, Job,
		"Checkpoints write what changed since the one before.", "state.backend.incremental")
	CheckpointFallback = enumKey("execution.checkpointing.fallback", []string{"auto", "ask", "always"}, nil, Job,
		"What happens when the latest checkpoint can't be read: always goes back to the newest that can be; ask has the job fail, and say how to; auto asks if an operator publishes results with checkpoints, which would be published again.")
	CheckpointConcurrent = intKey("execution.checkpointing.max-concurrent-checkpoints", "1", 1, 100, Job,
		"How many checkpoints may be under way at a time; with a min-pause it is one.")

	CheckpointInline = memoryKey("execution.checkpointing.data-inline-threshold", "20kb", Job,
		"Size up to which a piece of state is kept in the checkpoint's _metadata and not in a file of its own; at most 1mb.",
		"state.storage.fs.memory-threshold")

	CheckpointStorage = enumKey("execution.checkpointing.storage", []string{"filesystem", "jobmanager"}, nil, Job,
		"Where state goes: files in execution.checkpointing.dir, or all of it into the _metadata that the JobManager writes, so that TaskManagers need no folder in common (small state only).",
		"state.checkpoint-storage")
	MaxStateSize = memoryKey("execution.checkpointing.jobmanager-storage.max-state-size", "5mb", Job,
		"With storage jobmanager, the most that an operator's state may take in one subtask; at most 64mb.")

	// State and execution.

	Backend = enumKey("state.backend.type", []string{"pebble", "heap"},
		map[string]string{"hashmap": "heap", "rocksdb": "pebble", "forst": "pebble"}, Job,
		"Where keyed state lives: all in memory (heap; also hashmap), or in memory with what is cold on disk (pebble; also rocksdb).",
		"state.backend")
	Parallelism = intKey("parallelism.default", "1", 1, 32768, Job,
		"Subtasks of each operator that sets none itself (-p).")

	// Restarts.

	RestartType = enumKey("restart-strategy.type", []string{"exponential-delay", "fixed-delay", "failure-rate", "none"},
		map[string]string{
			"exponentialdelay": "exponential-delay", "fixeddelay": "fixed-delay", "off": "none", "disable": "none",
			"failurerate": "failure-rate",
		}, Job,
		"Whether and when a failed job is started again.", "restart-strategy")
	RestartInitial = durationKey("restart-strategy.exponential-delay.initial-backoff", "1 s", Job,
		"Delay after the first failure; after a lost process the first restart is immediate.")
	RestartMost = durationKey("restart-strategy.exponential-delay.max-backoff", "1 min", Job,
		"The longest delay.")
	RestartMultiplier = floatKey("restart-strategy.exponential-delay.backoff-multiplier", "1.5", 1, Job,
		"By what the delay grows with each failure.")
	RestartReset = durationKey("restart-strategy.exponential-delay.reset-backoff-threshold", "1 h", Job,
		"Time without a failure after which the delay is the first one again.")
	RestartAttempts = intKey("restart-strategy.fixed-delay.attempts", "1", 0, math.MaxInt32, Job,
		"How many restarts before the job fails.")
	RestartDelay = durationKey("restart-strategy.fixed-delay.delay", "1 s", Job,
		"Time between a failure and the restart.")
	RestartFailures = intKey("restart-strategy.failure-rate.max-failures-per-interval", "1", 0, 10000, Job,
		"How many failures within the interval are followed by a restart; one more fails the job.")
	RestartInterval = durationKey("restart-strategy.failure-rate.failure-rate-interval", "1 min", Job,
		"The interval in which failures are counted.")
	RestartRateDelay = durationKey("restart-strategy.failure-rate.delay", "1 s", Job,
		"Time between a failure and the restart.")

	// JobManager.

	RESTAddress = stringKey("rest.address", "127.0.0.1", Cluster,
		"Address of the REST API (--rest sets it with rest.port).")
	RESTPort = intKey("rest.port", "8081", 0, 65535, Cluster,
		"Port of the REST API; 0 takes any that is free.")
	RESTMaxBody = memoryKey("rest.server.max-content-length", "1gb", Cluster,
		"Largest job binary that can be submitted.")
	RESTTokenFile = stringKey("rest.token-file", "", Cluster,
		"File with the token that REST clients must present; read when the JobManager starts.")
	RESTCert = stringKey("rest.tls.cert-file", "", Cluster,
		"PEM file with the certificate chain of the REST API; with rest.tls.key-file turns TLS on.")
	RESTKey = stringKey("rest.tls.key-file", "", Cluster,
		"PEM file with the private key of the REST API.")
	RPCAddress = stringKey("jobmanager.rpc.address", "127.0.0.1", Cluster,
		"Address that TaskManagers connect to (--rpc sets it with the port).")
	RPCPort = intKey("jobmanager.rpc.port", "6123", 0, 65535, Cluster,
		"Port that TaskManagers connect to; 0 takes any that is free.")
	JobManagerData = folderKey("process.jobmanager.working-dir", "", Cluster,
		"Data folder of the JobManager (--data); by default ~/.weir/jobmanager.")
	StorageDir = folderKey("high-availability.storageDir", "", Cluster,
		"Folder for job binaries, plans and, by default, checkpoints; by default the data folder. Shared if there are several JobManagers.")
	ClusterID = stringKey("high-availability.cluster-id", "weir", Cluster,
		"Name of the cluster: what JobManagers and TaskManagers of one cluster share.")
	EtcdEndpoints = listKey("high-availability.etcd.endpoints", "", Cluster,
		"Addresses of etcd (--etcd); none starts an embedded one in the data folder.")
	AdoptionTimeout = durationKey("high-availability.adoption-timeout", "6 s", Cluster,
		"How long a new leader waits for TaskManagers to report what runs, before it starts again what nobody has reported; longer than heartbeat.timeout.")
	HistoryAge = durationKey("jobstore.expiration-time", "7 d", Cluster,
		"How long jobs that have ended are kept, with their binaries and logs.")
	HistorySize = intKey("jobstore.max-capacity", "100", 0, math.MaxInt32, Cluster,
		"How many jobs that have ended are kept.")

	// TaskManager.

	TaskSlots = intKey("taskmanager.numberOfTaskSlots", "1", 1, 4096, Cluster,
		"Slots that a TaskManager offers (--slots).")
	TaskMemory = memoryKey("taskmanager.memory.process.size", "", Cluster,
		"Memory for all workers of a TaskManager together; by default 60 % of the cgroup's or host's.")
	TaskHost = stringKey("taskmanager.host", "127.0.0.1", Cluster,
		"Address on which workers of other hosts reach this TaskManager's (--host).")
	TaskJobManagers = listKey("taskmanager.jobmanagers", "", Cluster,
		"host:port of the JobManagers, tried in turn (--jobmanager); by default jobmanager.rpc.address and port.")
	TaskManagerData = folderKey("process.taskmanager.working-dir", "", Cluster,
		"Data folder of the TaskManager (--data); by default ~/.weir/taskmanager.")

	// Processes.

	HeartbeatInterval = durationKey("heartbeat.interval", "1 s", Cluster,
		"Time between heartbeats of JobManager and TaskManagers.")
	HeartbeatTimeout = durationKey("heartbeat.timeout", "5 s", Cluster,
		"Silence after which a TaskManager is lost.")
	LogLevel = enumKey("log.level", []string{"info", "debug", "warn", "error"}, nil, Cluster,
		"What daemons log to stderr.")
	LogFormat = enumKey("log.format", []string{"text", "json"}, nil, Cluster,
		"Form of the log.")
)

// sections are the headings of the documentation, with the beginnings of their keys.
// Every key must have one.
var sections = []struct {
	title    string
	prefixes []string
}{
	{"Checkpoints", []string{"execution.checkpointing."}},
	{"State and execution", []string{"state.", "parallelism."}},
	{"Restarts", []string{"restart-strategy."}},
	{"JobManager", []string{"rest.", "jobmanager.", "high-availability.", "jobstore.", "process.jobmanager."}},
	{"TaskManager", []string{"taskmanager.", "process.taskmanager."}},
	{"Processes", []string{"heartbeat.", "log."}},
}
