package datastores

import (
	"encoding/json"
	"log/slog"
)

// Secret is a password or token that hides itself: printed, logged or marshalled it is "***". The zero Secret is empty.
type Secret struct {
	value   string
	sealing bool
}

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{value: s} }

// Reveal returns the text itself, for the one place that needs it.
func (s Secret) Reveal() string { return s.value }

// IsZero tells whether the secret is empty; encoding/json's omitzero uses it.
func (s Secret) IsZero() bool { return s.value == "" }

// ForSealing returns a copy that marshals to JSON verbatim. Use it only for what is sealed at once.
func (s Secret) ForSealing() Secret { return Secret{value: s.value, sealing: true} }

const redacted = "***"

func (s Secret) String() string       { return redacted }
func (s Secret) GoString() string     { return redacted }
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON writes "***", or the text itself after [Secret.ForSealing].
func (s Secret) MarshalJSON() ([]byte, error) {
	if s.sealing {
		return json.Marshal(s.value)
	}
	return json.Marshal(redacted)
}

// UnmarshalJSON reads the text.
func (s *Secret) UnmarshalJSON(b []byte) error {
	s.sealing = false
	return json.Unmarshal(b, &s.value)
}
