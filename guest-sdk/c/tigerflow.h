/*
 * tigerflow.h: write a task for tigerflow-host in C (C11) or C++ (C++20).
 *
 * A task turns one input file into one output file. It is a global of the name
 * `tigerflow_task`:
 *
 *     #include "tigerflow.h"
 *
 *     static tf_error *run(const char *input, const char *output)
 *     {
 *         char *text;
 *         size_t size;
 *         TF_TRY(tf_read(input, &text, &size));
 *         return tf_write(output, text, size);
 *     }
 *
 *     const tf_task tigerflow_task = {
 *         .name = "copy",
 *         .version = "0.1.0",
 *         .summary = "Copies a file",
 *         .run = run,
 *     };
 *
 * Built for WebAssembly with tigerflow.c it is a component for the host. Built
 * natively it is a program, `./copy INPUT OUTPUT`, for tests, debuggers and
 * sanitizers.
 *
 * Nothing that the SDK hands out is yours to free: see "Memory".
 */
#ifndef TIGERFLOW_H
#define TIGERFLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What may be left out of an initialiser. (C++ would warn of it.) */
#ifdef __cplusplus
#define TF_OPTIONAL_ {}
#else
#define TF_OPTIONAL_
#endif

#define TF_PRINTF_(index, first) __attribute__((format(printf, index, first)))

/* -------------------------------------------------------------------- Errors
 *
 * A function that can fail returns a `tf_error *`: NULL where all went well.
 * An error of `run` ends this one file and becomes its `.err` file; one of
 * `setup` stops the whole run with its message.
 */

typedef struct tf_error tf_error;

/* The same input will fail again. `kind` is a word of yours for this kind of
 * error, `"BadHeader"`; it becomes `exception_type`. The rest is as printf's. */
#define tf_failed(kind, ...) tf_failed_at_(TF_PLACE_, kind, __VA_ARGS__)

/* As `tf_failed`, for what `errno` says. The kind is its name, `"ENOENT"`, and
 * ": No such file or directory" follows the message. */
#define tf_failed_errno(...) tf_failed_errno_at_(TF_PLACE_, __VA_ARGS__)

/* Worth another try: a busy server, a lock that another process holds. The host
 * waits `milliseconds`, or as long as it finds right where that is negative. */
#define tf_transient(milliseconds, ...) tf_transient_at_(TF_PLACE_, milliseconds, __VA_ARGS__)

/* Deliberate and not an error: there is nothing to do for this file. */
#define tf_aborted(...) tf_aborted_at_(TF_PLACE_, __VA_ARGS__)

/* Says what was being done when `error` came: "cannot load the model: " stands
 * before its message then. The kind stays. NULL stays NULL. */
#define tf_context(error, ...) tf_context_at_(TF_PLACE_, error, __VA_ARGS__)

/* Adds what caused `error`, and returns `error`. */
tf_error *tf_caused_by(tf_error *error, tf_error *cause);

/* Returns from this function where `call` fails, and adds the place to what the
 * `.err` file shows as traceback: `TF_TRY(tf_read(input, &text, &size));` */
#define TF_TRY(call)                                           \
    do {                                                       \
        tf_error *tf_error_ = (call);                          \
        if (tf_error_ != NULL)                                 \
            return tf_passed_at_(TF_PLACE_, tf_error_);        \
    } while (0)

/* What the `.err` file shows of an error: its kind, its message with those of the
 * causes, and lines of the causes and places. */
const char *tf_kind(const tf_error *error);
const char *tf_message(const tf_error *error);
const char *tf_trace(const tf_error *error);

/* --------------------------------------------------------------------- Files
 *
 * `input` and `output` are paths: all of C's library takes them, too. The
 * functions here name the file in their errors, and need few calls to the host.
 */

/* Reads the whole file. A NUL follows the bytes. `size` may be NULL. */
tf_error *tf_read(const char *path, char **data, size_t *size);

/* Writes the whole file. */
tf_error *tf_write(const char *path, const void *data, size_t size);

/* Opens a stream, as fopen, with a large buffer. It is closed when the call of
 * `run` (or what `setup` opens: `teardown`) ends, and an error that you did not
 * look at, a full disk say, fails the call then. */
tf_error *tf_open(const char *path, const char *mode, FILE **file);

/* Closes a stream of `tf_open` earlier, and tells whether all went well. Never
 * `fclose` it. */
tf_error *tf_close(FILE *file);

/* The name of the file, without directories, and the name up to its last dot. */
const char *tf_name(const char *path);
const char *tf_stem(const char *path);

/* -------------------------------------------------------------------- Memory
 *
 * What these and the functions above hand out is freed when the call of `run`
 * ends; what they hand out in `setup` lives until `teardown` has ended. `malloc`
 * and `free` are yours to use as ever.
 */

