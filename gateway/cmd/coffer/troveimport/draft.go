package troveimport

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/hashicorp/go-multierror"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/strict"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/troveconf"
)

// draft is the two halves of a definition in the making.
type draft struct {
	server datastores.ServerOptions
	guest  map[string]json.RawMessage // the plug-in's own options, too
}

// setGuest sets a guest option.
func (d *draft) setGuest(option string, value any) error {
	b, err := json.Marshal(value)
	d.guest[option] = b
	return err
}

// list reads a guest option that is a list.
func (d *draft) list(option string) []string {
	var list []string
	_ = json.Unmarshal(d.guest[option], &list) // it was judged
	return list
}

// judge says what is wrong with the draft, as the gateway would, and returns both halves as JSON.
func (d *draft) judge(own []datastores.OptionDoc) (server, guest []byte, err error) {
	if server, err = json.Marshal(d.server); err != nil {
		return nil, nil, err
	}
	if guest, err = json.Marshal(d.guest); err != nil {
		return nil, nil, err
	}
	read, _, err := strict.ReadVersion(server, guest, own...)
	if err != nil {
		return nil, nil, oneLine(err)
	}
	var common datastores.GuestOptions
	if err := json.Unmarshal(guest, &common); err != nil {
		return nil, nil, err
	}
	return server, guest, errors.Join(datastores.Disagreements(read, common)...)
}

// oneLine says what is wrong without the frame that multierror puts around it.
func oneLine(err error) error {
	var all *multierror.Error
	if !errors.As(err, &all) {
		return err
	}
	var texts []string
	for _, one := range all.Errors {
		if o := (*strict.OptionError)(nil); errors.As(one, &o) {
			one = &strict.OptionError{Path: o.Path, Message: o.Message} // which half is no matter of the file's
		}
		texts = append(texts, one.Error())
	}
	return errors.New(strings.Join(texts, "; "))
}

// target is a datastore whose definition is made.
type target struct {
	name, version string
	manager       string
	place         troveconf.Place
	grouped       bool // the place is its group
	description   string
	own           []datastores.OptionDoc
	draft         draft
}

// try lets change happen to the draft, unless it is refused or what comes out is not good.
func (t *target) try(change func(*draft, string) error, value string) error {
	next := draft{t.draft.server, maps.Clone(t.draft.guest)}
	if err := change(&next, value); err != nil {
		return err
	}
	if _, _, err := next.judge(t.own); err != nil {
		return err
	}
	t.draft = next
	return nil
}

// Definition is a key of etcd with its value.
type Definition struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// definitions returns what is to be put for the datastore.
func (t *target) definitions() ([]Definition, error) {
	server, guest, err := t.draft.judge(t.own)
	if err != nil {
		return nil, fmt.Errorf("the definition of %s is not good: %w", t.name, err)
	}
	record, err := json.Marshal(etcdschema.Datastore{DefaultVersion: t.version, Description: t.description})
	return []Definition{
		{etcdschema.DatastoreKey(t.name).String(), record},
		{etcdschema.VersionKey(t.name, t.version).String(), server},
		{etcdschema.GuestOptionsKey(t.name, t.version).String(), guest},
	}, err
}
