/* shard.c - one shard's life, and the path that a command takes through it.
 *
 * Life: open the store, claim, take over (takeover.c), find the position (position.c),
 * own; until it is told to stop, is deposed (then it follows), or something fails. There
 * is one way to handle failures: give everything up, wait, and begin again from what
 * store and topic say. Only what an operator must decide halts the shard: lost or altered
 * data, another cluster, a newer version.
 *
 * Owning is one loop (own_round): delivery reports first, since they let answers go; then
 * a batch:
 *
 *     consume -> core_record for each -> forwards and dead letters acknowledged -> one commit, one fsync
 *             -> publish its events -> queue its answers
 *
 * Answers leave when the topic has their events, and this is on disk too (the mark).
 * While a batch is on its way to the topic the next one is decided.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "agent/shard/shard.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/crash_point.h"
#include "agent/log.h"
#include "agent/planted.h"
#include "agent/shard/repair.h"
#include "agent/shard/shard_internal.h"
#include "events/event_log.h"

#define BATCH_RECORDS_MAX 1000
/* the longest sleep of an owner: alarms, cursor and timers wait as long */
#define ROUND_WAIT_MS 200
/* A commit costs the same for one command as for a hundred: after a small batch the next
 * commit waits until it is this long ago. */
#define GATHER_MS 1
#define GATHER_RECORDS 100 /* larger batches fill by themselves */
#define RETRY_WAIT_MS 1000
#define RETRY_WAIT_MAX_MS 16000
#define RETRY_GOOD_MS 10000 /* a try that lasted so long was no failure from the start */
/* SIGTERM: all is said and done within 10 s, handles closed included */
#define DRAIN_MS 5000
/* of closing a store: it takes milliseconds, or what flushing a memory full of rows takes */
#define CLOSE_MAX_MS 7000
#define CURSOR_INTERVAL_MS 3000 /* the answer cursor is published every few seconds */
#define WITNESS_INTERVAL_MS 1000
#define SPACE_INTERVAL_MS 200
#define WAITING_ANSWERS_MAX 20000 /* no new batch while more are unanswered */
#define PUT_ASIDE "the agent died three times while handling it"

bool shard_stopping(const struct shard *shard)
{
    return atomic_load(&shard->stop_wanted);
}

void shard_wait(struct shard *shard, int timeout_ms)
{
    struct pollfd wake = {.fd = shard->wake_fd, .events = POLLIN};
    uint64_t count;

    if (poll(&wake, 1, timeout_ms) > 0 && read(shard->wake_fd, &count, sizeof count) < 0)
        return; /* somebody else was faster: nothing to take back */
}

static void set_role(struct shard *shard, enum shard_role role)
{
    shard->status.role = role;
    atomic_store(&shard->role, role);
}

int shard_commit(struct shard *shard, bool sync, struct error *err)
{
    struct kv_batch *batch = core_batch(shard->core);
    int code = shard_status_store(batch, &shard->status, err);

    if (code == 0 && shard->topic_end.sequence > shard->mark.sequence)
        code = mark_store(batch, &shard->topic_end, err);
    if (code == 0)
        code = core_commit(shard->core, sync, err);
    if (code == 0 && sync && shard->topic_end.sequence > shard->mark.sequence)
        shard->mark = shard->topic_end;
    return code;
}

/* ---- open and close ---------------------------------------------------------------- */

static void give_up_ownership(struct shard *shard)
{
    source_close(shard->commands);
    publisher_close(shard->publisher);
    outbox_close(shard->outbox);
    in_hand_close(shard->hand);
    shard->commands = NULL;
    shard->publisher = NULL;
    shard->outbox = NULL;
    shard->hand = NULL;
}

static void release(struct shard *shard)
{
    give_up_ownership(shard);
    core_close(shard->core);
    atomic_store(&shard->closing_ms, clock_monotonic_ms());
    kv_close(shard->kv);
    atomic_store(&shard->closing_ms, 0);
    shard->core = NULL;
    shard->kv = NULL;
}

