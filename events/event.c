/* event.c - see event.h, which also gives the stored form byte by byte.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/event.h"

#include <stdio.h>
#include <string.h>

#include "events/base/datetime.h"

#define STORED_FORMAT 1

const char *const event_header_names[EVENT_HEADERS] = {
    [EVENT_SPECVERSION] = "ce_specversion",
    [EVENT_CONTENT_TYPE] = "content-type",
    [EVENT_ID] = "ce_id",
    [EVENT_SOURCE] = "ce_source",
    [EVENT_TYPE] = "ce_type",
    [EVENT_TIME] = "ce_time",
    [EVENT_SUBJECT] = "ce_subject",
    [EVENT_CAUSATION_ID] = "ce_causationid",
    [EVENT_CAUSATION_SOURCE] = "ce_causationsource",
    [EVENT_COMMAND] = "ce_command",
    [EVENT_CHAIN] = "ce_chain",
    [EVENT_ACTOR] = "ce_actor",
    [EVENT_CORRELATION_ID] = "ce_correlationid",
    [EVENT_REPLY_TO] = "ce_replyto",
    [EVENT_TRACEPARENT] = "ce_traceparent",
    [EVENT_TRACESTATE] = "ce_tracestate",
};

/* The headers that are copied between struct and record as they are. */
struct text_header {
    enum event_header_index header;
    size_t offset; /* of the struct bytes in struct event */
};

#define TEXT_HEADER(header, field)                                                       \
    {                                                                                    \
        header, offsetof(struct event, field)                                            \
    }
static const struct text_header text_headers[] = {
    TEXT_HEADER(EVENT_SUBJECT, subject),
    TEXT_HEADER(EVENT_CAUSATION_ID, causation_id),
    TEXT_HEADER(EVENT_CAUSATION_SOURCE, causation_source),
    TEXT_HEADER(EVENT_ACTOR, actor),
    TEXT_HEADER(EVENT_CORRELATION_ID, correlation_id),
    TEXT_HEADER(EVENT_REPLY_TO, reply_to),
    TEXT_HEADER(EVENT_TRACEPARENT, traceparent),
    TEXT_HEADER(EVENT_TRACESTATE, tracestate),
};
#define TEXT_HEADER_COUNT (sizeof text_headers / sizeof text_headers[0])

/* The order of the text in the stored form. */
static const size_t stored_text[] = {
    offsetof(struct event, key),          offsetof(struct event, subject),
    offsetof(struct event, causation_id), offsetof(struct event, causation_source),
    offsetof(struct event, content_hash), offsetof(struct event, command_type),
    offsetof(struct event, actor),        offsetof(struct event, correlation_id),
    offsetof(struct event, reply_to),     offsetof(struct event, traceparent),
    offsetof(struct event, tracestate),
};
#define STORED_TEXT_COUNT (sizeof stored_text / sizeof stored_text[0])

static struct bytes *text_at(struct event *event, size_t offset)
{
    return (struct bytes *)(void *)((char *)event + offset);
}

static struct bytes text_of(const struct event *event, size_t offset)
{
    return *(const struct bytes *)(const void *)((const char *)event + offset);
}

const struct schema_entry *event_type_find(struct bytes type)
{
    for (const struct schema_entry *entry = schema_events; entry->type != NULL; entry++) {
        if (bytes_equal_str(type, entry->type))
            return entry;
    }
    return NULL;
}

/* ---- the topic form ---------------------------------------------------------------- */

/* Appends the pieces that are made, not copied, one after the other; spans remember
 * where. */
struct span {
    enum event_header_index header;
    size_t from;
};

static void begin_span(struct span *spans, size_t *count, enum event_header_index header,
                       const struct buf *text)
{
    spans[*count].header = header;
    spans[*count].from = text->size;
    (*count)++;
}

static void render_command(const struct event *event, struct buf *text)
{
    buf_append_i64dec(text, event->command_offset);
    buf_append_byte(text, ';');
    buf_append_u64dec(text, event->index);
    buf_append_byte(text, '/');
    buf_append_u64dec(text, event->count);
    buf_append_byte(text, ';');
    buf_append_bytes(text, event->content_hash);
    buf_append_byte(text, ';');
    buf_append_bytes(text, event->command_type);
}

void log_source(const struct log_identity *identity, char ret_text[LOG_SOURCE_SIZE])
{
    (void)snprintf(ret_text, LOG_SOURCE_SIZE, "/kinlog/%s/%s", identity->site,
                   identity->log);
}

int event_render(const struct log_identity *identity, const struct event *event,
                 struct arena *arena, struct event_record *ret_record)
{
    struct buf text = BUF_INIT;
    struct span spans[5];
    size_t count = 0;
    char source[LOG_SOURCE_SIZE], time[RFC3339_SIZE];

