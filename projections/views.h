/* views.h - what the projections derive from a shard's events, as one thing to apply and
 * to read.
 *
 * A view is a fold over events: applying the events of the log in order to empty spaces
 * gives exactly the rows that were kept along the way. Rows live in KV_VIEWS and
 * KV_RECEIPTS; all writing goes through the batch. Views know neither Kafka nor RocksDB,
 * no clock, no configuration.
 *
 * View rows (KV_VIEWS), by their first byte, one file each:
 *   'D' u32 resource id                    a device           (device_view.c)
 *   'R' u32 resource id, folded user name  a relationship     (relationship_view.c)
 *   'I' u32 relationship resource id       -> the 'R' key     (relationship_view.c)
 *   'S' u8 slot                            relationships created in the slot so far
 *   'P' policy name                        a policy value     (policy_view.c)
 *   'T' u64 due time, name                 a timer            (timer_view.c)
 *   'U' u32 resource id, folded user name  use of a device    (usage_view.c)
 *   'A' u32 source, u32 restore            an association     (association_view.c)
 *   'M' u64 number of a MigrationID        -> the 'A' key     (association_view.c)
 *   'C' u64 number, 'c' u64 number         a request to another shard, an open one (request_view.c)
 *   'Q' u64 number, 'q' u32 resource id    the replacement of a device that waits (replacement_view.c)
 *   'F' object, NUL, position of a request a reference        (reference_view.c)
 * Receipts (KV_RECEIPTS; receipt_view.c):
 *   16 bytes of SHA-256(source, NUL, id)                  -> content hash, first sequence, count
 *   the same 16 bytes, 22 bytes of another content hash   -> first sequence of the conflict's answer
 * Digest buckets (KV_META, "digest/<view>/<digit>"; digest.c).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PROJECTIONS_VIEWS_H
#define PROJECTIONS_VIEWS_H

#include "events/base/bytes.h"
#include "events/base/kv.h"
#include "events/event.h"

/* Digests are kept per view; these are their names in `status`. */
enum view {
    VIEW_DEVICES,       /* 'D' */
    VIEW_RELATIONSHIPS, /* 'R', 'I', 'S' */
    VIEW_POLICY,        /* 'P' */
    VIEW_TIMERS,        /* 'T' */
    VIEW_USAGE,         /* 'U' */
    VIEW_ASSOCIATIONS,  /* 'A', 'M' */
    VIEW_REQUESTS,      /* 'C', 'c', 'Q', 'q' */
    VIEW_REFERENCES,    /* 'F' */
    VIEW_RECEIPTS,
    VIEWS
};
extern const char *const view_names[VIEWS]; /* "devices", ... */

struct views; /* holds the digests under construction and scratch memory */

/* batch may be NULL for reading only. Loads the digests. kv and batch are borrowed. */
int views_open(struct kv *kv, struct kv_batch *batch, struct views **ret_views,
               struct error *err);
void views_close(struct views *views);
/* Forgets what is not committed (the caller clears the batch): reloads the digests. */
int views_reload(struct views *views, struct error *err);

/* Applies one event: data is the decoded struct of its schema, or NULL to have it decoded
 * from event->data. Events of one command are applied in order. ERROR_CORRUPT if the
 * event does not fit the views. */
int views_apply(struct views *views, const struct event *event, const void *data,
                struct error *err);
/* Writes the digests' changed buckets into the batch; call once before each commit. */
int views_flush(struct views *views, struct error *err);
/* hex SHA-256 over the buckets of a view; the format stands in digest.c. */
void views_digest(const struct views *views, enum view view, char ret_hex[65]);

/* ---- devices ----------------------------------------------------------------------- */

struct device {
    uint32_t resource_id;
    struct bytes name; /* absent for a stub */
    uint32_t client_type;
    struct bytes *mac_addresses;
    size_t mac_address_count; /* 0 = null */
    struct bytes domain;      /* may be absent */
    uint64_t version;
};
/* 0, 1 = unknown, or negative. Text goes into arena. */
int device_get(struct views *views, uint32_t resource_id, struct arena *arena,
               struct device *ret_device, struct error *err);

/* ---- relationships ----------------------------------------------------------------- */

#define RELATIONSHIP_LIST_MAX 16 /* 9 sources, 1 type: a list never grows beyond */

