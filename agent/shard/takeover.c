/* takeover.c - a shard's store meets its events topic (design section 5, "Who may write:
 * claims").
 *
 *  1. A claim is published; its offset comes with the delivery report.
 *  2. The topic is read from the mark on (if the record there is still the same; else from the first
 *     record) up to the claim, by the strict reader.
 *  3. What the store lacks is adopted. Where the store differs above its mark, its own tail was never
 *     answered: the tail is dropped, and what the topic has is adopted. A difference at or below the mark
 *     means that the topic lost what it had acknowledged: the shard stops.
 *  4. What the store has beyond the topic is published again by the new owner.
 *
 * Following is steps 2 and 3 without end.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "agent/clock.h"
#include "agent/crash_point.h"
#include "agent/log.h"
#include "agent/planted.h"
#include "agent/shard/repair.h"
#include "agent/shard/shard_internal.h"
#include "events/event_log.h"

#define WATERMARK_TIMEOUT_MS 5000
#define READ_ONE_TIMEOUT_MS 5000
#define READ_RECORDS_MAX 1000
#define ADOPT_EVENTS_MAX 1000 /* in one batch */

struct meeting {
    struct shard *shard;
    struct reader *reader;
    struct source *events;
    /* the topic has acknowledged the log up to here: the store's events stay */
    uint64_t kept;
    /* the store's event of this sequence differs and is to be dropped; 0 = none */
    uint64_t diverged;
};

/* ---- step 3: one valid event of the topic meets the store -------------------------- */

/* Both versions: the store keeps the one, the topic the other, and whoever is to find out
 * which is right knows them by type and chain. */
static void name_versions(const struct shard *shard, const struct event *stored,
                          const struct event *event)
{
    struct buf text = BUF_INIT;

    buf_printf(&text, "event %llu is %s with chain ", (unsigned long long)event->sequence,
               stored->type->type);
    base64url_append(&text, stored->chain, SHA256_SIZE);
    buf_printf(&text, " in the store, and %s with chain ", event->type->type);
    base64url_append(&text, event->chain, SHA256_SIZE);
    buf_append_str(&text, " in the topic");
    log_write(4, shard->name, "%s", buf_cstr(&text));
    buf_release(&text);
}

static int compare_event(struct meeting *meeting, const struct event *event,
                         struct error *err)
{
    struct shard *shard = meeting->shard;
    struct arena arena = ARENA_INIT;
    struct event own;

    int code = event_log_read(shard->kv, core_batch(shard->core), event->sequence, &arena,
                              &own, err);
    if (code == 1)
        code = error_set(err, ERROR_CORRUPT, "event %llu is missing from the store",
                         (unsigned long long)event->sequence);
    bool differs = code == 0 && memcmp(own.chain, event->chain, SHA256_SIZE) != 0 &&
                   !PLANTED(tail_adopted_without_reading);
    if (differs)
        name_versions(shard, &own, event);
    arena_release(&arena);
    if (!differs)
        return code;
    if (event->sequence > meeting->kept) {
        meeting->diverged = event->sequence;
        return ERROR_CONFLICT;
    }
    return error_set(
        err, ERROR_CORRUPT,
        "store and topic differ at event %llu, which the topic had acknowledged: the "
        "topic lost "
        "it and holds another, or one of them was altered. Compare `kinlog log --from "
        "%llu` with "
        "the topic. If the store is right, make the topic anew and run `kinlog rebuild "
        "--republish --shard %u`; if the topic is right, run `kinlog rebuild "
        "--from-topic --shard "
        "%u`",
        (unsigned long long)event->sequence, (unsigned long long)event->sequence,
        meeting->shard->identity.shard, meeting->shard->identity.shard);
}

static int on_event(void *context, const struct event *event,
                    const struct event_record *record, struct error *err)
{
    struct meeting *meeting = context;
    struct core *core = meeting->shard->core;

    if (event->sequence <= core_head(core)->sequence)
        return compare_event(meeting, event, err);
    return core_adopt(core, event, record, err);
}

/* What is seen again was valid before, in this reading or at the mark: the log has two
 * truths if it differs. */
static int on_repeat(void *context, const struct event *event, struct error *err)
{
    struct meeting *meeting = context;
    int code = compare_event(meeting, event, err);

    if (meeting->diverged == 0)
        return code;
    meeting->diverged = 0;
    error_clear(err);
    return error_set(err, ERROR_CORRUPT,
                     "two valid events of the topic differ at sequence %llu: a defect or "
                     "a forgery. Nothing is "
                     "changed; compare both with `kinlog log --from %llu` and the topic, "
                     "and find out who wrote "
                     "the second",
                     (unsigned long long)event->sequence,
                     (unsigned long long)event->sequence);
}

