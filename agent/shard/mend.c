/* mend.c - see mend.h.
 *
 *   found                                        done
 *   nothing                                      the topic is compared; nothing is changed
 *   the witness cannot be read                   written anew, if store and topic agree
 *   views, receipts, digests, head               made anew from the log
 *   log, store missing, another shard's,         a new store is filled beside it from the topic, checked
 *   older than the witness                       against mark and witness, and takes its place by renaming
 *   the topic lacks what it had acknowledged     refused: `rebuild` decides
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/shard/mend.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/shard/refill.h"
#include "agent/shard/repair.h"
#include "agent/shard/verify.h"
#include "events/base/datetime.h"
#include "events/event_log.h"

struct mending {
    struct refill refill;
    struct mend_report *report;
    /* What is known of the log besides the topic; sequence 0 = nothing. */
    struct head witness;
    struct mark mark;
    uint64_t last; /* event of the damaged store, as far as it can be read */
    char store[PATH_MAX], staging[PATH_MAX];
};

static int refuse(struct mending *mending, const char *reason, const char *way)
{
    mending->report->mended = MENDED_REFUSED;
    (void)snprintf(mending->report->refused, sizeof mending->report->refused,
                   "%.500s. %.400s", reason, way);
    return 0;
}

/* ---- folders ----------------------------------------------------------------------- */

static int make_paths(struct mending *mending, struct error *err)
{
    const struct refill *refill = &mending->refill;
    int size = snprintf(mending->staging, sizeof mending->staging, "%s/shard-%u.refill",
                        refill->folder->path, refill->shard);

    if (size < 0 || size >= (int)sizeof mending->staging - 32)
        return error_set(err, ERROR_INVALID, "the path of the data folder is too long");
    (void)snprintf(mending->store, sizeof mending->store, "%s/shard-%u",
                   refill->folder->path, refill->shard);
    return 0;
}

/* A store that a repair did not finish: nobody needs it. */
static void remove_staging(const struct mending *mending)
{
    DIR *folder = opendir(mending->staging);

    if (folder != NULL) {
        for (struct dirent *entry = readdir(folder); entry != NULL;
             entry = readdir(folder))
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
        (void)closedir(folder);
    }
    (void)rmdir(mending->staging);
}

