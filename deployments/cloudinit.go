package deployments

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"text/template"

	"github.com/cofferdb/coffer/datastores"
)

//go:embed cloud-init/user-data.yaml.tmpl
var userDataText string

// What CloudInit fills in where the configuration says nothing.
const (
	machineDir     = "/var/lib/coffer-guest"
	machineAddress = "0.0.0.0" // all of the machine's addresses
	machineUser    = 20000     // without a passwd entry; servers refuse to be root, or should
)

var (
	plainName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	plainPath = regexp.MustCompile(`^(/[A-Za-z0-9._-]+)+$`)
)

// CloudInit writes the cloud-init user-data of a machine that becomes an instance by booting: the guest's configuration
// and a systemd unit that runs /usr/bin/<manager>-guest, which the machine's image or its packages must bring. The
// text holds the guest's enrolment token: it is a secret until the guest has enrolled.
//
// The machine is the instance's alone, so Root is "/", an empty Dir is /var/lib/coffer-guest, an empty Address is
// 0.0.0.0, and a negative UID or GID is 20000: the guest is root there, the database server must not be.
func CloudInit(cfg datastores.GuestConfig, manager string) ([]byte, error) {
	cfg.Root = "/"
	cfg.Dir = cmp.Or(cfg.Dir, machineDir)
	cfg.Address = cmp.Or(cfg.Address, machineAddress)
	if cfg.UID < 0 || cfg.GID < 0 {
		cfg.UID, cfg.GID = machineUser, machineUser
	}
	if !plainName.MatchString(manager) {
		return nil, fmt.Errorf("cannot write user-data: %q is not a manager's name", manager)
	}
	if !plainPath.MatchString(cfg.Dir) {
		return nil, fmt.Errorf("cannot write user-data: the guest's directory %q is not a plain absolute path", cfg.Dir)
	}
	cfg.Token = cfg.Token.ForSealing()
	config, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("cannot write user-data: %w", err)
	}
	t, err := template.New("user-data").Parse(userDataText)
	if err != nil {
		return nil, fmt.Errorf("cannot write user-data: %w", err)
	}
	var b bytes.Buffer
	err = t.Execute(&b, struct{ Manager, Dir, Config string }{
		Manager: manager,
		Dir:     cfg.Dir,
		// Nothing of the configuration can then be taken for YAML.
		Config: base64.StdEncoding.EncodeToString(config),
	})
	return b.Bytes(), err
}
