/* store.h - the data folder: what is in it, who has it, and the few rows that say how far
 * a shard is.
 *
 *   <data_dir>/kinlog.json      format, log id, site, shards, site key's fingerprint; written once by init
 *   <data_dir>/site.key         64 hex digits; mode 0600
 *   <data_dir>/lock             locked (flock) by the running agent, or by a command that writes
 *   <data_dir>/shard-<n>/       the shard's RocksDB store
 *   <data_dir>/shard-<n>.old-<k>/ a former store, set aside by `init` or `rebuild`
 *   <data_dir>/shard-<n>.witness  the head (sequence, chain, offset) outside the store
 *   <data_dir>/shard-<n>.in-hand  which commands are being handled (in_hand.h)
 *
 * kinlog.json and the witnesses end with a check sum: one flipped digit would make another
 * log, or another end, out of them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_STORE_H
#define AGENT_SHARD_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/shard/site_key.h"
#include "events/base/error.h"
#include "events/base/kv.h"
#include "events/event.h"

#define STORE_FORMAT 2

struct store_folder {
    char *path;
    struct log_identity identity;                /* shard is 0 here */
    char fingerprint[SITE_KEY_FINGERPRINT_SIZE]; /* as kinlog.json has it */
    /* SITE_KEY_SIZE bytes of secret_new(); NULL: a reader may lack the right to read it */
    uint8_t *site_key;
    int lock_fd; /* -1: opened for reading */
};

/* Reads kinlog.json and site.key; writing takes the lock (ERROR_LOCKED: in use by another
 * agent). ERROR_NOT_FOUND: run init first; ERROR_VERSION: the folder is from a newer
 * version; ERROR_CONFLICT: site.key is not that of the log (writing only); ERROR_IO: not
 * readable or not writable. */
int store_folder_open(const char *path, bool writing, struct store_folder **ret_folder,
                      struct error *err);
void store_folder_close(struct store_folder *folder);
/* Is site.key there, and the log's? Writing has checked it already. ERROR_NOT_FOUND,
 * ERROR_CONFLICT. */
int store_check_site_key(const struct store_folder *folder, struct error *err);
/* Is a process holding the lock? */
bool store_folder_in_use(const char *path);

/* ERROR_CONFLICT if the folder holds a log. */
int store_folder_check_new(const char *path, struct error *err);

/* What a new shard's store begins with. kv is open for writing, for the call. */
typedef int (*store_start_fn)(const struct store_folder *folder, uint32_t shard,
                              struct kv *kv, void *context, struct error *err);
/* Makes folder, site.key (0600), a store for each shard, and kinlog.json last: a folder that has it is
 * whole. start (may be NULL) is called for each shard. */
int store_folder_create(const char *path, const struct log_identity *identity,
                        const uint8_t site_key[SITE_KEY_SIZE], store_start_fn start,
                        void *context, struct error *err);
/* Writes kinlog.json. */
int store_describe(const char *path, const struct log_identity *identity,
                   const uint8_t site_key[SITE_KEY_SIZE], struct error *err);

struct log_identity store_identity(const struct store_folder *folder, uint32_t shard);
int store_open_shard(const struct store_folder *folder, uint32_t shard, enum kv_mode mode,
                     struct kv **ret_kv, struct error *err);
/* Renames a shard's store, if there is one, to shard-<n>.old-<k>. */
int store_set_aside(const struct store_folder *folder, uint32_t shard, struct error *err);
/* Is the log in the store that of this folder and this shard? An empty store may be
 * anybody's. */
int store_check_owner(struct kv *kv, const struct log_identity *identity,
                      struct error *err);

/* ---- rows of KV_META --------------------------------------------------------------- */

/* Where the shard's log ends. What is derived from events alone is a fold (head_apply).
 * */
struct head {
    uint64_t sequence;          /* 0 = empty */
    uint8_t chain[SHA256_SIZE]; /* chain(0) when empty */
    int64_t time_ms;            /* core time of the last event */
    /* command offset of the last event; StartOffset - 1 after LogStarted */
    int64_t event_offset;
    /* of commands: where consuming goes on; >= event_offset + 1 */
    int64_t next_offset;
    uint32_t rules;
    uint64_t refused;       /* CommandRejected events so far */
    uint64_t dead_lettered; /* RecordDeadLettered events so far */
};
void head_start(struct sha256 *hasher, const struct log_identity *identity,
                struct head *ret_head);
/* data: the decoded struct of LogStarted, PositionAdvanced, PolicyChanged; NULL to decode
 * it here. */
int head_apply(struct head *head, const struct event *event, struct error *err);

/* Are they equal in what is a fold over the log? The position may rightly be ahead. */
bool head_same_fold(const struct head *a, const struct head *b);

/* The last consumed record of commands, to notice a topic made anew. */
struct anchor {
    bool set;
    int64_t offset;
    int64_t timestamp_ms;
    uint8_t sha256[SHA256_SIZE]; /* of key and value, each as u32 length and bytes */
};
void anchor_of(struct sha256 *hasher, int64_t offset, int64_t timestamp_ms,
               struct bytes key, struct bytes value, struct anchor *ret_anchor);

#define CLAIM_ID_SIZE 33 /* 32 hex digits and NUL */
struct epoch {
    uint64_t number; /* 0 = none seen */
    char id[CLAIM_ID_SIZE];
};

/* Up to which event the topic is known to hold this log, always the end of a command. */
struct mark {
    uint64_t sequence; /* 0 = nothing known */
    uint8_t chain[SHA256_SIZE];
    int64_t offset;     /* of that event's record in the events topic */
    struct epoch epoch; /* which stands in that record */
};

enum shard_role { SHARD_STOPPED, SHARD_FOLLOWER, SHARD_CLAIMING, SHARD_OWNER };
/* "stopped", "follower", "claiming", "owner" */
extern const char *const shard_role_names[];

struct shard_status {
    enum shard_role role;
    struct epoch epoch; /* the highest seen */
    uint64_t answered;  /* answer cursor: all up to here is answered */
    uint64_t forwarded; /* counted here, not in the log */
    char reason[512];   /* why the shard does not go on; "" if it does */
    /* of the brokers that offsets belong to; "" = not yet known */
    char cluster_id[64];
};

int head_load(struct kv *kv, const struct log_identity *identity, struct head *ret_head,
              struct error *err);
int head_store(struct kv_batch *batch, const struct head *head, struct error *err);
/* Does the log end where the head says? A store whose files were tampered with may open
 * without an error and without its newest part. */
int head_check_end(struct kv *kv, const struct head *head, struct error *err);
int anchor_load(struct kv *kv, struct anchor *ret_anchor, struct error *err);
int anchor_store(struct kv_batch *batch, const struct anchor *anchor, struct error *err);
int mark_load(struct kv *kv, struct mark *ret_mark, struct error *err);
int mark_store(struct kv_batch *batch, const struct mark *mark, struct error *err);
int shard_status_load(struct kv *kv, struct shard_status *ret_status, struct error *err);
int shard_status_store(struct kv_batch *batch, const struct shard_status *status,
                       struct error *err);

/* The witness: written by rename, so it is whole or the one before. */
int witness_write(const struct store_folder *folder, uint32_t shard,
                  const struct head *head, struct error *err);
/* 0, 1 = there is none, or negative. Only sequence, chain and event_offset are set. */
int witness_read(const struct store_folder *folder, uint32_t shard, struct head *ret_head,
                 struct error *err);

#endif