int shard_open_core(struct shard *shard, struct error *err)
{
    struct core_settings settings = {
        .identity = shard->identity,
        .site_key = shard->settings.folder->site_key,
        .commands_topic = shard->settings.config->topic_commands,
        .replies_topic = shard->settings.config->topic_replies,
        .reply_allow = shard->settings.config->reply_allow,
        .reply_allow_count = shard->settings.config->reply_allow_count,
    };

    return core_open(shard->kv, &settings, &shard->core, err);
}

/* Without the note the shard goes on: only a command that kills is not found then. */
static void open_in_hand(struct shard *shard)
{
    struct anchor anchor = {0};
    struct error err = {0};
    int64_t first, last;
    unsigned deaths;

    /* What another agent decided may be looked at again: see shard_find_position(). */
    int code = anchor_load(shard->kv, &anchor, &err);
    if (code == 0)
        code = in_hand_open(shard->settings.folder->path, &shard->identity,
                            anchor.set ? core_head(shard->core)->next_offset : 0,
                            &shard->hand, &err);
    if (code != 0)
        log_paced(4, shard->name, "%s", err.text);
    if (!in_hand_news(shard->hand, &first, &last, &deaths))
        return;
    if (first == last)
        log_write(
            4, shard->name,
            "the agent died while it handled command %lld: death %u of %d, then the "
            "command is put aside",
            (long long)first, deaths, IN_HAND_DEATHS_MAX);
    else
        log_write(4, shard->name,
                  "the agent died while it committed commands %lld to %lld: death %u",
                  (long long)first, (long long)last, deaths);
}

/* A crash may have come while a tail was dropped. */
static int finish_truncation(struct shard *shard, struct error *err)
{
    int code = repair_finish(shard->kv, &shard->identity, shard->mark.sequence, err);

    if (code == 1)
        log_write(
            4, shard->name,
            "the log ended before its head: a tail was being dropped; head and views "
            "were made anew");
    return code < 0 ? code : 0;
}

static int open_store(struct shard *shard, struct error *err)
{
    int code = store_open_shard(shard->settings.folder, shard->identity.shard,
                                KV_READ_WRITE, &shard->kv, err);
    if (code == 0)
        code = shard_status_load(shard->kv, &shard->status, err);
    if (code == 0)
        code = mark_load(shard->kv, &shard->mark, err);
    if (code == 0)
        code = store_check_owner(shard->kv, &shard->identity, err);
    if (code == 0)
        code = finish_truncation(shard, err);
    if (code == 0)
        code = shard_open_core(shard, err);
    shard->topic_end = shard->mark;
    shard->status.reason[0] = '\0';
    if (code == 0)
        open_in_hand(shard);
    return code;
}

static int open_outbox(struct shard *shard, struct error *err)
{
    struct outbox_settings settings = {
        .kafka = &shard->settings.config->kafka,
        .topics = config_topics(shard->settings.config),
        .identity = shard->identity,
        .site_key = shard->settings.folder->site_key,
        .max_message_bytes = shard->settings.outbox_message_bytes,
        .dead_letter_bytes = shard->settings.dead_letter_bytes,
        .wake_fd = shard->wake_fd,
    };
    int code = outbox_open(&settings, &shard->outbox, err);

    if (code == 0)
        outbox_set_answered(shard->outbox, shard->status.answered);
    return code;
}

/* ---- after a takeover: what was decided and not published, published and not answered
 * */

/* Says in the log, and in the status row of the next commit, that the brokers do not
 * acknowledge, and that they do again: below min.insync.replicas the library retries in
 * silence. Returns whether it said so. */
static bool give_alarm(struct shard *shard)
{
    int64_t now_ms = clock_monotonic_ms(),
            oldest_ms = publisher_oldest_ms(shard->publisher, now_ms);

    if (oldest_ms < UNPUBLISHED_AGE_MAX_MS) {
        if (shard->alarm_ms == 0)
            return false;
        log_write(6, shard->name, "the brokers acknowledge events again");
        shard->status.reason[0] = '\0';
        shard->alarm_ms = 0;
        return true;
    }
    if (shard->alarm_ms != 0 && now_ms - shard->alarm_ms <= ALARM_REPEAT_MS)
        return false;
    shard->alarm_ms = now_ms;
    snprintf(shard->status.reason, sizeof shard->status.reason,
             "the oldest unacknowledged event is %lld s old: are the brokers reachable, "
             "and are enough "
             "replicas in sync (min.insync.replicas)?",
             (long long)oldest_ms / 1000);
    log_write(3, shard->name, "%s", shard->status.reason);
    return true;
}

