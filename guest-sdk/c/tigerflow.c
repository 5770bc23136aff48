/*
 * tigerflow.c: the code of the SDK. What follows is the same in a component and
 * in a native program; the two files that it includes at its end are not.
 */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __wasm__
#include <wasi/libc-find-relpath.h>
#endif

#include "tigerflow.h"

/* -------------------------------------------------------------------- Memory */

/* Stands before each piece of memory. */
typedef union tf_block {
    union tf_block *next;
    max_align_t aligned;
} tf_block;

/* A stream of `tf_open`. */
typedef struct tf_stream {
    struct tf_stream *next;
    FILE *file;
    const char *path;
} tf_stream;

/* What ends together. */
typedef struct tf_scope {
    tf_block *blocks;
    tf_stream *streams;
} tf_scope;

static tf_scope tf_of_call, tf_of_instance;
static tf_scope *tf_scope_now = &tf_of_call;

/* Memory of the scope, as malloc leaves it. Where there is none the program
 * ends: the host says then which limit to raise, and frees what there was. */
static void *tf_take(size_t size)
{
    tf_block *block = NULL;
    if (size <= SIZE_MAX - sizeof *block)
        block = malloc(sizeof *block + size);
    if (block == NULL) {
        fprintf(stderr, "out of memory: there are no %zu bytes more\n", size);
        abort();
    }
    block->next = tf_scope_now->blocks;
    tf_scope_now->blocks = block;
    return block + 1;
}

void *tf_alloc(size_t size)
{
    return memset(tf_take(size), 0, size);
}

static void tf_release(tf_scope *scope)
{
    while (scope->blocks != NULL) {
        tf_block *block = scope->blocks;
        scope->blocks = block->next;
        free(block);
    }
}

__attribute__((nonnull(1))) TF_PRINTF_(1, 0)
static char *tf_vformat(const char *format, va_list arguments)
{
    va_list again;
    int length;
    char *text;

    va_copy(again, arguments);
    length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0) /* A wide character that cannot be written. */
        return memcpy(tf_take(1), "", 1);
    text = tf_take((size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    return text;
}

char *tf_format(const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = tf_vformat(format, arguments);
    va_end(arguments);
    return text;
}

/* -------------------------------------------------------------------- Errors */

/* In the order of `run-error`. */
typedef enum tf_outcome { TF_FAILED_, TF_TRANSIENT_, TF_ABORTED_ } tf_outcome;

struct tf_error {
    tf_outcome outcome;
    int64_t wait; /* Milliseconds; negative where unknown. */
    const char *kind;
    const char *text; /* Without the causes. */
    const char *trail; /* Where it came through, a line each. */
    tf_error *cause;
};

static tf_error *tf_error_new(tf_outcome outcome, const char *kind, const char *text)
{
    tf_error *error = tf_alloc(sizeof *error);
    error->outcome = outcome;
    error->wait = -1;
    error->kind = kind;
    error->text = text;
    error->trail = "";
    return error;
}

tf_error *tf_passed_at_(const char *function, const char *place, tf_error *error)
{
    const char *line = tf_format("at %s (%s)\n", function, place);
    const size_t before = strlen(error->trail), size = strlen(line);
    /* `TF_TRY(tf_context(…))` is one place. */
    if (before < size || strcmp(error->trail + before - size, line) != 0)
        error->trail = tf_format("%s%s", error->trail, line);
    return error;
}

/* The text of an error that a macro made. */
#define TF_TEXT_FROM_(format, text)         \
    do {                                    \
        va_list arguments;                  \
        va_start(arguments, format);        \
        text = tf_vformat(format, arguments); \
        va_end(arguments);                  \
    } while (0)

tf_error *tf_failed_at_(const char *function, const char *place, const char *kind,
                        const char *format, ...)
{
    const char *text;
    TF_TEXT_FROM_(format, text);
    /* A copy: the kind may be made of a buffer that ends with its function. */
    return tf_passed_at_(function, place, tf_error_new(TF_FAILED_, tf_format("%s", kind), text));
}

tf_error *tf_transient_at_(const char *function, const char *place, int64_t milliseconds,
                           const char *format, ...)
{
    const char *text;
    tf_error *error;
    TF_TEXT_FROM_(format, text);
    error = tf_error_new(TF_TRANSIENT_, "Transient", text);
    error->wait = milliseconds;
    return tf_passed_at_(function, place, error);
}

tf_error *tf_aborted_at_(const char *function, const char *place, const char *format, ...)
{
    const char *text;
    TF_TEXT_FROM_(format, text);
    return tf_passed_at_(function, place, tf_error_new(TF_ABORTED_, "Aborted", text));
}

/* The name of an error number: what the standard library has no function for. */
static const char *tf_errno_name(int number)
{
#define TF_NAME_(name) { name, #name }
    static const struct {
        int number;
        const char *name;
    } names[] = {
        TF_NAME_(E2BIG),     TF_NAME_(EACCES),       TF_NAME_(EAGAIN),  TF_NAME_(EBADF),
        TF_NAME_(EBUSY),     TF_NAME_(EDOM),         TF_NAME_(EDQUOT),  TF_NAME_(EEXIST),
        TF_NAME_(EFAULT),    TF_NAME_(EFBIG),        TF_NAME_(EILSEQ),  TF_NAME_(EINTR),
        TF_NAME_(EINVAL),    TF_NAME_(EIO),          TF_NAME_(EISDIR),  TF_NAME_(ELOOP),
        TF_NAME_(EMFILE),    TF_NAME_(EMLINK),       TF_NAME_(ENAMETOOLONG), TF_NAME_(ENFILE),
        TF_NAME_(ENODEV),    TF_NAME_(ENOENT),       TF_NAME_(ENOMEM),  TF_NAME_(ENOSPC),
        TF_NAME_(ENOSYS),    TF_NAME_(ENOTDIR),      TF_NAME_(ENOTEMPTY), TF_NAME_(ENOTSUP),
        TF_NAME_(ENOTTY),    TF_NAME_(ENXIO),        TF_NAME_(EOVERFLOW), TF_NAME_(EPERM),
        TF_NAME_(EPIPE),     TF_NAME_(ERANGE),       TF_NAME_(EROFS),   TF_NAME_(ESPIPE),
        TF_NAME_(ESTALE),    TF_NAME_(ETIMEDOUT),    TF_NAME_(ETXTBSY), TF_NAME_(EXDEV),
#ifdef __wasm__
        TF_NAME_(ENOTCAPABLE),
#endif
    };
#undef TF_NAME_
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].number == number)
            return names[i].name;
    return tf_format("errno %d", number);
}

