package double

import (
	"crypto/rand"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	mostBuckets = 30 // maxBucketCount of the internal settings
	leastQuota  = 100
)

var bucketName = regexp.MustCompile(`\A[A-Za-z0-9_%-][A-Za-z0-9_.%-]{0,99}\z`)

func bucketParameters() []string {
	return []string{"name", "ramQuota", "replicaNumber", "bucketType", "durabilityMinLevel", "storageBackend", "flushEnabled", "evictionPolicy", "compressionMode"}
}

func (n *node) createBucket(r *http.Request) answer {
	if problem := unknown(r, bucketParameters()...); problem != "" {
		return refused(problem, "Unsupported key")
	}
	name := r.PostForm.Get("name")
	switch {
	case name == "":
		return refused("name", "Bucket name needs to be specified")
	case !bucketName.MatchString(name):
		return refused("name", "Bucket name can only contain characters in range A-Z, a-z, 0-9 as well as underscore, period, dash & percent. Consult the documentation.")
	}
	return n.change(r.Context(), answer{http.StatusAccepted, nil}, func(s *state) answer {
		for other := range s.Buckets {
			if strings.EqualFold(other, name) {
				return refused("name", "Bucket with given name already exists")
			}
		}
		if len(s.Buckets) >= mostBuckets {
			return refused("_", "Cannot create more than %d buckets", mostBuckets)
		}
		if n.progress.status() == "running" {
			return answer{http.StatusServiceUnavailable, map[string]string{"_": "Cannot create buckets during rebalance"}}
		}
		b := &bucket{UUID: rand.Text(), Replicas: 1, Type: "couchbase", Durability: "none", Backend: "couchstore"}
		if r.PostForm.Get("ramQuota") == "" {
			return refused("ramQuota", "The RAM Quota must be specified and must be a positive integer.")
		}
		if a := s.edit(b, r); a.status != 0 {
			return a
		}
		b.Map = balanced(s.hosts(active), b.Replicas)
		s.Buckets[name] = b
		return answer{}
	})
}

// edit changes what a request names.
func (s *state) edit(b *bucket, r *http.Request) answer {
	f := r.PostForm
	used := 0
	for _, other := range s.Buckets {
		if other != b {
			used += other.Quota
		}
	}
	if text := f.Get("ramQuota"); text != "" {
		mb, err := strconv.Atoi(text)
		switch {
		case err != nil:
			return refused("ramQuota", "The RAM Quota must be specified and must be a positive integer.")
		case mb < leastQuota:
			return refused("ramQuota", "RAM quota cannot be less than %d MiB", leastQuota)
		case used+mb > s.Quotas["memoryQuota"]:
			return refused("ramQuota", "RAM quota specified is too large to be provisioned into this cluster.")
		}
		b.Quota = mb
	}
	if text := f.Get("replicaNumber"); text != "" {
		count, err := strconv.Atoi(text)
		if err != nil || count < 0 {
			return refused("replicaNumber", "The replica number must be specified and must be a non-negative integer.")
		}
		if count > 3 {
			return refused("replicaNumber", "Replica number larger than 3 is not supported.")
		}
		s.Balanced = s.Balanced && (count == b.Replicas || len(s.hosts(active)) == 1)
		b.Replicas = count
	}
	for _, choice := range []struct {
		name   string
		values []string
		value  *string
	}{
		{"bucketType", []string{"couchbase"}, &b.Type},
		{"durabilityMinLevel", []string{"none", "majority", "majorityAndPersistActive", "persistToMajority"}, &b.Durability},
		{"storageBackend", []string{"couchstore", "magma"}, &b.Backend},
	} {
		if text := f.Get(choice.name); text != "" {
			if !slices.Contains(choice.values, text) {
				return refused(choice.name, "invalid: want one of %s", strings.Join(choice.values, ", "))
			}
			*choice.value = text
		}
	}
	return answer{}
}

func (n *node) editBucket(r *http.Request) answer {
	if problem := unknown(r, bucketParameters()...); problem != "" {
		return refused(problem, "Unsupported key")
	}
	return n.change(r.Context(), okay(nil), func(s *state) answer {
		b := s.Buckets[r.PathValue("bucket")]
		if b == nil {
			return missing()
		}
		return s.edit(b, r)
	})
}

// deleteBucket leaves the roles of users on the bucket: the documents do not say what becomes of them.
func (n *node) deleteBucket(r *http.Request) answer {
	return n.change(r.Context(), okay(nil), func(s *state) answer {
		name := r.PathValue("bucket")
		if s.Buckets[name] == nil {
			return missing()
		}
		if n.progress.status() == "running" {
			return answer{http.StatusServiceUnavailable, map[string]string{"_": "Cannot delete buckets during rebalance."}}
		}
		delete(s.Buckets, name)
		return answer{}
	})
}

// describe is what is told of a bucket.
func (n *node) describe(name string, b *bucket, s *state) map[string]any {
	var nodes []map[string]string
	for _, host := range s.hosts(active) {
		nodes = append(nodes, map[string]string{"hostname": host + ":" + restPort, "status": "healthy"})
	}
	items := 0
	if store := n.storeOf(b.UUID); store != nil {
		for vb := range vBuckets {
			items += len(store.copyOf(vb).Docs)
		}
	}
	return map[string]any{
		"name": name, "uuid": b.UUID, "bucketType": b.Type, "replicaNumber": b.Replicas, "durabilityMinLevel": b.Durability, "storageBackend": b.Backend,
		"quota": map[string]int{"rawRAM": b.Quota << 20}, "nodes": nodes, "basicStats": map[string]int{"itemCount": items, "dataUsed": items * 200},
	}
}

// listBuckets lists those of which the caller may know.
func (n *node) listBuckets(r *http.Request) answer {
	c, s := callerOf(r), n.now()
	all := []map[string]any{}
	for name, b := range s.Buckets {
		if c.has("ro_admin", "") || c.has("bucket_full_access", name) {
			all = append(all, n.describe(name, b, s))
		}
	}
	return okay(all)
}

func (n *node) getBucket(r *http.Request) answer {
	s, name := n.now(), r.PathValue("bucket")
	b := s.Buckets[name]
	if b == nil {
		return missing()
	}
	return okay(n.describe(name, b, s))
}
