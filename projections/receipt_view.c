/* receipt_view.c - which command ids were seen, with which content, and where their
 * events are.
 *
 * Rows of KV_RECEIPTS, integers big-endian; id = the first 16 bytes of SHA-256(source,
 * NUL, id):
 *   key id                  row: u64 first sequence | u32 count of events | content hash to the end
 *   key id, content hash    row: u64 sequence of the CommandRejected that answered the conflict
 * A content hash is 22 characters, or "-". A receipt is an index into the log, not a
 * second truth; it is written with the last event of its command, since a command's
 * events take effect together.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "projections/request_view.h"
#include "projections/views_internal.h"

#define ID_SIZE 16

static void id_hash(struct views *views, struct bytes source, struct bytes id,
                    uint8_t ret_hash[SHA256_SIZE])
{
    sha256_begin(views->hasher);
    sha256_add(views->hasher, source.data, source.size);
    sha256_add(views->hasher, "", 1);
    sha256_add(views->hasher, id.data, id.size);
    sha256_end(views->hasher, ret_hash);
}

/* Makes views->key the key of a receipt; of a conflict if content_hash is not absent. */
static int make_key(struct views *views, struct bytes source, struct bytes id,
                    struct bytes content_hash, struct error *err)
{
    uint8_t hash[SHA256_SIZE];

    id_hash(views, source, id, hash);
    buf_clear(&views->key);
    buf_append(&views->key, hash, ID_SIZE);
    if (content_hash.data != NULL)
        buf_append_bytes(&views->key, content_hash);
    return views->key.failed ? views_no_memory(err) : 0;
}

static int apply_conflict(struct views *views, const struct event *event,
                          struct error *err)
{
    struct bytes old;

    int code =
        make_key(views, event->causation_source, event->causation_id, BYTES_ABSENT, err);
    if (code == 0)
        code = row_get(views, VIEW_RECEIPTS, buf_bytes(&views->key), &views->row, err);
    if (code == 1)
        return event_misfit(event, "a conflict with a command that was never seen", err);
    if (code == 0)
        code = make_key(views, event->causation_source, event->causation_id,
                        event->content_hash, err);
    if (code == 0)
        code = row_open(views, VIEW_RECEIPTS, buf_bytes(&views->key), &old, err);
    if (code != 0)
        return code;
    if (old.data != NULL)
        return event_misfit(event, "a conflict that was answered before", err);
    buf_clear(&views->row);
    if (buf_append_u64be(&views->row, event->sequence) != 0)
        return views_no_memory(err);
    return row_set(views, buf_bytes(&views->row), err);
}

int receipt_apply(struct views *views, const struct event *event, bool conflict,
                  struct error *err)
{
    struct bytes old;

    if (event->causation_id.data == NULL || !event->has_command ||
        event->index < event->count)
        return 0;
    if (event->count == 0 || event->sequence < event->count)
        return event_misfit(event, "its place within its command is impossible", err);
    if (conflict)
        return apply_conflict(views, event, err);
    int code =
        make_key(views, event->causation_source, event->causation_id, BYTES_ABSENT, err);
    if (code == 0)
        code = row_open(views, VIEW_RECEIPTS, buf_bytes(&views->key), &old, err);
    if (code != 0)
        return code;
    if (old.data != NULL)
        return event_misfit(event, "its command was decided before", err);
    buf_clear(&views->row);
    buf_append_u64be(&views->row, event->sequence - event->count + 1);
    buf_append_u32be(&views->row, event->count);
    if (buf_append_bytes(&views->row, event->content_hash) != 0)
        return views_no_memory(err);
    return row_set(views, buf_bytes(&views->row), err);
}

/* The id is known with other content: was this content answered before? */
static int find_conflict(struct views *views, struct bytes source, struct bytes id,
                         struct bytes content_hash, struct receipt *ret_receipt,
                         struct error *err)
{
    int code = make_key(views, source, id, content_hash, err);

    if (code == 0)
        code = row_get(views, VIEW_RECEIPTS, buf_bytes(&views->key), &views->row, err);
    if (code < 0)
        return code;
    if (code == 1) {
        *ret_receipt = (struct receipt){.match = RECEIPT_CONFLICT};
        return 0;
    }
    struct row_reader reader = row_reader_of(buf_bytes(&views->row));
    uint64_t sequence = row_take_u64(&reader);
    if (!row_reader_done(&reader))
        return row_damaged(VIEW_RECEIPTS, err);
    *ret_receipt = (struct receipt){
        .match = RECEIPT_CONFLICT_SEEN, .first_sequence = sequence, .count = 1};
    return 0;
}

/* A command that asked another shard is answered with what concluded its request. */
static int follow_request(struct views *views, struct receipt *receipt, struct error *err)
{
    struct arena arena = ARENA_INIT;
    struct request request;
    int code = request_get(views, receipt->first_sequence, &arena, &request, err);

    arena_release(&arena);
    if (code != 0)
        return code < 0 ? code : 0;
    if (request.outcome == 0) {
        receipt->match = RECEIPT_PENDING;
    } else {
        receipt->first_sequence = request.outcome;
        receipt->count = 1;
        receipt->asked = true;
    }
    return 0;
}

int receipt_find(struct views *views, struct bytes source, struct bytes id,
                 struct bytes content_hash, struct receipt *ret_receipt,
                 struct error *err)
{
    int code = make_key(views, source, id, BYTES_ABSENT, err);

    if (code == 0)
        code = row_get(views, VIEW_RECEIPTS, buf_bytes(&views->key), &views->row, err);
    if (code < 0)
        return code;
    if (code == 1) {
        *ret_receipt = (struct receipt){.match = RECEIPT_NONE};
        return 0;
    }
    struct row_reader reader = row_reader_of(buf_bytes(&views->row));
    uint64_t first_sequence = row_take_u64(&reader);
    uint32_t count = row_take_u32(&reader);
    if (reader.failed)
        return row_damaged(VIEW_RECEIPTS, err);
    if (content_hash.data != NULL && !bytes_equal(reader.rest, content_hash))
        return find_conflict(views, source, id, content_hash, ret_receipt, err);
    *ret_receipt = (struct receipt){
        .match = RECEIPT_SAME, .first_sequence = first_sequence, .count = count};
    return follow_request(views, ret_receipt, err);
}