tf_error *tf_failed_errno_at_(const char *function, const char *place, const char *format, ...)
{
    const int number = errno; /* Before anything else can change it. */
    const char *text;
    tf_error *error;

    TF_TEXT_FROM_(format, text);
    error = tf_error_new(TF_FAILED_, tf_errno_name(number), text);
    error->cause = tf_error_new(TF_FAILED_, error->kind, tf_format("%s", strerror(number)));
    return tf_passed_at_(function, place, error);
}

tf_error *tf_context_at_(const char *function, const char *place, tf_error *error,
                         const char *format, ...)
{
    const char *text;
    tf_error *outer;

    if (error == NULL)
        return NULL;
    TF_TEXT_FROM_(format, text);
    outer = tf_error_new(error->outcome, error->kind, text);
    outer->wait = error->wait;
    outer->trail = error->trail;
    outer->cause = error;
    return tf_passed_at_(function, place, outer);
}

tf_error *tf_caused_by(tf_error *error, tf_error *cause)
{
    tf_error *last = error;
    if (cause == NULL)
        return error;
    while (last->cause != NULL)
        last = last->cause;
    last->cause = cause;
    return error;
}

const char *tf_kind(const tf_error *error)
{
    return error->kind;
}

const char *tf_message(const tf_error *error)
{
    const char *message = error->text;
    for (const tf_error *cause = error->cause; cause != NULL; cause = cause->cause)
        message = tf_format("%s: %s", message, cause->text);
    return message;
}

const char *tf_trace(const tf_error *error)
{
    const char *trace = "";
    for (const tf_error *cause = error->cause; cause != NULL; cause = cause->cause)
        trace = tf_format("%scaused by: %s\n", trace, cause->text);
    return tf_format("%s%s", trace, error->trail);
}

/* --------------------------------------------------------------------- Files */

/* What a stream holds in memory: few calls to the host. With what stands before
 * it in memory it is a power of two at most, to which some `malloc`s round up. */
#define TF_BUFFER_BYTES (((size_t)64 << 10) - 64)

