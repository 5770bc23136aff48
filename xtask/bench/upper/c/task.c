#include <ctype.h>

#include "tigerflow.h"

static tf_error *run(const char *input, const char *output)
{
    char *text;
    size_t size;

    TF_TRY(tf_read(input, &text, &size));
    for (size_t i = 0; i < size; i++)
        text[i] = (char)toupper((unsigned char)text[i]);
    return tf_write(output, text, size);
}

const tf_task tigerflow_task = {
    .name = "upper",
    .version = "0.1.0",
    .summary = "Turns a text into upper case",
    .run = run,
};
