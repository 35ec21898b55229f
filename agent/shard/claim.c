/* claim.c - see claim.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "agent/shard/claim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "agent/shard/flat_json.h"

int claim_new_id(char ret_id[CLAIM_ID_SIZE], struct error *err)
{
    uint8_t random[(CLAIM_ID_SIZE - 1) / 2];
    struct buf hex = BUF_INIT;

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return error_set(err, ERROR_IO, "the system gives no random bytes: %s",
                         strerror(errno));
    int code = hex_append(&hex, random, sizeof random);
    if (code != 0)
        (void)error_set(err, code, "out of memory while drawing an id");
    snprintf(ret_id, CLAIM_ID_SIZE, "%s", buf_cstr(&hex));
    buf_release(&hex);
    return code;
}

int claim_write(const struct claim *claim, const char *version, struct buf *out)
{
    buf_printf(out, "{\"Id\":\"%s\",\"Floor\":%llu,\"Agent\":", claim->id,
               (unsigned long long)claim->floor);
    buf_append_json_string(out, bytes_str(claim->agent));
    buf_append_str(out, ",\"Version\":");
    buf_append_json_string(out, bytes_str(version));
    return buf_printf(out, ",\"Rules\":%u,\"Log\":\"%s\"}", claim->rules, claim->log);
}

int claim_read(struct bytes value, struct claim *ret_claim, struct error *err)
{
    struct claim claim = {.floor = 0};
    uint64_t rules = 0;
    uint8_t raw[(CLAIM_ID_SIZE - 1) / 2];
    const struct flat_member members[] = {
        {"Id", .text = claim.id, .text_size = sizeof claim.id},
        {"Floor", .number = &claim.floor},
        {"Agent", .text = claim.agent, .text_size = sizeof claim.agent,
         .may_be_cut = true},
        {"Rules", .number = &rules},
        {"Log", .text = claim.log, .text_size = sizeof claim.log},
    };

    if (!flat_json_read(value, members, sizeof members / sizeof members[0]) ||
        claim.floor > INT64_MAX || rules > UINT32_MAX ||
        !hex_decode(bytes_str(claim.id), raw, sizeof raw))
        return error_set(err, ERROR_INVALID, "a record of key " CLAIM_KEY " is no claim");
    claim.rules = (uint32_t)rules;
    *ret_claim = claim;
    return 0;
}

struct epoch claim_epoch(const struct claim *claim, int64_t offset)
{
    struct epoch epoch = {.number = (uint64_t)offset};

    if (claim->floor > epoch.number)
        epoch.number = claim->floor;
    snprintf(epoch.id, sizeof epoch.id, "%s", claim->id);
    return epoch;
}

void epoch_text(const struct epoch *epoch, char ret_text[EPOCH_TEXT_SIZE])
{
    snprintf(ret_text, EPOCH_TEXT_SIZE, "%llu;%s", (unsigned long long)epoch->number,
             epoch->id);
}

bool epoch_equal(const struct epoch *a, const struct epoch *b)
{
    return a->number == b->number && strcmp(a->id, b->id) == 0;
}

int answered_write(uint64_t sequence, struct buf *out)
{
    return buf_printf(out, "{\"Sequence\":%llu}", (unsigned long long)sequence);
}

int answered_read(struct bytes value, uint64_t *ret_sequence)
{
    uint64_t sequence = 0;
    const struct flat_member member = {"Sequence", .number = &sequence};

    if (!flat_json_read(value, &member, 1) || sequence > INT64_MAX)
        return ERROR_INVALID;
    *ret_sequence = sequence;
    return 0;
}

struct bytes record_header(const struct record *record, const char *name)
{
    for (size_t i = 0; i < record->header_count; i++) {
        if (bytes_equal_str(record->headers[i].name, name))
            return record->headers[i].value;
    }
    return BYTES_ABSENT;
}

bool mark_is_record(const struct mark *mark, const struct record *record)
{
    char epoch[EPOCH_TEXT_SIZE];
    uint8_t chain[SHA256_SIZE];

    epoch_text(&mark->epoch, epoch);
    return bytes_equal_str(record_header(record, EPOCH_HEADER), epoch) &&
           base64url_decode(record_header(record, event_header_names[EVENT_CHAIN]), chain,
                            SHA256_SIZE) &&
           memcmp(chain, mark->chain, SHA256_SIZE) == 0;
}
