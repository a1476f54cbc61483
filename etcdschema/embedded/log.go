package embedded

import (
	"context"
	"log/slog"
	"sync/atomic"

	"go.uber.org/zap/zapcore"
)

// bridge hands etcd's warnings and errors to slog; the rest is dropped before it is made.
type bridge struct {
	log     *slog.Logger
	closing *atomic.Bool // etcd is being stopped: that its listeners close is then no error
	fields  []zapcore.Field
}

var _ zapcore.Core = bridge{}

func (b bridge) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

func (b bridge) With(fields []zapcore.Field) zapcore.Core {
	return bridge{b.log, b.closing, append(b.fields[:len(b.fields):len(b.fields)], fields...)}
}

func (b bridge) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) {
		return ce.AddCore(e, b)
	}
	return ce
}

func (b bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	values := zapcore.NewMapObjectEncoder()
	for _, f := range append(b.fields[:len(b.fields):len(b.fields)], fields...) {
		f.AddTo(values)
	}
	level := slog.LevelWarn
	switch {
	case b.closing.Load():
		level = slog.LevelDebug
	case e.Level > zapcore.WarnLevel:
		level = slog.LevelError
	}
	b.log.Log(context.Background(), level, "etcd: "+e.Message, slog.Any("etcd", values.Fields))
	return nil
}

func (b bridge) Sync() error { return nil }