/* Memory of zeros. Where there is none the program ends, which costs one file. */
void *tf_alloc(size_t size);

/* As sprintf, into memory that fits. */
char *tf_format(const char *format, ...) TF_PRINTF_(1, 2);

/* ---------------------------------------------------------- What a task says */

typedef enum tf_level { TF_TRACE, TF_DEBUG, TF_INFO, TF_WARN, TF_ERROR } tf_level;

/* Writes one line to the host's log, with the file's name. */
void tf_log(tf_level level, const char *format, ...) TF_PRINTF_(2, 3);

/* Tells how far the work on `input` is, from 0.0 to 1.0. Cheap, but a call to
 * the host: once in some thousand lines is enough. */
void tf_progress(const char *input, double fraction);

/* ---------------------------------------------------------------- Parameters
 *
 * A parameter is a variable: `setup` finds the user's value in it. What it
 * holds at the start is the default.
 *
 *     static const char *greeting = "Hello";
 *     static int min_length = 1;
 *
 *     .parameters = {
 *         TF_PARAMETER(greeting, "The word to begin with"),
 *         TF_PARAMETER(min_length, "Leave out shorter words"),
 *     },
 *
 * gives `--greeting TEXT` and `--min-length N`. The types are `const char *`,
 * `bool`, integers (a value out of the type's range is refused), `float`,
 * `double`. A text that is NULL and not required may be missing, and stays so.
 * Members follow the help, in this order:
 *
 *     TF_PARAMETER(words, "How many", .name = "top")        --top
 *     TF_PARAMETER(mode, "How", .choices = "fast|careful")  one of these; in an
 *         integer or an enum it is the index: enum mode { FAST, CAREFUL }
 *     TF_PARAMETER(tag, "A mark", .required = true)         must be given
 *     TF_PARAMETER(limit, "The most", .given = &limited)    no default: the bool
 *         `limited` says whether the user gave one
 */
typedef struct tf_parameter {
    const char *variable_; /* TF_PARAMETER fills these four. */
    void *address_;
    int type_;
    int size_;
    const char *help;
    const char *name TF_OPTIONAL_;
    const char *choices TF_OPTIONAL_;
    bool required TF_OPTIONAL_;
    bool *given TF_OPTIONAL_;
} tf_parameter;

#define TF_PARAMETER(variable, ...)                                      \
    {                                                                    \
        .variable_ = #variable, .address_ = (void *)&(variable),         \
        .type_ = TF_TYPE_OF_(variable), .size_ = (int)sizeof(variable),  \
        .help = __VA_ARGS__                                              \
    }

/* -------------------------------------------------------------------- Grants
 *
 * What the task needs beyond its input and output, and only the user can give.
 *
 *     { .reason = "Keeps the database there", .directory = "/db", .writable = true, .required = true },
 *     { .reason = "Signs requests", .environment = "API_TOKEN" },
 */
typedef struct tf_grant {
    const char *reason;                    /* One sentence for the user who decides. */
    const char *directory TF_OPTIONAL_;    /* One of three: an absolute path, as the task sees it; */
    const char *environment TF_OPTIONAL_;  /* a variable's name; */
    const char *host TF_OPTIONAL_;         /* a network host. */
    bool writable TF_OPTIONAL_;            /* Whether the task also writes in the directory. */
    bool required TF_OPTIONAL_;            /* Whether the task is useless without it. */
} tf_grant;

/* A default of the task's own for an option of `tigerflow-host run`, as the
 * command line would say it: { "timeout", "5m" }. */
typedef struct tf_option {
    const char *name;
    const char *value;
} tf_option;

/* ------------------------------------------------------------------ The task */

/* How many parameters, grants and options fit. Define it for all files alike
 * where that is too few. */
#ifndef TF_MOST
#define TF_MOST 24
#endif

/* What the task is. The host makes as many instances as files are in flight, and
 * each runs one file at a time: globals are the instance's own, and outlive a
 * call. */
typedef struct tf_task {
    const char *name;    /* In kebab-case: `count-words`. */
    const char *version; /* Its semantic version: `1.2.0`. */
    const char *summary; /* One sentence: what `run` makes of a file. */

    tf_parameter parameters[TF_MOST] TF_OPTIONAL_;
    tf_grant grants[TF_MOST] TF_OPTIONAL_;
    tf_option options[TF_MOST] TF_OPTIONAL_;

    /* How many files may be in flight at once over all instances: 1 for the only
     * writer of a database. 0: as many as the user asks for. */
    uint32_t max_concurrency TF_OPTIONAL_;

    /* Loads, opens, checks what all runs share. May be NULL. */
    tf_error *(*setup)(void) TF_OPTIONAL_;

    /* Turns the file at `input` into one at `output`, where nothing exists yet.
     * Where it writes nothing, the host puts an empty file there. */
    tf_error *(*run)(const char *input, const char *output);

    /* Gives back what `setup` made. May be NULL. */
    tf_error *(*teardown)(void) TF_OPTIONAL_;
} tf_task;

