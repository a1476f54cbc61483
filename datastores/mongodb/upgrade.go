package mongodb

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
)

// Upgrade implements [datastores.Upgrader], from one version to the next. A server takes over the data when their format, the
// featureCompatibilityVersion, is that of the version before; then a primary brings it to its own, and the older version cannot read them any more.
func (m *Manager) Upgrade(ctx context.Context, req datastores.UpgradeRequest) error {
	from := DefaultOptions()
	if err := json.Unmarshal(req.From, &from); err != nil {
		return datastores.Errorf(datastores.Invalid, "the options of the version before: %v", err)
	}
	old, now := slices.Index(versions(), from.Version), slices.Index(versions(), m.options.Version)
	if old < 0 || now < old || now > old+1 {
		return datastores.Errorf(datastores.Invalid, "MongoDB %s cannot take over the data of %s: only one version is left out at most", m.options.Version, from.Version)
	}
	req.Progress("starting MongoDB " + m.options.Version)
	if err := m.Start(ctx); err != nil {
		return fmt.Errorf("MongoDB %s does not start with the data of %s: %w", m.options.Version, from.Version, err)
	}
	is, err := m.hello(ctx)
	if err != nil || !is.Primary || m.isMember() {
		return err // a replica has its source's format; members of a cluster get theirs when all have the version, see raiseFormat
	}
	req.Progress("bringing the data to the new format")
	return m.talk(ctx, func(c *opmsg.Client) error { return m.setFormat(ctx, c) })
}

func (m *Manager) setFormat(ctx context.Context, c *opmsg.Client) error {
	_, err := c.Call(ctx, adminDatabase, bson.D{
		{Key: "setFeatureCompatibilityVersion", Value: m.options.Version}, {Key: "confirm", Value: true}, durable(),
	})
	return err
}

// raiseFormat brings a cluster's data to the format of its members' version, when all have this one's.
func (m *Manager) raiseFormat(ctx context.Context, c *opmsg.Client, v datastores.ClusterView) error {
	format, err := formatOf(ctx, c)
	if err != nil || format == m.options.Version {
		return err
	}
	for _, member := range v.Of(datastores.ClusterIn) {
		version := ""
		err := m.visit(ctx, host(member.Address), func(c *opmsg.Client) error {
			reply, err := c.Call(ctx, adminDatabase, bson.D{{Key: "buildInfo", Value: 1}})
			if err != nil {
				return err
			}
			version, _ = reply.Lookup("version").StringValueOK()
			return nil
		})
		if err != nil || !strings.HasPrefix(version, m.options.Version+".") {
			return err
		}
	}
	return m.setFormat(ctx, c)
}

// formatOf is the featureCompatibilityVersion of a server's data.
func formatOf(ctx context.Context, c *opmsg.Client) (string, error) {
	reply, err := c.Call(ctx, adminDatabase, bson.D{{Key: "getParameter", Value: 1}, {Key: "featureCompatibilityVersion", Value: 1}, anywhere()})
	if err != nil {
		return "", err
	}
	var answer struct {
		Format struct {
			Version string `bson:"version"`
		} `bson:"featureCompatibilityVersion"`
	}
	err = bson.Unmarshal(reply, &answer)
	return answer.Format.Version, err
}

// CheckUpgrade implements [datastores.UpgradeChecker].
func (m *Manager) CheckUpgrade(ctx context.Context, req datastores.UpgradeRequest) error {
	from := DefaultOptions()
	if err := json.Unmarshal(req.From, &from); err != nil {
		return datastores.Errorf(datastores.Invalid, "the options of the version before: %v", err)
	}
	var format string
	err := m.talk(ctx, func(c *opmsg.Client) (err error) {
		format, err = formatOf(ctx, c)
		return err
	})
	if err != nil || format == from.Version {
		return err
	}
	return datastores.Obstacles([]string{fmt.Sprintf(
		"the data have featureCompatibilityVersion %s, and %s takes over %s: set it with setFeatureCompatibilityVersion", format, m.options.Version, from.Version)})
}
