package dbext

import (
	"context"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"
)

// Drill is a trial of restoring what is kept of an instance.
type Drill struct {
	ID         string   `json:"id"`
	Instance   string   `json:"instance_id"`
	Schedule   string   `json:"schedule_id"` // "": somebody asked for it
	User       string   `json:"user"`
	Backup     string   `json:"backup_id"`
	BackupAt   Time     `json:"backup_completed"`
	BackupSize float64  `json:"backup_size"` // GB
	Time       string   `json:"time"`        // up to where the log was replayed; "": it was not
	Probe      string   `json:"restored_instance_id"`
	Step       string   `json:"step"`   // "": it is over
	Result     string   `json:"result"` // running, passed, failed
	Reason     string   `json:"reason"`
	Began      Time     `json:"began"`
	Restored   Time     `json:"restored"`
	Checked    Time     `json:"checked"`
	Ended      Time     `json:"ended"`
	Seconds    *float64 `json:"restore_seconds"` // nil: it was not restored
	VolumeUsed *float64 `json:"volume_used"`     // GB; nil: it is not known
	Check      *struct {
		By       string   `json:"by"`
		Objects  int64    `json:"objects"`
		Unit     string   `json:"unit"`
		Bytes    int64    `json:"bytes"`
		Digest   string   `json:"digest"`
		Problems []string `json:"problems"`
		Answered *bool    `json:"answered"`
	} `json:"check"`
}

// Running reports whether the drill is under way.
func (d Drill) Running() bool { return d.Result == "running" }

// ListDrills reads the drills of an instance, the newest first.
func ListDrills(ctx context.Context, c *gophercloud.ServiceClient, instance string) ([]Drill, error) {
	return get[[]Drill](ctx, c, "drills", "instances", instance, "drills")
}

// CreateDrill has a drill begin; fields are those of the API.
func CreateDrill(ctx context.Context, c *gophercloud.ServiceClient, instance string, fields map[string]any) (Drill, error) {
	members, err := send(ctx, c, http.MethodPost, endpoint(c, "instances", instance, "drills"), map[string]any{"drill": fields}, http.StatusAccepted)
	return member[Drill](members, "drill", err)
}
