/* event_text.c - see event_text.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/event_text.h"

#include <inttypes.h>
#include <string.h>

#include "events/base/datetime.h"

int event_print_json(struct json_out *json, const struct log_identity *identity,
                     const struct event *event, struct error *err)
{
    static const char prefix[] = "ce_";
    static const int order[EVENT_HEADERS] = {
        EVENT_SPECVERSION,    EVENT_ID,           EVENT_SOURCE,
        EVENT_TYPE,           EVENT_TIME,         EVENT_SUBJECT,
        EVENT_CONTENT_TYPE,   EVENT_CAUSATION_ID, EVENT_CAUSATION_SOURCE,
        EVENT_CORRELATION_ID, EVENT_ACTOR,        EVENT_REPLY_TO,
        EVENT_TRACEPARENT,    EVENT_TRACESTATE,   EVENT_COMMAND,
        EVENT_CHAIN};
    struct arena arena = ARENA_INIT;
    struct event_record record;
    int r = event_render(identity, event, &arena, &record);

    if (r < 0) {
        arena_release(&arena);
        return error_set(err, r, "out of memory");
    }
    json_out_object(json, NULL);
    for (int i = 0; i < EVENT_HEADERS; i++) {
        const char *name = event_header_names[order[i]];

        if (record.headers[order[i]].data == NULL)
            continue;
        if (order[i] == EVENT_CONTENT_TYPE)
            name = "datacontenttype";
        else if (strncmp(name, prefix, strlen(prefix)) == 0)
            name += strlen(prefix);
        json_out_text(json, name, record.headers[order[i]]);
    }
    json_out_raw(json, "data", record.data);
    json_out_close(json);
    arena_release(&arena);
    return 0;
}

struct table *event_table_new(FILE *out)
{
    static const char *const titles[] = {"EVENT",    "<TIME", "<TYPE", "<SUBJECT",
                                         "<COMMAND", "<FROM", NULL};
    return table_new(out, titles);
}

struct bytes short_type(struct bytes type)
{
    static const char prefix[] = "kinlog.", suffix[] = ".v1";
    size_t prefix_size = strlen(prefix), suffix_size = strlen(suffix);

    if (type.size > prefix_size + suffix_size &&
        bytes_has_prefix(type, bytes_str(prefix)) &&
        memcmp(type.data + type.size - suffix_size, suffix, suffix_size) == 0)
        return bytes_of(type.data + prefix_size, type.size - prefix_size - suffix_size);
    return type;
}

void event_print_row(struct table *table, uint32_t shard, const struct event *event)
{
    char time_text[RFC3339_SIZE];

    rfc3339_format(event->time_ms, time_text);
    table_cell(table, "%" PRIu32 "-%" PRIu64, shard, event->sequence);
    /* LogStarted has no time: nobody sent it. */
    table_cell(table, "%s", event->has_command ? time_text : "-");
    table_text(table, short_type(bytes_str(event->type->type)));
    table_text(table, event->subject);
    table_text(table, event->causation_id);
    table_text(table, event->causation_source);
}