/* For the same, where no batch is under construction. */
static void give_alarm_and_commit(struct shard *shard)
{
    if (give_alarm(shard))
        /* for `status`; the log line said it */
        (void)shard_commit(shard, /* sync= */ false, NULL);
}

/* What stands between our records: nothing of importance, or a claim, which ends the
 * ownership. */
static int look_at_hole(struct shard *shard, struct error *err)
{
    int64_t from, to;

    if (!publisher_hole(shard->publisher, &from, &to))
        return 0;
    int code = shard_inspect_hole(shard, from, to, err);
    if (code != 0)
        return code;
    log_write(4, shard->name,
              "void records of a stranger at offsets %lld to %lld: stepped over",
              (long long)from, (long long)to);
    publisher_hole_is_void(shard->publisher);
    return 0;
}

/* Serves reports while there is no room for the next event. A shard that is to stop does
 * not wait: what is on disk is published after the next start. */
static int wait_for_room(struct shard *shard, struct error *err)
{
    publisher_poll(shard->publisher, 100);
    if (shard_stopping(shard))
        return error_set(err, ERROR_STOPPED, "stopped");
    if (publisher_failed(shard->publisher, err))
        return err->code;
    return look_at_hole(shard, err);
}

static int publish_event(struct shard *shard, const struct event *event,
                         const struct event_record *record, struct error *err)
{
    int code;

    while ((code = publisher_send(shard->publisher, event, record, clock_monotonic_ms(),
                                  err)) ==
           ERROR_TIMEOUT) { /* the library's queue is full */
        error_clear(err);
        code = wait_for_room(shard, err);
        if (code != 0)
            return code;
    }
    return code;
}

static int publish_rest(struct shard *shard, struct error *err)
{
    uint64_t from = publisher_mark(shard->publisher)->sequence + 1;
    struct event_scan *scan = NULL;
    struct arena arena = ARENA_INIT;
    struct event_record record;
    struct event event;

    if (from > core_head(shard->core)->sequence)
        return 0;
    log_write(6, shard->name,
              "publishing events %llu to %llu, which the topic does not have yet",
              (unsigned long long)from,
              (unsigned long long)core_head(shard->core)->sequence);
    int code = event_scan_open(shard->kv, NULL, from, UINT64_MAX, &scan, err);
    while (code == 0 && (code = event_scan_next(scan, &event, err)) == 0) {
        arena_reset(&arena);
        if (event_render(&shard->identity, &event, &arena, &record) != 0)
            code = error_set(err, ERROR_NO_MEMORY, "out of memory while publishing");
        while (code == 0 &&
               publisher_unacknowledged(shard->publisher) >= UNPUBLISHED_EVENTS_MAX) {
            code = wait_for_room(shard, err);
            give_alarm_and_commit(shard);
        }
        if (code == 0)
            code = publish_event(shard, &event, &record, err);
        CRASH_POINT("rest.half");
    }
    event_scan_close(scan);
    arena_release(&arena);
    return code == 1 ? 0 : code;
}

static int queue_again(struct shard *shard, struct error *err)
{
    uint64_t count = 0;
    int code = effects_queue_again(shard->core, shard->outbox, &count, err);

    if (code == 0 && count > 0)
        log_write(
            6, shard->name,
            "answering %llu commands again: it is not known that their answers left",
            (unsigned long long)count);
    return code;
}

/* ---- a batch ----------------------------------------------------------------------- */

static void note_aside(struct shard *shard, const struct record *record)
{
    snprintf(shard->status.reason, sizeof shard->status.reason,
             "command %lld was put aside into %s: " PUT_ASIDE, (long long)record->offset,
             shard->settings.config->topic_dead_letters);
    log_write(1, shard->name, "%s", shard->status.reason);
}

static int bury(struct shard *shard, const struct record *record, const char *reason,
                bool deadly, struct error *err)
{
    if (deadly)
        note_aside(shard, record);
    else
        log_write(4, shard->name, "dead letter: offset %lld: %s",
                  (long long)record->offset, reason);
    return outbox_dead_letter(shard->outbox, record, reason, err);
}

