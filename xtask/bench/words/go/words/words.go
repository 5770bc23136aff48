// Package words counts words.
package words

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Count is the result for a text.
func Count(text string) string {
	type entry struct {
		word  string
		count int
	}
	counts := map[string]int{}
	words := 0
	for word := range strings.FieldsSeq(text) {
		words++
		counts[word]++
	}
	top := make([]entry, 0, len(counts))
	for word, count := range counts {
		top = append(top, entry{word, count})
	}
	slices.SortFunc(top, func(a, b entry) int {
		return cmp.Or(cmp.Compare(b.count, a.count), strings.Compare(a.word, b.word))
	})
	var out strings.Builder
	fmt.Fprintf(&out, "%d %d\n", words, len(top))
	for _, e := range top[:min(10, len(top))] {
		fmt.Fprintf(&out, "%s %d\n", e.word, e.count)
	}
	return out.String()
}
