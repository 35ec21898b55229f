/* kv_backend.h - what an implementation of kv.h provides to kv.c. For kv_*.c only.
 *
 * kv.c does what is the same for every store: batches, merged cursors, the rules about
 * reserved keys and about stores that are read-only or have failed. A backend embeds
 * struct kv as its first member and is called through the table; it may rely on arguments
 * that kv.c has checked.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef EVENTS_BASE_KV_BACKEND_H
#define EVENTS_BASE_KV_BACKEND_H

#include "events/base/kv.h"
#include "events/base/ordered_map.h"

struct kv_scan; /* a backend's own cursor, over what is committed */

struct kv_ops {
    int (*get)(struct kv *kv, enum kv_space space, struct bytes key, struct buf *value,
               struct error *err);
    int (*last_key)(struct kv *kv, enum kv_space space, struct buf *ret_key,
                    struct error *err);
    int (*refresh)(struct kv *kv, struct error *err);
    void (*close)(struct kv *kv);

    /* Sees the store as of the moment of opening. to is borrowed until scan_close. */
    int (*scan_open)(struct kv *kv, enum kv_space space, struct bytes from,
                     struct bytes to, struct kv_scan **ret_scan, struct error *err);
    int (*scan_next)(struct kv_scan *scan, struct bytes *ret_key, struct bytes *ret_value,
                     struct error *err);
    void (*scan_close)(struct kv_scan *scan);

    /* All of the changes, or none. ERROR_NO_MEMORY promises: none. */
    int (*apply)(struct kv *kv, struct ordered_map changes[KV_SPACES], bool sync,
                 struct error *err);

    int (*fill_begin)(struct kv *kv, enum kv_space space, struct kv_fill **ret_fill,
                      struct error *err);
    int (*fill_put)(struct kv_fill *fill, struct bytes key, struct bytes value,
                    struct error *err);
    int (*fill_finish)(struct kv_fill *fill, struct error *err); /* frees fill */
    void (*fill_abandon)(struct kv_fill *fill);
};

struct kv {
    const struct kv_ops *ops;
    bool writable;
    int failed; /* the error code of the write after which none may follow, or 0 */
    bool filling[KV_SPACES]; /* a fill of the space has begun and not ended */
    size_t cursors;          /* open ones */
    uint64_t writes;         /* how often the rows have or may have changed */
};

/* The first member of a backend's struct kv_fill. */
struct kv_fill_base {
    struct kv *kv;
    enum kv_space space;
};

#endif