static int decide_record(struct shard *shard, const struct record *record,
                         struct effects *effects, struct error *err)
{
    struct core_outcome outcome;
    bool deadly = in_hand_is_deadly(shard->hand, record);
    int code =
        effects_take(shard->core, record, deadly ? PUT_ASIDE : NULL, &outcome, err);

    if (code != 0)
        return code;
    switch (outcome.result) {
    case CORE_FORWARD:
        shard->status.forwarded++;
        return outbox_forward(shard->outbox, record, outcome.target, err);
    case CORE_DEAD_LETTER:
        return bury(shard, record, outcome.reason, deadly, err);
    case CORE_NOTHING:
        return 0;
    case CORE_DECIDED:
    case CORE_REPEATED:
        break;
    }
    return effects_add(effects, shard->core, record, &outcome, err);
}

static int handle_record(struct shard *shard, const struct record *record,
                         struct effects *effects, struct error *err)
{
    in_hand_take(shard->hand, record, record);
    int code = decide_record(shard, record, effects, err);
    in_hand_release(shard->hand);
    return code;
}

/* Forwards and dead letters are with the broker before the batch moves past them. */
static int settle_outbox(struct shard *shard, struct error *err)
{
    int64_t began_ms = clock_monotonic_ms();
    int code;

    while ((code = outbox_settled(shard->outbox, err)) == 1) {
        if (shard_stopping(shard) && clock_monotonic_ms() - began_ms > DRAIN_MS / 2)
            return error_set(err, ERROR_STOPPED, "stopped");
        code = outbox_poll(shard->outbox, 100, err);
        if (code != 0)
            return code;
        publisher_poll(shard->publisher, 0);
        (void)give_alarm(shard); /* committed with the batch */
    }
    return code;
}

/* For tests alone. */
static void reach_half(struct shard *shard, const char *point)
{
    (void)point;
    while (CRASH_POINT_SETTLES(point) && publisher_unacknowledged(shard->publisher) > 0 &&
           !publisher_hole(shard->publisher, &(int64_t){0}, &(int64_t){0}) &&
           !publisher_failed(shard->publisher, NULL))
        publisher_poll(shard->publisher, 100);
    CRASH_POINT(point);
}

static int publish_batch(struct shard *shard, struct error *err)
{
    size_t count;
    const struct core_event *events = core_events(shard->core, &count);
    int code = 0;

    for (size_t i = 0; code == 0 && i < count; i++) {
        code = publish_event(shard, &events[i].event, &events[i].record, err);
        if (code == 0 && i + 1 < count)
            reach_half(shard, events[i].event.index < events[i].event.count
                                  ? "publish.within"
                                  : "publish.half");
    }
    CRASH_POINT("publish.all");
    return code;
}

static int commit_batch(struct shard *shard, const struct record *records, size_t count,
                        size_t effect_count, struct error *err)
{
    size_t events;

    (void)core_events(shard->core, &events);
    in_hand_take(shard->hand, &records[0], &records[count - 1]);
    CRASH_POINT("batch.decided");
    int code = shard_commit(shard, /* sync= */ events > 0 || effect_count > 0, err);
    if (code == 0)
        in_hand_committed(shard->hand);
    else
        in_hand_release(shard->hand);
    return code;
}

static int handle_batch(struct shard *shard, const struct record *records, size_t count,
                        struct error *err)
{
    struct effects *effects = &shard->effects;
    int code = 0;

    effects->count = 0;
    CRASH_POINT("batch.begin");
    for (size_t i = 0; code == 0 && i < count; i++) {
        code = handle_record(shard, &records[i], effects, err);
        CRASH_POINT("batch.record");
    }
    if (code == 0)
        code = settle_outbox(shard, err);
    if (code == 0)
        code = effects_forget_repeats(shard->core, shard->outbox, err);
    if (code == 0)
        code = commit_batch(shard, records, count, effects->count, err);
    CRASH_POINT("batch.committed");
    if (code == 0)
        code = publish_batch(shard, err);
    if (code == 0)
        code = effects_queue(effects, shard->core, shard->outbox, err);
    core_next_batch(shard->core);
    if (code == 0 && !shard->seen_anchor.set)
        code = anchor_load(shard->kv, &shard->seen_anchor, err);
    return code;
}