/* Yours: define it once. */
extern const tf_task tigerflow_task;

/* --------------------------------------------------------------------- Tests
 *
 * Only in native programs. A test has a `main` of its own, includes the task's
 * source file, sets the parameters' variables, and calls these. What a call hands
 * out lives until the next call.
 */
#ifndef __wasm__

/* One call of `run`, as the host makes it; before the first one of `setup`. */
tf_error *tf_test_run(const char *input, const char *output);

/* One call of `teardown`. The next run begins with `setup` again. */
tf_error *tf_test_teardown(void);

#endif

/* ------------------------------------------------------- What the macros call */

#define TF_TEXT_OF_(line) #line
#define TF_LINE_(line) TF_TEXT_OF_(line)
#define TF_PLACE_ __func__, __FILE__ ":" TF_LINE_(__LINE__)

tf_error *tf_failed_at_(const char *function, const char *place, const char *kind,
                        const char *format, ...) TF_PRINTF_(4, 5);
tf_error *tf_failed_errno_at_(const char *function, const char *place, const char *format, ...)
    TF_PRINTF_(3, 4);
tf_error *tf_transient_at_(const char *function, const char *place, int64_t milliseconds,
                           const char *format, ...) TF_PRINTF_(4, 5);
tf_error *tf_aborted_at_(const char *function, const char *place, const char *format, ...)
    TF_PRINTF_(3, 4);
tf_error *tf_context_at_(const char *function, const char *place, tf_error *error,
                         const char *format, ...) TF_PRINTF_(4, 5);
tf_error *tf_passed_at_(const char *function, const char *place, tf_error *error);

enum { TF_TYPE_TEXT_ = 1, TF_TYPE_BOOLEAN_, TF_TYPE_SIGNED_, TF_TYPE_UNSIGNED_, TF_TYPE_NUMBER_ };

#ifdef __cplusplus
} /* extern "C" */

template <typename T> constexpr int tf_type_of_(T *)
{
    static_assert(__is_enum(T), "a parameter is a text, a bool, an integer, a float or an enum");
    return TF_TYPE_UNSIGNED_;
}
constexpr int tf_type_of_(const char **) { return TF_TYPE_TEXT_; }
constexpr int tf_type_of_(char **) { return TF_TYPE_TEXT_; }
constexpr int tf_type_of_(bool *) { return TF_TYPE_BOOLEAN_; }
constexpr int tf_type_of_(signed char *) { return TF_TYPE_SIGNED_; }
constexpr int tf_type_of_(short *) { return TF_TYPE_SIGNED_; }
constexpr int tf_type_of_(int *) { return TF_TYPE_SIGNED_; }
constexpr int tf_type_of_(long *) { return TF_TYPE_SIGNED_; }
constexpr int tf_type_of_(long long *) { return TF_TYPE_SIGNED_; }
constexpr int tf_type_of_(unsigned char *) { return TF_TYPE_UNSIGNED_; }
constexpr int tf_type_of_(unsigned short *) { return TF_TYPE_UNSIGNED_; }
constexpr int tf_type_of_(unsigned *) { return TF_TYPE_UNSIGNED_; }
constexpr int tf_type_of_(unsigned long *) { return TF_TYPE_UNSIGNED_; }
constexpr int tf_type_of_(unsigned long long *) { return TF_TYPE_UNSIGNED_; }
constexpr int tf_type_of_(float *) { return TF_TYPE_NUMBER_; }
constexpr int tf_type_of_(double *) { return TF_TYPE_NUMBER_; }
#define TF_TYPE_OF_(variable) tf_type_of_(&(variable))
#else
#define TF_TYPE_OF_(variable)                \
    _Generic(&(variable),                    \
        const char **: TF_TYPE_TEXT_,        \
        char **: TF_TYPE_TEXT_,              \
        bool *: TF_TYPE_BOOLEAN_,            \
        signed char *: TF_TYPE_SIGNED_,      \
        short *: TF_TYPE_SIGNED_,            \
        int *: TF_TYPE_SIGNED_,              \
        long *: TF_TYPE_SIGNED_,             \
        long long *: TF_TYPE_SIGNED_,        \
        unsigned char *: TF_TYPE_UNSIGNED_,  \
        unsigned short *: TF_TYPE_UNSIGNED_, \
        unsigned *: TF_TYPE_UNSIGNED_,       \
        unsigned long *: TF_TYPE_UNSIGNED_,  \
        unsigned long long *: TF_TYPE_UNSIGNED_, \
        float *: TF_TYPE_NUMBER_,            \
        double *: TF_TYPE_NUMBER_)
#endif

#endif /* TIGERFLOW_H */
