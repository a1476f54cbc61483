package gateway

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// resizeInstance gives an instance a larger volume, and its replicas with it, or another flavor.
func (g *Gateway) resizeInstance(r *request, raw json.RawMessage) (reply, error) {
	var args struct {
		Volume    json.RawMessage `json:"volume"`
		FlavorRef stringOrID      `json:"flavorRef"`
	}
	if err := json.Unmarshal(raw, &args); err != nil || (args.FlavorRef == "") == (len(args.Volume) == 0) {
		return reply{}, faultf(badRequest, `Validation error: resize takes {"volume": {"size": GB}} or {"flavorRef": id}.`)
	}
	in, err := g.instance(r)
	if err != nil {
		return reply{}, err
	}
	if in.Host == "" {
		return reply{}, faultf(notImplemented, "Instance %s runs on a machine of its own; whoever runs that resizes it.", in.ID)
	}
	if err := lifecycle.Free(in); err != nil {
		return reply{}, err
	}
	if args.FlavorRef != "" {
		return g.resizeFlavor(r, in, lastPart(string(args.FlavorRef)))
	}
	size, err := sizeOf(args.Volume)
	if err != nil {
		return reply{}, err
	}
	return g.resizeVolume(r, in, size)
}

// sizeOf reads a volume's size: in an object, as openstacksdk does not, or alone.
func sizeOf(raw json.RawMessage) (int, error) {
	var object struct {
		Size stringOrID `json:"size"`
	}
	if json.Unmarshal(raw, &object) != nil && json.Unmarshal(raw, &object.Size) != nil {
		object.Size = ""
	}
	size, err := strconv.Atoi(string(object.Size))
	if err != nil || size < 1 {
		return 0, faultf(badRequest, "Validation error: resize['volume']['size'] %s is not a number of GB of 1 or more.", raw)
	}
	return size, nil
}

func (g *Gateway) resizeVolume(r *request, in etcdschema.Instance, size int) (reply, error) {
	switch {
	case in.VolumeGB == 0:
		return reply{}, faultf(notImplemented, "The datastore version has no volume.")
	case size <= in.VolumeGB:
		return reply{}, faultf(badRequest, "The volume of instance %s has %d GB; a new size must be more.", in.ID, in.VolumeGB)
	}
	most, err := g.maxVolume(r, in)
	if err != nil {
		return reply{}, err
	}
	if size > most {
		return reply{}, faultf(overLimit, "A volume of %d GB is larger than the %d GB that this datastore version allows.", size, most)
	}
	if err := g.resize(r, in.ID, etcdschema.Target{VolumeGB: size}); err != nil {
		return reply{}, err
	}
	for _, id := range in.Replicas { // each by itself: one that is busy now is not worth refusing the source
		if err := g.resize(r, id, etcdschema.Target{VolumeGB: size}); err != nil {
			g.log.Warn("a replica keeps its volume while its source's grows", "instance_id", id, "err", err)
		}
	}
	return reply{status: http.StatusAccepted}, nil
}

func (g *Gateway) maxVolume(r *request, in etcdschema.Instance) (int, error) {
	catalogue, err := g.catalogue(r.ctx)
	if err != nil {
		return 0, err
	}
	if v, ok := catalogue.FindVersion(in.Datastore, in.Version); ok && v.Server.MaxVolumeSize > 0 {
		return v.Server.MaxVolumeSize, nil
	}
	return datastores.DefaultMaxVolumeSize, nil
}

func (g *Gateway) resizeFlavor(r *request, in etcdschema.Instance, id string) (reply, error) {
	if id == in.FlavorID {
		return reply{}, faultf(badRequest, "Instance %s has the flavor %s already.", in.ID, id)
	}
	flavor, err := etcdschema.Get(r.ctx, g.store, etcdschema.FlavorKey(id))
	if errors.Is(err, etcdschema.ErrNotFound) {
		return reply{}, faultf(badRequest, "Flavor %s cannot be found; GET flavors lists what there is.", id)
	}
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusAccepted}, g.resize(r, in.ID, etcdschema.Target{FlavorID: id, Flavor: &flavor.Value})
}

// resize charges for the new size and begins the operation, in one transaction.
func (g *Gateway) resize(r *request, id string, target etcdschema.Target) error {
	event := lifecycle.Event{Type: lifecycle.AskResize, Target: &target, Request: r.id()}
	_, err := g.transition(r.ctx, r.project, id, event, func(p *plan) error {
		ops, err := g.exchange(p.s, p.before, lifecycle.Become(p.before, target))
		p.put(ops...)
		return err
	})
	return instanceError(err, id)
}