static int sync_parent(const struct mending *mending, struct error *err)
{
    int fd = open(mending->refill.folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = fd < 0 || fsync(fd) != 0
                   ? error_set(err, ERROR_IO, "cannot sync %s: %s",
                               mending->refill.folder->path, strerror(errno))
                   : 0;

    if (fd >= 0)
        (void)close(fd);
    return code;
}

/* shard-<n>.damaged-<date>-<number> */
static int put_aside(struct mending *mending, struct error *err)
{
    char *aside = mending->report->aside;
    char date[RFC3339_SIZE];
    unsigned number = 1;

    if (access(mending->store, F_OK) != 0 && errno == ENOENT)
        return 0;
    rfc3339_format(clock_wall_ms(), date);
    do {
        (void)snprintf(aside, PATH_MAX, "%.4000s.damaged-%.10s-%u", mending->store, date,
                       number++);
    } while (access(aside, F_OK) == 0);
    if (rename(mending->store, aside) == 0)
        return 0;
    int code = error_set(err, ERROR_IO, "cannot rename %s to %s: %s", mending->store,
                         aside, strerror(errno));
    aside[0] = '\0';
    return code;
}

/* A crash between the two leaves no store, and another repair fills one again. */
static int exchange(struct mending *mending, struct error *err)
{
    int code = put_aside(mending, err);

    if (code == 0 && rename(mending->staging, mending->store) != 0)
        code = error_set(err, ERROR_IO, "cannot rename %s to %s: %s", mending->staging,
                         mending->store, strerror(errno));
    return code != 0 ? code : sync_parent(mending, err);
}

/* ---- what is known of the log ------------------------------------------------------ */

/* What can still be read of the damaged store, if it is this shard's. */
static void remember(struct mending *mending)
{
    const struct refill *refill = &mending->refill;
    struct log_identity identity = store_identity(refill->folder, refill->shard);
    struct kv *kv = NULL;

    if (store_open_shard(refill->folder, refill->shard, KV_READ_ONLY, &kv, NULL) == 0 &&
        store_check_owner(kv, &identity, NULL) == 0) {
        if (mark_load(kv, &mending->mark, NULL) != 0)
            mending->mark.sequence = 0;
        if (event_log_last(kv, &mending->last, NULL) != 0)
            mending->last = 0;
    }
    kv_close(kv);
}

/* Does the new store hold the event that is known, as it is known? */
static int holds(struct kv *kv, uint64_t sequence, const uint8_t chain[SHA256_SIZE],
                 bool *ret_holds, struct error *err)
{
    struct arena arena = ARENA_INIT;
    struct event event;

    *ret_holds = true;
    if (sequence == 0)
        return 0;
    int code = event_log_read(kv, NULL, sequence, &arena, &event, err);
    *ret_holds = code == 0 && memcmp(event.chain, chain, SHA256_SIZE) == 0;
    arena_release(&arena);
    return code < 0 ? code : 0;
}

/* Is the topic's log the one that mark and witness saw, up to there at least? */
static int check_filled(struct mending *mending, const struct mark *end,
                        struct error *err)
{
    const struct refill *refill = &mending->refill;
    const struct mark *mark = &mending->mark;
    const struct head *witness = &mending->witness;
    bool has_mark = false, has_witness = false;
    char reason[256], way[384];
    struct kv *kv = NULL;

    int code = kv_open_rocksdb(mending->staging, KV_READ_ONLY, &kv, err);
    if (code == 0)
        code = holds(kv, mark->sequence, mark->chain, &has_mark, err);
    if (code == 0)
        code = holds(kv, witness->sequence, witness->chain, &has_witness, err);
    kv_close(kv);
    if (code != 0 || (has_mark && has_witness))
        return code;
    const char *who = has_witness ? "store" : "witness";
    uint64_t known = has_witness ? mark->sequence : witness->sequence;
    (void)snprintf(reason, sizeof reason,
                   known > end->sequence
                       ? "the topic's log ends at event %llu, but the %s knows event %llu"
                       : "the topic's log ends at event %llu and differs from what the "
                         "%s knows at event %llu",
                   (unsigned long long)end->sequence, who, (unsigned long long)known);
    (void)snprintf(way, sizeof way,
                   "Restore the topic, or a copy of the data folder that has it. If the "
                   "topic is to count as it is, run `kinlog rebuild --from-topic --shard "
                   "%u` and remove shard-%u.witness: what is gone was answered, and "
                   "senders must be told",
                   refill->shard, refill->shard);
    return refuse(mending, reason, way);
}

/* ---- the ways ---------------------------------------------------------------------- */

static int write_witness(struct mending *mending, const struct mark *mark,
                         struct error *err)
{
    struct head head = {.sequence = mark->sequence};

    memcpy(head.chain, mark->chain, SHA256_SIZE);
    return mark->sequence == 0
               ? 0
               : witness_write(mending->refill.folder, mending->refill.shard, &head, err);
}

static void note_lost(struct mending *mending, const struct mark *end)
{
    if (mending->last > end->sequence) {
        mending->report->lost_from = end->sequence + 1;
        mending->report->lost_to = mending->last;
    }
}

/* What the brokers say against it is for a person; the rest (no broker, no space) is not.
 */
static int refuse_topic(struct mending *mending, int code, struct error *err)
{
    char reason[sizeof err->text];

    if (code != ERROR_CONFLICT && code != ERROR_CORRUPT)
        return code;
    (void)snprintf(reason, sizeof reason, "%s", err->text);
    error_clear(err);
    return refuse(
        mending, reason,
        "The topic cannot mend the store: restore a copy of the data folder, or "
        "make the topic anew and run `kinlog rebuild --republish` on an agent "
        "whose store is sound");
}

static int refill_shard(struct mending *mending, struct error *err)
{
    struct mark end = {0};

    remember(mending);
    remove_staging(mending);
    int code = refill_store(&mending->refill, mending->staging, &end, err);
    if (code != 0)
        code = refuse_topic(mending, code, err);
    else
        code = check_filled(mending, &end, err);
    if (code == 0 && mending->report->mended != MENDED_REFUSED)
        code = exchange(mending, err);
    if (code != 0 || mending->report->mended == MENDED_REFUSED) {
        remove_staging(mending);
        return code;
    }
    mending->report->mended = MENDED_REFILLED;
    mending->report->events = end.sequence;
    note_lost(mending, &end);
    return write_witness(mending, &end, err);
}

/* The log is sound, and so is all else: does the topic still hold what it had? */
static int compare_topic(struct mending *mending, struct error *err)
{
    struct error reason = {0};
    char way[256];
    int code = refill_compare(&mending->refill, &reason, err);

    if (code != 1)
        return code;
    (void)snprintf(way, sizeof way,
                   "The store is sound. If it is right, make the topic anew and run "
                   "`kinlog rebuild --republish --shard %u`; if the topic is right, run "
                   "`kinlog rebuild --from-topic --shard %u`",
                   mending->refill.shard, mending->refill.shard);
    return refuse(mending, reason.text, way);
}

static int renew_witness(struct mending *mending, struct error *err)
{
    int code = compare_topic(mending, err);

    if (code != 0 || mending->report->mended == MENDED_REFUSED)
        return code;
    remember(mending);
    mending->report->mended = MENDED_WITNESS;
    return write_witness(mending, &mending->mark, err);
}

static int examine(struct mending *mending, struct verdict *ret_verdict,
                   struct error *err)
{
    const struct refill *refill = &mending->refill;
    int code = verify_shard(refill->folder, refill->shard, refill->progress,
                            refill->context, ret_verdict, err);

    mending->report->events = ret_verdict->events;
    return code;
}

/* Views that cannot be made anew, or are not right afterwards: the store is damaged
 * deeper than it shows. */
static int rebuild_views(struct mending *mending, struct verdict *verdict,
                         struct error *err)
{
    const struct refill *refill = &mending->refill;
    struct error fault = {0};
    int code = repair_views(refill->folder, refill->shard, refill->progress,
                            refill->context, &fault);

    if (code == ERROR_CORRUPT || code == ERROR_IO) {
        verdict->damage = DAMAGE_STORE;
        return 0;
    }
    if (code != 0)
        return error_set(err, code, "%s", fault.text);
    code = examine(mending, verdict, err);
    if (verdict->damage == DAMAGE_DERIVED)
        verdict->damage = DAMAGE_STORE;
    if (code == 0 && verdict->damage != DAMAGE_STORE)
        mending->report->mended = MENDED_DERIVED;
    return code;
}

static int mend(struct mending *mending, struct error *err)
{
    struct verdict verdict;
    int code = examine(mending, &verdict, err);

    (void)snprintf(mending->report->found, sizeof mending->report->found, "%s",
                   verdict.fault.text);
    if (code == 0 && verdict.damage == DAMAGE_DERIVED)
        code = rebuild_views(mending, &verdict, err);
    if (code != 0)
        return code;
    switch (verdict.damage) {
    case DAMAGE_STORE:
        return refill_shard(mending, err);
    case DAMAGE_WITNESS:
        return renew_witness(mending, err);
    case DAMAGE_NONE:
    case DAMAGE_DERIVED:
        break;
    }
    return compare_topic(mending, err);
}

int mend_shard(const struct store_folder *folder, const struct config *config,
               uint32_t shard, replay_progress_fn progress, void *context,
               struct mend_report *ret_report, struct error *err)
{
    struct mending mending = {.refill = {folder, config, shard, progress, context},
                              .report = ret_report};

    memset(ret_report, 0, sizeof *ret_report);
    int code = make_paths(&mending, err);
    if (code == 0 && witness_read(folder, shard, &mending.witness, NULL) != 0)
        mending.witness.sequence = 0;
    return code != 0 ? code : mend(&mending, err);
}
