package dbext

import (
	"strings"
	"time"
)

// Time is a time as Trove writes it: UTC, without zone or fraction. "" is the zero time.
type Time struct{ time.Time }

const layout = "2006-01-02T15:04:05"

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) { return []byte(`"` + t.String() + `"`), nil }

// UnmarshalJSON implements json.Unmarshaler.
func (t *Time) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if s == "" || s == "null" {
		*t = Time{}
		return nil
	}
	parsed, err := time.Parse(layout, s)
	*t = Time{parsed}
	return err
}

func (t Time) String() string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(layout)
}