/* ---- conditions for taking a batch ------------------------------------------------- */

static bool space_is_short(struct shard *shard)
{
    const struct config *config = shard->settings.config;
    int64_t now_ms = clock_monotonic_ms();
    struct statvfs disk;

    if (now_ms - shard->space_checked_ms < SPACE_INTERVAL_MS)
        return shard->space_short;
    shard->space_checked_ms = now_ms;
    if (statvfs(config->data_dir, &disk) != 0)
        return shard->space_short;
    int64_t available = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
    bool is_short = available < config->free_space_floor_bytes;
    if (is_short != shard->space_short)
        log_write(is_short ? 3 : 6, shard->name,
                  is_short
                      ? "only %lld MB are free in the data folder (free_space_floor is "
                        "%lld MB): no new "
                        "command is taken until there is more"
                      : "%lld MB are free again (free_space_floor is %lld MB): going on",
                  (long long)available / 1000000,
                  (long long)config->free_space_floor_bytes / 1000000);
    shard->space_short = is_short;
    return is_short;
}

static bool may_take_batch(struct shard *shard)
{
    return publisher_has_room(shard->publisher, clock_monotonic_ms()) &&
           outbox_waiting(shard->outbox) < WAITING_ANSWERS_MAX && !space_is_short(shard);
}

/* All of them, unless the agent died with some of them in hand. */
static size_t batch_size(const struct shard *shard, const struct record *records,
                         size_t count)
{
    int64_t end = in_hand_batch_end(shard->hand, records[0].offset);

    while (count > 1 && records[count - 1].offset > end)
        count--;
    return count;
}

static int take_batch(struct shard *shard, size_t *ret_count, struct error *err)
{
    const struct record *records;
    bool trouble = false;

    *ret_count = 0;
    if (!may_take_batch(shard))
        return 0;
    int code = source_poll(shard->commands, 0, BATCH_RECORDS_MAX, &records, ret_count,
                           &trouble, err);
    if (code == ERROR_NOT_FOUND || (code == 0 && trouble)) {
        /* The takeover that follows asks for the watermarks and checks the anchor. */
        error_clear(err);
        return error_set(
            err, ERROR_KAFKA,
            "the commands topic has changed under the position: looking again");
    }
    shard->batch_ms = clock_monotonic_ms();
    shard->batch_records = *ret_count;
    for (size_t done = 0, size; code == 0 && done < *ret_count; done += size) {
        size = batch_size(shard, records + done, *ret_count - done);
        code = handle_batch(shard, records + done, size, err);
    }
    return code;
}

/* How long the next commit is to wait for more records; 0 = not at all. */
static int gathering_ms(const struct shard *shard)
{
    int64_t since_ms = clock_monotonic_ms() - shard->batch_ms;

    if (shard->batch_records == 0 || shard->batch_records >= GATHER_RECORDS ||
        since_ms >= GATHER_MS)
        return 0;
    return (int)(GATHER_MS - since_ms);
}

/* ---- owning ------------------------------------------------------------------------ */

/* Delivery reports move the mark; the mark, once durable, lets answers go. */
static int let_answers_go(struct shard *shard, struct error *err)
{
    const struct mark *mark = publisher_mark(shard->publisher);
    int code = look_at_hole(shard, err);

    if (code != 0)
        return code;
    if (mark->sequence > shard->topic_end.sequence) {
        shard->topic_end = *mark;
        CRASH_POINT("publish.done");
    }
    uint64_t durable = shard->mark.sequence;
    if (PLANTED(mark_written_late))
        durable = shard->topic_end.sequence;
    if (PLANTED(answer_before_publication))
        durable = core_head(shard->core)->sequence;
    return outbox_release(shard->outbox, shard->kv, durable, &shard->epoch, err);
}

/* With no batch to ride in, the mark is committed by itself. */
static int commit_mark(struct shard *shard, struct error *err)
{
    if (shard->topic_end.sequence == shard->mark.sequence)
        return 0;
    int code = effects_forget_repeats(shard->core, shard->outbox, err);
    if (code == 0)
        code = shard_commit(shard, /* sync= */ true, err);
    CRASH_POINT("mark.committed");
    if (code == 0)
        code = outbox_release(shard->outbox, shard->kv, shard->mark.sequence,
                              &shard->epoch, err);
    return code;
}

