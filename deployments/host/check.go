package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/deployments"
)

// Check asks the guest binaries what they say of definitions, each for those of its manager. A binary that fails says nothing.
func (h *Host) Check(ctx context.Context, args deployments.CheckArgs) (deployments.CheckReply, error) {
	type who struct{ manager, image string }
	by := map[who][]deployments.Definition{}
	for _, d := range args.Definitions {
		by[who{d.Manager, d.Image}] = append(by[who{d.Manager, d.Image}], d)
	}
	reply := deployments.CheckReply{Verdicts: map[string]datastores.Verdict{}}
	good := map[service.System][]datastores.Opinion{} // without problems
	ids := map[service.System][]string{}              // of their definitions
	able := h.binaries.managers()
	images, _ := h.newcomers().images()
	for asked, definitions := range by {
		if !slices.Contains(able, asked.manager) || asked.image != "" && !slices.Contains(images, asked.image) {
			continue // the announcement says so
		}
		tree, err := h.images.tree(asked.image)
		if err != nil {
			return reply, err
		}
		opinions, err := h.askGuest(ctx, guestBinary(h.cfg.Guests, asked.manager), definitions)
		if ctx.Err() != nil {
			return reply, errCheckLate
		}
		if err != nil {
			h.log.Warn("a guest binary does not judge definitions", "manager", asked.manager, "err", err)
			continue
		}
		for i, d := range definitions {
			o, system := opinions[i], service.System(tree)
			if len(o.Problems) > 0 {
				reply.Verdicts[d.ID()] = datastores.Verdict{Problems: o.Problems}
				continue
			}
			good[system], ids[system] = append(good[system], o), append(ids[system], d.ID())
		}
	}
	for system, opinions := range good { // the host looks for what a guest binary says that it needs: the binary is nobody
		for i, reason := range system.Unservable(ctx, opinions) {
			reply.Verdicts[ids[system][i]] = datastores.Verdict{Unable: reason}
		}
	}
	if ctx.Err() != nil {
		return reply, errCheckLate
	}
	return reply, nil
}

var errCheckLate = agentpoll.Errorf(agentpoll.Expired, "the check of definitions was not done in time")

// askGuest has one binary judge definitions, all at once, in the way in which it describes itself.
func (h *Host) askGuest(ctx context.Context, binary string, definitions []deployments.Definition) ([]datastores.Opinion, error) {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	var in bytes.Buffer
	for _, d := range definitions {
		in.Write(d.Guest)
		in.WriteByte('\n')
	}
	out, err := service.Run(ctx, []string{binary, "check", "-options-only"}, service.RunOptions{Stdin: &in, Alone: h.root})
	if err != nil {
		return nil, err
	}
	opinions := make([]datastores.Opinion, len(definitions))
	answers := json.NewDecoder(bytes.NewReader(out))
	for i := range opinions {
		if err := answers.Decode(&opinions[i]); err != nil {
			return nil, fmt.Errorf("it gave %d opinions of %d: %w", i, len(opinions), err)
		}
	}
	return opinions, nil
}

// inventory names the state of the guest binaries, of the images, and of their packages.
func (h *Host) inventory(managers, images []string) string {
	sum := sha256.New()
	for _, image := range append([]string{""}, images...) {
		tree := ""
		if image != "" {
			tree = filepath.Join(h.images.dir, image)
		}
		for _, path := range []string{"/var/lib/dpkg/status", "/var/lib/apt/lists"} {
			if info, err := os.Stat(filepath.Join(tree, path)); err == nil {
				fmt.Fprintln(sum, image, path, info.ModTime().UnixNano())
			}
		}
	}
	for _, manager := range managers {
		s, _ := h.binaries.stamp(manager)
		fmt.Fprintln(sum, manager, s.Inode, s.Size, s.Changed.UnixNano())
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}
