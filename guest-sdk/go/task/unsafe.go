package task

import "unsafe"

// text is what contents hold, without a copy. Nobody else has contents.
func text(contents []byte) string {
	return unsafe.String(unsafe.SliceData(contents), len(contents))
}

// bytesOf is a text as bytes, without a copy. Nobody may write to them.
func bytesOf(text string) []byte {
	return unsafe.Slice(unsafe.StringData(text), len(text))
}
