/* The conformance task in C: see ../README.md. */

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tigerflow.h"

enum mode { FAST, CAREFUL };

static const char *tag;
static const char *title = "untitled";
static int64_t count = 3;
static double ratio = 0.5;
static bool loud;
static enum mode mode = FAST;
static const char *note;

static unsigned setups, runs;
static bool came_before;

static tf_error *too_bad(const char *message)
{
    return tf_caused_by(tf_failed("TooBad", "%s", message),
                        tf_failed("Cause", "the cause of it"));
}

static tf_error *setup(void)
{
    setups++;
    return strcmp(tag, "fail") == 0 ? too_bad("setup was told to fail") : NULL;
}

static tf_error *teardown(void)
{
    printf("teardown after %u runs\n", runs);
    return NULL;
}

static tf_error *write_text(const char *output, const char *text)
{
    return tf_write(output, text, strlen(text));
}

static tf_error *params(const char *output)
{
    return write_text(
        output, tf_format("tag=%s\ntitle=%s\ncount=%" PRId64 "\nratio=%g\nloud=%s\nmode=%s\nnote=%s\n",
                          tag, title, count, ratio, loud ? "true" : "false",
                          mode == FAST ? "fast" : "careful", note != NULL ? note : "(none)"));
}

static tf_error *copy(const char *input, const char *output)
{
    FILE *in, *out;
    char piece[64 << 10];
    size_t size;

    TF_TRY(tf_open(input, "rb", &in));
    TF_TRY(tf_open(output, "wb", &out));
    while ((size = fread(piece, 1, sizeof piece, in)) > 0)
        fwrite(piece, 1, size, out);
    return NULL;
}

/* The file of this name beside the input. */
static tf_error *io(const char *input)
{
    const size_t directory = (size_t)(tf_name(input) - input);
    char *data;

    TF_TRY(tf_read(tf_format("%.*sthere-is-none", (int)directory, input), &data, NULL));
    return NULL;
}

static tf_error *come_again(const char *output, const char *milliseconds)
{
    if (came_before)
        return write_text(output, "run again");
    came_before = true;
    return tf_transient(strtoll(milliseconds, NULL, 10), "come again");
}

static void log_all(void)
{
    tf_log(TF_TRACE, "at trace");
    tf_log(TF_DEBUG, "at debug");
    tf_log(TF_INFO, "at info");
    tf_log(TF_WARN, "at warn");
    tf_log(TF_ERROR, "at error");
}

static void wait_at_the_gate(const char *input)
{
    const struct timespec moment = { .tv_nsec = 5000000 };

    tf_progress(input, 0.25);
    while (access("/gate/open", F_OK) != 0)
        nanosleep(&moment, NULL);
}

/* The file `from` without its first bytes. */
static tf_error *copy_from(const char *from, size_t skipped, const char *to)
{
    char *data;
    size_t size;

    TF_TRY(tf_read(from, &data, &size));
    return tf_write(to, data + skipped, size - skipped);
}

static tf_error *run(const char *input, const char *output)
{
    FILE *in;
    char line[4096] = "", *argument;
    size_t skipped;

    runs++;
    TF_TRY(tf_open(input, "rb", &in));
    fgets(line, sizeof line, in);
    TF_TRY(tf_close(in));
    skipped = strlen(line);
    line[strcspn(line, "\n")] = '\0';
    argument = line + strcspn(line, " ");
    if (*argument == ' ')
        *argument++ = '\0';

#define IS(word) (strcmp(line, word) == 0)
    if (IS("params"))
        return params(output);
    if (IS("context"))
        return write_text(output, tf_format("setup %u, run %u, tag %s", setups, runs, tag));
    if (IS("echo"))
        return copy_from(input, skipped, output);
    if (IS("names"))
        return write_text(output, tf_format("%s\n%s", tf_name(input), tf_name(output)));
    if (IS("copy"))
        return copy(input, output);
    if (IS("fail"))
        return too_bad(argument);
    if (IS("io"))
        return io(input);
    if (IS("transient"))
        return come_again(output, argument);
    if (IS("abort"))
        return tf_aborted("%s", argument);
    if (IS("nothing"))
        return NULL;
    if (IS("empty"))
        return tf_write(output, "", 0);
    if (IS("panic"))
        assert(!"this is a mistake");
    if (IS("exit"))
        exit(7);
    if (IS("stderr")) {
        for (int i = 1; i <= 1000; i++)
            fprintf(stderr, "line %d\n", i);
        return too_bad(argument);
    }
    if (IS("stdout")) {
        puts("on stdout");
        return NULL;
    }
    if (IS("log")) {
        log_all();
        return NULL;
    }
    if (IS("progress")) {
        wait_at_the_gate(input);
        return NULL;
    }
    if (IS("env")) {
        const char *value = getenv(argument);
        return write_text(output, value != NULL ? value : "(none)");
    }
    if (IS("read"))
        return copy_from(argument, 0, output);
    if (IS("write"))
        return copy_from(input, skipped, argument);
    if (IS("loop"))
        for (volatile bool forever = true; forever;)
            ;
    if (IS("memory"))
        for (;;)
            memset(tf_alloc(1 << 20), 1, 1 << 20);
    if (IS("http"))
        return tf_failed("Unsupported", "C has no HTTP client");
    return tf_failed("UnknownWord", "there is no word `%s`", line);
}

const tf_task tigerflow_task = {
    .name = "conformance-c",
    .version = "1.2.3",
    .summary = "Does what the first line of each input says",
    .parameters = {
        TF_PARAMETER(tag, "A text that must be given", .required = true),
        TF_PARAMETER(title, "A text"),
        TF_PARAMETER(count, "A whole number"),
        TF_PARAMETER(ratio, "A number"),
        TF_PARAMETER(loud, "A switch"),
        TF_PARAMETER(mode, "One of two", .choices = "fast|careful"),
        TF_PARAMETER(note, "A text that may be missing"),
    },
    .grants = {
        { .reason = "waits for /gate/open", .directory = "/gate" },
        { .reason = "is shown", .environment = "SETTING" },
    },
    .options = { { "timeout", "10m" } },
    .setup = setup,
    .run = run,
    .teardown = teardown,
};