/* What `errno` says of a file. The caller's TF_TRY adds the place. */
static tf_error *tf_file_error(const char *doing, const char *path)
{
    const int number = errno;
    const char *reason = tf_format("%s", strerror(number));
    tf_error *error = tf_error_new(TF_FAILED_, tf_errno_name(number),
                                   tf_format("cannot %s `%s`", doing, path));
#ifdef __wasm__
    const char *directory, *rest;
    if (*path == '/' && __wasilibc_find_abspath(path, &directory, &rest) < 0)
        reason = "no such directory is granted (--dir HOST_DIR::GUEST_DIR grants it)";
#endif
    error->cause = tf_error_new(TF_FAILED_, error->kind, reason);
    return error;
}

static tf_error *tf_read_descriptor(int descriptor, const char *path, char **data, size_t *size)
{
    struct stat status;
    size_t room, length = 0;
    char *bytes;

    if (fstat(descriptor, &status) != 0)
        return tf_file_error("read", path);
    if (S_ISDIR(status.st_mode)) { /* WASI would say that it is no good descriptor. */
        errno = EISDIR;
        return tf_file_error("read", path);
    }
    /* The size is a promise: a file may grow, and a pipe has none. */
    room = (uintmax_t)status.st_size < SIZE_MAX / 2 ? (size_t)status.st_size : SIZE_MAX / 2;
    bytes = tf_take(room + 1);
    for (;;) {
        /* One byte more than there should be shows the end. */
        const ssize_t got = read(descriptor, bytes + length, room + 1 - length);
        if (got < 0 && errno != EINTR)
            return tf_file_error("read", path);
        if (got == 0)
            break;
        length += got > 0 ? (size_t)got : 0;
        if (length > room) {
            const char *before = bytes;
            room = 2 * room + TF_BUFFER_BYTES;
            bytes = memcpy(tf_take(room + 1), before, length);
        }
    }
    bytes[length] = '\0';
    *data = bytes;
    if (size != NULL)
        *size = length;
    return NULL;
}

tf_error *tf_read(const char *path, char **data, size_t *size)
{
    const int descriptor = open(path, O_RDONLY);
    tf_error *error;

    if (descriptor < 0)
        return tf_file_error("read", path);
    error = tf_read_descriptor(descriptor, path, data, size);
    close(descriptor);
    return error;
}

tf_error *tf_write(const char *path, const void *data, size_t size)
{
    const int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    const char *rest = data;
    tf_error *error = NULL;

    if (descriptor < 0)
        return tf_file_error("write", path);
    while (size > 0 && error == NULL) {
        const ssize_t written = write(descriptor, rest, size);
        if (written >= 0) {
            rest += written;
            size -= (size_t)written;
        } else if (errno != EINTR) {
            error = tf_file_error("write", path);
        }
    }
    if (close(descriptor) != 0 && error == NULL)
        error = tf_file_error("write", path);
    return error;
}

tf_error *tf_open(const char *path, const char *mode, FILE **file)
{
    tf_stream *stream;

    *file = fopen(path, mode);
    if (*file == NULL)
        return tf_file_error(*mode == 'r' ? "read" : "write", path);
    setvbuf(*file, tf_take(TF_BUFFER_BYTES), _IOFBF, TF_BUFFER_BYTES);
    stream = tf_take(sizeof *stream);
    stream->file = *file;
    stream->path = tf_format("%s", path);
    stream->next = tf_scope_now->streams;
    tf_scope_now->streams = stream;
    return NULL;
}

/* Closes the stream at this place of a list. */
static tf_error *tf_close_at(tf_stream **place)
{
    tf_stream *stream = *place;
    const bool failed_before = ferror(stream->file) != 0;

    *place = stream->next;
    if (fclose(stream->file) == 0) {
        if (!failed_before)
            return NULL;
        errno = EIO; /* What it was is not known any more. */
    }
    return tf_file_error("read or write all of", stream->path);
}

tf_error *tf_close(FILE *file)
{
    tf_scope *const scopes[] = { &tf_of_call, &tf_of_instance };
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++)
        for (tf_stream **place = &scopes[i]->streams; *place != NULL; place = &(*place)->next)
            if ((*place)->file == file)
                return tf_close_at(place);
    return tf_error_new(TF_FAILED_, "EBADF", "cannot close what `tf_open` did not open");
}

/* Closes what is still open; the first error stands for all. */
static tf_error *tf_close_all(tf_scope *scope)
{
    tf_error *first = NULL;
    while (scope->streams != NULL) {
        tf_error *error = tf_close_at(&scope->streams);
        if (first == NULL)
            first = error;
    }
    return first;
}

const char *tf_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

