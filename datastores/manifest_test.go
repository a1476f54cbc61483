package datastores

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type testOptions struct {
	GuestOptions
	Port  int     `json:"port" doc:"where it listens"`
	Ratio float64 `json:"ratio,omitempty"`
	Fast  bool    `json:"fast"`
	Inner string  `json:"-"`
}

func (o testOptions) Common() GuestOptions { return o.GuestOptions }

func (o testOptions) Problems() []error {
	problems := o.GuestOptions.Problems()
	if o.Port == 0 {
		problems = append(problems, errors.New("port: want one"))
	}
	return problems
}

// testManager can hand out root, and nothing else.
type testManager struct{ options testOptions }

func (testManager) Prepare(context.Context, PrepareRequest) error             { return nil }
func (testManager) Start(context.Context) error                               { return nil }
func (testManager) Stop(context.Context) error                                { return nil }
func (testManager) Status(context.Context) Status                             { return Status{Service: StatusNew} }
func (testManager) RootEnabled(context.Context) (on bool, e error)            { return false, nil }
func (testManager) EnableRoot(context.Context, Secret) (name string, e error) { return "root", nil }
func (testManager) DisableRoot(context.Context) error                         { return nil }

func testPlugin(offers ...Offer) Plugin {
	defaults := testOptions{GuestOptions: GuestOptions{MountPoint: "/var/lib/test", Packages: []string{"test-server"}}, Port: 1234}
	return NewPlugin("test", defaults, func(_ Env, o testOptions) Manager { return testManager{o} }, offers...)
}

func TestManifest(t *testing.T) {
	m := testPlugin(Offer{Datastore: "test", Version: "2", Guest: json.RawMessage(`{"port":5678}`)}).Manifest()
	if diff := cmp.Diff([]Capability{CanRoot}, m.Capabilities); diff != "" {
		t.Error(diff)
	}
	offer := m.Offers[0]
	if offer.Server.Manager != "test" || len(offer.Server.Capabilities) != 1 {
		t.Errorf("server half: %+v", offer.Server)
	}
	if want := `{"mount_point":"/var/lib/test","packages":["test-server"],"port":5678,"fast":false}`; string(offer.Guest) != want {
		t.Errorf("guest half: %s, want %s", offer.Guest, want)
	}
	docs := map[string]OptionDoc{}
	for _, d := range m.Options {
		docs[d.Name] = d
	}
	for name, kind := range map[string]string{"mount_point": "string", "packages": "list", "port": "integer", "ratio": "number", "fast": "boolean"} {
		if docs[name].Type != kind {
			t.Errorf("option %s is documented as %+v, want a %s", name, docs[name], kind)
		}
	}
	if got := docs["port"]; string(got.Default) != "1234" || got.Doc != "where it listens" {
		t.Errorf("option port is documented as %+v", got)
	}
	if len(docs) != 14 {
		t.Errorf("%d options are documented: %v", len(docs), m.Options)
	}
}

func TestOpen(t *testing.T) {
	p := testPlugin()
	m, err := p.Open(Env{}, []byte(`{"fast":true}`))
	if err != nil || !m.(testManager).options.Fast || m.(testManager).options.Port != 1234 {
		t.Errorf("open: %+v, %v", m, err)
	}
	common, err := p.Common([]byte(`{"mount_point":"/data"}`))
	if err != nil || common.MountPoint != "/data" || len(common.Packages) != 1 {
		t.Errorf("common options: %+v, %v", common, err)
	}
	for options, says := range map[string][]string{
		`{"prot":1}`:                               {"prot"},
		`{"port":0,"mount_point":"/a/../b"}`:       {"port", "mount_point"},
		`{"packages":["x y"],"device_path":"sda"}`: {"packages[0]", "device_path"},
		`{`: {"guest options"},
	} {
		_, err := p.Open(Env{}, []byte(options))
		if err == nil {
			t.Errorf("%s was taken", options)
			continue
		}
		for _, s := range says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %v, want it to name %s", options, err, s)
			}
		}
	}
}

// TestOpenDoesNotShareDefaults: a list that one instance's options change is not another's.
func TestOpenDoesNotShareDefaults(t *testing.T) {
	p := testPlugin()
	if _, err := p.Common([]byte(`{"packages":["other-server"]}`)); err != nil {
		t.Fatal(err)
	}
	if o, _ := p.Common(nil); o.Packages[0] != "test-server" {
		t.Errorf("the defaults have become %v", o.Packages)
	}
}

func TestPluginThatCannotWorkPanics(t *testing.T) {
	for name, offer := range map[string]Offer{
		"guest half":  {Guest: json.RawMessage(`{"port":0}`)},
		"server half": {Server: ServerOptions{UsageTimeout: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it was taken")
				}
			}()
			testPlugin(offer)
		})
	}
}
