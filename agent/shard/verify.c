/* verify.c - see verify.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/shard/verify.h"

#include <inttypes.h>
#include <string.h>

#include "agent/shard/repair.h"
#include "events/event_log.h"

/* The log is read twice: by the check of the chain, and by the replay. */
struct halves {
    replay_progress_fn progress;
    void *context;
};

static void first_half(void *context, uint64_t done, uint64_t total)
{
    const struct halves *halves = context;

    if (halves->progress != NULL)
        halves->progress(halves->context, done, 2 * total);
}

static void second_half(void *context, uint64_t done, uint64_t total)
{
    const struct halves *halves = context;

    if (halves->progress != NULL)
        halves->progress(halves->context, total + done, 2 * total);
}

/* ---- the checks -------------------------------------------------------------------- */

/* Rows that nothing below would read: their blocks are checked by reading them. */
static int check_rows(struct kv *kv, struct error *err)
{
    struct kv_cursor *cursor = NULL;
    struct bytes key, value;
    int r = kv_cursor_open(kv, NULL, KV_META, BYTES_ABSENT, BYTES_ABSENT, &cursor, err);

    while (r == 0)
        r = kv_cursor_next(cursor, &key, &value, err);
    kv_cursor_close(cursor);
    return r < 0 ? r : 0;
}

static int check_head(struct kv *kv, const struct log_identity *identity,
                      const struct head *folded, struct error *err)
{
    struct head stored = {0};
    int r = head_load(kv, identity, &stored, err);

    if (r < 0)
        return r;
    r = head_check_end(kv, &stored, err);
    if (r == 0 && !head_same_fold(&stored, folded))
        r = error_set(err, ERROR_CORRUPT,
                      "the head's time, rules or counts are not those of the log");
    return r;
}

/* Somebody who saw the log at `sequence`, with this chain: does the log still say so? */
static int check_memory(struct kv *kv, const char *who, uint64_t sequence,
                        const uint8_t chain[SHA256_SIZE], struct error *err)
{
    struct arena arena = ARENA_INIT;
    struct event event;

    if (sequence == 0)
        return 0;
    int r = event_log_read(kv, /* batch= */ NULL, sequence, &arena, &event, err);
    if (r == 1)
        r = error_set(err, ERROR_CORRUPT,
                      "the %s knows event %" PRIu64 ", the log lacks it", who, sequence);
    else if (r == 0 && memcmp(event.chain, chain, SHA256_SIZE) != 0)
        r = error_set(err, ERROR_CORRUPT,
                      "the %s knows event %" PRIu64
                      " with another chain than the log has",
                      who, sequence);
    arena_release(&arena);
    return r;
}

static int check_views(struct kv *kv, struct halves *halves, struct error *err)
{
    struct kv *shadow = NULL;
    struct buf difference = BUF_INIT;
    int r = views_replay(kv, second_half, halves, &shadow, err);

    if (r == 0)
        r = views_compare(kv, shadow, &difference, err);
    if (r == 1)
        r = error_set(err, ERROR_CORRUPT,
                      "not what a replay gives: %s; `kinlog rebuild` mends it",
                      buf_cstr(&difference));
    kv_close(shadow);
    buf_release(&difference);
    return r;
}

/* ---- a shard ----------------------------------------------------------------------- */

/* The log itself, and what was known of it. */
static int check_log(struct kv *kv, const struct log_identity *identity,
                     const struct head *witness, struct halves *halves,
                     struct head *ret_folded, struct error *err)
{
    struct mark mark;
    int r = check_rows(kv, err);

    if (r == 0)
        r = store_check_owner(kv, identity, err);
    if (r == 0)
        r = repair_fold_head(kv, identity, first_half, halves, ret_folded, err);
    if (r == 0)
        r = check_memory(kv, "witness", witness->sequence, witness->chain, err);
    if (r == 0)
        r = mark_load(kv, &mark, err);
    if (r == 0)
        r = check_memory(kv, "mark", mark.sequence, mark.chain, err);
    return r;
}

/* Is it the data that is at fault, rather than memory or access rights? */
static bool is_damage(int code)
{
    return code == ERROR_CORRUPT || code == ERROR_INVALID || code == ERROR_NOT_FOUND;
}

static int find(const struct store_folder *folder, uint32_t shard, struct halves *halves,
                struct verdict *verdict, struct error *err)
{
    struct log_identity identity = store_identity(folder, shard);
    struct head witness = {0}, folded = {0};
    struct error witness_fault = {0};
    struct kv *kv = NULL;
    /* Read before the store is frozen: an agent that runs may be ahead of the frozen
     * store, not behind. */
    int seen = witness_read(folder, shard, &witness, &witness_fault);
    if (seen != 0)
        witness.sequence = 0;

    verdict->damage = DAMAGE_STORE;
    int r = store_open_shard(folder, shard, KV_READ_ONLY, &kv, err);
    if (r == 0)
        r = check_log(kv, &identity, &witness, halves, &folded, err);
    if (r == 0) {
        verdict->events = folded.sequence;
        verdict->damage = DAMAGE_DERIVED;
        r = check_head(kv, &identity, &folded, err);
    }
    if (r == 0)
        r = check_views(kv, halves, err);
    kv_close(kv);
    if (r == 0 && seen < 0) {
        verdict->damage = DAMAGE_WITNESS;
        r = error_set(err, seen, "%s", witness_fault.text);
    }
    if (r == 0)
        verdict->damage = DAMAGE_NONE;
    return r;
}

int verify_shard(const struct store_folder *folder, uint32_t shard,
                 replay_progress_fn progress, void *context, struct verdict *ret_verdict,
                 struct error *err)
{
    struct halves halves = {progress, context};

    memset(ret_verdict, 0, sizeof *ret_verdict);
    int r = find(folder, shard, &halves, ret_verdict, &ret_verdict->fault);
    if (r < 0 && !is_damage(r))
        return error_set(err, r, "%s", ret_verdict->fault.text);
    return 0;
}