/* ---- step 2: reading --------------------------------------------------------------- */

/* The witness counts beside the mark: `rebuild --republish` forgets the mark, not what
 * was answered. */
static int find_kept(struct meeting *meeting, struct error *err)
{
    const struct shard *shard = meeting->shard;
    struct head witness = {0};
    int code = witness_read(shard->settings.folder, shard->identity.shard, &witness, err);

    meeting->kept = shard->mark.sequence;
    if (code == 0 && witness.sequence > meeting->kept)
        meeting->kept = witness.sequence;
    return code < 0 ? code : 0;
}

/* Is the record at the mark still the one that was there? */
static int check_mark(struct meeting *meeting, bool *ret_same, struct error *err)
{
    const struct mark *mark = &meeting->shard->mark;
    const struct record *record;

    *ret_same = false;
    if (mark->sequence == 0)
        return 0;
    int code =
        source_read_one(meeting->events, mark->offset, READ_ONE_TIMEOUT_MS, &record, err);
    if (code != 0)
        return code == 1 ? 0 : code;
    *ret_same = mark_is_record(mark, record);
    return 0;
}

static int begin_reading(struct meeting *meeting, struct error *err)
{
    struct shard *shard = meeting->shard;
    const struct config *config = shard->settings.config;
    int64_t low = 0, high = 0;
    bool same = false;

    int code = find_kept(meeting, err);
    if (code == 0)
        code = source_open(&config->kafka, config->topic_events,
                           (int32_t)shard->identity.shard, shard->wake_fd,
                           &meeting->events, err);
    if (code == 0)
        code = source_watermarks(meeting->events, WATERMARK_TIMEOUT_MS, &low, &high, err);
    if (code == 0)
        code = check_mark(meeting, &same, err);
    if (code == 0 && !same && low > 0)
        code = error_set(err, ERROR_CONFLICT,
                         "partition %u of %s begins at offset %lld: its beginning is "
                         "lost (retention?). Set "
                         "retention.ms=-1 and retention.bytes=-1, make the topic anew, "
                         "and run `kinlog "
                         "rebuild --republish`",
                         shard->identity.shard, config->topic_events, (long long)low);
    if (code == 0 && low > 0)
        log_paced(4, shard->name,
                  "partition %u of %s begins at offset %lld: its beginning is lost "
                  "(retention?). This agent "
                  "has all of it and goes on, but none can join. Stop it, make the topic "
                  "anew, and run `kinlog "
                  "rebuild --republish`",
                  shard->identity.shard, config->topic_events, (long long)low);
    if (code == 0)
        code = reader_new(&shard->identity, same ? &shard->mark : NULL, &meeting->reader,
                          err);
    if (code == 0)
        code = source_start(meeting->events, same ? shard->mark.offset + 1 : 0, err);
    return code;
}

static void end_reading(struct meeting *meeting)
{
    reader_free(meeting->reader);
    source_close(meeting->events);
    meeting->reader = NULL;
    meeting->events = NULL;
}

/* Takes over from the reader how far topic, answers and epochs are. Returns whether there
 * was news. */
static bool note_progress(struct meeting *meeting)
{
    struct shard *shard = meeting->shard;
    const struct mark *end = reader_end(meeting->reader);
    bool news = false;

    if (end->sequence > shard->topic_end.sequence) {
        shard->topic_end = *end;
        news = true;
    }
    if (reader_answered(meeting->reader) > shard->status.answered) {
        shard->status.answered = reader_answered(meeting->reader);
        news = true;
    }
    if (reader_highest_epoch(meeting->reader) > shard->status.epoch.number) {
        shard->status.epoch = *reader_epoch(meeting->reader);
        shard->status.epoch.number = reader_highest_epoch(meeting->reader);
        news = true;
    }
    return news;
}

/* What was read so far is written, and with it how far the topic has it. */
static int commit_adopted(struct meeting *meeting, bool sync, struct error *err)
{
    (void)note_progress(meeting);
    return shard_commit(meeting->shard, sync, err);
}

/* Records that vanish while they are read are no reason to stop here: the shard begins
 * again, and the takeover says what the topic lacks. */
static int poll_events(struct source *events, const struct record **ret_records,
                       size_t *ret_count, struct error *err)
{
    bool trouble = false;
    int code =
        source_poll(events, 100, READ_RECORDS_MAX, ret_records, ret_count, &trouble, err);

    if (code != ERROR_NOT_FOUND && !(code == 0 && trouble && *ret_count == 0))
        return code;
    error_clear(err);
    return error_set(err, ERROR_KAFKA,
                     "the events topic has changed while it was read: looking again");
}

