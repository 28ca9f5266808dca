package keywright

import (
	"context"
	"encoding/json"
	"testing"
)

func mustJSON(t *testing.T, value any) []byte {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestEmbeddedConstantsAreChecked(t *testing.T) {
	v := newVendor(t, packageNow)
	cases := map[string]func(*Embedded){
		"no customer":       func(e *Embedded) { e.CustomerID = "" },
		"NUL in the plugin": func(e *Embedded) { e.PluginName = "a\x00b" },
		"no issuer":         func(e *Embedded) { e.Issuer = "" },
		"hash not marked":   func(e *Embedded) { e.APIKeyHash = e.APIKeyHash[7:] },
		"another target":    func(e *Embedded) { e.Target = "plan9/mips" },
		"authority garbled": func(e *Embedded) { e.AuthorityPublicKey = "%%%" },
		"authority no key":  func(e *Embedded) { e.AuthorityPublicKey = "AAAA" },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			values := v.embedded()
			change(&values)
			_, err := newBuild(values)
			wantReason(t, err, ReasonEmbeddedInvalid)
		})
	}
}

func TestABinaryWithoutEmbeddedConstantsDoesNotStart(t *testing.T) {
	_, err := Start(context.Background(), Options{})
	wantReason(t, err, ReasonEmbeddedInvalid)
}

func TestASecondEmbedIsRefused(t *testing.T) {
	v := newVendor(t, packageNow)
	defer func() { embedded.calls, embedded.values = 0, Embedded{} }()
	Embed(v.embedded())
	if _, err := embeddedBuild(); err != nil {
		t.Fatal(err)
	}
	Embed(newVendor(t, packageNow).embedded())
	_, err := embeddedBuild()
	wantReason(t, err, ReasonEmbeddedInvalid)
}
