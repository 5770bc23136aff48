/*
 * tigerflow_component.c: what a component exports and imports, by hand. It is
 * the world `task-component` of wit/: the canonical ABI lays records out as C
 * does structs, and variants as structs of a tag and a union. A text is a
 * pointer and a length, and a result that is no number a pointer to it.
 */

#define TF_REPORT "tigerflow:task/report@0.1.0"
#define TF_TASK "tigerflow:task/task@0.1.0"

#define TF_IMPORT(name) __attribute__((import_module(TF_REPORT), import_name(name)))
#define TF_EXPORT(name) __attribute__((export_name(name)))

typedef struct tf_list {
    const void *data;
    size_t size;
} tf_list;

typedef struct tf_wire_parameter {
    tf_text name, help;
    struct {
        uint8_t tag;
        tf_list choices;
    } kind;
    tf_maybe_value standard;
    bool required;
} tf_wire_parameter;

enum { TF_KIND_TEXT, TF_KIND_INTEGER, TF_KIND_NUMBER, TF_KIND_BOOLEAN, TF_KIND_CHOICE };

typedef struct tf_wire_grant {
    struct {
        uint8_t tag;
        tf_text name; /* The directory, the variable or the host. */
        bool writable;
    } capability;
    tf_text reason;
    bool required;
} tf_wire_grant;

enum { TF_CAPABILITY_DIRECTORY, TF_CAPABILITY_ENVIRONMENT, TF_CAPABILITY_HOST };

typedef struct tf_wire_option {
    tf_text name, value;
} tf_wire_option;

typedef struct tf_wire_description {
    tf_text name, version, summary;
    tf_list parameters, grants;
    struct {
        bool some;
        uint32_t value;
    } max_concurrency;
    tf_list options;
} tf_wire_description;

typedef struct tf_wire_failure {
    tf_text kind, message, trace;
} tf_wire_failure;

typedef struct tf_wire_result {
    bool failed;
    tf_wire_failure failure;
} tf_wire_result;

typedef struct tf_wire_run_result {
    bool failed;
    struct {
        uint8_t tag; /* A tf_outcome. */
        union {
            tf_text aborted;
            struct {
                tf_wire_failure failure;
                struct {
                    bool some;
                    uint64_t milliseconds;
                } retry_after; /* Of a transient failure only. */
            } failed;
        } as;
    } error;
} tf_wire_run_result;

static_assert(sizeof(tf_argument) == 24 && sizeof(tf_wire_parameter) == 64 &&
                  sizeof(tf_wire_grant) == 28 && sizeof(tf_wire_option) == 16 &&
                  sizeof(tf_wire_description) == 56 && sizeof(tf_wire_result) == 28 &&
                  sizeof(tf_wire_run_result) == 56,
              "these are the sizes of the canonical ABI");

TF_IMPORT("log") void tf_import_log(int32_t level, const char *data, size_t size);
TF_IMPORT("progress") void tf_import_progress(const char *data, size_t size, double fraction);

/* ------------------------------------------------------------- Texts for it */

