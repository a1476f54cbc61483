package deployments_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
)

type cloudConfig struct {
	WriteFiles []struct {
		Path        string `yaml:"path"`
		Permissions string `yaml:"permissions"`
		Owner       string `yaml:"owner"`
		Encoding    string `yaml:"encoding"`
		Content     string `yaml:"content"`
	} `yaml:"write_files"`
	RunCmd [][]string `yaml:"runcmd"`
}

func TestCloudInit(t *testing.T) {
	text, err := deployments.CloudInit(datastores.GuestConfig{
		InstanceID: "0198e1a2-0000-7000-8000-000000000001", Gateways: []string{"https://gw.example"}, Token: datastores.NewSecret("tok"),
		UID: -1, GID: -1, MemoryMB: 512,
	}, "mysql")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "#cloud-config\n") {
		t.Error("the first line is not #cloud-config")
	}
	c, guest := parse(t, text)
	for i, want := range []string{"/etc/coffer/guest.json 0600", "/etc/systemd/system/coffer-guest.service 0644"} {
		if f := c.WriteFiles[i]; f.Path+" "+f.Permissions != want || f.Owner != "root:root" {
			t.Errorf("file %d is %s %s of %s, want %s", i, f.Path, f.Permissions, f.Owner, want)
		}
	}
	unit := c.WriteFiles[1].Content
	for _, line := range []string{"ExecStart=/usr/bin/mysql-guest run -config /etc/coffer/guest.json\n", "\nKillMode=process\n"} {
		if !strings.Contains(unit, line) {
			t.Errorf("the unit lacks %q:\n%s", line, unit)
		}
	}
	wantCommands := [][]string{
		{"install", "-d", "-m", "0711", "/var/lib/coffer-guest"},
		{"systemctl", "daemon-reload"},
		{"systemctl", "enable", "--now", "coffer-guest.service"},
	}
	if diff := cmp.Diff(wantCommands, c.RunCmd); diff != "" {
		t.Errorf("runcmd (-want +got)\n%s", diff)
	}
	if guest.Token.Reveal() != "tok" || guest.Root != "/" || guest.Address != "0.0.0.0" || guest.UID != 20000 || guest.GID != 20000 {
		t.Errorf("the guest's configuration is %+v", guest)
	}
}

func TestCloudInitRefuses(t *testing.T) {
	for _, test := range []struct{ manager, dir string }{
		{"", ""}, {"../mysql", ""}, {"my\nsql", ""}, {"mysql", "relative"}, {"mysql", `/a"b`}, {"mysql", "/a b"}, {"mysql", "/a\n"},
	} {
		if text, err := deployments.CloudInit(datastores.GuestConfig{Dir: test.dir}, test.manager); err == nil {
			t.Errorf("%q: no error but\n%s", test, text)
		}
	}
}

// FuzzCloudInit: whatever the configuration holds, the text is YAML, and the configuration comes out as it went in.
func FuzzCloudInit(f *testing.F) {
	f.Add("mysql", "/var/lib/x", "https://gw", "token")
	f.Add("redis", "", "\"\n- evil: true\n#", "'{{.}}': |\x7f\u2028\U0001f600")
	f.Fuzz(func(t *testing.T, manager, dir, gateway, token string) {
		text, err := deployments.CloudInit(datastores.GuestConfig{
			Dir: dir, Gateways: []string{gateway}, Token: datastores.NewSecret(token),
		}, manager)
		if err != nil {
			return
		}
		c, guest := parse(t, text)
		want := []string{strings.ToValidUTF8(gateway, "\ufffd"), strings.ToValidUTF8(token, "\ufffd")}
		got := []string{strings.ToValidUTF8(guest.Gateways[0], "\ufffd"), guest.Token.Reveal()}
		if len(c.WriteFiles) != 2 || len(c.RunCmd) != 3 {
			t.Errorf("%d files and %d commands", len(c.WriteFiles), len(c.RunCmd))
		}
		for i := range want { // JSON writes one mark for each byte that is not UTF-8
			if strings.ReplaceAll(want[i], "\ufffd", "") != strings.ReplaceAll(got[i], "\ufffd", "") {
				t.Errorf("%q came out as %q", want[i], got[i])
			}
		}
	})
}

func parse(t *testing.T, text []byte) (c cloudConfig, guest datastores.GuestConfig) {
	t.Helper()
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	config, err := base64.StdEncoding.DecodeString(c.WriteFiles[0].Content)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(config, &guest); err != nil {
		t.Fatal(err)
	}
	return c, guest
}