    begin_span(spans, &count, EVENT_ID, &text);
    buf_append_u64dec(&text, identity->shard);
    buf_append_byte(&text, '-');
    buf_append_u64dec(&text, event->sequence);
    begin_span(spans, &count, EVENT_SOURCE, &text);
    log_source(identity, source);
    buf_append_str(&text, source);
    begin_span(spans, &count, EVENT_TIME, &text);
    rfc3339_format(event->time_ms, time);
    buf_append_str(&text, time);
    begin_span(spans, &count, EVENT_CHAIN, &text);
    base64url_append(&text, event->chain, SHA256_SIZE);
    if (event->has_command) {
        begin_span(spans, &count, EVENT_COMMAND, &text);
        render_command(event, &text);
    }
    struct bytes kept = BYTES_ABSENT;
    if (!text.failed)
        kept = arena_copy(arena, buf_bytes(&text));
    buf_release(&text);
    if (kept.data == NULL)
        return ERROR_NO_MEMORY;

    memset(ret_record, 0, sizeof *ret_record);
    ret_record->key = event->key;
    ret_record->data = event->data;
    ret_record->headers[EVENT_SPECVERSION] = bytes_str("1.0");
    ret_record->headers[EVENT_CONTENT_TYPE] = bytes_str("application/json");
    ret_record->headers[EVENT_TYPE] = bytes_str(event->type->type);
    for (size_t i = 0; i < count; i++) {
        size_t end = i + 1 < count ? spans[i + 1].from : kept.size;
        ret_record->headers[spans[i].header] =
            bytes_of(kept.data + spans[i].from, end - spans[i].from);
    }
    for (size_t i = 0; i < TEXT_HEADER_COUNT; i++)
        ret_record->headers[text_headers[i].header] =
            text_of(event, text_headers[i].offset);
    return 0;
}

/* Reads a decimal without sign, blanks or leading zeros up to `end`, which is stepped
 * over. */
static bool take_decimal(struct bytes *text, char end, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t i = 0;

    while (i < text->size && text->data[i] >= '0' && text->data[i] <= '9' && i < 19) {
        value = value * 10 + (uint64_t)(text->data[i] - '0');
        i++;
    }
    if (i == 0 || (i > 1 && text->data[0] == '0'))
        return false;
    if (end == '\0') {
        if (i != text->size)
            return false;
    } else {
        if (i == text->size || text->data[i] != (uint8_t)end)
            return false;
        i++;
    }
    *text = bytes_of(text->data + i, text->size - i);
    *ret_value = value;
    return true;
}

static bool parse_command(struct bytes text, struct event *event)
{
    uint64_t offset, index, count;

    if (!take_decimal(&text, ';', &offset) || !take_decimal(&text, '/', &index) ||
        !take_decimal(&text, ';', &count))
        return false;
    if (index < 1 || index > count || count > UINT32_MAX || offset >= INT64_MAX)
        return false;
    const uint8_t *semicolon = memchr(text.data, ';', text.size);
    if (semicolon == NULL)
        return false;
    event->has_command = true;
    event->command_offset = (int64_t)offset;
    event->index = (uint32_t)index;
    event->count = (uint32_t)count;
    event->content_hash = bytes_of(text.data, (size_t)(semicolon - text.data));
    event->command_type =
        bytes_of(semicolon + 1, text.size - event->content_hash.size - 1);
    return true;
}

static bool parse_id(const struct log_identity *identity, struct bytes text,
                     uint64_t *ret_sequence)
{
    uint64_t shard;

    return take_decimal(&text, '-', &shard) && shard == identity->shard &&
           take_decimal(&text, '\0', ret_sequence) && *ret_sequence > 0;
}

/* event_render makes one text of each struct, so rendering again finds whatever is not as
 * it would have been written. */
static bool renders_equal(const struct log_identity *identity, const struct event *event,
                          const struct event_record *record, struct error *err,
                          int *ret_error)
{
    struct arena arena = ARENA_INIT;
    struct event_record again;
    bool equal = true;

    *ret_error = event_render(identity, event, &arena, &again);
    if (*ret_error != 0)
        *ret_error = error_set(err, *ret_error, "out of memory while reading an event");
    for (size_t i = 0; *ret_error == 0 && equal && i < EVENT_HEADERS; i++)
        equal = bytes_equal(again.headers[i], record->headers[i]);
    arena_release(&arena);
    return equal;
}

int event_parse(const struct log_identity *identity, const struct event_record *record,
                struct event *ret_event, struct error *err)
{
    struct event event = {0};
    int code = 0;

