package service

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"

	"github.com/cofferdb/coffer/datastores/volume"
)

// Rights remembers what lets users in, and what they may, on a server whose users come from another one: a replica. Nobody
// calls its guest when a user's password is changed or access is taken on the source, and sessions that are open do not notice.
type Rights struct {
	// Dir is the guest's own directory, [datastores.Env].Dir. The file is rights.json; it has hashes only.
	Dir string
}

const rightsFile = "rights.json"

// Watch compares what every user has now with what each had at the last call, and calls end for those who have lost anything of
// it, themselves included. What users have more is no reason. After an error of end the next call compares with the same.
func (r Rights) Watch(now map[string][]string, end func(users []string) error) error {
	before, after := map[string][]string{}, map[string][]string{}
	dir := volume.At(r.Dir)
	if err := dir.LoadJSON(rightsFile, &before); err != nil {
		return err
	}
	for user, rights := range now {
		for _, right := range rights {
			sum := sha256.Sum256([]byte(right))
			after[user] = append(after[user], base64.RawStdEncoding.EncodeToString(sum[:12]))
		}
		slices.Sort(after[user])
	}
	if maps.EqualFunc(before, after, slices.Equal) {
		return nil
	}
	var lost []string
	for _, user := range slices.Sorted(maps.Keys(before)) {
		if slices.ContainsFunc(before[user], func(right string) bool { return !slices.Contains(after[user], right) }) {
			lost = append(lost, user)
		}
	}
	if len(lost) > 0 {
		if err := end(lost); err != nil {
			return err
		}
	}
	return dir.SaveJSON(rightsFile, after)
}
