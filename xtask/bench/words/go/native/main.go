// The native program.
package main

import (
	"log"
	"os"
	"path/filepath"

	"words/words"
)

func main() {
	source, place := os.Args[1], os.Args[2]
	entries, err := os.ReadDir(source)
	if err != nil {
		log.Fatal(err)
	}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(source, entry.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(place, entry.Name()), []byte(words.Count(string(text))), 0o666)
		}
		if err != nil {
			log.Fatal(err)
		}
	}
}
