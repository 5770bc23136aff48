#include "words.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    const char *word;
    size_t size;
    uint64_t hash;
    unsigned long count;
};

/* Open addressing; grows when half full. */
struct table {
    struct entry *entries;
    size_t capacity, used;
};

static struct entry *find(struct table *table, const char *word, size_t size, uint64_t hash)
{
    size_t at = hash & (table->capacity - 1);

    for (;; at = (at + 1) & (table->capacity - 1)) {
        struct entry *entry = &table->entries[at];
        if (entry->word == NULL)
            return entry;
        if (entry->hash == hash && entry->size == size && memcmp(entry->word, word, size) == 0)
            return entry;
    }
}

static void grow(struct table *table)
{
    struct table larger = { .capacity = table->capacity ? 2 * table->capacity : 1024 };

    larger.entries = calloc(larger.capacity, sizeof *larger.entries);
    if (larger.entries == NULL)
        abort();
    larger.used = table->used;
    for (size_t i = 0; i < table->capacity; i++) {
        const struct entry *entry = &table->entries[i];
        if (entry->word != NULL)
            *find(&larger, entry->word, entry->size, entry->hash) = *entry;
    }
    free(table->entries);
    *table = larger;
}

static int most_frequent_first(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order;

    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    order = memcmp(x->word, y->word, x->size < y->size ? x->size : y->size);
    return order != 0 ? order : (x->size > y->size) - (x->size < y->size);
}

static int is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

char *count_words(char *text, size_t size)
{
    struct table table = { 0 };
    unsigned long words = 0;
    size_t used = 0, at = 0, room, length;
    char *out;

    grow(&table);
    while (at < size) {
        uint64_t hash = 14695981039346656037u;
        size_t begin;
        struct entry *entry;

        while (at < size && is_space(text[at]))
            at++;
        for (begin = at; at < size && !is_space(text[at]); at++)
            hash = (hash ^ (unsigned char)text[at]) * 1099511628211u;
        if (at == begin)
            break;
        words++;
        entry = find(&table, text + begin, at - begin, hash);
        if (entry->word == NULL) {
            *entry = (struct entry){ .word = text + begin, .size = at - begin, .hash = hash };
            table.used++;
        }
        entry->count++;
        if (2 * table.used > table.capacity)
            grow(&table);
    }
    for (size_t i = 0; i < table.capacity; i++)
        if (table.entries[i].word != NULL)
            table.entries[used++] = table.entries[i];
    qsort(table.entries, used, sizeof *table.entries, most_frequent_first);
    room = 64;
    for (size_t i = 0; i < used && i < 10; i++)
        room += table.entries[i].size + 32;
    out = malloc(room);
    if (out == NULL)
        abort();
    length = (size_t)snprintf(out, room, "%lu %zu\n", words, used);
    for (size_t i = 0; i < used && i < 10; i++)
        length += (size_t)snprintf(out + length, room - length, "%.*s %lu\n", (int)table.entries[i].size,
                                   table.entries[i].word, table.entries[i].count);
    free(table.entries);
    return out;
}
