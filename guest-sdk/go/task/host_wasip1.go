package task

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"structs"
	"syscall"
	"unsafe"

	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/tigerflow_task_report"
)

// Files in a component. Where package os asks for the type and the size of a
// file, and keeps a place in it, these open, read by offset and close.

const (
	// firstRead is what the first read of a file asks for: most texts are
	// smaller.
	firstRead = 64 << 10

	// blockBytes is what a further read asks for, and what a write hands over:
	// enough that the calls cost nothing, and little enough that the host's copy
	// of it does not either.
	blockBytes = 256 << 10

	// firstDirectory is the descriptor of the first granted directory.
	firstDirectory = 3

	followLinks    = 1 // lookupflags
	createTruncate = 1 | 8
	rightRead      = 1 << 1
	rightWrite     = 1 << 6
)

//go:wasmimport wasi_snapshot_preview1 path_open
//go:noescape
func pathOpen(directory int32, lookup int32, path unsafe.Pointer, length int32, open int32, rights, inherited int64, flags int32, file *int32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_pread
//go:noescape
func pread(file int32, vectors *vector, count int32, offset int64, read *uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_pwrite
//go:noescape
func pwrite(file int32, vectors *vector, count int32, offset int64, written *uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_filestat_get
//go:noescape
func filestat(file int32, answer *[8]uint64) uint32

// sizeInStat is which of the answer's words is the file's size.
const sizeInStat = 4

//go:wasmimport wasi_snapshot_preview1 fd_close
func closeFile(file int32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_prestat_get
//go:noescape
func prestat(file int32, answer *[2]uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_prestat_dir_name
//go:noescape
func prestatName(file int32, name *byte, length int32) uint32

// vector is a piece of memory to read to or write from.
type vector struct {
	_       structs.HostLayout
	pointer uint32
	length  uint32
}

func vectorOf(memory []byte) vector {
	return vector{pointer: uint32(uintptr(unsafe.Pointer(unsafe.SliceData(memory)))), length: uint32(len(memory))}
}

// directories are those that the host granted, by name. They stay the same for
// an instance's life.
var directories = map[string]int32{}

func findDirectories() {
	for file := int32(firstDirectory); ; file++ {
		var answer [2]uint32
		if prestat(file, &answer) != 0 {
			return
		}
		name := make([]byte, answer[1])
		if answer[1] > 0 && prestatName(file, &name[0], int32(answer[1])) == 0 {
			directories[strings.TrimSuffix(string(name), "/")+"/"] = file
		}
	}
}

// openIn opens a file that lies in a granted directory itself, as inputs and
// outputs do. Any other is for package os to find.
func openIn(path string, flags int32, rights int64) (file int32, err error) {
	if len(directories) == 0 {
		findDirectories()
	}
	end := strings.LastIndexByte(path, '/') + 1
	directory, ok := directories[path[:end]]
	name := path[end:]
	if !ok || name == "" {
		return 0, errElsewhere
	}
	pointer := unsafe.Pointer(unsafe.StringData(name))
	code := pathOpen(directory, followLinks, pointer, int32(len(name)), flags, rights, 0, 0, &file)
	runtime.KeepAlive(name)
	if code != 0 {
		return 0, &fs.PathError{Op: "open", Path: path, Err: syscall.Errno(code)}
	}
	return file, nil
}

var errElsewhere = errors.New("it lies in no granted directory itself")

// firstBlock is what small files are read to, before their size is known. Who
// reads takes it: goroutines may take turns meanwhile.
var firstBlock = make([]byte, firstRead)

func readFile(path string) ([]byte, error) {
	file, err := openIn(path, 0, rightRead)
	if err == errElsewhere {
		return os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	defer closeFile(file)
	block := firstBlock
	firstBlock = nil
	if block == nil {
		block = make([]byte, firstRead)
	}
	defer func() { firstBlock = block }()
	length, ended := 0, false
	for length < len(block) && !ended {
		read, err := readAt(file, path, block[length:], length)
		if err != nil {
			return nil, err
		}
		length += read
		ended = read == 0
	}
	if ended {
		return slices.Clone(block[:length]), nil
	}
	// A large file: its size spares growing step by step. It is a hint only,
	// since a file can grow. One byte more, to read its end.
	var stat [8]uint64
	filestat(file, &stat)
	contents := make([]byte, length, max(int(stat[sizeInStat]), length)+1)
	copy(contents, block)
	for {
		if len(contents) == cap(contents) {
			contents = slices.Grow(contents, 1)
		}
		end := min(cap(contents), len(contents)+blockBytes)
		read, err := readAt(file, path, contents[len(contents):end], len(contents))
		if err != nil || read == 0 {
			return contents, err
		}
		contents = contents[:len(contents)+read]
	}
}

// readAt reads once from a file, at a place in it.
func readAt(file int32, path string, buffer []byte, offset int) (int, error) {
	room := vectorOf(buffer)
	var read uint32
	code := pread(file, &room, 1, int64(offset), &read)
	runtime.KeepAlive(buffer)
	if code != 0 {
		return 0, &fs.PathError{Op: "read", Path: path, Err: syscall.Errno(code)}
	}
	return int(read), nil
}

func writeFile(path string, contents []byte) error {
	file, err := openIn(path, createTruncate, rightWrite)
	if err == errElsewhere {
		return os.WriteFile(path, contents, 0o666)
	}
	if err != nil {
		return err
	}
	defer closeFile(file)
	for offset := 0; offset < len(contents); {
		rest := vectorOf(contents[offset:min(len(contents), offset+blockBytes)])
		var written uint32
		if code := pwrite(file, &rest, 1, int64(offset), &written); code != 0 {
			return &fs.PathError{Op: "write", Path: path, Err: syscall.Errno(code)}
		}
		runtime.KeepAlive(contents)
		offset += int(written)
	}
	return nil
}

func progress(input string, fraction float64) {
	tigerflow_task_report.Progress(input, fraction)
}
