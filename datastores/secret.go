package datastores

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Secret is a password or token that hides itself: printed, logged or marshalled it is "***". The zero Secret is empty.
// Two Secrets are not to be compared with ==.
type Secret struct {
	value   *string // a pointer, for fmt calls no method of a field that is not exported, but follows no pointer there
	sealing bool
}

// NewSecret wraps s.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{value: &s}
}

// Reveal returns the text itself, for the one place that needs it.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether the secret is empty; encoding/json's omitzero uses it.
func (s Secret) IsZero() bool { return s.value == nil }

// ForSealing returns a copy that marshals to JSON verbatim. Use it only for what is sealed at once.
func (s Secret) ForSealing() Secret { return Secret{value: s.value, sealing: true} }

const redacted = "***"

func (s Secret) String() string       { return redacted }
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format writes "***" for every verb; without it, %d would print the fields.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON writes "***", or the text itself after [Secret.ForSealing].
func (s Secret) MarshalJSON() ([]byte, error) {
	if s.sealing {
		return json.Marshal(s.Reveal())
	}
	return json.Marshal(redacted)
}

// UnmarshalJSON reads the text.
func (s *Secret) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return errors.New("want a string") // the error of encoding/json may quote the text
	}
	*s = NewSecret(text)
	return nil
}
