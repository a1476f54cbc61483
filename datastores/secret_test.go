package datastores

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const password = "Tell-Nobody-42"

func TestSecretIsNeverPrinted(t *testing.T) {
	secret := NewSecret(password)
	hidden := struct{ s Secret }{secret}
	user := User{Name: "ann", Password: secret}
	for _, value := range []any{secret, &secret, hidden, &hidden, user, []User{user}, map[string]Secret{"a": secret}, RootArgs{secret}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t", "%T", "%10.3v"} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, password) || strings.Contains(text, fmt.Sprintf("%x", password)) {
				t.Errorf("%s of %T: %s", verb, value, text)
			}
		}
		if b, err := json.Marshal(value); err != nil || strings.Contains(string(b), password) {
			t.Errorf("JSON of %T: %s, %v", value, b, err)
		}
		for _, h := range []func(*bytes.Buffer) slog.Handler{
			func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
			func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		} {
			var b bytes.Buffer
			slog.New(h(&b)).Info("made", "value", value, "err", Errorf(Invalid, "%v", value))
			if strings.Contains(b.String(), password) {
				t.Errorf("log of %T: %s", value, &b)
			}
		}
	}
}

func TestSecretTravelsSealedOnly(t *testing.T) {
	b, err := json.Marshal(RootArgs{Password: NewSecret(password).ForSealing()})
	if err != nil || string(b) != `{"password":"`+password+`"}` {
		t.Fatalf("for sealing: %s, %v", b, err)
	}
	var got RootArgs
	if err := json.Unmarshal(b, &got); err != nil || got.Password.Reveal() != password {
		t.Errorf("read %q, %v", got.Password.Reveal(), err)
	}
	if b, _ = json.Marshal(got); string(b) != `{"password":"***"}` {
		t.Errorf("what was read is written again as %s", b)
	}
	err = json.Unmarshal([]byte(`{"password":["`+password+`"]}`), &got)
	if err == nil || strings.Contains(err.Error(), password) {
		t.Errorf("reading what is no text: %v", err)
	}
}

func TestEmptySecret(t *testing.T) {
	if !NewSecret("").IsZero() || NewSecret("x").IsZero() || (Secret{}).Reveal() != "" {
		t.Error("an empty secret is not zero, or the other way round")
	}
	if b, _ := json.Marshal(User{Name: "ann"}); string(b) != `{"name":"ann"}` {
		t.Errorf("a user without password: %s", b)
	}
}

func TestErrorKeepsItsKindWhenWrapped(t *testing.T) {
	var e *Error
	if err := fmt.Errorf("step: %w", Errorf(NotFound, "no %q", "x")); !errors.As(err, &e) || e.Kind != NotFound || e.Message != `no "x"` {
		t.Errorf("%v", e)
	}
}