const char *tf_stem(const char *path)
{
    const char *name = tf_name(path);
    const char *dot = strrchr(name, '.');
    if (dot == NULL || dot == name)
        return name;
    return tf_format("%.*s", (int)(dot - name), name);
}

/* ---------------------------------------------------------------- Parameters */

/* These four are laid out as the records and variants of wit/types.wit. */

typedef struct tf_text {
    const char *data; /* A NUL follows, and where `size` is 0 it may be anything. */
    size_t size;
} tf_text;

enum { TF_VALUE_TEXT, TF_VALUE_INTEGER, TF_VALUE_NUMBER, TF_VALUE_BOOLEAN };

typedef struct tf_value {
    uint8_t type;
    union {
        tf_text text;
        int64_t integer;
        double number;
        bool boolean;
    } as;
} tf_value;

typedef struct tf_maybe_value {
    bool some;
    tf_value value;
} tf_maybe_value;

typedef struct tf_argument {
    tf_text name;
    tf_value value;
} tf_argument;

static tf_text tf_text_of(const char *string)
{
    tf_text text;
    text.data = string == NULL ? "" : string;
    text.size = strlen(text.data);
    return text;
}

/* A text that the host gave, as a string. */
static const char *tf_string_of(tf_text text)
{
    return text.size == 0 ? "" : text.data;
}

/* How many parameters there are: the rest of the table is zeros. */
static size_t tf_parameter_count(void)
{
    size_t count = 0;
    while (count < TF_MOST && tigerflow_task.parameters[count].address_ != NULL)
        count++;
    return count;
}

/* The option's name: `--min-length` for `min_length` and `options.min_length`. */
static const char *tf_parameter_name(const tf_parameter *parameter)
{
    const char *start = parameter->variable_;
    char *name;

    if (parameter->name != NULL)
        return parameter->name;
    for (const char *at = start; *at != '\0'; at++)
        if (*at == '.' || *at == '>')
            start = at + 1;
    name = tf_format("%s", start);
    for (char *at = name; *at != '\0'; at++)
        if (*at == '_')
            *at = '-';
    return name;
}

/* The choices, a text each; `count` of them. */
static const tf_text *tf_choices(const tf_parameter *parameter, size_t *count)
{
    const char *rest = parameter->choices;
    tf_text *choices, *next;

    *count = 1;
    for (const char *at = rest; *at != '\0'; at++)
        *count += *at == '|';
    choices = next = tf_alloc(*count * sizeof *choices);
    for (;;) {
        const size_t size = strcspn(rest, "|");
        next->data = tf_format("%.*s", (int)size, rest);
        next++->size = size;
        if (rest[size] == '\0')
            return choices;
        rest += size + 1;
    }
}

static int64_t tf_load_integer(const tf_parameter *parameter)
{
    const void *address = parameter->address_;
    const bool has_sign = parameter->type_ == TF_TYPE_SIGNED_;
    switch (parameter->size_) {
    case 1: return has_sign ? *(const int8_t *)address : *(const uint8_t *)address;
    case 2: return has_sign ? *(const int16_t *)address : *(const uint16_t *)address;
    case 4: return has_sign ? *(const int32_t *)address : (int64_t)*(const uint32_t *)address;
    default: break;
    }
    /* The host's integers end where int64_t does. */
    if (!has_sign && *(const uint64_t *)address > INT64_MAX)
        return INT64_MAX;
    return *(const int64_t *)address;
}

static void tf_store_integer(const tf_parameter *parameter, int64_t integer)
{
    switch (parameter->size_) {
    case 1: *(int8_t *)parameter->address_ = (int8_t)integer; break;
    case 2: *(int16_t *)parameter->address_ = (int16_t)integer; break;
    case 4: *(int32_t *)parameter->address_ = (int32_t)integer; break;
    default: *(int64_t *)parameter->address_ = integer; break;
    }
}

/* What the variables held at the start, before `setup` changed them. */
static const tf_maybe_value *tf_defaults(void)
{
    static tf_maybe_value defaults[TF_MOST];
    static bool known;

    for (size_t i = 0; !known && i < tf_parameter_count(); i++) {
        const tf_parameter *parameter = &tigerflow_task.parameters[i];
        tf_value *value = &defaults[i].value;

        if (parameter->required || parameter->given != NULL)
            continue;
        defaults[i].some = true;
        switch (parameter->type_) {
        case TF_TYPE_TEXT_:
            value->type = TF_VALUE_TEXT;
            value->as.text = tf_text_of(*(const char **)parameter->address_);
            defaults[i].some = *(const char **)parameter->address_ != NULL;
            break;
        case TF_TYPE_BOOLEAN_:
            value->type = TF_VALUE_BOOLEAN;
            value->as.boolean = *(const bool *)parameter->address_;
            break;
        case TF_TYPE_NUMBER_:
            value->type = TF_VALUE_NUMBER;
            value->as.number = parameter->size_ == sizeof(float)
                                   ? (double)*(const float *)parameter->address_
                                   : *(const double *)parameter->address_;
            break;
        default:
            value->type = TF_VALUE_INTEGER;
            value->as.integer = tf_load_integer(parameter);
        }
    }
    known = true;
    return defaults;
}