static int take_records(struct meeting *meeting, const struct record *records,
                        size_t count, struct error *err)
{
    struct reader_sink sink = {on_event, on_repeat, meeting};
    int code = 0;

    for (size_t i = 0; code == 0 && i < count; i++)
        code = reader_take(meeting->reader, &records[i], &sink, err);
    return code;
}

/* Takes one poll's records up to and including offset `last`. */
static int read_some(struct meeting *meeting, int64_t last, int64_t *ret_next,
                     struct error *err)
{
    const struct record *records;
    size_t count, wanted = 0;

    int code = poll_events(meeting->events, &records, &count, err);
    if (code != 0)
        return code;
    while (wanted < count && records[wanted].offset <= last)
        *ret_next = records[wanted++].offset + 1;
    return take_records(meeting, records, wanted, err);
}

/* Only the end is synced: nothing is decided or answered before it, and what a crash takes
 * is read again, since the mark is written with the events. */
static int read_up_to(struct meeting *meeting, int64_t last, struct error *err)
{
    struct shard *shard = meeting->shard;
    int64_t next = 0, said_ms = clock_monotonic_ms();
    size_t adopted;
    int code = 0;

    while (code == 0 && next <= last) {
        if (shard_stopping(shard))
            return error_set(err, ERROR_STOPPED, "stopped");
        uint64_t before = core_head(shard->core)->sequence;
        code = read_some(meeting, last, &next, err);
        adopted = (size_t)(core_head(shard->core)->sequence - before);
        if (code == 0 && (adopted > 0 || next > last))
            code = commit_adopted(meeting, /* sync= */ next > last, err);
        CRASH_POINT("claim.adopted");
        if (clock_monotonic_ms() - said_ms > 5000) {
            said_ms = clock_monotonic_ms();
            log_write(6, shard->name, "reading the events topic: offset %lld of %lld",
                      (long long)next, (long long)last);
        }
    }
    return code;
}

/* ---- step 3, the tail that was never answered -------------------------------------- */

static int drop_tail(struct shard *shard, uint64_t from, struct error *err)
{
    log_write(4, shard->name,
              "the store's events from %llu on were never answered, and the topic has "
              "others: dropped",
              (unsigned long long)from);
    core_close(shard->core);
    shard->core = NULL;
    int code = repair_truncate(shard->kv, &shard->identity, from, err);
    return code != 0 ? code : shard_open_core(shard, err);
}

/* Reads up to `last`, dropping the store's own tail where the topic has another. */
static int meet_topic(struct meeting *meeting, int64_t last, struct error *err)
{
    for (;;) {
        meeting->diverged = 0;
        int code = begin_reading(meeting, err);
        if (code == 0)
            code = read_up_to(meeting, last, err);
        if (code == 0 || meeting->diverged == 0)
            return code;
        error_clear(err);
        end_reading(meeting);
        code = drop_tail(meeting->shard, meeting->diverged, err);
        if (code != 0)
            return code;
    }
}

/* ---- what the topic must hold ------------------------------------------------------ */

static int check_topic_end(struct meeting *meeting, struct error *err)
{
    const struct shard *shard = meeting->shard;
    const struct mark *end = reader_end(meeting->reader);

    if (end->sequence >= shard->mark.sequence)
        return 0;
    return error_set(
        err, ERROR_CONFLICT,
        "partition %u of %s holds the log up to event %llu only, but had acknowledged "
        "event %llu: "
        "the topic was emptied, made anew or cut. The store has all of it up to event "
        "%llu. To "
        "publish the log again from the store, stop the agent, run `kinlog rebuild "
        "--republish "
        "--shard %u`, and start again",
        shard->identity.shard, shard->settings.config->topic_events,
        (unsigned long long)end->sequence, (unsigned long long)shard->mark.sequence,
        (unsigned long long)core_head(shard->core)->sequence, shard->identity.shard);
}