    if (!parse_id(identity, record->headers[EVENT_ID], &event.sequence))
        return error_set(err, ERROR_INVALID,
                         "ce_id is not <shard>-<sequence> of shard %u", identity->shard);
    event.type = event_type_find(record->headers[EVENT_TYPE]);
    if (event.type == NULL)
        return error_set(err, ERROR_VERSION,
                         "event %llu has a type that this version does not know",
                         (unsigned long long)event.sequence);
    if (!rfc3339_parse(record->headers[EVENT_TIME], &event.time_ms))
        return error_set(err, ERROR_INVALID, "event %llu: ce_time is not RFC 3339",
                         (unsigned long long)event.sequence);
    if (!base64url_decode(record->headers[EVENT_CHAIN], event.chain, SHA256_SIZE))
        return error_set(err, ERROR_INVALID,
                         "event %llu: ce_chain is not base64url of 32 bytes",
                         (unsigned long long)event.sequence);
    if (record->headers[EVENT_COMMAND].data != NULL &&
        !parse_command(record->headers[EVENT_COMMAND], &event))
        return error_set(err, ERROR_INVALID, "event %llu: ce_command is malformed",
                         (unsigned long long)event.sequence);
    if (record->data.data == NULL)
        return error_set(err, ERROR_INVALID, "event %llu has no data",
                         (unsigned long long)event.sequence);
    for (size_t i = 0; i < TEXT_HEADER_COUNT; i++)
        *text_at(&event, text_headers[i].offset) =
            record->headers[text_headers[i].header];
    event.key = record->key;
    event.data = record->data;
    if (!renders_equal(identity, &event, record, err, &code))
        return error_set(err, ERROR_INVALID,
                         "event %llu is not written as an agent of log %s writes it",
                         (unsigned long long)event.sequence, identity->log);
    if (code != 0)
        return code;
    *ret_event = event;
    return 0;
}

/* ---- the chain --------------------------------------------------------------------- */

static void add_text(struct sha256 *hasher, struct bytes text)
{
    sha256_add_u32be(hasher, (uint32_t)text.size);
    sha256_add(hasher, text.data, text.size);
}

void chain_start(struct sha256 *hasher, const struct log_identity *identity,
                 uint8_t ret_chain[SHA256_SIZE])
{
    sha256_begin(hasher);
    add_text(hasher, bytes_str(identity->log));
    add_text(hasher, bytes_str(identity->site));
    sha256_add_u32be(hasher, identity->shard);
    sha256_add_u32be(hasher, identity->shards);
    sha256_end(hasher, ret_chain);
}

void chain_next(struct sha256 *hasher, const uint8_t previous[SHA256_SIZE],
                uint64_t sequence, const struct event_record *record,
                uint8_t ret_chain[SHA256_SIZE])
{
    sha256_begin(hasher);
    sha256_add(hasher, previous, SHA256_SIZE);
    sha256_add_u64be(hasher, sequence);
    add_text(hasher, record->key);
    for (size_t i = 0; i < EVENT_HEADERS; i++) {
        if (i != EVENT_CHAIN)
            add_text(hasher, record->headers[i]);
    }
    add_text(hasher, record->data);
    sha256_end(hasher, ret_chain);
}

int event_seal(const struct log_identity *identity, struct sha256 *hasher,
               const uint8_t previous[SHA256_SIZE], struct event *event,
               struct arena *arena, struct event_record *ret_record)
{
    struct buf text = BUF_INIT;
    int code = event_render(identity, event, arena, ret_record);

    if (code != 0)
        return code;
    chain_next(hasher, previous, event->sequence, ret_record, event->chain);
    base64url_append(&text, event->chain, SHA256_SIZE);
    if (!text.failed)
        ret_record->headers[EVENT_CHAIN] = arena_copy(arena, buf_bytes(&text));
    buf_release(&text);
    return ret_record->headers[EVENT_CHAIN].data != NULL ? 0 : ERROR_NO_MEMORY;
}

/* ---- the order in a command -------------------------------------------------------- */

int command_order_take(struct command_order *order, const struct event *event,
                       struct error *err)
{
    uint32_t expected = order->index + 1;
    bool goes_on = order->index != 0;

    if (event->has_command ? event->index != expected : goes_on)
        return error_set(
            err, ERROR_CORRUPT, "event %llu is %u/%u of its command, expected was %u",
            (unsigned long long)event->sequence, event->index, event->count, expected);
    if (goes_on &&
        (event->count != order->count || event->command_offset != order->offset))
        return error_set(err, ERROR_CORRUPT,
                         "event %llu is not of the command of the event before it",
                         (unsigned long long)event->sequence);
    order->index = event->index == event->count ? 0 : event->index;
    order->count = event->count;
    order->offset = event->command_offset;
    return 0;
}

