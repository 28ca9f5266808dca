package keywright

import (
	"context"
	"net/url"
	"path/filepath"
)

// openSecret finds the slot that the API key opens: embedded, beside the package, kept from last time, or asked for.
func (a *agent) openSecret(ctx context.Context) error {
	if a.secret != nil {
		return nil
	}
	if err := checkAPIKey(a.APIKey); err != nil {
		return err
	}
	secret, err := a.localSecret()
	if err != nil {
		secret, err = a.remoteSecret(ctx)
	}
	if err != nil {
		return err
	}
	return a.takeSecret(secret)
}

// begin does what needs no server, so that a plugin that starts in an outage has its lease at once.
func (a *agent) begin() {
	a.reason, a.detail = ReasonNotAsked, "the licence server was not asked yet"
	if checkAPIKey(a.APIKey) != nil {
		return // the first question says so
	}
	if secret, err := a.localSecret(); err == nil && a.takeSecret(secret) != nil {
		a.secret = nil
	}
}

func (a *agent) takeSecret(secret []byte) error {
	stateFile, err := newStateFile(a.StateDir, secret, a.build, a.Fingerprint)
	if err != nil {
		return err
	}
	a.secret, a.stateFile = secret, stateFile
	a.restore()
	return nil
}

func (a *agent) localSecret() ([]byte, error) {
	if apiKeyHash(a.APIKey) == a.build.APIKeyHash {
		return openSecret(a.APIKey, a.build.SecretKey, a.build)
	}
	paths := []string{filepath.Join(a.PackageDir, "plugin.keyslots")}
	if a.StateDir != "" {
		paths = append(paths, a.keptSlotsPath())
	}
	for _, path := range paths {
		text, err := readBounded(path, maximumJWSBytes)
		if err != nil {
			continue
		}
		secret, err := secretFromSlots(a.APIKey, string(text), a.build)
		if err == nil {
			return secret, nil
		}
		a.Logger.Warn("a key-slot file does not help", "file", filepath.Base(path), "detail", err.Error())
	}
	return nil, refuse(ReasonKeySlotMissing, "no key slot here is for this API key")
}

func (a *agent) keptSlotsPath() string {
	return filepath.Join(a.StateDir, safeName(a.build.PluginName)+"-"+safeName(a.build.BuildID)+".keyslots")
}

// remoteSecret asks for the key slots as they are now: how a rotated key needs no new binary.
func (a *agent) remoteSecret(ctx context.Context) ([]byte, error) {
	path := "/api/registry/builds/" + url.PathEscape(a.build.BuildID) + "/keys"
	text, err := a.fetchJOSE(ctx, path, a.APIKey)
	if err != nil {
		return nil, err
	}
	secret, err := secretFromSlots(a.APIKey, text, a.build)
	if err != nil {
		return nil, err
	}
	if a.StateDir != "" {
		if err := replaceFile(a.keptSlotsPath(), []byte(text)); err != nil {
			a.Logger.Warn("the key slots cannot be kept", "error", err)
		}
	}
	return secret, nil
}