/* What the host is told of a default: of an enum the word instead of the index. */
static tf_maybe_value tf_default_of(size_t index)
{
    const tf_parameter *parameter = &tigerflow_task.parameters[index];
    tf_maybe_value standard = tf_defaults()[index];

    if (standard.some && standard.value.type == TF_VALUE_INTEGER && parameter->choices != NULL) {
        size_t count;
        const tf_text *choices = tf_choices(parameter, &count);
        const int64_t at = standard.value.as.integer;
        standard.some = at >= 0 && (uint64_t)at < count;
        standard.value.type = TF_VALUE_TEXT;
        if (standard.some)
            standard.value.as.text = choices[at];
    }
    return standard;
}

/* A value that does not fit; `wanted` is what would. */
static tf_error *tf_misfit(const char *name, const char *wanted, const tf_value *value)
{
    const char *got = NULL;
    switch (value->type) {
    case TF_VALUE_TEXT: got = tf_format("`%s`", tf_string_of(value->as.text)); break;
    case TF_VALUE_INTEGER: got = tf_format("%lld", (long long)value->as.integer); break;
    case TF_VALUE_NUMBER: got = tf_format("%g", value->as.number); break;
    default: got = value->as.boolean ? "`true`" : "`false`"; break;
    }
    return tf_error_new(TF_FAILED_, "InvalidParameter",
                        tf_format("the parameter `%s` must be %s, not %s", name, wanted, got));
}

/* Puts the value into the parameter's variable. */
static tf_error *tf_assign(const tf_parameter *parameter, const char *name, const tf_value *value)
{
    const char *text;
    int64_t low, high;

    if (parameter->choices != NULL) {
        size_t count, index = 0;
        const tf_text *choices = tf_choices(parameter, &count);
        text = value->type == TF_VALUE_TEXT ? tf_string_of(value->as.text) : "";
        while (index < count && strcmp(choices[index].data, text) != 0)
            index++;
        if (index == count)
            return tf_misfit(name, tf_format("one of %s", parameter->choices), value);
        if (parameter->type_ == TF_TYPE_TEXT_)
            *(const char **)parameter->address_ = choices[index].data;
        else
            tf_store_integer(parameter, (int64_t)index);
        return NULL;
    }
    switch (parameter->type_) {
    case TF_TYPE_TEXT_:
        if (value->type != TF_VALUE_TEXT)
            return tf_misfit(name, "a text", value);
        *(const char **)parameter->address_ = tf_string_of(value->as.text);
        return NULL;
    case TF_TYPE_BOOLEAN_:
        if (value->type != TF_VALUE_BOOLEAN)
            return tf_misfit(name, "`true` or `false`", value);
        *(bool *)parameter->address_ = value->as.boolean;
        return NULL;
    case TF_TYPE_NUMBER_: {
        double number = value->as.number;
        if (value->type == TF_VALUE_INTEGER)
            number = (double)value->as.integer;
        else if (value->type != TF_VALUE_NUMBER)
            return tf_misfit(name, "a number", value);
        if (parameter->size_ == sizeof(float) && number <= DBL_MAX && number >= -DBL_MAX &&
            (number > FLT_MAX || number < -FLT_MAX))
            return tf_misfit(name, "a number that a `float` can hold", value);
        if (parameter->size_ == sizeof(float))
            *(float *)parameter->address_ = (float)number;
        else
            *(double *)parameter->address_ = number;
        return NULL;
    }
    default:
        if (value->type != TF_VALUE_INTEGER)
            return tf_misfit(name, "a whole number", value);
        if (parameter->type_ == TF_TYPE_SIGNED_) {
            high = INT64_MAX >> (64 - 8 * parameter->size_);
            low = -high - 1;
        } else {
            high = parameter->size_ < 8 ? ((int64_t)1 << (8 * parameter->size_)) - 1 : INT64_MAX;
            low = 0;
        }
        if (value->as.integer < low || value->as.integer > high)
            return tf_misfit(name,
                             tf_format("from %lld to %lld", (long long)low, (long long)high),
                             value);
        tf_store_integer(parameter, value->as.integer);
        return NULL;
    }
}

