package config

import (
	"bytes"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// memoryShare of the machine that workers get by default: the rest is for the page
// cache, which the cold tier lives on, the agent and the system.
const memoryShare = 0.6

// fallbackMemory is assumed where the system does not say how much there is.
const fallbackMemory = 1 << 30 // bytes

// ProcessMemory returns taskmanager.memory.process.size in bytes: what was set, or 60 %
// of the memory of the cgroup or host.
func (e *Effective) ProcessMemory() int64 {
	if n := e.Get(TaskMemory); n > 0 {
		return n
	}
	return int64(float64(systemMemory("/")) * memoryShare)
}

// systemMemory is the least bound found below root (the file system, or a test's).
func systemMemory(root string) int64 {
	least := int64(math.MaxInt64)
	for _, dir := range cgroupFolders(root) {
		for _, name := range []string{"memory.max", "memory.limit_in_bytes"} {
			if b, err := os.ReadFile(path.Join(dir, name)); err == nil {
				if n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64); err == nil && n > 0 {
					least = min(least, n)
				}
			}
		}
	}
	if b, err := os.ReadFile(path.Join(root, "proc/meminfo")); err == nil {
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
				if kb, err := strconv.ParseInt(f[1], 10, 64); err == nil {
					least = min(least, kb<<10)
				}
			}
		}
	}
	if least == math.MaxInt64 {
		return fallbackMemory
	}
	return least
}

// cgroupFolders are the folders of the process's own cgroup and those above it, of
// either version of the interface.
func cgroupFolders(root string) []string {
	const mount = "sys/fs/cgroup"
	all := []string{path.Join(root, mount), path.Join(root, mount, "memory")}
	b, err := os.ReadFile(path.Join(root, "proc/self/cgroup"))
	if err != nil {
		return all
	}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 || f[1] != "" && f[1] != "memory" {
			continue
		}
		for dir := path.Clean("/" + f[2]); dir != "/"; dir = path.Dir(dir) {
			all = append(all, path.Join(root, mount, f[1], dir))
		}
	}
	return all
}
