/* replay.c - the log folded anew: the specification of the views, and the cure for
 * damaged ones.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/event_log.h"
#include "projections/views_internal.h"

/* Bounds the batch in memory; the figure hardly matters for speed. */
#define REPLAY_BATCH_EVENTS 1000

struct replay {
    struct kv *shadow;
    struct kv_batch *batch;
    struct views *views;
    struct event_scan *scan;
    uint64_t last;
};

static int replay_open(struct replay *replay, struct kv *kv, struct error *err)
{
    int code = event_log_last(kv, &replay->last, err);

    if (code == 0)
        code = kv_open_memory(&replay->shadow, err);
    if (code != 0)
        return code;
    replay->batch = kv_batch_new(replay->shadow);
    if (replay->batch == NULL)
        return views_no_memory(err);
    code = views_open(replay->shadow, replay->batch, &replay->views, err);
    if (code == 0)
        code =
            event_scan_open(kv, /* batch= */ NULL, 1, replay->last, &replay->scan, err);
    return code;
}

static int replay_commit(struct replay *replay, struct error *err)
{
    int code = views_flush(replay->views, err);

    return code != 0 ? code : kv_batch_commit(replay->batch, /* sync= */ false, err);
}

static int replay_run(struct replay *replay, replay_progress_fn progress, void *context,
                      struct error *err)
{
    struct event event;
    int code;

    while ((code = event_scan_next(replay->scan, &event, err)) == 0) {
        code = views_apply(replay->views, &event, /* data= */ NULL, err);
        if (code == 0 && event.sequence % REPLAY_BATCH_EVENTS == 0) {
            code = replay_commit(replay, err);
            if (progress != NULL)
                progress(context, event.sequence, replay->last);
        }
        if (code != 0)
            return code;
    }
    if (code == 1)
        code = replay_commit(replay, err);
    if (code == 0 && progress != NULL)
        progress(context, replay->last, replay->last);
    return code;
}

int views_replay(struct kv *kv, replay_progress_fn progress, void *context,
                 struct kv **ret_shadow, struct error *err)
{
    struct replay replay = {0};
    int code = replay_open(&replay, kv, err);

    if (code == 0)
        code = replay_run(&replay, progress, context, err);
    event_scan_close(replay.scan);
    views_close(replay.views);
    kv_batch_free(replay.batch);
    if (code != 0) {
        kv_close(replay.shadow);
        return code;
    }
    *ret_shadow = replay.shadow;
    return 0;
}

/* ---- comparing --------------------------------------------------------------------- */

/* One space of both stores, read side by side. */
struct pair {
    enum kv_space space;
    struct kv_cursor *cursors[2];
    struct bytes keys[2];
    struct bytes rows[2];
    bool ended[2];
};

static int step(struct pair *pair, size_t side, struct error *err)
{
    int code =
        kv_cursor_next(pair->cursors[side], &pair->keys[side], &pair->rows[side], err);

    if (code == 1) {
        pair->ended[side] = true;
        return 0;
    }
    return code;
}

/* Names a row without what its key may hold of a person. */
static void describe_key(enum kv_space space, struct bytes key, struct bytes row,
                         struct buf *out)
{
    char kind = key.size > 0 ? (char)key.data[0] : '\0';

    if (space == KV_RECEIPTS) {
        buf_append_str(out, "receipts: ");
        hex_append(out, key.data, key.size < 16 ? key.size : 16);
        if (key.size > 16)
            buf_append_str(out, " (a conflict)");
        return;
    }
    buf_append_str(out, "views: ");
    if (kind == 'D' && key.size == 5) {
        buf_printf(out, "device %u", read_u32be(key.data + 1));
    } else if (kind == 'R' && key.size >= 5 && row.size >= 12) {
        buf_printf(out, "relationship %u of device %u", read_u32be(row.data + 8),
                   read_u32be(key.data + 1));
    } else if (kind == 'I' && key.size == 5) {
        buf_printf(out, "index of relationship %u", read_u32be(key.data + 1));
    } else if (kind == 'S' && key.size == 2) {
        buf_printf(out, "relationships created in slot %u", key.data[1]);
    } else if (kind == 'P') {
        buf_append_str(out, "policy ");
        buf_append(out, key.data + 1, key.size - 1);
    } else if (kind == 'T' && key.size >= 9) {
        buf_printf(out, "timer due at %llu",
                   (unsigned long long)read_u64be(key.data + 1));
    } else if (kind == 'U' && key.size >= 5) {
        buf_printf(out, "use of device %u by one of its users", read_u32be(key.data + 1));
    } else {
        buf_printf(out, "a row of unknown kind 0x%02x", (unsigned)(unsigned char)kind);
    }
}

