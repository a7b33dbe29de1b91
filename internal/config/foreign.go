package config

import "strings"

// foreignKeys are settings of Flink that nothing in Weir goes by, by prefix, and what
// to use instead. The longest prefix counts.
var foreignKeys = map[string]string{
	"env.java.":                           "there is no JVM; set Go's GOGC, GOMEMLIMIT or GODEBUG in the environment of the daemon",
	"env.":                                "set the environment where the daemon is started",
	"classloader.":                        "there is no class loading: a job is one static binary",
	"pekko.":                              "RPC has no settings of its own; see heartbeat.interval and heartbeat.timeout",
	"akka.":                               "RPC has no settings of its own; see heartbeat.interval and heartbeat.timeout",
	"blob.":                               "job binaries lie in high-availability.storageDir",
	"taskmanager.memory.":                 "there is one number: taskmanager.memory.process.size",
	"jobmanager.memory.":                  "the JobManager needs no memory setting; GOMEMLIMIT in its environment bounds it",
	"taskmanager.network.":                "buffers are sized by the runtime within taskmanager.memory.process.size",
	"state.backend.rocksdb.":              "pebble needs no tuning; taskmanager.memory.process.size is the one number",
	"state.backend.heap.":                 "the heap backend has no settings",
	"state.backend.local-recovery":        "local recovery is always on",
	"high-availability.zookeeper.":        "Weir elects its leader in etcd; use high-availability.etcd.endpoints (--etcd)",
	"high-availability.type":              "high availability is always on, in etcd; use high-availability.etcd.endpoints (--etcd)",
	"high-availability.jobmanager.port":   "use jobmanager.rpc.port",
	"io.tmp.dirs":                         "use process.taskmanager.working-dir (--data)",
	"rest.bind-address":                   "use rest.address",
	"rest.bind-port":                      "use rest.port",
	"jobmanager.bind-host":                "use jobmanager.rpc.address",
	"taskmanager.bind-host":               "use taskmanager.host",
	"jobmanager.execution.failover":       "regions restart always",
	"pipeline.max-parallelism":            "there is no maximum parallelism to set: any state can be divided anew",
	"pipeline.jars":                       "a job is one binary: weir run BINARY",
	"pipeline.classpaths":                 "a job is one binary: weir run BINARY",
	"execution.checkpointing.unaligned.":  "unaligned checkpoints have two settings: execution.checkpointing.unaligned.enabled and execution.checkpointing.aligned-checkpoint-timeout",
	"restart-strategy.exponential-delay.": "of exponential-delay Weir has initial-backoff, max-backoff, backoff-multiplier and reset-backoff-threshold",
	"yarn.":                               "Weir does not run on YARN yet",
	"kubernetes.":                         "Weir does not run on Kubernetes by itself yet",
	"metrics.":                            "metrics have no settings yet",
	"web.":                                "the REST API is set by rest.address and rest.port",
	"security.ssl.":                       "use rest.tls.cert-file and rest.tls.key-file",
	"security.kerberos.":                  "there is no Kerberos; use rest.token-file",
}

// foreign says what to use instead of a setting of Flink that Weir has not, or "". A
// key that is a slip of the pen of one of ours is not foreign.
func foreign(key string) string {
	best, instead := 0, ""
	for prefix, text := range foreignKeys {
		if strings.HasPrefix(key, prefix) && len(prefix) > best {
			best, instead = len(prefix), text
		}
	}
	if near := nearest(key); near != "" && Distance(key, near) <= 2 {
		return ""
	}
	return instead
}
