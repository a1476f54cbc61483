package datastores_test

import (
	"context"
	"fmt"

	"github.com/cofferdb/coffer/datastores"
)

// Options are a datastore's guest options: those that all have, and its own.
type Options struct {
	datastores.GuestOptions
	Threads int `json:"threads" doc:"worker threads"`
}

func (o Options) Common() datastores.GuestOptions { return o.GuestOptions }

func (o Options) Problems() []error {
	problems := o.GuestOptions.Problems()
	if o.Threads < 1 {
		problems = append(problems, fmt.Errorf("threads: %d; want at least 1", o.Threads))
	}
	return problems
}

// Manager runs one server. The four methods are all that is required; datastores/service helps with processes.
type Manager struct {
	env     datastores.Env
	options Options
}

func (m *Manager) Prepare(ctx context.Context, req datastores.PrepareRequest) error {
	req.Progress("writing the configuration")
	return m.Start(ctx)
}
func (m *Manager) Start(context.Context) error { return nil }
func (m *Manager) Stop(context.Context) error  { return nil }
func (m *Manager) Status(context.Context) datastores.Status {
	return datastores.Status{Service: datastores.StatusHealthy}
}

// A plug-in is options and manager as one entity. Its main is
//
//	func main() { guest.Main(Plugin()) }
func ExampleNewPlugin() {
	defaults := Options{
		GuestOptions: datastores.GuestOptions{MountPoint: "/var/lib/memcached", Packages: []string{"memcached"}},
		Threads:      4,
	}
	open := func(env datastores.Env, o Options) datastores.Manager { return &Manager{env, o} }
	plugin := datastores.NewPlugin("memcached", defaults, open, datastores.Offer{
		Datastore: "memcached", Version: "1.6",
		Server: datastores.ServerOptions{TCPPorts: []datastores.PortRange{{First: 11211, Last: 11211}}},
	})
	offer := plugin.Manifest().Offers[0]
	fmt.Println(offer.Server.Manager, offer.Server.TCPPorts, plugin.Manifest().Capabilities)
	fmt.Println(string(offer.Guest))
	// Output:
	// memcached [11211] []
	// {"mount_point":"/var/lib/memcached","packages":["memcached"],"threads":4}
}
