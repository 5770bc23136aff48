package task

import (
	"context"
	"log/slog"
	"testing"
)

func TestRecordsBecomeLines(t *testing.T) {
	var lines []string
	logger := slog.New(newLogHandler(func(level slog.Level, line string) {
		lines = append(lines, level.String()+" "+line)
	}))
	logger.Info("read a file", "bytes", 12, "name", "a b")
	logger.With("task", "x").WithGroup("g").Warn("odd", "level", 3)
	logger.Log(context.Background(), LevelTrace, "fine")
	logger.Log(context.Background(), LevelTrace-1, "finer")
	want := []string{`INFO read a file bytes=12 name="a b"`, "WARN odd task=x g.level=3", "DEBUG-4 fine"}
	if len(lines) != len(want) {
		t.Fatalf("got %q", lines)
	}
	for i := range want {
		if lines[i] != want[i] {
			t.Errorf("got %q, not %q", lines[i], want[i])
		}
	}
}
