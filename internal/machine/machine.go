// Package machine tells hosts apart: processes of one host have the same ID, those
// of different hosts have different ones. It reads what the kernel says and nothing
// else.
package machine

import (
	"os"
	"strings"
	"sync"
)

// ID names this host since it was started: its name and the kernel's boot id.
var ID = sync.OnceValue(func() string {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil { // not Linux: the name must do
		return name
	}
	return name + "/" + strings.TrimSpace(string(boot))
})
