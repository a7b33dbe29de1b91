package lint

import (
	"slices"
	"strings"
	"testing"
)

// policy says who may import whom ("a < b": b may import a). It is a statement of
// intent, not a record of what happens to be so: do not change it to fix a build. An
// edge that is added needs a reason, here.
//
// Tests are free: only files that are shipped are bound.
const policy = `
	# Leaves. invariants may be imported by everyone (see always).
	# buildflags: a program says in its plan which runtime it embeds, the JobManager compares.
	NONE < internal/invariants, internal/buildflags < jobmanager;
	# Which host this is: TaskManagers say it, the JobManager compares.
	NONE < internal/machine < taskmanager, taskmanager/worker, jobmanager/session;
	# Where unix sockets lie, and what waits to be said on a control stream.
	NONE < internal/sockets < taskmanager, coordinator/ha/etcdha;
	NONE < internal/sendqueue < taskmanager, taskmanager/worker, jobmanager/session;
	NONE < internal/ring, internal/footprint < taskmanager/exchange;
	# Whether a value fits into a slot of the table depends on its pointers.
	internal/footprint < statebackend/table;
	# Local mode has its own network.
	NONE < internal/memnet < internal/minicluster;
	NONE < stream, codec, proto/metapb, internal/loop, statebackend/objstore;
	proto/metapb < proto/weirpb;

	# What was asked for. The plan is persisted and hashed, so job speaks metapb.
	stream, proto/metapb < job, statebackend;
	stream < taskmanager/align;
	# Event time: that of a subtask's channels, and that of a source's splits.
	NONE < stream/watermark < taskmanager/task, weir;
	job < internal/event, jobmanager/execgraph, jobmanager/slots;
	job < internal/config;
	# The views of the REST API: the JobManager fills them, rest serves them, client reads
	# them; one set of types, so that none of them is converted into another.
	NONE < client/api < client, jobmanager/rest, jobmanager;
	job < jobmanager/rest, client;

	# State.
	statebackend/objstore < statebackend/objstore/errstore, statebackend/objstore/storetest;
	# The layout of a value is one for who writes them (tables, savepoints) and for who merges
	# runs without codecs (runs, Pebble's merger).
	statebackend < statebackend/envelope < statebackend/run, statebackend/table, savepoint;
	# Which schemas values have, and how older ones are read, needs no table.
	codec, statebackend/envelope < statebackend/evolution < statebackend/table;
	# Parts of the table that know nothing of it: which keys are below, and which timer is next.
	NONE < statebackend/table/bloom, statebackend/table/timerheap < statebackend/table;
	statebackend, codec < statebackend/table;
	statebackend, statebackend/objstore < statebackend/run;
	statebackend/table, statebackend/run < statebackend/runlist;
	statebackend/runlist < statebackend/heap, statebackend/pebble, statebackend/statetest;

	# The contract with user code; keyed state handles are thin covers of the table's.
	statebackend/table, codec, job < operator;
	operator < connectors, operator/operatortest;
	# Requests to other systems about records: nothing of it is the author's door.
	operator < operator/requests < weir;
	# What windows there are is pure; what runs them is operators, which the author's door
	# links.
	NONE < window < operator/windowing, weir, bench, examples;
	operator < operator/windowing < weir;
	# A join knows how far times may be moved without an overflow, and late records of two
	# streams: both are the windows'.
	operator, window < operator/joining < weir;
	statebackend/objstore < connectors;

	# Checkpoints. restore hands out runs, so it knows the shape of a snapshot only.
	job, statebackend < coordinator < coordinator/restore;
	coordinator < coordinator/metadata;
	coordinator, coordinator/metadata < coordinator/ha;
	coordinator/ha < coordinator/ha/memha, coordinator/ha/etcdha, coordinator/ha/hatest;
	statebackend/run, statebackend/objstore, coordinator/metadata, codec < savepoint;
	# what becomes of a snapshot's state in a program: the JobManager asks, and weir check
	codec, job, coordinator/restore < compat < jobmanager, cmd/weir;
	# the JobManager copies a completed checkpoint into a savepoint's folder, and starts jobs
	# from snapshots of others
	savepoint, coordinator/restore, client/api, job < jobmanager/snapshots < jobmanager;

	# TaskManager. inflight keeps records without knowing what they are; exchange links typed
	# edges to operators' receivers.
	statebackend, statebackend/objstore, codec < taskmanager/inflight < taskmanager/exchange;
	operator < taskmanager/intake < taskmanager/exchange;
	proto/weirpb, job, codec, operator < taskmanager/exchange;
	operator, taskmanager/align, taskmanager/exchange, internal/loop, internal/event < taskmanager/task;
	proto/weirpb, statebackend/objstore, statebackend/runlist < taskmanager/task;
	taskmanager/task, taskmanager/align, statebackend/heap, statebackend/pebble < taskmanager/worker;
	proto/weirpb, job, statebackend/objstore, internal/loop, internal/event, internal/config < taskmanager;

	# JobManager.
	# What people are told of a job is made of what its leader saw and of the records.
	client/api, coordinator/ha, jobmanager/execgraph, proto/weirpb < jobmanager/history;
	coordinator, job, internal/config < jobmanager/settings;
	# What clients were promised is carried out by checkpoints.
	coordinator < jobmanager/operations < jobmanager;
	# Sources that wait for one another are attempts that run.
	jobmanager/execgraph, proto/weirpb, stream/watermark < jobmanager/drift < jobmanager;
	# What runs when a leader is lost is said in registrations; the graph goes on with it.
	coordinator, jobmanager/execgraph, proto/weirpb < jobmanager/adoption < jobmanager;
	NONE < jobmanager/objects;
	# The streams of TaskManagers: what is said on them is the leader's to understand.
	jobmanager/objects, proto/weirpb < jobmanager/session < jobmanager;
	jobmanager/execgraph, jobmanager/slots, jobmanager/history, jobmanager/settings, jobmanager/objects, coordinator/restore, coordinator/ha < jobmanager;
	coordinator/metadata, statebackend/objstore, internal/loop, internal/event, internal/config < jobmanager;
	proto/weirpb < jobmanager;

	# Local mode wires both sides in one process.
	jobmanager, taskmanager, taskmanager/worker, coordinator/ha/memha < internal/minicluster;

	# Whole jobs on real tasks, for our own tests: nothing around them but this.
	taskmanager/task, statebackend/heap, coordinator/restore < internal/jobtest;
	internal/jobtest < weir;

	# weirtest puts its own sources and sinks into a program: the type both sides know.
	NONE < internal/replace < weir;

	# The author's door. It links edges and operators, hence exchange and task.
	client, operator, window, codec, taskmanager/exchange, taskmanager/task < weir;
	taskmanager/worker, internal/minicluster, internal/buildflags < weir;
	# A flag that is not known is answered like a setting that is not: by the nearest.
	internal/config < weir;
	weir, internal/minicluster < weirtest;
	weir, connectors < examples, bench;

	# A JobManager process, put together: both the command and the demo's children are it.
	jobmanager, jobmanager/rest, coordinator/ha/etcdha, internal/config < internal/daemon < cmd/weir;
	# The demo drives a cluster from outside and is its own job.
	weir, connectors, client, coordinator/ha/etcdha < internal/demo < cmd/weir;

	# What a user names becomes a job binary that tells its plan, or an error with an exit
	# code: apart from cmd/weir, which prints and ends.
	NONE < internal/exit < internal/jobbinary, cmd/weir;
	weir, internal/buildflags, proto/metapb < internal/jobbinary < cmd/weir;

	# The only program of its own.
	jobmanager, jobmanager/rest, web, coordinator/ha/etcdha, taskmanager, client < cmd/weir;
	savepoint, weir, examples, internal/buildflags, internal/config < cmd/weir;
	NONE < web;

	# Proof sees everything.
	cmd/weir, bench, weirtest, statebackend/statetest, operator/operatortest < integration;
	coordinator/ha/hatest, statebackend/objstore/errstore < integration;

	# They meet only in proto (and where local mode wires them).
	jobmanager !< taskmanager;
	taskmanager !< jobmanager;
	taskmanager/worker !< coordinator, jobmanager, taskmanager;
	statebackend/pebble, statebackend/heap !< coordinator, jobmanager, operator;
	taskmanager/task !< taskmanager, jobmanager, coordinator;
	proto/weirpb !< operator, statebackend, job, coordinator, coordinator/ha;
`

