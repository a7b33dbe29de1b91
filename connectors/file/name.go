package file

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/weirstream/weir/operator"
)

// Names of files, finished and (with a dot before it) unfinished:
//
//	{uid}-{first 12 digits of the job's id}-{incarnation}-{subtask}-{number}
//
// A uid that begins with a dot gets a "_" before it. An incarnation number is given
// once in the life of a job, so a name is too.
//
// NB: the sweep of later versions goes by these names.

// namer makes the names of one writer.
type namer struct {
	owner       string // what the names of one sink of one job begin with
	incarnation uint64
	subtask     int
	number      int // of the next file
}

// jobDigits of the job's id keep jobs that share a folder and a uid apart.
const jobDigits = 12

func newNamer(uid string, rt *operator.Runtime) namer {
	if strings.HasPrefix(uid, ".") {
		uid = "_" + uid
	}
	id := rt.JobID[:min(len(rt.JobID), jobDigits)]
	if id == "" {
		id = "0" // a harness
	}
	return namer{owner: uid + "-" + id + "-", incarnation: rt.Incarnation, subtask: rt.Subtask}
}

// next is the name of the next finished file.
func (n *namer) next() string {
	n.number++
	return fmt.Sprintf("%s%d-%d-%d", n.owner, n.incarnation, n.subtask, n.number-1)
}

// leftover reports whether name is that of an unfinished file of an older incarnation
// of this job and sink.
func (n *namer) leftover(name string) bool {
	rest, ok := strings.CutPrefix(name, "."+n.owner)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "-")
	if len(parts) != 3 {
		return false
	}
	var numbers [3]uint64
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 64)
		if err != nil || strconv.FormatUint(v, 10) != p {
			return false
		}
		numbers[i] = v
	}
	return numbers[0] < n.incarnation
}
