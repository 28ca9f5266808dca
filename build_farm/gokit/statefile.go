package keywright

import (
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	stateType         = "keywright-state/v1"
	maximumStateBytes = 1 << 20
)

// savedState is what outlives the process. Tokens are not in it.
type savedState struct {
	Type string `json:"_type"`
	// Time is the newest certain time: the last signed one plus the monotonic clock, never the wall clock.
	Time int64 `json:"time"`
	// Lease is the offline lease, and KeySet the signed key set that vouches for it; both empty after a "no".
	Lease  string     `json:"lease"`
	KeySet string     `json:"key_set"`
	Seen   seenKeySet `json:"seen"`
}

// stateFile keeps savedState on disk, authenticated with a key derived from the build secret.
//
// The file is the MAC in hex, a newline, and the JSON. The MAC covers build and fingerprint, so a file from another
// build or machine is foreign. It cannot tell an old copy of itself: what an owner of a machine puts back is only
// ever worth what its lease still says.
type stateFile struct {
	path  string // empty: nothing is kept
	key   []byte
	bound string // build id and fingerprint
}

func newStateFile(directory string, secret []byte, build *build, fingerprint string) (*stateFile, error) {
	key, err := stateMACKey(secret)
	if err != nil {
		return nil, err
	}
	file := &stateFile{key: key, bound: build.BuildID + "\n" + fingerprint}
	if directory != "" {
		file.path = filepath.Join(directory, safeName(build.PluginName)+"-"+safeName(build.BuildID)+".state")
	}
	return file, nil
}

// safeName keeps an identifier from naming another folder.
func safeName(name string) string {
	return strings.Map(func(character rune) rune {
		switch {
		case character >= 'a' && character <= 'z', character >= 'A' && character <= 'Z',
			character >= '0' && character <= '9', character == '-', character == '_':
			return character
		}
		return '_'
	}, name)
}

func (f *stateFile) mac(body string) []byte {
	return hmacSHA256(f.key, stateType+"\n"+f.bound+"\n"+body)
}

// load gives the saved state. A missing file is an empty state; one that cannot be believed is a Refusal.
func (f *stateFile) load() (savedState, error) {
	empty := savedState{Type: stateType}
	if f.path == "" {
		return empty, nil
	}
	contents, err := readBounded(f.path, maximumStateBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return empty, refuse(ReasonStateForeign, "the state file cannot be read")
	}
	tag, body, found := strings.Cut(string(contents), "\n")
	given, err := hex.DecodeString(tag)
	if !found || err != nil || !hmac.Equal(given, f.mac(body)) {
		return empty, refuse(ReasonStateForeign, "the state file was changed or is another build's or machine's")
	}
	var state savedState
	if json.Unmarshal([]byte(body), &state) != nil || state.Type != stateType {
		return empty, refuse(ReasonStateForeign, "the state file is of another type")
	}
	return state, nil
}

// save replaces the file in one step. What was seen never goes back, even if another process of this plugin
// saved since; the lease is ours alone, so that a "no" heard by us is not undone by a merge.
func (f *stateFile) save(state savedState) error {
	if f.path == "" {
		return nil
	}
	if other, err := f.load(); err == nil {
		state.Seen = state.Seen.newest(other.Seen)
		state.Time = max(state.Time, other.Time)
	}
	state.Type = stateType
	body, err := json.Marshal(state)
	if err != nil {
		return err
	}
	text := hex.EncodeToString(f.mac(string(body))) + "\n" + string(body)
	return replaceFile(f.path, []byte(text))
}

// remove is the last resort when a "no" cannot be saved: no file is better than one that still says yes.
func (f *stateFile) remove() error {
	if f.path == "" {
		return nil
	}
	return os.Remove(f.path)
}

// replaceFile writes a private file so that a crash leaves the old one or the new one, whole.
func replaceFile(path string, contents []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".keywright-*") // created with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(contents)
	if err == nil {
		err = temporary.Sync()
	}
	if closed := temporary.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

// defaultStateDirectory is KEYWRIGHT_STATE_DIR, else a folder of the user's; "" when the user has none.
func defaultStateDirectory() string {
	if directory := os.Getenv("KEYWRIGHT_STATE_DIR"); directory != "" {
		return directory
	}
	directory, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(directory, "keywright")
}

func unixOrZero(instant time.Time) int64 {
	if instant.IsZero() {
		return 0
	}
	return instant.Unix()
}
