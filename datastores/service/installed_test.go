package service

import (
	"slices"
	"strings"
	"testing"
)

func TestAbsent(t *testing.T) {
	got, err := absent(strings.NewReader(`Package: a
Status: install ok installed
Priority: optional
Description: `+strings.Repeat("l", 4096-len("Description: "))+`Package: d
 Package: d
 Status: install ok installed

Package: b
Status: deinstall ok config-files

Package: c
Status: install ok half-configured

Package: e
Status: install ok not-installed
Architecture: i386

Package: e
Status: hold ok installed
Architecture: amd64
`), []string{"e", "d", "c", "b", "a"})
	if want := []string{"d", "c", "b"}; !slices.Equal(got, want) || err != nil {
		t.Errorf("absent %v, %v, want %v", got, err, want)
	}
}

// TestMissingAsDpkg holds what is read against what dpkg says.
func TestMissingAsDpkg(t *testing.T) {
	names := []string{"dpkg", "no-such-package-of-coffer", "libc6", "base-files"}
	got, err := System("").Missing(t.Context(), names)
	if err != nil || !slices.Equal(got, names[1:2]) {
		t.Errorf("missing %v, %v", got, err)
	}
	out, _ := Run(t.Context(), append([]string{"dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", "--"}, names...), RunOptions{})
	if asked := without(names, parseInstalled(out)); !slices.Equal(got, asked) {
		t.Errorf("read %v, dpkg says %v", got, asked)
	}
}

func BenchmarkMissing(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := System("").Missing(b.Context(), []string{"redis-server"}); err != nil {
			b.Fatal(err)
		}
	}
}
