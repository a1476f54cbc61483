package datastores

// GuestConfig is the file (JSON, 0600) that a guest is started with: `<manager>-guest run -config FILE`. A host writes
// it, or cloud-init. It is read once; what the guest learns at enrolment it keeps in Dir.
type GuestConfig struct {
	InstanceID string   `json:"instance_id"`
	Gateways   []string `json:"gateways"` // base URLs, tried in turn
	// CA pins the gateways: hex SHA-256 of the certificate (DER) of the CA that signed theirs, or several with commas between. ""
	// means what Token says, and is the only choice for http.
	CA string `json:"ca,omitempty"`
	// AllowHTTP permits http URLs of gateways, on loopback too: behind a proxy that adds TLS.
	AllowHTTP bool   `json:"allow_http,omitempty"`
	Token     Secret `json:"token"` // single use
	Dir       string `json:"dir"`   // the guest's own directory
	// Root is put before the option mount_point to find the data directory: "/" on a machine of its own, the
	// instance's directory on a shared host.
	Root       string   `json:"root"`
	Address    string   `json:"address"`
	UID        int      `json:"uid"` // -1: the guest's own
	GID        int      `json:"gid"`
	MemoryMB   int      `json:"memory_mb,omitempty"`
	CgroupDirs []string `json:"cgroup_dirs,omitempty"`
}
