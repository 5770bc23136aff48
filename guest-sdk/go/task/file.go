package task

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"unicode/utf8"
)

// bufferBytes is what a [Reader] or a [Writer] holds in memory: few calls to
// the host, and what an instance can spare.
const bufferBytes = 64 << 10

// Input is the file to read: its path, for [os.ReadFile] and for libraries.
type Input string

// Name is the file's name: "7501.final.txt".
func (in Input) Name() string { return path.Base(string(in)) }

// Stem is the file's name up to its last dot: "7501.final".
func (in Input) Stem() string { return stem(in.Name()) }

// ReadAll reads the whole file, with fewer calls to the host than [os.ReadFile].
func (in Input) ReadAll() ([]byte, error) { return readFile(string(in)) }

// ReadText reads the whole file as text. It fails where that is not UTF-8.
func (in Input) ReadText() (string, error) {
	contents, err := in.ReadAll()
	if err != nil {
		return "", err
	}
	if !utf8.Valid(contents) {
		return "", &ownError{kind: "InvalidData", message: fmt.Sprintf("`%s` is not UTF-8: byte %d is wrong", in, firstInvalid(contents))}
	}
	return text(contents), nil
}

// Open opens the file to read it in pieces. What is left open is closed when Run
// returns.
func (in Input) Open() (*Reader, error) {
	file, err := os.Open(string(in))
	if err != nil {
		return nil, err
	}
	reader := &Reader{Reader: bufio.NewReaderSize(file, bufferBytes), file: file}
	remember(reader)
	return reader, nil
}

// Progress tells the host how far the work on this file is, from 0.0 to 1.0.
// Cheap, but a call to the host: once in some thousand lines is enough.
func (in Input) Progress(fraction float64) { progress(string(in), fraction) }

// Output is the file to write, where nothing exists yet: its path, for
// [os.WriteFile] and for libraries. The host publishes what stands there when
// Run returns nil, and throws it away otherwise.
type Output string

// Name is the file's name: "7501.final.json".
func (out Output) Name() string { return path.Base(string(out)) }

// Stem is the file's name up to its last dot: "7501.final".
func (out Output) Stem() string { return stem(out.Name()) }

// Write writes the whole file, with fewer calls to the host than [os.WriteFile].
func (out Output) Write(contents []byte) error { return writeFile(string(out), contents) }

// WriteText writes the whole file.
func (out Output) WriteText(text string) error { return out.Write(bytesOf(text)) }

// Create makes the file, to write it in pieces. What is left open when Run
// returns is closed then, and where that fails, so does Run.
func (out Output) Create() (*Writer, error) {
	file, err := os.Create(string(out))
	if err != nil {
		return nil, err
	}
	writer := &Writer{Writer: bufio.NewWriterSize(file, bufferBytes), file: file}
	remember(writer)
	return writer, nil
}

// Reader reads a file with a buffer.
type Reader struct {
	*bufio.Reader
	file *os.File
}

// Seek sets the place of the next read. See [io.Seeker].
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekCurrent {
		if offset == 0 {
			place, err := r.file.Seek(0, io.SeekCurrent)
			return place - int64(r.Buffered()), err
		}
		offset -= int64(r.Buffered())
	}
	place, err := r.file.Seek(offset, whence)
	r.Reset(r.file)
	return place, err
}

// ReadAt reads at a place of its own. See [io.ReaderAt].
func (r *Reader) ReadAt(buffer []byte, offset int64) (int, error) {
	return r.file.ReadAt(buffer, offset)
}

// Stat says how long the file is.
func (r *Reader) Stat() (os.FileInfo, error) { return r.file.Stat() }

// Close closes the file.
func (r *Reader) Close() error {
	forget(r)
	return r.file.Close()
}

// Writer writes a file with a buffer.
type Writer struct {
	*bufio.Writer
	file *os.File
}

// Seek sets the place of the next write. See [io.Seeker].
func (w *Writer) Seek(offset int64, whence int) (int64, error) {
	if err := w.Flush(); err != nil {
		return 0, err
	}
	return w.file.Seek(offset, whence)
}

// Close writes what the buffer still holds, and closes the file.
func (w *Writer) Close() error {
	forget(w)
	err := w.Flush()
	if closed := w.file.Close(); err == nil {
		err = closed
	}
	return err
}

// open holds what nobody has closed yet: readers, writers, and the bodies of
// answers.
var open = map[io.Closer]struct{}{}

func remember(file io.Closer) { open[file] = struct{}{} }

func forget(file io.Closer) { delete(open, file) }

// closeFiles closes what a run left open. Only a writer's error says something.
func closeFiles() error {
	var first error
	for file := range open {
		delete(open, file)
		err := file.Close()
		if _, ok := file.(*Writer); ok && err != nil && first == nil {
			first = fmt.Errorf("cannot write the end of the output: %w", err)
		}
	}
	return first
}

func stem(name string) string {
	if dot := strings.LastIndexByte(name, '.'); dot > 0 {
		return name[:dot]
	}
	return name
}

// firstInvalid is the place of the first byte that is no UTF-8.
func firstInvalid(contents []byte) int {
	at := 0
	for {
		letter, size := utf8.DecodeRune(contents[at:])
		if letter == utf8.RuneError && size <= 1 {
			return at
		}
		at += size
	}
}