static int publish_cursor(struct shard *shard, struct error *err)
{
    int64_t now_ms = clock_monotonic_ms();
    uint64_t answered = outbox_answered(shard->outbox);

    if (answered > shard->status.answered)
        shard->status.answered = answered;
    if (answered == shard->cursor_sent ||
        now_ms - shard->cursor_sent_ms < CURSOR_INTERVAL_MS)
        return 0;
    shard->cursor_sent = answered;
    shard->cursor_sent_ms = now_ms;
    return publisher_send_answered(shard->publisher, answered, now_ms, err);
}

static int write_witness(struct shard *shard, bool now, struct error *err)
{
    struct head head = {.sequence = shard->mark.sequence};

    if (!now && clock_monotonic_ms() - shard->witness_ms < WITNESS_INTERVAL_MS)
        return 0;
    shard->witness_ms = clock_monotonic_ms();
    memcpy(head.chain, shard->mark.chain, SHA256_SIZE);
    if (head.sequence == 0)
        return 0;
    return witness_write(shard->settings.folder, shard->identity.shard, &head, err);
}

static int send_tick(struct shard *shard, struct error *err)
{
    int64_t due_ms;
    int code = timer_next(core_views(shard->core), &due_ms, err);

    if (code != 0 || due_ms > clock_wall_ms() || outbox_settled(shard->outbox, NULL) != 0)
        return code == 1 ? 0 : code;
    return outbox_tick(shard->outbox, &shard->epoch, clock_wall_ms(), err);
}

/* One turn of the owner's loop; *ret_wait_ms: how long it may sleep then, 0 = something has
 * moved. Whoever gathers has perhaps taken back the wake of records that wait, so it sleeps
 * no longer than it said before. */
static int own_round(struct shard *shard, bool take, int *ret_wait_ms, struct error *err)
{
    int gather_ms = take ? gathering_ms(shard) : 0;
    bool gathering = gather_ms > 0;
    size_t taken = 0;
    int reports = publisher_poll(shard->publisher, 0);

    if (publisher_failed(shard->publisher, err))
        return err->code;
    int code = outbox_poll(shard->outbox, 0, err);
    if (code == 0)
        code = let_answers_go(shard, err);
    if (code == 0 && take && !gathering)
        code = take_batch(shard, &taken, err);
    if (code == 0 && taken == 0 && !gathering)
        code = commit_mark(shard, err);
    if (code == 0)
        code = publish_cursor(shard, err);
    if (code == 0)
        give_alarm_and_commit(shard);
    *ret_wait_ms = taken > 0 || reports > 0 ? 0 : gathering ? gather_ms : ROUND_WAIT_MS;
    return code;
}

/* For lag displays only. */
static void publish_position(struct shard *shard)
{
    int64_t next = core_head(shard->core)->next_offset;

    if (next != shard->position_sent)
        source_commit(shard->commands, next);
    shard->position_sent = next;
}

static int own_housekeeping(struct shard *shard, int64_t *last_ms, struct error *err)
{
    if (clock_monotonic_ms() - *last_ms < ROUND_WAIT_MS)
        return 0;
    *last_ms = clock_monotonic_ms();
    publish_position(shard);
    int code = send_tick(shard, err);
    if (code == 0)
        code = shard_recheck_position(shard, err);
    return code != 0 ? code : write_witness(shard, /* now= */ false, err);
}

static int own(struct shard *shard, struct error *err)
{
    int64_t housekeeping_ms = 0;
    int code = 0, wait_ms = 0;

    while (code == 0 && !shard_stopping(shard) && !atomic_load(&shard->reopen_wanted)) {
        code = own_round(shard, /* take= */ true, &wait_ms, err);
        if (code == 0)
            code = own_housekeeping(shard, &housekeeping_ms, err);
        if (code == 0 && wait_ms > 0)
            shard_wait(shard, wait_ms);
    }
    return code;
}

