/* The native program. */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../words.h"

static FILE *open_in(const char *directory, const char *name, const char *mode)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    file = fopen(path, mode);
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    return file;
}

int main(int count, char **arguments)
{
    DIR *source = count == 3 ? opendir(arguments[1]) : NULL;
    struct dirent *entry;

    if (source == NULL)
        return 1;
    while ((entry = readdir(source)) != NULL) {
        FILE *file;
        char *text, *result;
        long size;

        if (entry->d_name[0] == '.')
            continue;
        file = open_in(arguments[1], entry->d_name, "rb");
        fseek(file, 0, SEEK_END);
        size = ftell(file);
        rewind(file);
        text = malloc((size_t)size + 1);
        if (text == NULL || fread(text, 1, (size_t)size, file) != (size_t)size)
            return 1;
        fclose(file);
        result = count_words(text, (size_t)size);
        file = open_in(arguments[2], entry->d_name, "wb");
        fputs(result, file);
        if (fclose(file) != 0)
            return 1;
        free(result);
        free(text);
    }
    return 0;
}
