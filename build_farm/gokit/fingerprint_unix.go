//go:build !windows

package keywright

import "strings"

// machineID is the system's own id, where it has one in a file (Linux: machine-id(5)).
func machineID() string {
	for _, path := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		contents, err := readBounded(path, 256)
		if identity := strings.TrimSpace(string(contents)); err == nil && len(identity) == 32 {
			return "machine-id:" + identity
		}
	}
	return ""
}
