/* effects.c - see effects.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/shard/effects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "events/event_log.h"
#include "projections/request_view.h"

#define EFFECTS_MIN 1000 /* room for a full batch of the owner */
/* no more than this can be unanswered: WAITING_ANSWERS_MAX, and the batches in hand */
#define LOOK_BACK_MAX 32768
/* KV_META: repeated commands that are not answered yet */
#define REPEAT_ROW "repeat/"
#define REPEAT_KEY_SIZE (sizeof REPEAT_ROW - 1 + 8)

void effects_release(struct effects *effects)
{
    free(effects->items);
    *effects = (struct effects){0};
}

int effects_take(struct core *core, const struct record *record, const char *aside,
                 struct core_outcome *ret_outcome, struct error *err)
{
    if (record->offset >= core_head(core)->next_offset)
        return aside != NULL ? core_put_aside(core, record, aside, ret_outcome, err)
                             : core_record(core, record, ret_outcome, err);
    *ret_outcome = (struct core_outcome){.result = CORE_NOTHING};
    return aside != NULL ? 0 : core_recall(core, record, ret_outcome, err);
}

/* ---- of a batch -------------------------------------------------------------------- */

static int add(struct effects *effects, const struct effect *effect, struct error *err)
{
    if (effects->count == effects->capacity) {
        size_t capacity = effects->capacity == 0 ? EFFECTS_MIN : 2 * effects->capacity;
        struct effect *items = realloc(effects->items, capacity * sizeof *items);
        if (items == NULL)
            return error_set(err, ERROR_NO_MEMORY, "out of memory for a batch's answers");
        effects->items = items;
        effects->capacity = capacity;
    }
    effects->items[effects->count++] = *effect;
    return 0;
}

/* One answer, or one for each event. */
static int add_each(struct effects *effects, const struct core_outcome *outcome,
                    const struct effect *effect, struct error *err)
{
    struct effect each = *effect;
    int code = 0;

    if (!outcome->each_alone)
        return add(effects, effect, err);
    each.count = 1;
    for (uint32_t i = 0; code == 0 && i < effect->count; i++, each.first_sequence++)
        code = add(effects, &each, err);
    return code;
}

static struct bytes repeat_key(int64_t offset, uint8_t storage[REPEAT_KEY_SIZE])
{
    memcpy(storage, REPEAT_ROW, sizeof REPEAT_ROW - 1);
    write_u64be(storage + sizeof REPEAT_ROW - 1, (uint64_t)offset);
    return bytes_of(storage, REPEAT_KEY_SIZE);
}

static int note_repeat(struct core *core, const struct effect *effect, struct error *err)
{
    uint8_t key[REPEAT_KEY_SIZE], value[12];

    write_u64be(value, effect->first_sequence);
    write_u32be(value + 8, effect->count);
    return kv_batch_put(core_batch(core), KV_META, repeat_key(effect->repeat_offset, key),
                        bytes_of(value, sizeof value), err);
}

int effects_add(struct effects *effects, struct core *core, const struct record *record,
                const struct core_outcome *outcome, struct error *err)
{
    struct effect effect = {
        .first_sequence = outcome->first_sequence,
        .count = outcome->count,
        .repeated = outcome->result == CORE_REPEATED,
        .repeat_offset = outcome->result == CORE_REPEATED ? record->offset : -1,
    };

    snprintf(
        effect.forwarded, sizeof effect.forwarded, "%.*s", (int)outcome->forwarded.size,
        outcome->forwarded.data != NULL ? (const char *)outcome->forwarded.data : "");
    int code = add_each(effects, outcome, &effect, err);
    return code == 0 && effect.repeated ? note_repeat(core, &effect, err) : code;
}

/* The events of an effect that belongs to the batch at hand, else NULL. */
static const struct core_event *events_of(const struct core *core,
                                          const struct effect *effect)
{
    size_t count;
    const struct core_event *events = core_events(core, &count);

    if (count == 0 || effect->first_sequence < events[0].event.sequence)
        return NULL;
    return &events[effect->first_sequence - events[0].event.sequence];
}

int effects_queue(const struct effects *effects, const struct core *core,
                  struct outbox *outbox, struct error *err)
{
    int code = 0;

    for (size_t i = 0; code == 0 && i < effects->count; i++)
        code = outbox_add(outbox, &effects->items[i], events_of(core, &effects->items[i]),
                          err);
    return code;
}