/* No more commands; what was decided is published and answered, within bounds. */
static int drain(struct shard *shard, struct error *err)
{
    int64_t began_ms = clock_monotonic_ms();
    int code = 0;
    int wait_ms = 0;

    while (code == 0 && clock_monotonic_ms() - began_ms < DRAIN_MS &&
           (publisher_unacknowledged(shard->publisher) > 0 ||
            outbox_waiting(shard->outbox) > 0)) {
        code = own_round(shard, /* take= */ false, &wait_ms, err);
        if (code == 0 && wait_ms > 0)
            shard_wait(shard, 20);
    }
    if (code == 0 && outbox_answered(shard->outbox) > shard->cursor_sent) {
        shard->cursor_sent_ms = 0;
        code = publish_cursor(shard, err);
        for (int i = 0; i < 20 && publisher_unacknowledged(shard->publisher) > 0; i++)
            publisher_poll(shard->publisher, 50);
    }
    publish_position(shard);
    if (code == 0)
        code = effects_forget_repeats(shard->core, shard->outbox, err);
    return code != 0 ? code : shard_commit(shard, /* sync= */ true, err);
}

/* ---- life -------------------------------------------------------------------------- */

static int claim_and_own(struct shard *shard, struct error *err)
{
    set_role(shard, SHARD_CLAIMING);
    int code = shard_check_cluster(shard, err);
    if (code == 0)
        code = shard_take_over(shard, err);
    if (code == 0)
        code = shard_find_position(shard, err);
    if (code == 0)
        code = open_outbox(shard, err);
    if (code == 0)
        code = publish_rest(shard, err);
    if (code == 0)
        code = queue_again(shard, err);
    CRASH_POINT("answered.again");
    if (code != 0)
        return code;
    shard->cursor_sent = shard->status.answered;
    set_role(shard, SHARD_OWNER);
    log_write(6, shard->name, "owner, epoch %llu, event %llu, next command %lld",
              (unsigned long long)shard->epoch.number,
              (unsigned long long)core_head(shard->core)->sequence,
              (long long)core_head(shard->core)->next_offset);
    code = shard_commit(shard, /* sync= */ true, err);
    if (code == 0)
        code = own(shard, err);
    return code == 0 ? drain(shard, err) : code;
}

/* Errors that time does not heal. */
static bool needs_operator(int code)
{
    return code == ERROR_CORRUPT || code == ERROR_CONFLICT || code == ERROR_VERSION ||
           code == ERROR_NOT_FOUND || code == ERROR_INVALID;
}

/* Each time longer, as long as the tries fail soon: each leaves a claim in the topic. A
 * broken connection, or a broker that does not answer, comes from outside and ends there:
 * whoever waits for it long is late when it is back. */
static void wait_before_retry(struct shard *shard, bool from_outside)
{
    int64_t now_ms = clock_monotonic_ms();

    if (from_outside || now_ms - shard->tried_ms > RETRY_GOOD_MS)
        shard->retry_wait_ms = RETRY_WAIT_MS;
    else if (shard->retry_wait_ms < RETRY_WAIT_MAX_MS)
        shard->retry_wait_ms *= 2;
    while (!shard_stopping(shard) && !atomic_load(&shard->reopen_wanted) &&
           clock_monotonic_ms() < now_ms + shard->retry_wait_ms)
        shard_wait(shard,
                   (int)(now_ms + shard->retry_wait_ms - clock_monotonic_ms()) + 1);
    shard->tried_ms = clock_monotonic_ms();
}

/* Another agent owns the shard, or is to: this one keeps its store in step by reading the
 * topic. What goes wrong with the reading is no reason to claim: it reads again. */
static int be_follower(struct shard *shard, struct error *err)
{
    log_write(4, shard->name, "following the topic from now on: %s",
              shard->status.reason);
    give_up_ownership(shard);
    int code = core_abandon(shard->core, err);
    set_role(shard, SHARD_FOLLOWER);
    if (code == 0)
        code = shard_commit(shard, /* sync= */ true, err);
    while (code == 0 && !shard_stopping(shard) && !atomic_load(&shard->reopen_wanted)) {
        code = shard_follow(shard, err);
        if (code != ERROR_KAFKA && code != ERROR_TIMEOUT)
            break;
        log_paced(4, shard->name, "reading the topic again: %s", err->text);
        bool from_outside = err->retriable;
        error_clear(err);
        code = core_abandon(shard->core, err);
        wait_before_retry(shard, from_outside);
    }
    return code;
}