/* How many bytes at `at` make a character of UTF-8; 0 where they make none. */
static size_t tf_character_size(const char *at, const char *end)
{
    const unsigned char *byte = (const unsigned char *)at;
    unsigned char low = 0x80, high = 0xBF; /* What the second byte may be. */
    size_t size;

    if (byte[0] < 0x80)
        return 1;
    if (byte[0] >= 0xC2 && byte[0] <= 0xDF)
        size = 2;
    else if ((byte[0] & 0xF0) == 0xE0)
        size = 3;
    else if (byte[0] >= 0xF0 && byte[0] <= 0xF4)
        size = 4;
    else
        return 0;
    switch (byte[0]) { /* No overlong forms, no surrogates, nothing over U+10FFFF. */
    case 0xE0: low = 0xA0; break;
    case 0xED: high = 0x9F; break;
    case 0xF0: low = 0x90; break;
    case 0xF4: high = 0x8F; break;
    default: break;
    }
    if ((size_t)(end - at) < size || byte[1] < low || byte[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((byte[i] & 0xC0) != 0x80)
            return 0;
    return size;
}

/* The text with U+FFFD for each byte that is not UTF-8: another one would trap.
 * Where it had to be copied, `*copy` is to be freed. */
static tf_text tf_clean(const char *data, size_t size, char **copy)
{
    const char *at = data, *end = data + size;
    tf_text text = { data, size };
    char *out;
    size_t step;

    *copy = NULL;
    while (at < end && (step = tf_character_size(at, end)) > 0)
        at += step;
    if (at == end)
        return text;
    *copy = out = malloc(3 * size);
    text.data = out;
    text.size = 0;
    if (out == NULL)
        return text;
    for (at = data; at < end; at += step) {
        step = tf_character_size(at, end);
        memcpy(out, step > 0 ? at : "\xEF\xBF\xBD", step > 0 ? step : 3);
        out += step > 0 ? step : 3;
        step += step == 0;
    }
    text.size = (size_t)(out - text.data);
    return text;
}

/* A string for the host, which lives as long as the call. */
static tf_text tf_wire(const char *string)
{
    tf_text text = tf_text_of(string);
    char *copy;

    text = tf_clean(text.data, text.size, &copy);
    if (copy != NULL) {
        text.data = (const char *)memcpy(tf_take(text.size), copy, text.size);
        free(copy);
    }
    return text;
}

static void tf_log_line(tf_level level, const char *line, size_t size)
{
    char *copy;
    const tf_text text = tf_clean(line, size, &copy);

    tf_import_log((int32_t)level, text.data, text.size);
    free(copy);
}

void tf_progress(const char *input, double fraction)
{
    tf_import_progress(input, strlen(input), fraction);
}

/* ------------------------------------------------------------------ Describe */

static tf_list tf_wire_parameters(void)
{
    const size_t count = tf_parameter_count();
    tf_wire_parameter *const wire =
        tf_alloc(count * sizeof(tf_wire_parameter));
    tf_list list = { wire, count };

    for (size_t i = 0; i < count; i++) {
        const tf_parameter *parameter = &tigerflow_task.parameters[i];
        wire[i].name = tf_wire(tf_parameter_name(parameter));
        wire[i].help = tf_wire(parameter->help);
        wire[i].standard = tf_default_of(i);
        wire[i].required = parameter->required;
        if (parameter->choices != NULL) {
            wire[i].kind.tag = TF_KIND_CHOICE;
            wire[i].kind.choices.data = tf_choices(parameter, &wire[i].kind.choices.size);
            continue;
        }
        switch (parameter->type_) {
        case TF_TYPE_TEXT_: wire[i].kind.tag = TF_KIND_TEXT; break;
        case TF_TYPE_BOOLEAN_: wire[i].kind.tag = TF_KIND_BOOLEAN; break;
        case TF_TYPE_NUMBER_: wire[i].kind.tag = TF_KIND_NUMBER; break;
        default: wire[i].kind.tag = TF_KIND_INTEGER; break;
        }
    }
    return list;
}

static tf_list tf_wire_grants(void)
{
    tf_wire_grant *const wire = tf_alloc(TF_MOST * sizeof(tf_wire_grant));
    tf_list list = { wire, 0 };

    for (; list.size < TF_MOST && tigerflow_task.grants[list.size].reason != NULL; list.size++) {
        const tf_grant *grant = &tigerflow_task.grants[list.size];
        tf_wire_grant *to = &wire[list.size];

        to->reason = tf_wire(grant->reason);
        to->required = grant->required;
        if (grant->directory != NULL) {
            to->capability.tag = TF_CAPABILITY_DIRECTORY;
            to->capability.name = tf_wire(grant->directory);
            to->capability.writable = grant->writable;
        } else if (grant->environment != NULL) {
            to->capability.tag = TF_CAPABILITY_ENVIRONMENT;
            to->capability.name = tf_wire(grant->environment);
        } else {
            to->capability.tag = TF_CAPABILITY_HOST;
            to->capability.name = tf_wire(grant->host);
        }
    }
    return list;
}

static tf_list tf_wire_options(void)
{
    tf_wire_option *const wire = tf_alloc(TF_MOST * sizeof(tf_wire_option));
    tf_list list = { wire, 0 };

    for (; list.size < TF_MOST && tigerflow_task.options[list.size].name != NULL; list.size++) {
        wire[list.size].name = tf_wire(tigerflow_task.options[list.size].name);
        wire[list.size].value = tf_wire(tigerflow_task.options[list.size].value);
    }
    return list;
}

TF_EXPORT(TF_TASK "#describe") tf_wire_description *tf_export_describe(void)
{
    tf_wire_description *description;

    tf_enter(&tf_of_call);
    description = tf_alloc(sizeof *description);
    description->name = tf_wire(tigerflow_task.name);
    description->version = tf_wire(tigerflow_task.version);
    description->summary = tf_wire(tigerflow_task.summary);
    description->parameters = tf_wire_parameters();
    description->grants = tf_wire_grants();
    description->options = tf_wire_options();
    description->max_concurrency.some = tigerflow_task.max_concurrency > 0;
    description->max_concurrency.value = tigerflow_task.max_concurrency;
    return description;
}

/* ------------------------------------------------- Setup, run and teardown */

static tf_wire_failure tf_wire_failure_of(const tf_error *error)
{
    tf_wire_failure failure;
    failure.kind = tf_wire(error->kind);
    failure.message = tf_wire(tf_message(error));
    failure.trace = tf_wire(tf_trace(error));
    return failure;
}

static tf_wire_result *tf_wire_result_of(const tf_error *error)
{
    static tf_wire_result result;

    memset(&result, 0, sizeof result);
    if (error != NULL) {
        result.failed = true;
        result.failure = tf_wire_failure_of(error);
    }
    return &result;
}

/* The host asks for memory here, and so does what stands between WASI's old
 * calls and its new ones, which keeps it. */
TF_EXPORT("cabi_realloc")
void *tf_export_realloc(void *before, size_t old_size, size_t alignment, size_t size)
{
    char *memory = realloc(before, size + 1);

    (void)old_size;
    (void)alignment; /* 8 at most, which malloc always has. */
    if (memory == NULL) {
        fprintf(stderr, "out of memory: %zu bytes for what the host gives\n", size);
        abort();
    }
    memory[size] = '\0'; /* So that a text is a string. */
    return memory;
}

/* The arguments stay: texts among them are the parameters' values. */
TF_EXPORT(TF_TASK "#setup")
tf_wire_result *tf_export_setup(const tf_argument *arguments, size_t count)
{
    /* As on a terminal: a line is out before a later one crashes the program. */
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    return tf_wire_result_of(tf_setup(arguments, count));
}

TF_EXPORT(TF_TASK "#run")
tf_wire_run_result *tf_export_run(char *input, size_t input_size, char *output, size_t output_size)
{
    static tf_wire_run_result result;
    const tf_error *error;

    (void)input_size; /* A path is never empty, and ends with a NUL. */
    (void)output_size;
    memset(&result, 0, sizeof result);
    error = tf_run(input, output);
    if (error != NULL) {
        result.failed = true;
        result.error.tag = (uint8_t)error->outcome;
        if (error->outcome == TF_ABORTED_) {
            result.error.as.aborted = tf_wire(tf_message(error));
        } else {
            result.error.as.failed.failure = tf_wire_failure_of(error);
            result.error.as.failed.retry_after.some = error->wait >= 0;
            result.error.as.failed.retry_after.milliseconds = (uint64_t)error->wait;
        }
    }
    free(input);
    free(output);
    return &result;
}

TF_EXPORT(TF_TASK "#teardown") tf_wire_result *tf_export_teardown(void)
{
    return tf_wire_result_of(tf_teardown());
}
