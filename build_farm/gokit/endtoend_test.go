package keywright

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// compiled lays the kit into the demo plugin's source as the build farm does, writes customer_auth.go, and compiles it
// with the farm's settings. docs/gokit.md describes each step.
func compiled(t *testing.T, values Embedded) []byte {
	t.Helper()
	tree := t.TempDir()
	kit := filepath.Join(tree, "vendor", "keywright.dev", "gokit")
	copySource(t, ".", kit)
	copySource(t, filepath.Join("..", "demo", "api-logger"), tree)
	writeText(t, filepath.Join(tree, "vendor", "modules.txt"),
		"# keywright.dev/gokit v1.0.0\n## explicit; go 1.25\nkeywright.dev/gokit\n")
	writeText(t, filepath.Join(tree, "customer_auth.go"), customerAuth(t, values))
	command := exec.Command("go", "build", "-mod=vendor", "-trimpath", "-buildvcs=false", "-o", "plugin", ".")
	command.Dir = tree
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOPROXY=off", "GOTOOLCHAIN=local", "GOWORK=off", "GOENV=off", "GOFLAGS=")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	binary, err := os.ReadFile(filepath.Join(tree, "plugin"))
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

func copySource(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	paths, _ := filepath.Glob(filepath.Join(from, "*"))
	for _, path := range paths {
		isSource := strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go")
		if !isSource && (filepath.Base(path) != "go.mod" || from == ".") {
			continue
		}
		contents, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		writeText(t, filepath.Join(to, filepath.Base(path)), string(contents))
	}
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// customerAuth fills the example of the generated file with these values, by the names of its constants.
func customerAuth(t *testing.T, values Embedded) string {
	t.Helper()
	example, err := os.ReadFile(filepath.Join("testdata", "customer_auth.go.txt"))
	if err != nil {
		t.Fatal(err)
	}
	fields := reflect.ValueOf(values)
	replaced := 0
	constant := regexp.MustCompile(`(?m)^\t(?:[Ee]mbedded)?(\w+)( +)= ".*"$`)
	text := constant.ReplaceAllStringFunc(string(example), func(line string) string {
		name := constant.FindStringSubmatch(line)[1]
		replaced++
		return fmt.Sprintf("%s= %q", line[:strings.Index(line, "= ")], fields.FieldByName(name).String())
	})
	if replaced != fields.NumField() {
		t.Fatalf("the example has %d constants, Embedded has %d fields", replaced, fields.NumField())
	}
	return text
}

// process is a demo plugin that runs, fed one message after the other.
type process struct {
	t       *testing.T
	command *exec.Cmd
	input   io.WriteCloser
	output  syncBuffer
	report  syncBuffer
	cancel  context.CancelFunc
	exited  chan error
}

func startProcess(t *testing.T, directory string, environment ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	p := &process{t: t, cancel: cancel, exited: make(chan error, 1)}
	p.command = exec.CommandContext(ctx, filepath.Join(directory, "plugin"), "-refresh", "1s")
	p.command.Env = environment
	p.command.Stdout, p.command.Stderr = &p.output, &p.report
	input, err := p.command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.input = input
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.exited <- p.command.Wait() }()
	t.Cleanup(cancel)
	return p
}

func (p *process) end() {
	p.t.Helper()
	_ = p.input.Close()
	if err := <-p.exited; err != nil {
		p.t.Errorf("the plugin ended with %v: %s", err, p.report.String())
	}
}

// until feeds messages until the condition holds.
func (p *process) until(what string, condition func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s never came: %s", what, p.report.String())
		}
		_, _ = io.WriteString(p.input, `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`+"\n")
		time.Sleep(20 * time.Millisecond)
	}
}

func (p *process) lines() int { return strings.Count(p.output.String(), "\n") }

func (p *process) said(text string) func() bool {
	return func() bool { return strings.Contains(p.report.String(), text) }
}

// The whole story of the demonstration, with a real compiler, a real process and a server that really signs.
func TestTheDemoPluginEndToEnd(t *testing.T) {
	v := newVendor(t, time.Now())
	server := newLicenceServer(t, v, time.Now)
	server.tokenFor = 3 * time.Second
	server.features = []string{"api_logging", "console_logging"}
	var sent atomic.Int64
	endpoint := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { sent.Add(1) }))
	defer endpoint.Close()
	made := v.newPackage()
	made.binary = compiled(t, v.embedded())
	directory := made.write()
	environment := []string{
		"KM_API_KEY=" + testAPIKey, "KEYWRIGHT_URL=" + server.URL, "KEYWRIGHT_STATE_DIR=" + t.TempDir(),
		"API_LOGGER_ENDPOINT=" + endpoint.URL,
	}

	running := startProcess(t, directory, environment...)
	running.until("the first sending", func() bool { return sent.Load() > 0 })
	server.with(func() { server.features = []string{"console_logging"} })
	running.until("the lower tier", running.said("licence active: tier Pro, console_logging"))
	quiet, lines := sent.Load(), running.lines()
	running.until("more lines on the console", func() bool { return running.lines() > lines+10 })
	if now := sent.Load(); now > quiet+1 {
		t.Errorf("%d were sent after api_logging went quiet", now-quiet)
	}
	server.with(func() { server.features = []string{"api_logging", "console_logging"} })
	running.until("the return", func() bool { return sent.Load() > quiet+5 })
	server.with(func() { server.before = away })
	running.until("the lease", running.said("licence offline because of SERVER_BUSY"))
	onLease := sent.Load()
	running.until("a sending on the lease", func() bool { return sent.Load() > onLease })
	running.end()

	again := startProcess(t, directory, environment...)
	again.until("the lease after a restart", again.said("licence offline because of SERVER_BUSY"))
	again.end()

	t.Run("a changed binary refuses to run", func(t *testing.T) {
		changed := append(bytes.Clone(made.binary), 0)
		broken := t.TempDir()
		if err := os.CopyFS(broken, os.DirFS(directory)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(broken, "plugin"), changed, 0o700); err != nil {
			t.Fatal(err)
		}
		refused := startProcess(t, broken, environment...)
		var exit *exec.ExitError
		if err := <-refused.exited; !errors.As(err, &exit) || exit.ExitCode() != 3 {
			t.Errorf("it ended with %v", err)
		}
		if !strings.Contains(refused.report.String(), string(ReasonBinaryChanged)) {
			t.Errorf("it said %q", refused.report.String())
		}
	})
	t.Run("the binary shows no secret", func(t *testing.T) {
		for _, secret := range [][]byte{[]byte(testAPIKey), v.secret, fmt.Appendf(nil, "%x", v.secret), []byte(os.TempDir() + "/Test")} {
			if bytes.Contains(made.binary, secret) {
				t.Errorf("%q stands in the binary", secret)
			}
		}
	})
}