/* The witness tells of events that were on disk here and in the topic. */
static int check_witness(const struct shard *shard, struct error *err)
{
    struct arena arena = ARENA_INIT;
    struct head witness;
    struct event event;

    int code = witness_read(shard->settings.folder, shard->identity.shard, &witness, err);
    if (code != 0)
        return code == 1 ? 0 : code;
    if (witness.sequence == 0)
        return 0;
    if (witness.sequence > core_head(shard->core)->sequence)
        return error_set(err, ERROR_CORRUPT,
                         "the log ends at event %llu in the store and in the topic, but "
                         "it had event %llu: both "
                         "lost their end. Restore one of them from a copy. If there is "
                         "none, and what is left "
                         "is to be the log, remove %s/shard-%u.witness and start again",
                         (unsigned long long)core_head(shard->core)->sequence,
                         (unsigned long long)witness.sequence,
                         shard->settings.folder->path, shard->identity.shard);
    code = event_log_read(shard->kv, NULL, witness.sequence, &arena, &event, err);
    if (code == 1 || (code == 0 && memcmp(event.chain, witness.chain, SHA256_SIZE) != 0))
        code = error_set(err, ERROR_CORRUPT,
                         "event %llu is not the one that stood in the log before: the "
                         "store was exchanged or "
                         "altered. Run `kinlog verify`, then `kinlog rebuild "
                         "--from-topic --shard %u`. If the "
                         "topic was altered, and on purpose, remove %s/shard-%u.witness "
                         "and start again",
                         (unsigned long long)witness.sequence, shard->identity.shard,
                         shard->settings.folder->path, shard->identity.shard);
    arena_release(&arena);
    return code;
}

/* ---- step 1 ------------------------------------------------------------------------ */

/* Says that nobody takes the claim, in the log and for `status`. */
static void say_unclaimed(struct shard *shard)
{
    snprintf(
        shard->status.reason, sizeof shard->status.reason,
        "the broker has not acknowledged the claim for 5 s: is it reachable, and are "
        "enough replicas in sync (min.insync.replicas)? Waiting");
    log_paced(4, shard->name, "%s", shard->status.reason);
    (void)shard_commit(shard, /* sync= */ false, NULL); /* the log line said it */
}

static int wait_for_claim(struct shard *shard, int64_t *ret_offset, struct error *err)
{
    int64_t due_ms = clock_monotonic_ms() + UNPUBLISHED_AGE_MAX_MS;
    bool said = false;

    while (!publisher_claimed(shard->publisher, ret_offset)) {
        if (shard_stopping(shard))
            return error_set(err, ERROR_STOPPED, "stopped");
        if (publisher_failed(shard->publisher, err))
            return err->code;
        if (clock_monotonic_ms() > due_ms) {
            said = true;
            due_ms = clock_monotonic_ms() + ALARM_REPEAT_MS;
            say_unclaimed(shard);
        }
        publisher_poll(shard->publisher, 100);
    }
    if (said)
        shard->status.reason[0] = '\0';
    return 0;
}

static int claim_shard(struct shard *shard, int64_t *ret_offset, struct error *err)
{
    const struct config *config = shard->settings.config;
    struct publisher_settings settings = {
        .kafka = &config->kafka,
        .topic = config->topic_events,
        .shard = shard->identity.shard,
        .max_message_bytes = shard->settings.events_message_bytes,
        .wake_fd = shard->wake_fd,
    };
    struct claim claim = {.floor = shard->status.epoch.number + 1, .rules = RULES_MAX};

    snprintf(claim.agent, sizeof claim.agent, "%s", shard->settings.agent_name);
    snprintf(claim.log, sizeof claim.log, "%s", shard->identity.log);
    int code = claim_new_id(claim.id, err);
    if (code == 0)
        code = publisher_open(&settings, &shard->publisher, err);
    if (code == 0)
        code = publisher_claim(shard->publisher, &claim, err);
    if (code == 0)
        code = wait_for_claim(shard, ret_offset, err);
    if (code == 0)
        shard->epoch = claim_epoch(&claim, *ret_offset);
    return code;
}

/* Who does not know the log's rules may follow, not own (design section 4). */
static int check_rules(struct shard *shard)
{
    uint32_t rules = core_head(shard->core)->rules;

    if (rules <= RULES_MAX)
        return 0;
    snprintf(shard->status.reason, sizeof shard->status.reason,
             "the log follows rules %u, this version knows %d: it may follow, not own. "
             "Run a newer version",
             rules, RULES_MAX);
    return DEPOSED;
}