int effects_forget_repeats(struct core *core, struct outbox *outbox, struct error *err)
{
    uint8_t key[REPEAT_KEY_SIZE];
    size_t count;
    int code = 0;
    const int64_t *done = outbox_repeats_done(outbox, &count);

    for (size_t i = 0; code == 0 && i < count; i++)
        code = kv_batch_delete(core_batch(core), KV_META, repeat_key(done[i], key), err);
    return code;
}

/* ---- of an owner that begins ------------------------------------------------------- */

/* Made from the log when it leaves. */
static int queue_from_log(struct outbox *outbox, uint64_t first_sequence, uint32_t count,
                          int64_t repeat_offset, struct error *err)
{
    const struct effect effect = {
        .first_sequence = first_sequence,
        .count = count,
        .repeated = true,
        .repeat_offset = repeat_offset,
    };

    return outbox_add(outbox, &effect, /* events= */ NULL, err);
}

/* What was asked of other shards and is not concluded is asked again, unless it is behind
 * the answer cursor anyway. */
static int ask_again(struct core *core, struct outbox *outbox, struct error *err)
{
    struct arena arena = ARENA_INIT;
    struct event event;
    uint64_t number = 0;
    int code;

    while ((code = request_next_pending(core_views(core), number, &number, err)) == 0 &&
           number <= outbox_answered(outbox)) {
        arena_reset(&arena);
        code = event_log_read(core_kv(core), NULL, number, &arena, &event, err);
        if (code == 0)
            code = queue_from_log(outbox, number, event.count, -1, err);
        if (code != 0)
            break;
        number++;
    }
    arena_release(&arena);
    return code < 0 ? code : 0;
}

static int answer_again(struct core *core, struct outbox *outbox, uint64_t *ret_count,
                        struct error *err)
{
    struct event_scan *scan = NULL;
    struct event event;

    *ret_count = 0;
    if (outbox_answered(outbox) >= core_head(core)->sequence)
        return 0;
    int code = event_scan_open(core_kv(core), NULL, outbox_answered(outbox) + 1,
                               UINT64_MAX, &scan, err);
    while (code == 0 && (code = event_scan_next(scan, &event, err)) == 0) {
        bool alone = bytes_equal_str(event.command_type, "kinlog.Tick.v1");
        if (event.causation_id.data == NULL || (event.index != 1 && !alone))
            continue;
        code = queue_from_log(outbox, event.sequence, alone ? 1 : event.count, -1, err);
        (*ret_count)++;
    }
    event_scan_close(scan);
    return code == 1 ? 0 : code;
}

static int load_repeats(struct core *core, struct outbox *outbox, struct error *err)
{
    uint8_t from[REPEAT_KEY_SIZE], to[REPEAT_KEY_SIZE];
    struct kv_cursor *cursor;
    struct bytes key, value;

    (void)repeat_key(0, from);
    (void)repeat_key(-1, to);
    int code = kv_cursor_open(core_kv(core), NULL, KV_META, bytes_of(from, sizeof from),
                              bytes_of(to, sizeof to), &cursor, err);
    if (code != 0)
        return code;
    while ((code = kv_cursor_next(cursor, &key, &value, err)) == 0) {
        if (key.size != sizeof from || value.size != 12)
            code = error_set(err, ERROR_CORRUPT, "a row of repeated commands is damaged");
        else
            code = queue_from_log(
                outbox, read_u64be(value.data), read_u32be(value.data + 8),
                (int64_t)read_u64be(key.data + sizeof REPEAT_ROW - 1), err);
        if (code != 0)
            break;
    }
    kv_cursor_close(cursor);
    return code == 1 ? 0 : code;
}

int effects_queue_again(struct core *core, struct outbox *outbox, uint64_t *ret_count,
                        struct error *err)
{
    int code = ask_again(core, outbox, err);

    if (code == 0)
        code = answer_again(core, outbox, ret_count, err);
    return code != 0 ? code : load_repeats(core, outbox, err);
}

/* A repeat leaves no event, so what was adopted does not tell which ones were not answered:
 * they lie behind the command of the last event that is known to be answered. */
int effects_look_back(struct kv *kv, uint64_t answered, int64_t low, int64_t *position,
                      struct error *err)
{
    struct arena arena = ARENA_INIT;
    struct event event = {0};
    int64_t from = *position - LOOK_BACK_MAX;
    int code =
        answered == 0 ? 1 : event_log_read(kv, NULL, answered, &arena, &event, err);

    if (code == 0 && event.has_command && event.command_offset + 1 > from)
        from = event.command_offset + 1;
    arena_release(&arena);
    if (code < 0)
        return code;
    if (from < low)
        from = low;
    if (from < *position)
        *position = from;
    return 0;
}
