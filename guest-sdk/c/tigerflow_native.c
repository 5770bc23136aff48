/*
 * tigerflow_native.c: the task as a program of this machine, for tests,
 * debuggers and sanitizers:
 *
 *     ./task [--NAME VALUE]… INPUT OUTPUT [INPUT OUTPUT]…
 *
 * It runs one file after the other in one instance, as the host does. Exit codes
 * are the host's: 0 all done, 2 bad usage, 3 a file or `teardown` failed, 4
 * `setup` failed. A test with a `main` of its own has that one.
 */

static void tf_log_line(tf_level level, const char *line, size_t size)
{
    static const char *const levels[] = { "TRACE", "DEBUG", "INFO", "WARN", "ERROR" };
    fprintf(stderr, "%s: %.*s\n", levels[level], (int)size, line);
}

void tf_progress(const char *input, double fraction)
{
    (void)input;
    (void)fraction;
}

tf_error *tf_test_run(const char *input, const char *output)
{
    tf_error *error = tf_is_set_up ? NULL : tf_setup(NULL, 0);
    if (error != NULL)
        return error;
    return tf_run(input, output);
}

tf_error *tf_test_teardown(void)
{
    return tf_teardown();
}

static void tf_print_error(const char *subject, const tf_error *error)
{
    static const char *const outcomes[] = { "failed", "failed, another try may do", "aborted" };
    fprintf(stderr, "%s: %s: %s: %s\n%s", subject, outcomes[error->outcome], error->kind,
            tf_message(error), tf_trace(error));
}

static void tf_print_usage(FILE *to, const char *program)
{
    fprintf(to, "%s %s: %s\n\nUsage: %s [OPTIONS] INPUT OUTPUT [INPUT OUTPUT]...\n\n",
            tigerflow_task.name, tigerflow_task.version, tigerflow_task.summary, program);
    for (size_t i = 0; i < tf_parameter_count(); i++) {
        const tf_parameter *parameter = &tigerflow_task.parameters[i];
        const tf_maybe_value standard = tf_default_of(i);

        fprintf(to, "  --%s%s\n        %s", tf_parameter_name(parameter),
                parameter->choices != NULL             ? tf_format(" %s", parameter->choices)
                : parameter->type_ == TF_TYPE_TEXT_    ? " TEXT"
                : parameter->type_ == TF_TYPE_NUMBER_  ? " NUMBER"
                : parameter->type_ == TF_TYPE_BOOLEAN_ ? ""
                                                       : " N",
                parameter->help);
        if (parameter->required)
            fprintf(to, " (required)");
        else if (standard.some && standard.value.type == TF_VALUE_TEXT)
            fprintf(to, " [default: %s]", standard.value.as.text.data);
        else if (standard.some && standard.value.type == TF_VALUE_INTEGER)
            fprintf(to, " [default: %lld]", (long long)standard.value.as.integer);
        else if (standard.some && standard.value.type == TF_VALUE_NUMBER)
            fprintf(to, " [default: %g]", standard.value.as.number);
        fprintf(to, "\n");
    }
}

/* What the command line says of one parameter. False where it is no value. */
static bool tf_parse(const tf_parameter *parameter, const char *text, tf_value *value)
{
    char *end = NULL;

    errno = 0;
    if (parameter->type_ == TF_TYPE_TEXT_ || parameter->choices != NULL) {
        value->type = TF_VALUE_TEXT;
        value->as.text = tf_text_of(text);
        return true;
    }
    switch (parameter->type_) {
    case TF_TYPE_BOOLEAN_:
        value->type = TF_VALUE_BOOLEAN;
        value->as.boolean = strcmp(text, "true") == 0;
        return value->as.boolean || strcmp(text, "false") == 0;
    case TF_TYPE_NUMBER_:
        value->type = TF_VALUE_NUMBER;
        value->as.number = strtod(text, &end);
        break;
    default:
        value->type = TF_VALUE_INTEGER;
        value->as.integer = strtoll(text, &end, 10);
        break;
    }
    return end != text && *end == '\0' && errno == 0;
}

__attribute__((weak)) int main(int count, char **words)
{
    tf_argument *arguments = tf_alloc((size_t)count * sizeof *arguments);
    size_t given = 0;
    int at = 1, status = 0;
    tf_error *error;

    for (; at < count && strncmp(words[at], "--", 2) == 0; at++) {
        const char *option = words[at] + 2;
        const size_t size = strcspn(option, "=");
        const char *text = option[size] == '=' ? option + size + 1 : NULL;
        const tf_parameter *parameter = NULL;

        if (*option == '\0') { /* `--` ends the options. */
            at++;
            break;
        }
        if (strcmp(option, "help") == 0) {
            tf_print_usage(stdout, words[0]);
            return 0;
        }
        for (size_t i = 0; i < tf_parameter_count(); i++) {
            const char *name = tf_parameter_name(&tigerflow_task.parameters[i]);
            if (strlen(name) == size && strncmp(name, option, size) == 0) {
                parameter = &tigerflow_task.parameters[i];
                arguments[given].name = tf_text_of(name);
            }
        }
        if (parameter == NULL) {
            fprintf(stderr, "there is no option `--%.*s`; see `%s --help`\n", (int)size, option,
                    words[0]);
            return 2;
        }
        if (text == NULL && parameter->type_ == TF_TYPE_BOOLEAN_)
            text = "true";
        if (text == NULL && ++at < count)
            text = words[at];
        if (text == NULL || !tf_parse(parameter, text, &arguments[given].value)) {
            fprintf(stderr, "`--%.*s` needs a value that fits; see `%s --help`\n", (int)size,
                    option, words[0]);
            return 2;
        }
        given++;
    }
    if (at == count || (count - at) % 2 != 0) {
        tf_print_usage(stderr, words[0]);
        return 2;
    }
    /* The values must outlive the calls. */
    tf_of_instance = tf_of_call;
    tf_of_call.blocks = NULL;
    error = tf_setup(arguments, given);
    if (error != NULL) {
        tf_print_error("setup", error);
        return 4;
    }
    for (; at < count; at += 2) {
        error = tf_run(words[at], words[at + 1]);
        if (error != NULL) {
            tf_print_error(words[at], error);
            status = 3;
        }
    }
    error = tf_teardown();
    if (error != NULL) {
        tf_print_error("teardown", error);
        status = 3;
    }
    tf_release(&tf_of_call);
    tf_release(&tf_of_instance);
    return status;
}
