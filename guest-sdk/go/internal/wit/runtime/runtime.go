// Package runtime is what the generated bindings rest on: handles of the
// host's resources, and the memory in which the host leaves its answers.
//
// It stands in for the generator's own package of this name, whose memory
// comes from Go's allocator at the very moment the host asks for it. Every now
// and then that starts a collection, which reads the clock, and a component
// that calls the host while it is asked for memory traps: "cannot leave
// component instance". Here the memory is there before.
package runtime

import (
	"runtime"
	"unsafe"
)

// Handle is the number by which the host knows a resource.
type Handle struct {
	value int32
}

// MakeHandle takes over a handle from the host.
func MakeHandle(value int32) *Handle {
	if value == 0 {
		panic("nil handle")
	}
	return &Handle{value}
}

// Use returns the handle, which stays.
func (h *Handle) Use() int32 {
	if h.value == 0 {
		panic("nil handle")
	}
	return h.value
}

// Take returns the handle and gives it up.
func (h *Handle) Take() int32 {
	value := h.Use()
	h.value = 0
	return value
}

// TakeOrNil is Take where there may be none any more: then it is 0.
func (h *Handle) TakeOrNil() int32 {
	value := h.value
	h.value = 0
	return value
}

// Set puts a handle where there is none.
func (h *Handle) Set(value int32) {
	if value == 0 {
		panic("nil handle")
	}
	if h.value != 0 {
		panic("handle already set")
	}
	h.value = value
}

// Allocate makes room for what goes to the host: zeroed, and in its place
// until pinner lets it go.
func Allocate(pinner *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	// No alignment of the component model is above 8.
	words := make([]uint64, (size+7)/8)
	pointer := unsafe.Pointer(unsafe.SliceData(words))
	pinner.Pin(pointer)
	return pointer
}