struct relationship {
    uint32_t resource_id;
    struct bytes unique_user_name; /* the spelling first seen */
    uint32_t relationship_resource_id;
    int64_t creation_time_ms;
    bool is_active;
    bool is_pending; /* waits for approval; it has no types then */
    uint32_t sources[RELATIONSHIP_LIST_MAX]; /* in the order in which they came */
    size_t source_count;
    uint32_t types[RELATIONSHIP_LIST_MAX];
    size_t type_count;
    uint64_t version;
};
int relationship_get(struct views *views, uint32_t resource_id, struct bytes user_name,
                     struct arena *arena, struct relationship *ret_relationship,
                     struct error *err);
int relationship_get_by_id(struct views *views, uint32_t relationship_resource_id,
                           struct arena *arena, struct relationship *ret_relationship,
                           struct error *err);
/* All of one device (0 = of all devices), in key order; 0, 1 = no more, negative. Close
 * in any case. */
struct relationship_scan;
int relationship_scan_open(struct views *views, uint32_t resource_id,
                           struct relationship_scan **ret_scan, struct error *err);
int relationship_scan_next(struct relationship_scan *scan,
                           struct relationship *ret_relationship,
                           struct error *err); /* text borrowed until the next call */
void relationship_scan_close(struct relationship_scan *scan);
/* How many relationships were ever created in a slot. */
int relationship_slot_count(struct views *views, uint32_t slot, uint32_t *ret_count,
                            struct error *err);

/* Likewise for devices. */
struct device_scan;
int device_scan_open(struct views *views, struct device_scan **ret_scan,
                     struct error *err);
int device_scan_next(struct device_scan *scan, struct device *ret_device,
                     struct error *err);
void device_scan_close(struct device_scan *scan);

/* ---- policy ------------------------------------------------------------------------ */

struct policy {
    char name[65];
    char value[1025];
    uint64_t revision;
    uint64_t version;
};
/* Unknown or never set: the default value with revision 0 and version 0, and 1 is
 * returned. */
int policy_get(struct views *views, const char *name, struct policy *ret_policy,
               struct error *err);
/* highest seen */
int policy_revision(struct views *views, uint64_t *ret_revision, struct error *err);
/* The names that exist, with default and what is allowed; index past the end gives NULL.
 * */
struct policy_name {
    const char *name;
    const char *default_value;
    const char *allowed; /* for people */
};
const struct policy_name *policy_name_at(size_t index);

/* ---- timers ------------------------------------------------------------------------ */

/* The earliest due time: 0, or 1 = no timer is set. A Tick is worth sending when it has
 * passed. */
int timer_next(struct views *views, int64_t *ret_due_ms, struct error *err);

/* ---- receipts ---------------------------------------------------------------------- */

#define CONTENT_HASH_SIZE 22 /* base64url of 16 bytes, no NUL */

enum receipt_match {
    RECEIPT_NONE, /* the id is new */
    /* known with this content: answer from first_sequence, count events */
    RECEIPT_SAME,
    /* likewise, but it asked another shard: its answer is still to be made */
    RECEIPT_PENDING,
    RECEIPT_CONFLICT, /* known with other content, and this content is new */
    /* known with other content; this one was answered before: first_sequence */
    RECEIPT_CONFLICT_SEEN
};
struct receipt {
    enum receipt_match match;
    uint64_t first_sequence; /* of a command that asked: of the event that concluded it */
    uint32_t count;
    bool asked; /* another shard */
};
/* content_hash absent: any content matches (`show`). */
int receipt_find(struct views *views, struct bytes source, struct bytes id,
                 struct bytes content_hash, struct receipt *ret_receipt,
                 struct error *err);

/* ---- replay ------------------------------------------------------------------------ */

typedef void (*replay_progress_fn)(void *context, uint64_t done, uint64_t total);

/* Folds the events 1..last of kv's log into empty memory; *ret_shadow then holds views,
 * receipts and digests of that replay (kv_close it). */
int views_replay(struct kv *kv, replay_progress_fn progress, void *context,
                 struct kv **ret_shadow, struct error *err);
/* Compares views, receipts and digests of kv with shadow: 0 = equal, 1 = different:
 * *ret_difference names space and key of the first difference (hex or text, no personal
 * data). */
int views_compare(struct kv *kv, struct kv *shadow, struct buf *ret_difference,
                  struct error *err);
/* Replays and puts views, receipts and digests in the place of the present ones. */
int views_rebuild(struct kv *kv, replay_progress_fn progress, void *context,
                  struct error *err);

#endif
