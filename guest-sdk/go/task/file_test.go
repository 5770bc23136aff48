package task

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNamesAndStems(t *testing.T) {
	in := Input("/input/7501.final.txt")
	if in.Name() != "7501.final.txt" || in.Stem() != "7501.final" {
		t.Errorf("got %s, %s", in.Name(), in.Stem())
	}
	if out := Output("/output/.hidden"); out.Stem() != ".hidden" {
		t.Errorf("got %s", out.Stem())
	}
}

func TestWholeFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.txt")
	if err := Output(path).WriteText("a longer text"); err != nil {
		t.Fatal(err)
	}
	if err := Output(path).WriteText("héllo"); err != nil {
		t.Fatal(err)
	}
	if text, err := Input(path).ReadText(); text != "héllo" || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
	Input(path).Progress(0.5)
	if err := Output(path).Write([]byte("ab\xffcd")); err != nil {
		t.Fatal(err)
	}
	_, err := Input(path).ReadText()
	if err == nil || kindOf(err) != "InvalidData" || !strings.HasSuffix(err.Error(), "is not UTF-8: byte 2 is wrong") {
		t.Errorf("got %v", err)
	}
	if _, err := Input("/no/such.txt").ReadText(); !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
}

func TestStreams(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.txt")
	writer, err := Output(path).Create()
	if err != nil {
		t.Fatal(err)
	}
	for line := range 20_000 {
		fmt.Fprintf(writer, "line %d\n", line)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	reader, err := Input(path).Open()
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for scanner := bufio.NewScanner(reader); scanner.Scan(); lines++ {
	}
	if lines != 20_000 {
		t.Errorf("got %d lines", lines)
	}
	if _, err := reader.Seek(5, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	first, _ := reader.ReadString('\n')
	place, _ := reader.Seek(0, io.SeekCurrent)
	if first != "0\n" || place != 7 {
		t.Errorf("got %q at %d", first, place)
	}
	if err := reader.Close(); err != nil || len(open) != 0 {
		t.Errorf("got %v, %d open", err, len(open))
	}
}
