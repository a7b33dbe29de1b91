package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/internal/config"
	"github.com/weirstream/weir/proto/metapb"
)

// restoreFlags are what `weir run` was told to start from.
type restoreFlags struct {
	path             string
	mode             string
	allowNonRestored bool
	mapped           []string // old=new
}

// modes of a restore, as they are typed.
var modes = []string{"no_claim", "claim", "legacy"}

func (f *restoreFlags) add(fl *pflag.FlagSet) {
	fl.StringVarP(&f.path, "fromSavepoint", "s", "", "start from the savepoint or retained checkpoint at `PATH`, its folder or its _metadata")
	fl.StringVar(&f.mode, "restore-mode", "", "who owns what is started from: no_claim (default; you, and the job needs it only until its first checkpoint), claim (the job, which deletes it), legacy (you, and you must keep it)")
	fl.BoolVarP(&f.allowNonRestored, "allowNonRestoredState", "n", false, "drop state that no operator of the program takes")
	fl.StringArrayVar(&f.mapped, "map-uid", nil, "give the state of operator old to operator new, `old=new`; may be repeated")
}

// request is the flags as the cluster is told them.
func (f *restoreFlags) request() (r api.Restore, err error) {
	if f.path == "" {
		flag := ""
		switch {
		case f.mode != "":
			flag = "--restore-mode"
		case f.allowNonRestored:
			flag = "-n"
		case len(f.mapped) > 0:
			flag = "--map-uid"
		default:
			return r, nil
		}
		return r, usage(flag+" says how to start from a snapshot, and none is given", "weir run -s PATH "+flag+" …")
	}
	if r.Path, err = folderTyped(f.path); err != nil {
		return r, err
	}
	if f.mode != "" {
		word := strings.ReplaceAll(strings.ToLower(f.mode), "-", "_")
		if !slices.Contains(modes, word) {
			return r, badWord("--restore-mode", f.mode, modes)
		}
		r.Mode = strings.ToUpper(word)
	}
	r.AllowNonRestored = f.allowNonRestored
	for _, pair := range f.mapped {
		before, after, ok := strings.Cut(pair, "=")
		if !ok || before == "" || after == "" {
			return r, usage(fmt.Sprintf("--map-uid %s is not of the form old=new", pair))
		}
		if other := r.MapUIDs[before]; other != "" && other != after {
			return r, usage(fmt.Sprintf("--map-uid gives the state of %q to both %q and %q", before, other, after))
		}
		if r.MapUIDs == nil {
			r.MapUIDs = map[string]string{}
		}
		r.MapUIDs[before] = after
	}
	return r, nil
}

// checkMapped says early that --map-uid names an operator which the program lacks, or
// one operator twice.
func checkMapped(plan *metapb.Plan, r api.Restore) error {
	all := uids(plan)
	taken := map[string]string{}
	for _, before := range slices.Sorted(maps.Keys(r.MapUIDs)) {
		after := r.MapUIDs[before]
		if !slices.Contains(all, after) {
			hint := "its operators are " + strings.Join(all, ", ")
			if near := config.Nearest(after, all); near != "" {
				hint = "did you mean --map-uid " + before + "=" + near + "?"
			}
			return usage(fmt.Sprintf("--map-uid %s=%s: the program has no operator %q", before, after, after), hint)
		}
		if other := taken[after]; other != "" {
			return usage(fmt.Sprintf("--map-uid gives operator %q the state of both %q and %q", after, other, before))
		}
		taken[after] = before
	}
	return nil
}

// uids are those of the operators that a user has declared.
func uids(plan *metapb.Plan) []string {
	var all []string
	for _, op := range plan.Operators {
		if !op.Hidden {
			all = append(all, op.Uid)
		}
	}
	return all
}
