package keywright

import (
	"os"
	"sync"
	"testing"
)

func TestAFingerprintIsStableAndTellsApart(t *testing.T) {
	v := newVendor(t, packageNow)
	directory := t.TempDir()
	first := machineFingerprint(directory, v.build())
	if len(first) != 64 || machineFingerprint(directory, v.build()) != first {
		t.Errorf("the fingerprint is %q", first)
	}
	other := v.build()
	other.PluginName = "other"
	if machineFingerprint(directory, other) == first {
		t.Error("two plugins have one fingerprint")
	}
}

func TestAKeptIdentityIsMadeOnceByManyProcesses(t *testing.T) {
	directory := t.TempDir() + "/new"
	identities := make([]string, 16)
	var makers sync.WaitGroup
	for index := range identities {
		makers.Go(func() { identities[index] = keptIdentity(directory) })
	}
	makers.Wait()
	for _, identity := range identities {
		if len(identity) != 27 || identity != identities[0] {
			t.Fatalf("identities %v", identities)
		}
	}
	entries, _ := os.ReadDir(directory)
	if len(entries) != 1 {
		t.Errorf("%d files are left", len(entries))
	}
	if keptIdentity("") != "" || keptIdentity("/dev/null/x") != "" {
		t.Error("an identity was kept nowhere")
	}
}
