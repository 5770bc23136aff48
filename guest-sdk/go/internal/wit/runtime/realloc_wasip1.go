package runtime

import "unsafe"

const (
	wordBytes = 8

	// blockBytes is how much room for answers is made at once, and spareBytes
	// how much of it there is at least when the host is called. An answer takes
	// some hundred bytes; only the arguments of `setup` have no limit.
	blockBytes = 128 << 10
	spareBytes = 64 << 10

	// earlyBytes is what the adapter to WASI 0.2, which is a part of every
	// component, asks for at its first call, and some more.
	earlyBytes = 192 << 10
)

var (
	// early is given out before Go's allocator works.
	early [earlyBytes / wordBytes]uint64

	// block is given out from then on. Answers stay in it: it lives for as long
	// as one of them does.
	block []uint64

	// used is how much of early, or of block, is given out, in words.
	used uintptr

	// large holds answers that found no room in block.
	large [][]uint64
)

func init() {
	block = make([]uint64, blockBytes/wordBytes)
	used = 0
}

// Unpin makes room for the next answers. The exported functions call it once
// their arguments are taken over.
func Unpin() {
	Reserve(spareBytes)
}

// Reserve makes room for answers of so many bytes in all. What asks the host for
// a list calls it before, and takes the answer over before anything else does.
func Reserve(bytes uintptr) {
	large = nil
	words := (bytes + wordBytes - 1) / wordBytes
	if uintptr(len(block))-used < words {
		block = make([]uint64, max(words, blockBytes/wordBytes))
		used = 0
	}
}

//go:wasmimport wasi_snapshot_preview1 adapter_monotonic_clock_set_paused
func pauseClock(paused bool)

// cabiRealloc is where the host, and the adapter, get memory of this component
// for what they answer. It must call nothing of the host, so it must not let
// the collector run: it allocates nothing.
//
//go:wasmexport cabi_realloc
func cabiRealloc(old unsafe.Pointer, oldBytes, align, bytes uintptr) unsafe.Pointer {
	if old != nil || oldBytes != 0 {
		panic("the host wants an answer of its own to grow, which it never does")
	}
	words := (bytes + wordBytes - 1) / wordBytes
	if block == nil {
		if uintptr(len(early))-used < words {
			return nil // The adapter says so and traps.
		}
		pointer := unsafe.Pointer(&early[used])
		used += words
		return pointer
	}
	if uintptr(len(block))-used < words {
		return allocateLarge(words)
	}
	if words == 0 {
		return unsafe.Pointer(unsafe.SliceData(block))
	}
	pointer := unsafe.Pointer(&block[used])
	used += words
	return pointer
}

// allocateLarge is for arguments of `setup` longer than spareBytes. Nothing
// but them is so long where nothing was reserved, and then the heap is far too
// small to be collected. The collector's clock is stopped all the same, so that
// only the very end of a collection would call the host.
func allocateLarge(words uintptr) unsafe.Pointer {
	pauseClock(true)
	answer := make([]uint64, words)
	large = append(large, answer)
	pauseClock(false)
	return unsafe.Pointer(unsafe.SliceData(answer))
}
