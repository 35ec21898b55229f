/* sending.c - see sending.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/sending.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/cli/answer_text.h"
#include "agent/cli/send_value.h"
#include "agent/clock.h"
#include "agent/decide/decide.h"
#include "events/base/datetime.h"

int uuid_make(char ret_text[UUID_SIZE], struct error *err)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[16];
    size_t at = 0;

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return error_set(err, ERROR_IO, "no random number is to be had: %s",
                         strerror(errno));
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            ret_text[at++] = '-';
        ret_text[at++] = digits[bytes[i] >> 4];
        ret_text[at++] = digits[bytes[i] & 15];
    }
    ret_text[at] = '\0';
    return 0;
}

int outgoing_route(const struct outgoing *outgoing, uint32_t shards, uint32_t *ret_shard,
                   struct buf *ret_key, struct error *err)
{
    const struct schema_entry *entry = send_type_find(outgoing->type);
    struct arena arena = ARENA_INIT;
    struct codec_error fault;
    int r = 0;

    *ret_shard = 0;
    if (entry == NULL)
        return 0;
    void *params = arena_alloc(&arena, entry->struct_size);
    if (params == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    if (codec_decode(entry->schema, CODEC_IGNORE_CASE, outgoing->data, &arena, params,
                     &fault) == CODEC_OK) {
        *ret_shard = command_shard(entry, params, shards, /* here= */ 0);
        if (command_key(entry, params, ret_key) < 0)
            r = error_set(err, ERROR_NO_MEMORY, "out of memory");
    }
    arena_release(&arena);
    return r;
}

int outgoing_check(const struct outgoing *outgoing, struct buf *ret_reason,
                   struct error *err)
{
    const struct schema_entry *entry = send_type_find(outgoing->type);
    struct arena arena = ARENA_INIT;
    struct codec_error fault;
    void *params = arena_alloc(&arena, entry->struct_size);

    if (params == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    enum codec_fault found = codec_decode(entry->schema, CODEC_IGNORE_CASE,
                                          outgoing->data, &arena, params, &fault);
    /* As the core has it: the first fault in declared order counts. */
    struct param_fault wrong = command_check(
        entry, params, found == CODEC_OK || *fault.member == '\0' ? NULL : fault.member);
    if (wrong.text != NULL)
        reason_append(ret_reason, wrong.parameter, wrong.text);
    else if (found != CODEC_OK)
        reason_append(ret_reason, fault.member, fault.text);
    arena_release(&arena);
    if (found == CODEC_NO_MEMORY || ret_reason->failed)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    return 0;
}

static void add_header(struct header *headers, size_t *count, const char *name,
                       const char *value)
{
    if (value != NULL)
        headers[(*count)++] = (struct header){bytes_str(name), bytes_str(value)};
}

struct envelope {
    struct header headers[10];
    size_t count;
    char now[RFC3339_SIZE];
};

static void make_envelope(const struct outgoing *outgoing, struct envelope *envelope)
{
    struct header *headers = envelope->headers;
    size_t *count = &envelope->count;

    rfc3339_format(clock_wall_ms(), envelope->now);
    add_header(headers, count, "ce_specversion", "1.0");
    add_header(headers, count, "ce_id", outgoing->id);
    add_header(headers, count, "ce_source", outgoing->source);
    add_header(headers, count, "ce_type", outgoing->type);
    add_header(headers, count, "ce_time", envelope->now);
    add_header(headers, count, "ce_correlationid", outgoing->correlation_id);
    add_header(headers, count, "ce_expirytime", outgoing->expiry_time);
    add_header(headers, count, "ce_actor", outgoing->actor);
    add_header(headers, count, "ce_expectedversion", outgoing->expected_version);
    add_header(headers, count, "content-type", "application/json");
}

int outgoing_send(const struct outgoing *outgoing, struct exchange *exchange,
                  uint32_t shard, struct bytes key, struct error *err)
{
    struct envelope envelope = {.count = 0};

    make_envelope(outgoing, &envelope);
    return exchange_send(exchange, shard, key, outgoing->data, envelope.headers,
                         envelope.count, err);
}

int outgoing_post(const struct outgoing *outgoing, struct exchange *exchange,
                  uint32_t shard, struct bytes key, uint64_t tag, struct error *err)
{
    struct envelope envelope = {.count = 0};

    make_envelope(outgoing, &envelope);
    return exchange_post(exchange, shard, key, outgoing->data, envelope.headers,
                         envelope.count, tag, err);
}

int outgoing_wait(const struct outgoing *outgoing, struct exchange *exchange,
                  struct buf *ret_value, struct error *err)
{
    struct answer_record answer;
    int r;

    while ((r = exchange_next(exchange, &answer, err)) == 0) {
        if (!bytes_equal_str(answer.causation_id, outgoing->id) ||
            !bytes_equal_str(answer.causation_source, outgoing->source))
            continue;
        if (buf_append_bytes(ret_value, answer.value) < 0)
            return error_set(err, ERROR_NO_MEMORY, "out of memory");
        return 0;
    }
    return r;
}
