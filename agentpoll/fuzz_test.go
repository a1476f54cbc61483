package agentpoll

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func FuzzParseCursor(f *testing.F) {
	for _, seed := range []string{"", "e:0", "e:7", ":7", "a:b:12", "7", "e:-1", "e:+1", "e:01", "e:9223372036854775808"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCursor(text)
		if err != nil {
			if c != (Cursor{}) {
				t.Errorf("%q: %v with %v", text, c, err)
			}
			return
		}
		if c.Revision < 0 {
			t.Errorf("%q: the revision is %d", text, c.Revision)
		}
		if again, err := ParseCursor(c.String()); err != nil || again != c {
			t.Errorf("%q: %v becomes %v, %v", text, c, again, err)
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	secret := strings.Repeat("s", 43)
	for _, seed := range []string{"", "Bearer ", "Bearer coffer1.a." + secret, "Bearer coffer1.." + secret, "Bearer coffer1.a." + secret + "s", "bearer coffer1.a." + secret} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		c, err := ParseHeader(header)
		if err != nil {
			if c != (Credential{}) {
				t.Errorf("%q: %v with %v", header, c, err)
			}
			return
		}
		if c.Header() != header || c.AgentID == "" {
			t.Errorf("%q becomes %q", header, c.Header())
		}
		if strings.Contains(c.String(), c.Secret) {
			t.Errorf("%q prints with its secret", header)
		}
	})
}

func FuzzPollRequest(f *testing.F)   { fuzzMessage[PollRequest](f, "poll_request") }
func FuzzPollReply(f *testing.F)     { fuzzMessage[PollReply](f, "poll_reply") }
func FuzzResult(f *testing.F)        { fuzzMessage[Result](f, "result") }
func FuzzEnrollRequest(f *testing.F) { fuzzMessage[EnrollRequest](f, "enroll_request") }

// fuzzMessage checks that whatever decodes as a T can be sent on, and comes out as the same T.
func fuzzMessage[T any](f *testing.F, seeds string) {
	paths, err := filepath.Glob(filepath.Join("testdata", "wire", seeds+"*.json"))
	if err != nil || len(paths) == 0 {
		f.Fatalf("no seeds %s*.json: %v", seeds, err)
	}
	for _, path := range paths {
		seed, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Add([]byte(`{}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second T
		if json.Unmarshal(data, &first) != nil {
			return
		}
		sent, err := json.Marshal(first)
		if err != nil {
			t.Fatalf("what decodes cannot be sent on: %v", err)
		}
		if err := json.Unmarshal(sent, &second); err != nil {
			t.Fatalf("%s does not decode: %v", sent, err)
		}
		again, err := json.Marshal(second)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(sent), string(again)); diff != "" {
			t.Errorf("sent on twice, it differs:\n%s", diff)
		}
	})
}
