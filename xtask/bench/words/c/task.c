#include <stdlib.h>
#include <string.h>

#include "tigerflow.h"
#include "words.h"

static tf_error *run(const char *input, const char *output)
{
    char *text, *result;
    size_t size;
    tf_error *error;

    TF_TRY(tf_read(input, &text, &size));
    result = count_words(text, size);
    error = tf_write(output, result, strlen(result));
    free(result);
    return error;
}

const tf_task tigerflow_task = {
    .name = "words",
    .version = "0.1.0",
    .summary = "Counts words",
    .run = run,
};
