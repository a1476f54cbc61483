package agentpoll

import (
	"slices"
	"strings"
	"testing"
)

func FuzzParseToken(f *testing.F) {
	secret, ca := strings.Repeat("s", 43), strings.Repeat("A", 43)
	for _, seed := range []string{"", "x", secret, "enrol1.", "enrol1." + secret, "enrol1." + secret + "." + ca, "enrol1." + secret + "." + ca + "." + ca, "enrol1." + secret + ".x", "enrol2." + secret + "." + ca} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseToken(text)
		if err != nil {
			return
		}
		again, err := ParseToken(token.String())
		if err != nil || again.Secret != token.Secret || !slices.Equal(again.CAs, token.CAs) {
			t.Errorf("%q: %+v becomes %+v, %v", text, token, again, err)
		}
	})
}

func TestToken(t *testing.T) {
	secret := NewSecret()
	cas := []string{HashSecret("a"), HashSecret("b")}
	text := Token{Secret: secret, CAs: cas}.String()
	if token, err := ParseToken(text); err != nil || token.Secret != secret || !slices.Equal(token.CAs, cas) {
		t.Errorf("%s is %+v, %v", text, token, err)
	}
	if token, err := ParseToken(secret); err != nil || token.Secret != secret || token.CAs != nil {
		t.Errorf("a token of old is %+v, %v", token, err)
	}
	for _, bad := range []string{text[:len(text)-1], "enrol1." + secret, "enrol1." + secret[1:] + text[7+43:], strings.Replace(text, "1", "2", 1)} {
		if token, err := ParseToken(bad); err == nil {
			t.Errorf("%s is %+v", bad, token)
		}
	}
	if all, err := ParseCAs(strings.ToUpper(cas[0]) + ", " + cas[1]); err != nil || !slices.Equal(all, cas) {
		t.Errorf("%q, %v", all, err)
	}
	if _, err := ParseCAs("1234"); err == nil {
		t.Error("1234 is a fingerprint")
	}
}
