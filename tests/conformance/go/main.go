// The conformance component in Go: what ../README.md says.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/task"
	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/taskhttp"
)

// Conformance does what the first line of each input says.
type Conformance struct {
	Tag   string  `help:"A text that must be given"`
	Title string  `help:"A text" default:"untitled"`
	Count int     `help:"A whole number" default:"3"`
	Ratio float64 `help:"A number" default:"0.5"`
	Loud  bool    `help:"A switch"`
	Mode  string  `help:"One of two" default:"fast" choice:"fast,careful"`
	Note  *string `help:"A text that may be missing"`

	runs int
	// come tells which inputs were told to come again.
	come map[string]bool
}

// setups counts the calls of Setup.
var setups int

// hoard is what `memory` took.
var hoard [][]byte

// TooBad is the task's own error.
type TooBad struct {
	message string
	cause   error
}

func (e *TooBad) Error() string { return e.message }

func (e *TooBad) Unwrap() error { return e.cause }

func tooBad(message string) error {
	return &TooBad{message, errors.New("the cause of it")}
}

func (c *Conformance) Setup() error {
	setups++
	c.come = map[string]bool{}
	if c.Tag == "fail" {
		return tooBad("setup was told to fail")
	}
	return nil
}

func (c *Conformance) Teardown() error {
	fmt.Printf("teardown after %d runs\n", c.runs)
	return nil
}

func (c *Conformance) Run(in task.Input, out task.Output) error {
	c.runs++
	reader, err := in.Open()
	if err != nil {
		return err
	}
	defer reader.Close()
	line, err := reader.ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	line = strings.TrimSuffix(line, "\n")
	word, argument, _ := strings.Cut(line, " ")

	switch word {
	case "params":
		return out.WriteText(c.params())
	case "context":
		return out.WriteText(fmt.Sprintf("setup %d, run %d, tag %s", setups, c.runs, c.Tag))
	case "echo":
		contents, err := io.ReadAll(reader)
		if err != nil {
			return err
		}
		return out.Write(contents)
	case "names":
		return out.WriteText(in.Name() + "\n" + out.Name())
	case "copy":
		return copyInPieces(in, out)
	case "fail":
		return tooBad(argument)
	case "io":
		_, err := os.ReadFile(filepath.Join(filepath.Dir(string(in)), "there-is-none"))
		return err
	case "transient":
		if c.come[in.Name()] {
			return out.WriteText("run again")
		}
		c.come[in.Name()] = true
		milliseconds, err := strconv.Atoi(argument)
		if err != nil {
			return err
		}
		return task.RetryAfter(errors.New("come again"), time.Duration(milliseconds)*time.Millisecond)
	case "abort":
		return task.Aborted(argument)
	case "nothing":
		return nil
	case "empty":
		return out.Write(nil)
	case "panic":
		panic("this is a mistake")
	case "exit":
		os.Exit(7)
	case "stderr":
		for n := range 1000 {
			fmt.Fprintf(os.Stderr, "line %d\n", n+1)
		}
		return tooBad(argument)
	case "stdout":
		fmt.Println("on stdout")
		return nil
	case "log":
		slog.Log(context.Background(), task.LevelTrace, "at trace")
		slog.Debug("at debug")
		slog.Info("at info")
		slog.Warn("at warn")
		slog.Error("at error")
		return nil
	case "progress":
		in.Progress(0.25)
		for {
			if _, err := os.Stat("/gate/open"); err == nil {
				return nil
			}
			time.Sleep(10 * time.Millisecond)
		}
	case "env":
		value, ok := os.LookupEnv(argument)
		if !ok {
			value = "(none)"
		}
		return out.WriteText(value)
	case "read":
		contents, err := os.ReadFile(argument)
		if err != nil {
			return err
		}
		return out.Write(contents)
	case "write":
		contents, err := io.ReadAll(reader)
		if err != nil {
			return err
		}
		return os.WriteFile(argument, contents, 0o666)
	case "loop":
		for n := 0; ; n++ {
			c.runs += n % 2
		}
	case "memory":
		for {
			block := make([]byte, 1<<20)
			for i := range block {
				block[i] = 1
			}
			hoard = append(hoard, block)
		}
	case "http":
		response, err := http.Get(argument)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if err := taskhttp.Check(response); err != nil {
			return err
		}
		answer, err := out.Create()
		if err != nil {
			return err
		}
		_, err = io.Copy(answer, response.Body)
		return err
	}
	return fmt.Errorf("there is no word `%s`", word)
}

func (c *Conformance) params() string {
	note := "(none)"
	if c.Note != nil {
		note = *c.Note
	}
	return fmt.Sprintf("tag=%s\ntitle=%s\ncount=%d\nratio=%v\nloud=%t\nmode=%s\nnote=%s\n",
		c.Tag, c.Title, c.Count, c.Ratio, c.Loud, c.Mode, note)
}

func copyInPieces(in task.Input, out task.Output) error {
	reader, err := in.Open()
	if err != nil {
		return err
	}
	writer, err := out.Create()
	if err != nil {
		return err
	}
	_, err = io.Copy(writer, reader)
	return err
}

func init() {
	task.Register(task.About{
		Name:    "conformance-go",
		Version: "1.2.3",
		Summary: "Does what the first line of each input says",
		CanUse: []task.Grant{
			task.ReadOnly("/gate", "waits for /gate/open"),
			task.Environment("SETTING", "is shown"),
		},
		Options: map[string]string{"timeout": "10m"},
	}, &Conformance{})
}

func main() {} // A component has no main, but Go wants one.
