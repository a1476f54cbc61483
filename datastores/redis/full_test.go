package redis

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/volume"
)

// aofOf are SET commands of an append-only file, each by itself.
func aofOf(n int) (commands [][]byte) {
	for i := range n {
		commands = append(commands, request([]string{"SET", fmt.Sprintf("hole:%d", i), strings.Repeat("v", i)}))
	}
	return commands
}

// TestHolesAreFilled has holes of every length that matters, and what must stay as it is.
func TestHolesAreFilled(t *testing.T) {
	zeroes := func(n int) []byte { return make([]byte, n) }
	c := aofOf(3)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, file := range map[string]struct{ is, want []byte }{
		"good":              {join(c...), nil},
		"empty":             {nil, nil},
		"annotated":         {join([]byte("#TS:12\r\n"), c[0]), nil},
		"torn":              {join(c[0], c[1][:len(c[1])-5]), nil},
		"torn behind a key": {join(c[0], c[1][:12]), nil},
		"garbage":           {join(c[0], []byte("garbage"), c[1]), nil},
		"zeroes, garbage":   {join(c[0], zeroes(9), []byte("garbage"), c[1]), nil},
		"of length 1":       {join(c[0], zeroes(1), c[1]), join(c[0], []byte("*0"), c[1][1:])},
		"1, annotated":      {join(zeroes(1), []byte("#TS:1\r\n")), []byte("##TS:1\r\n")},
		"of length 2":       {join(c[0], zeroes(2), c[1]), join(c[0], []byte("#\n"), c[1])},
		"of length 5":       {join(c[0], zeroes(5), c[1]), join(c[0], []byte("#---\n"), c[1])},
		"cut while filled":  {join(c[0], []byte("#--"), zeroes(4), c[1]), join(c[0], []byte("#-----\n"), c[1])},
		"two":               {join(zeroes(2), c[0], zeroes(3), c[1]), join([]byte("#\n"), c[0], []byte("#-\n"), c[1])},
		"at the end":        {join(c[0], zeroes(700)), c[0]},
		"nothing but":       {zeroes(700), []byte{}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.WriteFile(filepath.Join(dir, "f"), file.is, 0o600))
			tree, err := volume.At(dir).Open()
			must(t, err)
			defer func() { _ = tree.Close() }()
			mended, err := mendFile(t.Context(), tree, "f")
			must(t, err)
			got, err := os.ReadFile(filepath.Join(dir, "f"))
			must(t, err)
			want := file.want
			if want == nil {
				want = file.is
			}
			if mended != (file.want != nil) || !bytes.Equal(got, want) {
				t.Errorf("mended %v: %q, want %q", mended, got, want)
			}
		})
	}
}

// TestStartWithHoles starts the real servers with what a full volume leaves behind.
func TestStartWithHoles(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		m, ctx := started(t, o, datastores.PrepareRequest{}), t.Context()
		c := open(t, m)
		must(t, c.Set(ctx, "before", "v", 0).Err())
		must(t, m.Stop(ctx))
		manifest, err := os.ReadFile(m.dataPath(manifestFile))
		must(t, err)
		names := manifestNames(manifest)
		last := m.dataPath(filepath.Join(aofFolder, names[len(names)-1]))
		f, err := os.OpenFile(last, os.O_WRONLY|os.O_APPEND, 0)
		must(t, err)
		holes := []int{1, 2, 3, 511, 512, 513, 514, 1024, 1025, 70_001}
		for i, command := range aofOf(len(holes)) {
			_, err := f.Write(append(make([]byte, holes[i]), command...))
			must(t, err)
		}
		torn := aofOf(100)[99]
		_, err = f.Write(torn[:len(torn)/2])
		must(t, err)
		must(t, f.Close())
		must(t, m.Start(ctx))
		if n, err := c.DBSize(ctx).Result(); err != nil || int(n) != 1+len(holes) {
			t.Errorf("%d keys, %v; want %d: all but the torn one", n, err, 1+len(holes))
		}
		must(t, c.Set(ctx, "after", "v", 0).Err())
		must(t, m.Stop(ctx))
		must(t, m.Start(ctx))
		if n, err := c.DBSize(ctx).Result(); err != nil || int(n) != 2+len(holes) {
			t.Errorf("%d keys after another start, %v", n, err)
		}
	})
}

// TestDamagedLogIsLeftAlone: what is no hole is nothing that may be cut.
func TestDamagedLogIsLeftAlone(t *testing.T) {
	m, ctx := running(t), t.Context()
	must(t, open(t, m).Set(ctx, "k", strings.Repeat("v", 1000), 0).Err())
	must(t, m.Stop(ctx))
	name := m.dataPath(aofFolder) + "/appendonly.aof.1.incr.aof"
	b, err := os.ReadFile(name)
	must(t, err)
	b = append(append(b, "garbage"...), b...)
	must(t, os.WriteFile(name, b, 0o600))
	if err := m.Start(ctx); err == nil {
		t.Error("a damaged file was taken")
	}
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, b) {
		t.Errorf("a damaged file was changed, %v", err)
	}
}

// TestFullVolume fills a volume, with rewritings of the log between, stops the server in every way, makes the volume
// larger, and looks for what was acknowledged.
func TestFullVolume(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		o.AppendFsync = "no" // what is acknowledged is written, or the last of it is not: the reserve has room for it
		env, ctx := newEnv(t), t.Context()
		grow := datastoretest.SmallVolume(t, env, 40)
		m := New(env, o)
		t.Cleanup(func() { must(t, m.Stop(context.Background())) })
		must(t, m.Prepare(ctx, datastores.PrepareRequest{Progress: func(string) {}}))
		c := open(t, m)
		acknowledged, value := 0, strings.Repeat("v", 50_000)
		fillUp := func() {
			t.Helper()
			for {
				err := c.Set(ctx, fmt.Sprintf("full:%d", acknowledged), value, 0).Err()
				if err == nil {
					acknowledged++
					continue
				}
				if !strings.HasPrefix(err.Error(), "MISCONF") {
					t.Fatalf("a write to a full volume: %v", err)
				}
				break
			}
			soon(t, "the status says that the volume is full", func() bool {
				st := m.Status(ctx)
				return st.Service == datastores.StatusBlocked && strings.Contains(st.Message, "the volume is full")
			})
		}
		wantAll := func(when string) {
			t.Helper()
			for i := range acknowledged {
				if n, err := c.StrLen(ctx, fmt.Sprintf("full:%d", i)).Result(); err != nil || int(n) != len(value) {
					t.Fatalf("%s key %d of %d has %d bytes, %v", when, i, acknowledged, n, err)
				}
			}
		}
		fillUp()
		must(t, m.Stop(ctx))
		must(t, m.Start(ctx))
		wantAll("after a restart")
		fillUp()
		must(t, m.Stop(ctx))
		grow(60)
		must(t, m.Start(ctx))
		wantAll("on a larger volume")
		if st := m.Status(ctx); st.Service != datastores.StatusHealthy {
			t.Errorf("on a larger volume: %+v", st)
		}
		must(t, c.Set(ctx, "more", "v", 0).Err())
	})
}
