package weirpb

// Environment by which an agent tells a job binary that it is to be a worker.
const (
	// EnvWorker is where the agent listens: the path of a unix socket.
	EnvWorker = "WEIR_WORKER"
	// EnvWorkerID is StartWorker.worker_id, decimal.
	EnvWorkerID = "WEIR_WORKER_ID"
	// EnvWorkerJob is the job's id.
	EnvWorkerJob = "WEIR_WORKER_JOB"
	// EnvWorkerHost is the address on which the worker takes records.
	EnvWorkerHost = "WEIR_WORKER_HOST"
)