/* `status` reads why from the store, if the store lets itself be written. */
static void record_state(struct shard *shard, const char *reason)
{
    if (shard->core == NULL || core_abandon(shard->core, NULL) != 0)
        return;
    snprintf(shard->status.reason, sizeof shard->status.reason, "%.500s", reason);
    (void)shard_commit(shard, /* sync= */ true, NULL); /* the log has said it */
}

static void halt(struct shard *shard, const struct error *err)
{
    log_write(3, shard->name, "stopped, needs an operator: %s", err->text);
    give_up_ownership(shard);
    set_role(shard, SHARD_STOPPED);
    record_state(shard, err->text);
    release(shard);
    while (!shard_stopping(shard) && !atomic_load(&shard->reopen_wanted))
        shard_wait(shard, 1000);
}

static void retry_later(struct shard *shard, const struct error *err)
{
    log_paced(4, shard->name, "beginning again: %s", err->text);
    set_role(shard, SHARD_CLAIMING);
    record_state(shard, err->text);
    release(shard);
    wait_before_retry(shard, err->retriable);
}

static void live(struct shard *shard)
{
    struct error err = {0};

    atomic_store(&shard->reopen_wanted, false);
    int code = open_store(shard, &err);
    if (code == 0)
        code = claim_and_own(shard, &err);
    if (code == DEPOSED)
        code = be_follower(shard, &err);
    if (code == 0 || code == ERROR_STOPPED) {
        give_up_ownership(shard);
        set_role(shard, shard_stopping(shard) ? SHARD_STOPPED : SHARD_CLAIMING);
        if (shard->core != NULL && code == 0 &&
            write_witness(shard, /* now= */ true, &err) == 0)
            record_state(shard, "");
        release(shard);
    } else if (needs_operator(code)) {
        halt(shard, &err);
    } else {
        retry_later(shard, &err);
    }
}

static void *shard_main(void *argument)
{
    struct shard *shard = argument;

    while (!shard_stopping(shard))
        live(shard);
    return NULL;
}

int shard_start(const struct shard_settings *settings, struct shard **ret_shard,
                struct error *err)
{
    struct shard *shard = calloc(1, sizeof *shard);

    if (shard == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory while starting a shard");
    shard->settings = *settings;
    shard->identity = store_identity(settings->folder, settings->number);
    snprintf(shard->name, sizeof shard->name, "shard %u", settings->number);
    atomic_store(&shard->role, SHARD_CLAIMING);
    shard->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (shard->wake_fd < 0 ||
        pthread_create(&shard->thread, NULL, shard_main, shard) != 0) {
        int code = error_set(err, ERROR_IO, "cannot start a shard's thread: %s",
                             strerror(errno));
        if (shard->wake_fd >= 0)
            close(shard->wake_fd);
        free(shard);
        return code;
    }
    *ret_shard = shard;
    return 0;
}

static void wake(struct shard *shard)
{
    uint64_t one = 1;

    if (write(shard->wake_fd, &one, sizeof one) < 0)
        return; /* the counter is full: the thread is awake already */
}

void shard_stop(struct shard *shard)
{
    atomic_store(&shard->stop_wanted, true);
    wake(shard);
}

void shard_reopen(struct shard *shard)
{
    /* not ready again before the shard has found its role */
    atomic_store(&shard->role, SHARD_CLAIMING);
    atomic_store(&shard->reopen_wanted, true);
    wake(shard);
}

bool shard_try_join(struct shard *shard)
{
    if (pthread_tryjoin_np(shard->thread, NULL) != 0)
        return false;
    close(shard->wake_fd);
    effects_release(&shard->effects);
    free(shard);
    return true;
}

bool shard_is_stuck(const struct shard *shard)
{
    int64_t since_ms = atomic_load(&shard->closing_ms);

    return since_ms != 0 && clock_monotonic_ms() - since_ms > CLOSE_MAX_MS;
}

enum shard_role shard_present_role(const struct shard *shard)
{
    return (enum shard_role)atomic_load(&shard->role);
}