static tf_error *tf_assign_all(const tf_argument *arguments, size_t count)
{
    tf_defaults();
    for (size_t i = 0; i < tf_parameter_count(); i++) {
        const tf_parameter *parameter = &tigerflow_task.parameters[i];
        const char *name = tf_parameter_name(parameter);
        const tf_value *value = NULL;
        tf_error *error;

        for (size_t j = 0; j < count; j++)
            if (strcmp(tf_string_of(arguments[j].name), name) == 0)
                value = &arguments[j].value;
        if (parameter->given != NULL)
            *parameter->given = value != NULL;
        if (value == NULL && parameter->required)
            return tf_error_new(
                TF_FAILED_, "MissingParameter",
                tf_format("the parameter `%s` is missing; give `--%s`", name, name));
        error = value == NULL ? NULL : tf_assign(parameter, name, value);
        if (error != NULL)
            return error;
    }
    return NULL;
}

/* --------------------------------------------------------------------- Calls */

static bool tf_is_set_up;

/* Begins a call of the host's: what the last one left is not needed any more. */
static void tf_enter(tf_scope *scope)
{
    tf_close_all(&tf_of_call);
    tf_release(&tf_of_call);
    tf_scope_now = scope;
}

/* Ends it. Shows what the task printed without an end of line, as nothing else
 * would: an instance is dropped without an exit of its program. */
static tf_error *tf_leave(tf_error *error)
{
    fflush(stdout);
    tf_scope_now = &tf_of_call;
    return error;
}

/* `arguments` may be NULL: the variables keep what they hold. */
static tf_error *tf_setup(const tf_argument *arguments, size_t count)
{
    tf_error *error = NULL;

    tf_enter(&tf_of_instance);
    if (arguments != NULL)
        error = tf_assign_all(arguments, count);
    if (error == NULL && tigerflow_task.run == NULL)
        error = tf_error_new(TF_FAILED_, "NoRun", "`tigerflow_task` has no `.run`");
    if (error == NULL && tigerflow_task.setup != NULL)
        error = tigerflow_task.setup();
    tf_is_set_up = error == NULL;
    return tf_leave(error);
}

static tf_error *tf_out_of_order(const char *call)
{
    return tf_error_new(TF_FAILED_, "OrderOfCalls",
                        tf_format("`%s` was called before `setup`", call));
}

static tf_error *tf_run(const char *input, const char *output)
{
    tf_error *error, *unseen;

    tf_enter(&tf_of_call);
    error = tf_is_set_up ? tigerflow_task.run(input, output) : tf_out_of_order("run");
    unseen = tf_close_all(&tf_of_call);
    if (error == NULL)
        error = unseen;
    if (error == NULL)
        tf_release(&tf_of_call);
    return tf_leave(error);
}

static tf_error *tf_teardown(void)
{
    tf_error *error = NULL, *unseen;

    tf_enter(&tf_of_call);
    if (!tf_is_set_up)
        error = tf_out_of_order("teardown");
    else if (tigerflow_task.teardown != NULL)
        error = tigerflow_task.teardown();
    tf_is_set_up = false;
    unseen = tf_close_all(&tf_of_call);
    if (error == NULL)
        error = unseen;
    unseen = tf_close_all(&tf_of_instance);
    if (error == NULL)
        error = unseen;
    /* Not its memory: a text of the error may lie in it. */
    return tf_leave(error);
}

/* ------------------------------------------------------ Log lines, in one way */

/* What takes a line: the host, or stderr. */
static void tf_log_line(tf_level level, const char *line, size_t size);

void tf_log(tf_level level, const char *format, ...)
{
    char small[512];
    char *line = small;
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);
    if (size < 0)
        return;
    if ((size_t)size >= sizeof small) {
        /* Not memory of the call: a task may log millions of lines. */
        line = malloc((size_t)size + 1);
        if (line == NULL)
            return;
        va_start(arguments, format);
        vsnprintf(line, (size_t)size + 1, format, arguments);
        va_end(arguments);
    }
    tf_log_line(level, line, (size_t)size);
    if (line != small)
        free(line);
}

#ifdef __wasm__
#include "tigerflow_component.c"
#else
#include "tigerflow_native.c"
#endif
