package agentpoll

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// messages holds one of each message with every field set, and one with none: the wire, as both sides must speak it.
func messages() map[string]any {
	deadline := time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC)
	trust := Trust{CAs: []string{HashSecret("ca")}, CommandKeys: [][]byte{bytes.Repeat([]byte{8}, 32)}}
	cursor := Cursor{Epoch: "e1", Revision: 42}
	return map[string]any{
		"enroll_request": EnrollRequest{
			Token: "token", Kind: Guest, CredentialHash: HashSecret("secret"), PublicKey: bytes.Repeat([]byte{7}, 32),
			Version: "1.2.3", Manifest: json.RawMessage(`{"datastore":"redis"}`),
		},
		"enroll_reply": EnrollReply{AgentID: "0198c0de-0000-7000-8000-000000000001", Options: json.RawMessage(`{"mount_point":"/var/lib/redis"}`), Trust: &trust},
		"poll_request": PollRequest{Cursor: cursor, Status: json.RawMessage(`{"status":"HEALTHY"}`), Running: []string{"a", "b"}},
		"poll_reply": PollReply{
			Commands: []Command{
				{ID: "a", Method: "create_database", Args: json.RawMessage(`{"databases":[]}`), Deadline: deadline, NotBefore: 41, Traceparent: "00-01-02-03", MAC: []byte("signature")},
				{ID: "b", Method: "enable_root", Sealed: []byte("sealed"), Deadline: deadline},
			},
			Cancelled: []string{"c"}, Cursor: cursor, Hold: 50_000,
		},
		"progress":           Progress{Done: 5, Total: 10, Unit: "bytes", Message: "half"},
		"result":             Result{Value: json.RawMessage(`[1,2]`)},
		"result_error":       Result{Error: Errorf(Conflict, "database %q is in use", "x")},
		"rotate_request":     RotateRequest{Sequence: 3, CredentialHash: HashSecret("next")},
		"rotate_reply":       RotateReply{Sequence: 4, Trust: &trust},
		"error_reply":        ErrorReply{Error: Error{Kind: "gone", Message: "nobody waits"}},
		"poll_request_empty": PollRequest{},
		"poll_reply_empty":   PollReply{},
		"result_empty":       Result{},
	}
}

func TestGoldenMessages(t *testing.T) {
	for name, message := range messages() {
		t.Run(name, func(t *testing.T) {
			got, err := json.MarshalIndent(message, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", "wire", name+".json")
			if *update {
				if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Errorf("the wire has changed; agents in the field speak the old one:\n%s", diff)
			}
		})
	}
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	var r PollRequest
	if err := json.Unmarshal([]byte(`{"cursor":{"epoch":"e","revision":1,"of_later":2},"of_later":{"x":[]}}`), &r); err != nil {
		t.Fatal(err)
	}
	if want := (Cursor{Epoch: "e", Revision: 1}); r.Cursor != want {
		t.Errorf("got %v", r.Cursor)
	}
}

func TestCursor(t *testing.T) {
	for text, want := range map[string]Cursor{
		"":       {},
		"e:0":    {Epoch: "e"},
		"e:7":    {Epoch: "e", Revision: 7},
		":7":     {Revision: 7},
		"a:b:12": {Epoch: "a:b", Revision: 12},
	} {
		got, err := ParseCursor(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q: %v, %v; back: %q", text, got, err, got.String())
		}
	}
	for _, text := range []string{"7", "e", "e:", "e:-1", "e:x", "e:9223372036854775808"} {
		if c, err := ParseCursor(text); err == nil {
			t.Errorf("%q is taken for %v", text, c)
		}
	}
}

func TestCredential(t *testing.T) {
	c := Credential{AgentID: "agent", Secret: NewSecret()}
	got, err := ParseHeader(c.Header())
	if err != nil || got != c || !got.Matches(c.Hash()) {
		t.Errorf("got %v, %v", got, err)
	}
	if other := (Credential{AgentID: "agent", Secret: NewSecret()}); other.Matches(c.Hash()) || other.Matches("") {
		t.Error("another secret matches")
	}
	if s := c.String(); s != "agent.***" {
		t.Errorf("a credential prints as %s", s)
	}
	for _, header := range []string{"", "Bearer x", "Basic " + c.Header()[7:], "Bearer coffer1.agent", "Bearer coffer1..", "Bearer coffer1." + c.Secret, c.Header() + "x"} {
		if c, err := ParseHeader(header); err == nil {
			t.Errorf("%q is taken for %+v", header, c)
		}
	}
}

func TestSealedToOneKeyAndCommand(t *testing.T) {
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := Seal(key.PublicKey().Bytes(), "command", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Open(key, "command", sealed); err != nil || string(got) != "secret" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := Open(key, "another", sealed); err == nil {
		t.Error("opened for another command")
	}
	if _, err := Open(other, "command", sealed); err == nil {
		t.Error("opened with another key")
	}
	for i := range sealed {
		broken := bytes.Clone(sealed)
		broken[i] ^= 1
		if _, err := Open(key, "command", broken); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
	}
	if _, err := Seal([]byte("short"), "command", nil); err == nil {
		t.Error("sealed to a key that is none")
	}
}
