package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/deployments/host/sandbox"
)

// record is an instance as state.json holds it.
type record struct {
	Launch deployments.LaunchArgs `json:"launch"`           // the Token is always ""
	Driver string                 `json:"driver,omitempty"` // "": process
	Image  string                 `json:"image,omitempty"`  // that the sandbox was started in
	// Mark is the host's, see instance.name; "": the instance was made before hosts had one.
	Mark   string `json:"mark,omitempty"`
	UID    int    `json:"uid"`    // of the database server, on this machine; -1: the host's own
	Volume string `json:"volume"` // "" until there is one, then it never changes
	// VolumeNote says why there is no volume of the size asked for.
	VolumeNote string `json:"volume_note,omitempty"`
	// Growing is the size in GB that the unmounted volume is being given; 0: none.
	Growing int `json:"growing,omitempty"`
	// Binary is the file that the guest was last started from, see [instance.outdated].
	Binary stamp `json:"binary,omitzero"`
	// Former is the guest, by its name in the store, that ran before the one that is on trial; Refused the one that did not stay.
	Former  string `json:"former,omitempty"`
	Refused string `json:"refused,omitempty"`
	// Removing is set before the first thing is taken away: from then on nothing is started or made again.
	Removing bool `json:"removing,omitempty"`
}

// instance is one instance of this host. The first fields never change; mu guards the others and everything on the
// machine that belongs to the instance.
type instance struct {
	id      string
	dir     string
	address netip.Addr
	uid     int // of the database server, also its group; -1: the host's own

	mu       sync.Mutex
	rec      record
	guest    *service.Service
	restarts sandbox.Restarts
	trial    trial
	unmet    bool // a limit could not be had: it is tried again
	saved    []byte
	wired    bool // the network was made anew, and not yet a sandbox in it
}

const (
	stateFile   = "state.json"
	configFile  = "guest.json"
	logFile     = "guest.log"
	volumeImage = "volume.img"
)

// The kinds of volume, as a reply names them.
const (
	volumeLoop      = "loop"
	volumeDirectory = "directory"
)

// newInstance makes the instance in dir of its record. guests is the directory of guest binaries.
func newInstance(dir, guests string, rec record) (*instance, error) {
	addr, err := netip.ParseAddr(rec.Launch.Address)
	if err != nil {
		return nil, err
	}
	return &instance{
		id: rec.Launch.InstanceID, dir: dir, address: addr, uid: rec.UID, rec: rec,
		guest: newGuest(dir, guestBinary(guests, rec.Launch.Manager)),
	}, nil
}

// name is what the machine knows the instance by: its control groups, sandbox and network. Two hosts of one machine may both have the
// instance while it moves from one to the other.
func (i *instance) name() string {
	if i.rec.Mark == "" {
		return i.id
	}
	return i.id + "-" + i.rec.Mark
}

func (i *instance) path(name string) string { return filepath.Join(i.dir, name) }

// configFile is the guest's configuration.
func (i *instance) configFile() string {
	if i.rec.Driver == driverSandbox {
		return i.path(filepath.Join("sandbox", "etc", configFile))
	}
	return i.path(configFile)
}

// mountPoint is where the data lies, on the host.
func (i *instance) mountPoint() string { return filepath.Join(i.path("root"), i.rec.Launch.MountPoint) }

// save writes the record, durably, unless it is what was written last.
func (i *instance) save() error {
	b, err := json.MarshalIndent(i.rec, "", "  ")
	if err != nil || bytes.Equal(b, i.saved) {
		return err
	}
	if err := volume.At(i.dir).WriteFile(stateFile, append(b, '\n')); err != nil {
		return err
	}
	i.saved = b
	return nil
}

// loadInstances reads the instances below dir. A directory without state.json is what a remove has left, or a launch
// not yet made: it is skipped, and so is a state.json that cannot be read, with an error for each.
func loadInstances(dir, guests string) (map[string]*instance, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*instance)
	var problems []error
	for _, e := range entries {
		inst, err := loadInstance(filepath.Join(dir, e.Name()), guests)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("cannot load the instance in %s: %w", filepath.Join(dir, e.Name()), err))
			continue
		}
		found[inst.id] = inst
	}
	return found, errors.Join(problems...)
}

func loadInstance(dir, guests string) (*instance, error) {
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, err
	}
	var rec record
	if err := json.Unmarshal(b, &rec); err != nil {
		return nil, err
	}
	if rec.Launch.InstanceID != filepath.Base(dir) {
		return nil, fmt.Errorf("%s is of instance %q", stateFile, rec.Launch.InstanceID)
	}
	return newInstance(dir, guests, rec)
}
