/* answer_text.c - see answer_text.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/answer_text.h"

#include <ctype.h>
#include <string.h>

#include <jansson.h>

#include "agent/cli/cli.h"
#include "agent/cli/event_text.h"
#include "agent/cli/table.h"
#include "agent/decide/decide.h"

static const struct {
    int value;
    const char *meaning;
} return_meanings[] = {
    {RETURN_DONE, "done"},
    {RETURN_OTHER_FAILURE, "failure"},
    {RETURN_NOT_FOUND, "not found"},
    {RETURN_ACCESS_DENIED, "access denied"},
    {RETURN_INVALID_PARAMETER, "invalid parameter"},
    {RETURN_NOT_SUPPORTED, "not supported"},
    {RETURN_ALREADY_EXISTS, "already exists"},
    {RETURN_STALE_VERSION, "another version than expected"},
};

static const char *return_meaning(json_int_t value)
{
    for (size_t i = 0; i < sizeof(return_meanings) / sizeof(return_meanings[0]); i++) {
        if (return_meanings[i].value == value)
            return return_meanings[i].meaning;
    }
    return "unknown";
}

static json_t *load(struct bytes value)
{
    json_t *answer = value.data == NULL
                         ? NULL
                         : json_loadb((const char *)value.data, value.size, 0, NULL);

    if (answer != NULL && json_is_string(json_object_get(answer, "Outcome")) &&
        json_is_string(json_object_get(answer, "Command")))
        return answer;
    json_decref(answer);
    return NULL;
}

int answer_read(struct bytes value, struct answer_summary *ret_summary, struct error *err)
{
    json_t *answer = load(value);

    if (answer == NULL)
        return error_set(err, ERROR_INVALID, "this is no answer of Kinlog");
    const char *outcome = json_string_value(json_object_get(answer, "Outcome"));
    const json_t *revision = json_object_get(json_object_get(answer, "Out"), "Revision");
    *ret_summary = (struct answer_summary){
        .accepted = strcmp(outcome, "accepted") == 0,
        .success = strcmp(outcome, "accepted") == 0 || strcmp(outcome, "unchanged") == 0,
        .shard = (uint32_t)json_integer_value(json_object_get(answer, "Shard")),
        .sequence = (uint64_t)json_integer_value(json_object_get(answer, "Sequence")),
        .revision = json_is_integer(revision) ? json_integer_value(revision) : -1,
    };
    (void)snprintf(ret_summary->outcome, sizeof(ret_summary->outcome), "%s", outcome);
    json_decref(answer);
    return 0;
}

void reason_append(struct buf *out, const char *parameter, const char *description)
{
    if (parameter != NULL && *parameter != '\0' && strstr(description, parameter) == NULL)
        (void)buf_printf(out, "%s: ", parameter);
    (void)buf_append_str(out, description);
}

static void append_status(struct buf *out, const json_t *status)
{
    const char *description = json_string_value(json_object_get(status, "Description"));

    if (description != NULL)
        reason_append(out, json_string_value(json_object_get(status, "ParameterInfo")),
                      description);
}

int answer_reason(struct bytes value, struct buf *out, struct error *err)
{
    json_t *answer = load(value);

    if (answer == NULL)
        return error_set(err, ERROR_INVALID, "this is no answer of Kinlog");
    append_status(out, json_object_get(answer, "ExtendedStatus"));
    json_decref(answer);
    return out->failed ? error_set(err, ERROR_NO_MEMORY, "out of memory") : 0;
}

static void print_escaped(FILE *out, const char *text)
{
    struct buf escaped = BUF_INIT;

    (void)table_escape(&escaped, bytes_str(text));
    (void)fputs(buf_cstr(&escaped), out);
    buf_release(&escaped);
}

static void print_outcome(FILE *out, const json_t *answer)
{
    const char *outcome = json_string_value(json_object_get(answer, "Outcome"));
    json_int_t value = json_integer_value(json_object_get(answer, "ReturnValue"));
    struct bytes type =
        short_type(bytes_str(json_string_value(json_object_get(answer, "Command"))));
    struct buf escaped = BUF_INIT;
    bool colour = cli_colour(out);

    if (colour)
        (void)fputs(value == 0 ? "\033[32m" : "\033[31m", out);
    (void)fprintf(out, "%c%s", toupper((unsigned char)outcome[0]), outcome + 1);
    if (colour)
        (void)fputs("\033[0m", out);
    (void)table_escape(&escaped, type);
    (void)fprintf(out, ": %s, %" JSON_INTEGER_FORMAT " (%s)\n", buf_cstr(&escaped), value,
                  return_meaning(value));
    buf_release(&escaped);
}

static void print_status(FILE *out, const json_t *status)
{
    struct buf reason = BUF_INIT;

    append_status(&reason, status);
    if (reason.size > 0) {
        (void)fputs("  ", out);
        print_escaped(out, buf_cstr(&reason));
        (void)fputc('\n', out);
    }
    buf_release(&reason);
}

static void print_out(FILE *out, const json_t *members)
{
    const char *name;
    const json_t *value;

    for (void *at = json_object_iter((json_t *)members); at != NULL;
         at = json_object_iter_next((json_t *)members, at)) {
        name = json_object_iter_key(at);
        value = json_object_iter_value(at);
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

        if (text == NULL)
            continue;
        (void)fputs("  ", out);
        print_escaped(out, name);
        (void)fputs(" = ", out);
        print_escaped(out, text);
        (void)fputc('\n', out);
        free(text);
    }
}

static void print_events(FILE *out, const json_t *answer)
{
    const json_t *events = json_object_get(answer, "Events");
    json_int_t shard = json_integer_value(json_object_get(answer, "Shard"));
    json_int_t count = json_integer_value(json_object_get(answer, "EventCount"));

    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        const char *type = json_string_value(json_object_get(event, "Type"));
        struct buf escaped = BUF_INIT;

        (void)table_escape(&escaped, short_type(bytes_str(type)));
        (void)fprintf(
            out, "  event %" JSON_INTEGER_FORMAT "-%" JSON_INTEGER_FORMAT " %s\n", shard,
            json_integer_value(json_object_get(event, "Sequence")), buf_cstr(&escaped));
        buf_release(&escaped);
    }
    if (count > (json_int_t)json_array_size(events))
        (void)fprintf(out,
                      "  and %" JSON_INTEGER_FORMAT " more, up to %" JSON_INTEGER_FORMAT
                      "-%" JSON_INTEGER_FORMAT "\n",
                      count - (json_int_t)json_array_size(events), shard,
                      json_integer_value(json_object_get(answer, "Sequence")));
}

void answer_print(FILE *out, struct bytes value)
{
    json_t *answer = load(value);

    if (answer == NULL)
        return;
    print_outcome(out, answer);
    print_status(out, json_object_get(answer, "ExtendedStatus"));
    print_out(out, json_object_get(answer, "Out"));
    print_events(out, answer);
    json_decref(answer);
}