int shard_take_over(struct shard *shard, struct error *err)
{
    struct meeting meeting = {.shard = shard};
    int64_t offset;

    /* Before the claim, which would take the shard from one that does know them; and
     * again, since the topic may tell more than the store. */
    int code = check_rules(shard);
    if (code == 0)
        code = claim_shard(shard, &offset, err);
    CRASH_POINT("claim.sent");
    if (code == 0)
        code = meet_topic(&meeting, offset, err);
    CRASH_POINT("claim.read");
    if (code == 0 && !epoch_equal(reader_epoch(meeting.reader), &shard->epoch))
        code = error_set(err, ERROR_KAFKA, "the claim at offset %lld is not in the topic",
                         (long long)offset);
    if (code == 0 && reader_highest_epoch(meeting.reader) > shard->epoch.number)
        code = error_set(err, ERROR_KAFKA,
                         "the topic knows epoch %llu, the claim has only %llu: claiming "
                         "with a higher one",
                         (unsigned long long)reader_highest_epoch(meeting.reader),
                         (unsigned long long)shard->epoch.number);
    if (code == 0)
        code = check_topic_end(&meeting, err);
    if (code == 0)
        code = check_witness(shard, err);
    if (code == 0 && core_head(shard->core)->sequence == 0)
        code = error_set(err, ERROR_CONFLICT,
                         "neither store nor topic holds a log: join again with `kinlog "
                         "init --join KEYFILE`");
    if (code == 0)
        code = check_rules(shard);
    if (code == 0) {
        shard->status.epoch = shard->epoch;
        core_set_epoch(shard->core, &shard->epoch);
        publisher_begin(shard->publisher, &shard->epoch, reader_end(meeting.reader));
    }
    end_reading(&meeting);
    return code;
}

/* ---- following --------------------------------------------------------------------- */

/* Over a broken connection nothing is read on: the record at the mark may be another one
 * now (design section 5, claims R3). */
static int follow_some(struct meeting *meeting, struct error *err)
{
    const struct record *records;
    size_t count;
    int code = poll_events(meeting->events, &records, &count, err);

    if (code == 0 && source_broke(meeting->events)) {
        code = error_set(err, ERROR_KAFKA, "the connection to a broker broke");
        err->retriable = true;
    }
    return code != 0 ? code : take_records(meeting, records, count, err);
}

static int follow_on(struct meeting *meeting, struct error *err)
{
    struct shard *shard = meeting->shard;
    int code = 0;

    while (code == 0 && !shard_stopping(shard) && !atomic_load(&shard->reopen_wanted)) {
        uint64_t before = core_head(shard->core)->sequence;
        code = follow_some(meeting, err);
        if (code == 0 &&
            (note_progress(meeting) || core_head(shard->core)->sequence != before))
            code = commit_adopted(meeting, /* sync= */ true, err);
    }
    return code;
}

int shard_follow(struct shard *shard, struct error *err)
{
    struct meeting meeting = {.shard = shard};
    int code;

    for (;;) {
        meeting.diverged = 0;
        code = begin_reading(&meeting, err);
        if (code == 0)
            code = follow_on(&meeting, err);
        end_reading(&meeting);
        if (meeting.diverged == 0)
            return code;
        error_clear(err);
        code = drop_tail(shard, meeting.diverged, err);
        if (code != 0)
            return code;
    }
}

/* ---- a hole between delivery reports ----------------------------------------------- */

/* The last foreign claim in from..to, if there is one. */
static int find_claim(struct shard *shard, struct source *source, int64_t to,
                      struct claim *ret_claim, struct error *err)
{
    const struct record *records;
    int64_t next = 0;
    size_t count;
    int code = 0;

    while (code == 0 && next <= to) {
        if (shard_stopping(shard))
            return error_set(err, ERROR_STOPPED, "stopped");
        code = poll_events(source, &records, &count, err);
        for (size_t i = 0; code == 0 && i < count && records[i].offset <= to; i++) {
            struct claim claim;
            next = records[i].offset + 1;
            if (bytes_equal_str(records[i].key, CLAIM_KEY) &&
                records[i].value.data != NULL &&
                claim_read(records[i].value, &claim, NULL) == 0 &&
                strcmp(claim.log, shard->identity.log) == 0)
                *ret_claim = claim;
        }
    }
    return code;
}

int shard_inspect_hole(struct shard *shard, int64_t from, int64_t to, struct error *err)
{
    const struct config *config = shard->settings.config;
    struct source *source = NULL;
    struct claim claim = {0};

    int code = source_open(&config->kafka, config->topic_events,
                           (int32_t)shard->identity.shard, shard->wake_fd, &source, err);
    if (code == 0)
        code = source_start(source, from, err);
    if (code == 0)
        code = find_claim(shard, source, to, &claim, err);
    source_close(source);
    if (code != 0 || claim.id[0] == '\0')
        return code;
    snprintf(shard->status.reason, sizeof shard->status.reason,
             "another agent owns it since: %.400s", claim.agent);
    return DEPOSED;
}
