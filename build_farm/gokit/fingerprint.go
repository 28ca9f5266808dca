package keywright

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
)

// machineFingerprint tells this machine's copy apart: hex SHA-256 over the machine's id, the customer and the plugin.
//
// The id itself never leaves the machine, and two vendors' servers cannot compare theirs. Where the system has no id
// (a container, macOS) a random one is made once and kept in the state directory; where nothing can be kept, the
// host name has to do.
func machineFingerprint(stateDirectory string, build *build) string {
	identity := machineID()
	if identity == "" {
		identity = keptIdentity(stateDirectory)
	}
	if identity == "" {
		hostname, _ := os.Hostname()
		identity = "hostname:" + hostname
	}
	digest := sha256.Sum256([]byte(strings.Join(
		[]string{"keywright-fingerprint/v1", identity, build.CustomerID, build.PluginName}, "\x00")))
	return hex.EncodeToString(digest[:])
}

// keptIdentity reads the random identity of this machine, or makes it. Two processes that start together agree: the
// name is linked into place only if none was there.
func keptIdentity(directory string) string {
	if directory == "" {
		return ""
	}
	path := filepath.Join(directory, "machine")
	if contents, err := readBounded(path, 64); err == nil && len(contents) == 22 {
		return "kept:" + string(contents)
	}
	identity, err := randomText()
	if err != nil || os.MkdirAll(directory, 0o700) != nil {
		return ""
	}
	temporary := path + "." + identity
	if os.WriteFile(temporary, []byte(identity), 0o600) != nil {
		return ""
	}
	defer os.Remove(temporary)
	_ = os.Link(temporary, path) // fails when another process was first: then its identity is read
	if contents, err := readBounded(path, 64); err == nil && len(contents) == 22 {
		return "kept:" + string(contents)
	}
	return ""
}
