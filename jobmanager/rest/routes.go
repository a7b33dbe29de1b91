package rest

import (
	"net/http"
	"strings"
)

// place says which JobManager answers.
type place uint8

const (
	anyone     place = iota + 1 // each for itself
	leaderOnly                  // a standby redirects to the leader
)

// right says what a request may do; with a token set, all but probe need it.
type right uint8

const (
	probe right = iota + 1 // says nothing of jobs: health checks have no token
	read
	write
)

// Limits on bodies in bytes.
const (
	noBody    = 0
	smallBody = 64 << 10
	binary    = -1 // Options.MaxBinary and the plan
)

// route is one door.
type route struct {
	method, path string
	place        place
	right        right
	body         int64
	handle       func(s *Server, w http.ResponseWriter, r *http.Request) error
}

// routes are all doors there are: what is not here does not exist. Paths and forms
// are Flink's, except /, /leader and what is below it, POST /jobs and those that end in /describe; of the
// rescaling, Flink has only the path left.
var routes = []route{
	{"GET", "/{$}", leaderOnly, read, noBody, (*Server).page},
	{"GET", "/livez", anyone, probe, noBody, (*Server).livez},
	{"GET", "/readyz", anyone, probe, noBody, (*Server).readyz},
	{"GET", "/leader", anyone, read, noBody, (*Server).leader},
	{"GET", "/leader/takeover", leaderOnly, read, noBody, (*Server).leader},
	{"GET", "/config", anyone, read, noBody, (*Server).config},
	{"GET", "/jobmanager/config", anyone, read, noBody, (*Server).settings},
	{"GET", "/overview", leaderOnly, read, noBody, (*Server).overview},
	{"GET", "/taskmanagers", leaderOnly, read, noBody, (*Server).taskManagers},
	{"GET", "/jobs", leaderOnly, read, noBody, (*Server).jobs},
	{"POST", "/jobs", leaderOnly, write, binary, (*Server).submit},
	{"GET", "/jobs/overview", leaderOnly, read, noBody, (*Server).jobsOverview},
	{"GET", "/jobs/describe", leaderOnly, read, noBody, (*Server).describeAll},
	{"GET", "/jobs/{id}", leaderOnly, read, noBody, (*Server).job},
	{"PATCH", "/jobs/{id}", leaderOnly, write, smallBody, (*Server).cancel},
	{"GET", "/jobs/{id}/describe", leaderOnly, read, noBody, (*Server).describe},
	{"GET", "/jobs/{id}/status", leaderOnly, read, noBody, (*Server).status},
	{"GET", "/jobs/{id}/config", leaderOnly, read, noBody, (*Server).jobConfig},
	{"GET", "/jobs/{id}/checkpoints", leaderOnly, read, noBody, (*Server).checkpoints},
	{"POST", "/jobs/{id}/checkpoints", leaderOnly, write, smallBody, (*Server).checkpoint},
	{"GET", "/jobs/{id}/checkpoints/config", leaderOnly, read, noBody, (*Server).checkpointConfig},
	{"GET", "/jobs/{id}/checkpoints/details/{checkpoint}", leaderOnly, read, noBody, (*Server).checkpointDetails},
	{"GET", "/jobs/{id}/checkpoints/details/{checkpoint}/describe", leaderOnly, read, noBody, (*Server).checkpointDescribe},
	{"GET", "/jobs/{id}/checkpoints/details/{checkpoint}/subtasks/{vertex}", leaderOnly, read, noBody, (*Server).checkpointSubtasks},
	{"GET", "/jobs/{id}/checkpoints/{trigger}", leaderOnly, read, noBody, (*Server).operation},
	{"POST", "/jobs/{id}/savepoints", leaderOnly, write, smallBody, (*Server).savepoint},
	{"GET", "/jobs/{id}/savepoints/{trigger}", leaderOnly, read, noBody, (*Server).operation},
	{"POST", "/jobs/{id}/stop", leaderOnly, write, smallBody, (*Server).stop},
	{"PATCH", "/jobs/{id}/rescaling", leaderOnly, write, smallBody, (*Server).rescale},
	{"GET", "/jobs/{id}/rescaling/{trigger}", leaderOnly, read, noBody, (*Server).operation},
	{"POST", "/savepoint-disposal", leaderOnly, write, smallBody, (*Server).dispose},
	{"GET", "/savepoint-disposal/{trigger}", leaderOnly, read, noBody, (*Server).disposal},
	{"GET", "/jobs/{id}/exceptions", leaderOnly, read, noBody, (*Server).exceptions},
	{"GET", "/jobs/{id}/execution-result", leaderOnly, read, noBody, (*Server).executionResult},
}

// allowedMethods of a path, for the answer to a wrong one; nil if there is no such path.
func (s *Server) allowedMethods(r *http.Request) []string {
	var all []string
	for _, method := range []string{"GET", "POST", "PATCH"} {
		probe := r.Clone(r.Context())
		probe.Method = method
		if _, pattern := s.mux.Handler(probe); strings.HasPrefix(pattern, method+" ") {
			all = append(all, method)
		}
	}
	return all
}