/* 0 = the rows at hand are equal, 1 = they differ. */
static int compare_rows(const struct pair *pair, struct buf *ret_difference)
{
    int order;

    if (pair->ended[0] || pair->ended[1])
        order = pair->ended[0] ? 1 : -1;
    else
        order = bytes_compare(pair->keys[0], pair->keys[1]);
    if (order == 0 && bytes_equal(pair->rows[0], pair->rows[1]))
        return 0;
    size_t side = order > 0 ? 1 : 0;
    buf_clear(ret_difference);
    describe_key(pair->space, pair->keys[side], pair->rows[side], ret_difference);
    buf_append_str(ret_difference,
                   order == 0  ? ": the row differs from the replay of the log"
                   : order > 0 ? ": missing, the replay of the log has it"
                               : ": the replay of the log does not have it");
    return 1;
}

static int compare_space(struct kv *kv, struct kv *shadow, enum kv_space space,
                         struct buf *ret_difference, struct error *err)
{
    struct pair pair = {.space = space};
    struct bytes from = bytes_of("", 0);
    int code = kv_cursor_open(kv, NULL, space, from, BYTES_ABSENT, &pair.cursors[0], err);

    if (code == 0)
        code = kv_cursor_open(shadow, NULL, space, from, BYTES_ABSENT, &pair.cursors[1],
                              err);
    while (code == 0) {
        code = step(&pair, 0, err);
        if (code == 0)
            code = step(&pair, 1, err);
        if (code != 0 || (pair.ended[0] && pair.ended[1]))
            break;
        code = compare_rows(&pair, ret_difference);
    }
    kv_cursor_close(pair.cursors[0]);
    kv_cursor_close(pair.cursors[1]);
    return code;
}

/* Equal rows with other digests: a digest row is damaged. */
static int compare_digests(struct kv *kv, struct kv *shadow, struct buf *ret_difference,
                           struct error *err)
{
    struct views *views[2] = {NULL, NULL};
    int code = views_open(kv, /* batch= */ NULL, &views[0], err);

    if (code == 0)
        code = views_open(shadow, /* batch= */ NULL, &views[1], err);
    for (size_t view = 0; view < VIEWS && code == 0; view++) {
        char hex[2][65];
        views_digest(views[0], (enum view)view, hex[0]);
        views_digest(views[1], (enum view)view, hex[1]);
        if (!bytes_equal_str(bytes_str(hex[0]), hex[1])) {
            buf_clear(ret_difference);
            buf_printf(ret_difference,
                       "meta: the digest of %s differs from that of its rows",
                       view_names[view]);
            code = 1;
        }
    }
    views_close(views[0]);
    views_close(views[1]);
    return code;
}

int views_compare(struct kv *kv, struct kv *shadow, struct buf *ret_difference,
                  struct error *err)
{
    int code = compare_space(kv, shadow, KV_VIEWS, ret_difference, err);

    if (code == 0)
        code = compare_space(kv, shadow, KV_RECEIPTS, ret_difference, err);
    if (code == 0)
        code = compare_digests(kv, shadow, ret_difference, err);
    if (code == 1 && ret_difference->failed)
        return views_no_memory(err);
    return code;
}

/* ---- rebuilding -------------------------------------------------------------------- */

static int fill_space(struct kv *kv, struct kv *shadow, enum kv_space space,
                      struct error *err)
{
    struct kv_cursor *cursor = NULL;
    struct kv_fill *fill = NULL;
    struct bytes key, row;
    int code =
        kv_cursor_open(shadow, NULL, space, bytes_of("", 0), BYTES_ABSENT, &cursor, err);

    if (code == 0)
        code = kv_fill_begin(kv, space, &fill, err);
    while (code == 0 && (code = kv_cursor_next(cursor, &key, &row, err)) == 0)
        code = kv_fill_put(fill, key, row, err);
    kv_cursor_close(cursor);
    if (code == 1)
        return kv_fill_finish(fill, err);
    if (fill != NULL)
        kv_fill_abandon(fill);
    return code;
}

/* The shadow's digests take the place of all of kv's. */
static int copy_digests(struct kv *kv, struct kv *shadow, struct error *err)
{
    struct views *views = NULL;
    struct kv_batch *batch = kv_batch_new(kv);
    int code = batch == NULL ? views_no_memory(err) : 0;

    if (code == 0)
        code = views_open(shadow, /* batch= */ NULL, &views, err);
    if (code == 0)
        code = digests_replace(views->digests, kv, batch, err);
    if (code == 0)
        code = kv_batch_commit(batch, /* sync= */ true, err);
    views_close(views);
    kv_batch_free(batch);
    return code;
}

int views_rebuild(struct kv *kv, replay_progress_fn progress, void *context,
                  struct error *err)
{
    struct kv *shadow = NULL;
    int code = views_replay(kv, progress, context, &shadow, err);

    if (code == 0)
        code = fill_space(kv, shadow, KV_VIEWS, err);
    if (code == 0)
        code = fill_space(kv, shadow, KV_RECEIPTS, err);
    if (code == 0)
        code = copy_digests(kv, shadow, err);
    kv_close(shadow);
    return code;
}
