package agent

import (
	"context"
	"errors"
)

// PutSegment sends a segment of a backup, and again until the gateway has it, refuses it, or ctx ends.
func (a *Agent) PutSegment(ctx context.Context, backupID string, n int, body []byte) error {
	return errors.New("not implemented")
}

// GetSegment reads a segment of a backup.
func (a *Agent) GetSegment(ctx context.Context, backupID string, n int) ([]byte, error) {
	return nil, errors.New("not implemented")
}

// PutLogChunk sends the next part of a published log, as PutSegment does.
func (a *Agent) PutLogChunk(ctx context.Context, log string, n int, body []byte) error {
	return errors.New("not implemented")
}

// DeleteLog takes back everything that was published of a log.
func (a *Agent) DeleteLog(ctx context.Context, log string) error {
	return errors.New("not implemented")
}
