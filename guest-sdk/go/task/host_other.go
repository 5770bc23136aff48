//go:build !wasip1

package task

import "os"

// Outside of a component: for tests.

func readFile(path string) ([]byte, error) { return os.ReadFile(path) }

func writeFile(path string, contents []byte) error { return os.WriteFile(path, contents, 0o666) }

func progress(string, float64) {}
