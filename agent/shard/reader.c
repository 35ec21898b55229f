/* reader.c - see reader.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/shard/reader.h"

#include <stdlib.h>
#include <string.h>

#include "agent/planted.h"

struct pending_event {
    struct event event;
    struct event_record record;
    int64_t offset;
};

struct reader {
    struct log_identity identity;
    struct sha256 *hasher;
    struct mark end; /* of complete commands */
    struct claim claim;
    struct epoch epoch;
    uint64_t highest;
    uint64_t answered;
    uint64_t sequence; /* including the incomplete command */
    uint8_t chain[SHA256_SIZE];
    struct command_order order; /* of the events up to it */
    struct pending_event *pending;
    size_t pending_count;
    size_t pending_capacity;
    struct arena arena; /* the pending events' text */
};

int reader_new(const struct log_identity *identity, const struct mark *start,
               struct reader **ret_reader, struct error *err)
{
    struct reader *reader = calloc(1, sizeof *reader);

    if (reader == NULL || (reader->hasher = sha256_new()) == NULL) {
        free(reader);
        return error_set(err, ERROR_NO_MEMORY,
                         "out of memory while opening the events topic");
    }
    reader->identity = *identity;
    if (start != NULL) {
        reader->end = *start;
        reader->epoch = start->epoch;
        reader->highest = start->epoch.number;
    } else {
        reader->end.offset = -1;
        chain_start(reader->hasher, identity, reader->end.chain);
    }
    reader->sequence = reader->end.sequence;
    memcpy(reader->chain, reader->end.chain, SHA256_SIZE);
    *ret_reader = reader;
    return 0;
}

void reader_free(struct reader *reader)
{
    if (reader == NULL)
        return;
    sha256_free(reader->hasher);
    arena_release(&reader->arena);
    free(reader->pending);
    free(reader);
}

const struct mark *reader_end(const struct reader *reader)
{
    return &reader->end;
}

const struct epoch *reader_epoch(const struct reader *reader)
{
    return &reader->epoch;
}

const struct claim *reader_claim(const struct reader *reader)
{
    return &reader->claim;
}

uint64_t reader_highest_epoch(const struct reader *reader)
{
    return reader->highest;
}

uint64_t reader_answered(const struct reader *reader)
{
    return reader->answered;
}

/* Events of an incomplete command are void once another claim stands behind them. */
static void drop_pending(struct reader *reader)
{
    reader->pending_count = 0;
    reader->order = (struct command_order){0};
    arena_reset(&reader->arena);
    reader->sequence = reader->end.sequence;
    memcpy(reader->chain, reader->end.chain, SHA256_SIZE);
}

static void take_claim(struct reader *reader, const struct record *record)
{
    struct claim claim;

    if (record->value.data == NULL || claim_read(record->value, &claim, NULL) != 0)
        return;
    if (strcmp(claim.log, reader->identity.log) != 0)
        return;
    drop_pending(reader);
    reader->claim = claim;
    reader->epoch = claim_epoch(&claim, record->offset);
    if (reader->epoch.number > reader->highest)
        reader->highest = reader->epoch.number;
}

static bool has_present_epoch(const struct reader *reader, const struct record *record)
{
    char present[EPOCH_TEXT_SIZE];

    if (reader->epoch.id[0] == '\0')
        return false;
    epoch_text(&reader->epoch, present);
    return bytes_equal_str(record_header(record, EPOCH_HEADER), present);
}

/* Which header of an event this is, EVENT_HEADERS = none. They mostly come in order. */
static size_t find_header(struct bytes name, size_t expected)
{
    for (size_t i = 0; i < EVENT_HEADERS; i++) {
        size_t at = (expected + i) % EVENT_HEADERS;
        if (bytes_equal_str(name, event_header_names[at]))
            return at;
    }
    return EVENT_HEADERS;
}

/* As record_header() for each: the first of a name counts. */
static void event_record_of(const struct record *record, struct event_record *ret_record)
{
    bool seen[EVENT_HEADERS + 1] = {[EVENT_HEADERS] = true};
    size_t expected = 0;

    memset(ret_record, 0, sizeof *ret_record);
    ret_record->key = record->key;
    ret_record->data = record->value;
    for (size_t i = 0; i < record->header_count; i++) {
        size_t at = find_header(record->headers[i].name, expected);
        if (seen[at])
            continue;
        seen[at] = true;
        ret_record->headers[at] = record->headers[i].value;
        expected = at + 1;
    }
}

static int copy_record(struct reader *reader, const struct event_record *from,
                       struct event_record *ret_record)
{
    bool whole = true;

    ret_record->key = arena_copy(&reader->arena, from->key);
    ret_record->data = arena_copy(&reader->arena, from->data);
    whole = (ret_record->key.data != NULL || from->key.data == NULL) &&
            ret_record->data.data != NULL;
    for (size_t i = 0; i < EVENT_HEADERS; i++) {
        ret_record->headers[i] = arena_copy(&reader->arena, from->headers[i]);
        whole = whole &&
                (ret_record->headers[i].data != NULL || from->headers[i].data == NULL);
    }
    return whole ? 0 : ERROR_NO_MEMORY;
}

