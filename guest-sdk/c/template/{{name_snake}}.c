#include <ctype.h>

#include "tigerflow.h"

/* A parameter, `--greeting TEXT`, and its default. */
static const char *greeting = "Hello";

/* Turns one file into another. The SDK closes both streams when this returns,
 * and an error in reading or writing fails the file. */
static tf_error *run(const char *input, const char *output)
{
    FILE *in, *out;

    TF_TRY(tf_open(input, "r", &in));
    TF_TRY(tf_open(output, "w", &out));
    fprintf(out, "%s, ", greeting);
    for (int c; (c = getc(in)) != EOF;)
        putc(toupper(c), out);
    return NULL;
}

const tf_task tigerflow_task = {
    .name = "{{name}}",
    .version = "0.1.0",
    .summary = "Greets, and turns a text into upper case",
    .parameters = {
        TF_PARAMETER(greeting, "Words to put before each text"),
    },
    .run = run,
};
