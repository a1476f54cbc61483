package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"

	"github.com/cofferdb/coffer/datastores"
)

// LoadConfig reads a guest's configuration file. It holds a token, so others than its owner must not be able to read
// it. The error lists everything that is wrong with it.
func LoadConfig(file string) (datastores.GuestConfig, error) {
	var c datastores.GuestConfig
	if file == "" {
		return c, errors.New("no configuration: name its file with -config or COFFER_GUEST_CONFIG")
	}
	info, err := os.Stat(file)
	if err != nil {
		return c, fmt.Errorf("cannot read the configuration: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return c, fmt.Errorf("others may read the configuration, which holds a token: chmod 600 %s", file)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return c, fmt.Errorf("cannot read the configuration: %w", err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("configuration %s: %w", file, err)
	}
	if err := validate(c); err != nil {
		return c, fmt.Errorf("configuration %s: %w", file, err)
	}
	return c, nil
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// validate returns every problem of c that the agent's own configuration does not find.
func validate(c datastores.GuestConfig) error {
	var errs []error
	if !uuid.MatchString(c.InstanceID) {
		errs = append(errs, fmt.Errorf("instance_id: %q is not a UUID", c.InstanceID))
	}
	if _, err := netip.ParseAddr(c.Address); err != nil {
		errs = append(errs, fmt.Errorf("address: %q is not an IP address", c.Address))
	}
	for _, d := range []struct{ name, path string }{{"dir", c.Dir}, {"root", c.Root}} {
		if !filepath.IsAbs(d.path) {
			errs = append(errs, fmt.Errorf("%s: %q is not an absolute path", d.name, d.path))
		}
	}
	return errors.Join(errs...)
}
