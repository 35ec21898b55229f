/* kv.h - an ordered store with atomic batches; the log, the receipts and the views all
 * stand on it.
 *
 * A kv holds a few *spaces*, each an ordered map from bytes to bytes (memcmp order).
 * There are two implementations: RocksDB (kv_open_rocksdb) and memory (kv_open_memory),
 * with equal behaviour.
 *
 * All writing goes through a kv_batch: an ordered overlay of pending puts and deletes.
 * Reading through the batch sees the overlay first, then the store, so a decision sees
 * the ones before it in the same batch. kv_batch_commit() applies the batch atomically,
 * or not at all.
 *
 * Threads: one thread writes. Other processes may open the same folder KV_READ_ONLY or
 * KV_FOLLOW while it is open for writing. A struct kv itself belongs to one thread at a
 * time.
 *
 * Errors: ERROR_LOCKED (another writer has the folder), ERROR_NOT_FOUND (no store there),
 * ERROR_CORRUPT, ERROR_NO_SPACE, ERROR_IO, ERROR_NO_MEMORY, ERROR_VERSION (of a newer
 * Kinlog), ERROR_CONFLICT (KV_CREATE where something is already). A commit that failed
 * with anything else than ERROR_NO_MEMORY may or may not be on disk: close, reopen, look
 * (the write is indeterminate). Until then the store takes no more writes, and err->fatal
 * is set.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef EVENTS_BASE_KV_H
#define EVENTS_BASE_KV_H

#include "events/base/bytes.h"
#include "events/base/error.h"

enum kv_space {
    /* a few named rows; keys that are empty or begin with NUL are the store's own */
    KV_META,
    KV_LOG,      /* key: sequence u64 big-endian; written once, never rewritten */
    KV_RECEIPTS, /* key: hash of a command id */
    KV_VIEWS,    /* rows of the projections */
    KV_SPACES
};

enum kv_mode {
    /* make the folder; fails if a store is there. Only `init` and repair do this */
    KV_CREATE,
    KV_READ_WRITE, /* open the existing store; sole writer */
    KV_READ_ONLY,  /* frozen at open */
    KV_FOLLOW      /* read-only; kv_refresh() catches up with the writer */
};

struct kv;
struct kv_batch;
struct kv_cursor;

int kv_open_memory(struct kv **ret_kv, struct error *err);
int kv_open_rocksdb(const char *path, enum kv_mode mode, struct kv **ret_kv,
                    struct error *err);
void kv_close(struct kv *kv); /* NULL is fine; batches and cursors on it must be gone */

/* Copies the value into *value (cleared first). 0, 1 = no such key, or negative. */
int kv_get(struct kv *kv, enum kv_space space, struct bytes key, struct buf *value,
           struct error *err);

/* KV_FOLLOW: sees what the writer has committed since; no cursor may be open. Elsewhere
 * no effect. */
int kv_refresh(struct kv *kv, struct error *err);

/* A batch may be used again after commit or clear. It takes 1 MB, used as rows are read.
 * NULL = out of memory. */
struct kv_batch *kv_batch_new(struct kv *kv);
void kv_batch_free(struct kv_batch *batch);
void kv_batch_clear(struct kv_batch *batch);
int kv_batch_put(struct kv_batch *batch, enum kv_space space, struct bytes key,
                 struct bytes value, struct error *err); /* copies both */
int kv_batch_delete(struct kv_batch *batch, enum kv_space space, struct bytes key,
                    struct error *err);
/* As kv_get, through the batch. */
int kv_batch_get(struct kv_batch *batch, enum kv_space space, struct bytes key,
                 struct buf *value, struct error *err);
size_t kv_batch_count(const struct kv_batch *batch); /* pending rows */
/* Applies all or nothing; sync = durable before it returns. Clears the batch on success
 * only. */
int kv_batch_commit(struct kv_batch *batch, bool sync, struct error *err);

/* Ascending over [from, to) of a space; to absent = to the end. With a batch, what the
 * batch changes is seen as of the moment of opening; do not change the batch while the
 * cursor is open. */
int kv_cursor_open(struct kv *kv, struct kv_batch *batch_or_null, enum kv_space space,
                   struct bytes from, struct bytes to, struct kv_cursor **ret_cursor,
                   struct error *err);
/* 0 and the next row (borrowed until the next call), 1 = no more, or negative. */
int kv_cursor_next(struct kv_cursor *cursor, struct bytes *ret_key,
                   struct bytes *ret_value, struct error *err);
void kv_cursor_close(struct kv_cursor *cursor);

/* The greatest key of a space (through no batch): 0, 1 = the space is empty, or negative.
 * */
int kv_last_key(struct kv *kv, enum kv_space space, struct buf *ret_key,
                struct error *err);

/* Replaces a whole space (KV_RECEIPTS or KV_VIEWS) at once: rows are put into a new
 * generation in any order, then the names switch and the old one is dropped. A crash
 * before kv_fill_finish() leaves the old one in place. */
struct kv_fill;
int kv_fill_begin(struct kv *kv, enum kv_space space, struct kv_fill **ret_fill,
                  struct error *err);
int kv_fill_put(struct kv_fill *fill, struct bytes key, struct bytes value,
                struct error *err);
int kv_fill_finish(struct kv_fill *fill, struct error *err); /* frees fill in any case */
void kv_fill_abandon(struct kv_fill *fill);

#endif
