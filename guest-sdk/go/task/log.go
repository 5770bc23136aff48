package task

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
)

// LevelTrace is the level of what `-vv` shows, below [slog.LevelDebug]. The host
// shows debug with `-v`, and info, warn and error by default.
const LevelTrace = slog.LevelDebug - 4

// logHandler writes records as lines to the host's log: the message, and the
// attributes as NAME=VALUE. Time and level are the host's to show.
type logHandler struct {
	// attributes writes the record's attributes to line.
	attributes slog.Handler
	line       *bytes.Buffer
	mutex      *sync.Mutex
	write      func(level slog.Level, line string)
}

func newLogHandler(write func(level slog.Level, line string)) *logHandler {
	line := new(bytes.Buffer)
	options := &slog.HandlerOptions{
		Level: LevelTrace,
		ReplaceAttr: func(groups []string, attribute slog.Attr) slog.Attr {
			if len(groups) == 0 {
				switch attribute.Key {
				case slog.TimeKey, slog.LevelKey, slog.MessageKey:
					return slog.Attr{}
				}
			}
			return attribute
		},
	}
	return &logHandler{slog.NewTextHandler(line, options), line, new(sync.Mutex), write}
}

func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= LevelTrace
}

func (h *logHandler) Handle(ctx context.Context, record slog.Record) error {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.line.Reset()
	err := h.attributes.Handle(ctx, record)
	attributes := strings.TrimSuffix(h.line.String(), "\n")
	if attributes != "" {
		attributes = " " + attributes
	}
	h.write(record.Level, record.Message+attributes)
	return err
}

func (h *logHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	clone := *h
	clone.attributes = h.attributes.WithAttrs(attributes)
	return &clone
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	clone := *h
	clone.attributes = h.attributes.WithGroup(name)
	return &clone
}