// groups are folders whose packages share a rule: connectors/file is "connectors".
var groups = []string{"connectors", "examples", "bench", "integration", "cmd/weir", "web", "internal/config", "statebackend/objstore/errstore"}

// outOfPolicy are packages that nothing imports and that import nothing of ours.
var outOfPolicy = map[string]string{
	"internal/lint": "tests only",
}

// always may be imported by every package.
var always = []string{"internal/invariants"}

// node is the name by which the policy knows a folder.
func node(dir string) string {
	if dir == "." {
		return "weir"
	}
	for _, g := range groups {
		if dir == g || strings.HasPrefix(dir, g+"/") {
			return g
		}
	}
	return dir
}

func TestImports(t *testing.T) {
	rules, err := parseDAG(policy)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range repository(t).sorted() {
		if outOfPolicy[p.dir] != "" {
			continue
		}
		from := node(p.dir)
		if !rules.nodes[from] {
			t.Errorf("package %s is not in the policy of internal/lint/deps_test.go: say what it may import and who may import it", p.dir)
			continue
		}
		for _, imported := range p.imports {
			dir, ours := own(imported)
			if to := node(dir); ours && to != from && !slices.Contains(always, to) && !rules.may(from, to) {
				t.Errorf("%s must not import %s: no rule %q in internal/lint/deps_test.go", p.dir, dir, to+" < "+from)
			}
		}
	}
}

func TestParseDAG(t *testing.T) {
	d, err := parseDAG("NONE < a; a < b, c < d; # x < y\n a !< e; d < e2;")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		b, a string
		want bool
	}{{"b", "a", true}, {"d", "a", true}, {"d", "c", true}, {"e2", "a", true}, {"a", "b", false}, {"b", "c", false}, {"y", "x", false}} {
		if got := d.may(c.b, c.a); got != c.want {
			t.Errorf("%s may import %s: %v, want %v", c.b, c.a, got, c.want)
		}
	}
	for _, bad := range []string{"a < b; b < a;", "a < b < c; a !< c;", "a;", "a < ;"} {
		if _, err := parseDAG(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
