#include <stddef.h>

/* The result for a text, which is changed; to be freed. */
char *count_words(char *text, size_t size);