/* ---- the stored form --------------------------------------------------------------- */

static void put_text(struct buf *out, struct bytes text)
{
    size_t length = text.data == NULL ? 0 : text.size + 1;

    while (length >= 0x80) {
        buf_append_byte(out, (uint8_t)(0x80 | (length & 0x7f)));
        length >>= 7;
    }
    buf_append_byte(out, (uint8_t)length);
    if (text.data != NULL)
        buf_append_bytes(out, text);
}

static bool take_text(struct bytes *value, struct bytes *ret_text)
{
    size_t length = 0;

    for (unsigned shift = 0; shift < 35; shift += 7) {
        if (value->size == 0)
            return false;
        uint8_t byte = value->data[0];
        *value = bytes_of(value->data + 1, value->size - 1);
        length |= (size_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            if (byte == 0 && shift > 0)
                return false; /* longer than it need be */
            if (length == 0) {
                *ret_text = BYTES_ABSENT;
                return true;
            }
            length--;
            if (length > value->size)
                return false;
            *ret_text = bytes_of(value->data, length);
            *value = bytes_of(value->data + length, value->size - length);
            return true;
        }
    }
    return false;
}

#define STORED_FIXED (1 + SHA256_SIZE + 8 + 8 + 4 + 4)

int event_encode(const struct event *event, struct buf *out)
{
    buf_append_byte(out, STORED_FORMAT);
    buf_append(out, event->chain, SHA256_SIZE);
    buf_append_u64be(out, (uint64_t)event->time_ms);
    buf_append_u64be(out, event->has_command ? (uint64_t)event->command_offset + 1 : 0);
    buf_append_u32be(out, event->index);
    buf_append_u32be(out, event->count);
    put_text(out, bytes_str(event->type->type));
    for (size_t i = 0; i < STORED_TEXT_COUNT; i++)
        put_text(out, text_of(event, stored_text[i]));
    return buf_append_bytes(out, event->data);
}

static int damaged(uint64_t sequence, const char *what, struct error *err)
{
    return error_set(err, ERROR_CORRUPT, "event %llu of the log: %s",
                     (unsigned long long)sequence, what);
}

/* Only what can be rendered and read back as the same event is one. NULL = it is. */
static const char *event_fault(const struct event *event)
{
    struct bytes hash = event->content_hash;

    if (event->time_ms < TIME_MS_MIN || event->time_ms > TIME_MS_MAX)
        return "its time is none";
    if (!event->has_command)
        return event->index == 0 && event->count == 0 && hash.data == NULL &&
                       event->command_type.data == NULL
                   ? NULL
                   : "it is part of no command";
    if (event->index < 1 || event->index > event->count || event->command_offset < 0 ||
        event->command_offset == INT64_MAX) /* there is a next one */
        return "its place within its command is impossible";
    if (hash.data == NULL || event->command_type.data == NULL ||
        memchr(hash.data, ';', hash.size) != NULL)
        return "its command is not told";
    return NULL;
}

int event_decode(uint64_t sequence, struct bytes value, struct event *ret_event,
                 struct error *err)
{
    struct event event = {.sequence = sequence};
    struct bytes type;

    if (value.size < STORED_FIXED)
        return damaged(sequence, "cut short", err);
    if (value.data[0] != STORED_FORMAT)
        return error_set(err, ERROR_VERSION,
                         "event %llu of the log has format %u, known is %d",
                         (unsigned long long)sequence, value.data[0], STORED_FORMAT);
    const uint8_t *at = value.data + 1;
    memcpy(event.chain, at, SHA256_SIZE);
    at += SHA256_SIZE;
    event.time_ms = (int64_t)read_u64be(at);
    uint64_t offset = read_u64be(at + 8);
    event.has_command = offset != 0;
    event.command_offset = offset != 0 ? (int64_t)(offset - 1) : 0;
    event.index = read_u32be(at + 16);
    event.count = read_u32be(at + 20);
    value = bytes_of(value.data + STORED_FIXED, value.size - STORED_FIXED);
    if (!take_text(&value, &type))
        return damaged(sequence, "cut short in its type", err);
    event.type = event_type_find(type);
    if (event.type == NULL)
        return error_set(
            err, ERROR_VERSION,
            "event %llu of the log has a type that this version does not know",
            (unsigned long long)sequence);
    for (size_t i = 0; i < STORED_TEXT_COUNT; i++) {
        if (!take_text(&value, text_at(&event, stored_text[i])))
            return damaged(sequence, "cut short in its attributes", err);
    }
    event.data = value;
    const char *fault = event_fault(&event);
    if (fault != NULL)
        return damaged(sequence, fault, err);
    *ret_event = event;
    return 0;
}