static int hold_event(struct reader *reader, const struct event_record *record,
                      int64_t offset, struct error *err)
{
    if (reader->pending_count == reader->pending_capacity) {
        size_t capacity =
            reader->pending_capacity == 0 ? 64 : 2 * reader->pending_capacity;
        struct pending_event *pending =
            realloc(reader->pending, capacity * sizeof *pending);
        if (pending == NULL)
            return error_set(err, ERROR_NO_MEMORY,
                             "out of memory while reading a command's events");
        reader->pending = pending;
        reader->pending_capacity = capacity;
    }
    struct pending_event *held = &reader->pending[reader->pending_count];
    if (copy_record(reader, record, &held->record) != 0)
        return error_set(err, ERROR_NO_MEMORY,
                         "out of memory while reading a command's events");
    int code = event_parse(&reader->identity, &held->record, &held->event, err);
    if (code != 0)
        return code;
    held->offset = offset;
    reader->pending_count++;
    reader->sequence = held->event.sequence;
    memcpy(reader->chain, held->event.chain, SHA256_SIZE);
    return 0;
}

/* The log is valid up to this event. */
static void move_end(struct reader *reader, const struct event *event, int64_t offset)
{
    reader->end.sequence = event->sequence;
    memcpy(reader->end.chain, event->chain, SHA256_SIZE);
    reader->end.offset = offset;
    reader->end.epoch = reader->epoch;
}

static int release_command(struct reader *reader, const struct reader_sink *sink,
                           struct error *err)
{
    int code = 0;

    for (size_t i = 0; code == 0 && i < reader->pending_count; i++)
        code = sink->on_event(sink->context, &reader->pending[i].event,
                              &reader->pending[i].record, err);
    if (code != 0)
        return code;
    const struct pending_event *last = &reader->pending[reader->pending_count - 1];
    move_end(reader, &last->event, last->offset);
    reader->pending_count = 0;
    arena_reset(&reader->arena);
    return 0;
}

/* A command of one event, as most are, need not be held. */
static int release_event(struct reader *reader, const struct event *event,
                         const struct event_record *record, int64_t offset,
                         const struct reader_sink *sink, struct error *err)
{
    int code = sink->on_event(sink->context, event, record, err);

    if (code != 0)
        return code;
    reader->sequence = event->sequence;
    memcpy(reader->chain, event->chain, SHA256_SIZE);
    move_end(reader, event, offset);
    return 0;
}

/* An event again: one of the incomplete command is compared here, an older one by the
 * holder. */
static int compare_repeat(const struct reader *reader, const struct event *event,
                          const struct reader_sink *sink, struct error *err)
{
    for (size_t i = 0; i < reader->pending_count; i++) {
        const struct event *held = &reader->pending[i].event;
        if (held->sequence != event->sequence)
            continue;
        if (memcmp(held->chain, event->chain, SHA256_SIZE) == 0)
            return 0;
        return error_set(err, ERROR_CORRUPT, "two valid events differ at sequence %llu",
                         (unsigned long long)event->sequence);
    }
    return sink->on_repeat(sink->context, event, err);
}

static int take_event(struct reader *reader, const struct record *record,
                      const struct reader_sink *sink, struct error *err)
{
    struct event_record text;
    struct event event;
    uint8_t chain[SHA256_SIZE];

    event_record_of(record, &text);
    int code = event_parse(&reader->identity, &text, &event, err);
    if (code != 0) {
        error_prefix(err, "offset %lld of the events topic", (long long)record->offset);
        return code == ERROR_INVALID ? ERROR_CORRUPT : code;
    }
    if (event.sequence <= reader->sequence)
        return compare_repeat(reader, &event, sink, err);
    if (event.sequence > reader->sequence + 1)
        return error_set(
            err, ERROR_CORRUPT,
            "offset %lld of the events topic holds event %llu, but event %llu is missing "
            "before it",
            (long long)record->offset, (unsigned long long)event.sequence,
            (unsigned long long)reader->sequence + 1);
    chain_next(reader->hasher, reader->chain, event.sequence, &text, chain);
    if (memcmp(chain, event.chain, SHA256_SIZE) != 0)
        return error_set(
            err, ERROR_CORRUPT,
            "offset %lld of the events topic: the chain of event %llu does not fit",
            (long long)record->offset, (unsigned long long)event.sequence);
    code = command_order_take(&reader->order, &event, err);
    if (code != 0)
        error_prefix(err, "offset %lld of the events topic", (long long)record->offset);
    else if (reader->order.index == 0 && reader->pending_count == 0)
        return release_event(reader, &event, &text, record->offset, sink, err);
    else
        code = hold_event(reader, &text, record->offset, err);
    if (code == 0 && (reader->order.index == 0 || PLANTED(half_commands_kept)))
        code = release_command(reader, sink, err);
    return code;
}

int reader_take(struct reader *reader, const struct record *record,
                const struct reader_sink *sink, struct error *err)
{
    if (bytes_equal_str(record->key, CLAIM_KEY)) {
        take_claim(reader, record);
        return 0;
    }
    if (!has_present_epoch(reader, record) && !PLANTED(epoch_ignored))
        return 0;
    if (bytes_equal_str(record->key, ANSWERED_KEY)) {
        if (record->value.data != NULL)
            /* a malformed one says nothing */
            (void)answered_read(record->value, &reader->answered);
        return 0;
    }
    if (bytes_has_prefix(record->key, bytes_str("kinlog:")))
        return 0;
    return take_event(reader, record, sink, err);
}
