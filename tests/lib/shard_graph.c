/* shard_graph.c - see shard_graph.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/shard_graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/decide/decide.h"
#include "agent/shard/answer.h"
#include "agent/shard/core.h"
#include "agent/shard/followup.h"
#include "events/event_log.h"
#include "projections/reference_view.h"
#include "projections/request_view.h"
#include "projections/timer_view.h"
#include "projections/views.h"
#include "schemas/events.h"

#define USERS_SOURCE "/users"
#define EPOCH_ID "00000000000000000000000000000000"
#define EPOCH "1;" EPOCH_ID
#define HEADERS_MAX 8
/* In place of a message: steps are remembered by state and message. */
#define RESTART_ALL UINT32_MAX
#define RESTART_OPEN (UINT32_MAX - 1)

struct graph {
    struct arena arena; /* texts and lists of states, messages and steps */
    struct intern state_set, message_set, answer_set, step_set;
    struct graph_state *states;
    struct graph_message *messages;
    struct graph_step *steps;
    size_t state_capacity, message_capacity, step_capacity;
    struct answer_maker *makers[GRAPH_SHARDS];
    bool seen[256]; /* by the place in schema_events */
    struct error err;
};

static const uint8_t site_key[SITE_KEY_SIZE] = {7};

static struct core_settings settings_of(uint32_t shard)
{
    return (struct core_settings){
        .identity = {"00112233445566778899aabbccddeeff", "hq", shard, GRAPH_SHARDS},
        .site_key = site_key,
        .commands_topic = "kinlog.commands",
        .replies_topic = "kinlog.replies",
    };
}

static void must(struct graph *graph, int code, const char *what)
{
    if (code >= 0)
        return;
    fprintf(stderr, "shard_graph: %s: %s\n", what, graph->err.text);
    exit(1);
}

/* A copy of a list, with room for one more. */
static void *one_more(struct graph *graph, const void *items, size_t count, size_t size)
{
    void *more = arena_alloc(&graph->arena, (count + 1) * size);

    if (more == NULL)
        exit(1);
    if (count > 0)
        memcpy(more, items, count * size);
    return more;
}

/* ---- life -------------------------------------------------------------------------- */

struct graph *graph_new(void)
{
    struct graph *graph = calloc(1, sizeof *graph);

    if (graph == NULL)
        exit(1);
    for (uint32_t shard = 0; shard < GRAPH_SHARDS; shard++) {
        struct core_settings settings = settings_of(shard);
        graph->makers[shard] = answer_maker_new(&settings.identity, settings.site_key);
    }
    return graph;
}

void graph_free(struct graph *graph)
{
    for (size_t i = 0; i < graph->state_set.count; i++)
        kv_close(graph->states[i].kv);
    for (uint32_t shard = 0; shard < GRAPH_SHARDS; shard++)
        answer_maker_free(graph->makers[shard]);
    intern_release(&graph->state_set);
    intern_release(&graph->message_set);
    intern_release(&graph->answer_set);
    intern_release(&graph->step_set);
    arena_release(&graph->arena);
    free(graph->states);
    free(graph->messages);
    free(graph->steps);
    free(graph);
}

const struct graph_state *graph_state_at(const struct graph *graph, uint32_t state)
{
    return &graph->states[state];
}

size_t graph_states(const struct graph *graph)
{
    return graph->state_set.count;
}

bool graph_saw(const struct graph *graph, const char *event)
{
    for (size_t i = 0; schema_events[i].type != NULL; i++) {
        if (graph->seen[i] && strcmp(schema_events[i].name, event) == 0)
            return true;
    }
    return false;
}

/* ---- messages ---------------------------------------------------------------------- */

uint32_t graph_message_number(struct graph *graph, const struct graph_message *message)
{
    struct buf text = BUF_INIT;
    uint32_t number;

    buf_printf(&text, "%u %u %u %lld ", message->from, message->to, message->command,
               (long long)message->time_ms);
    buf_append_bytes(&text, message->type);
    buf_append_byte(&text, ' ');
    buf_append_bytes(&text, message->id);
    buf_append_byte(&text, ' ');
    buf_append_bytes(&text, message->data);
    if (intern(&graph->message_set, buf_bytes(&text), &number)) {
        graph->messages = intern_grow(graph->messages, number, &graph->message_capacity,
                                      sizeof *graph->messages);
        struct graph_message *kept = &graph->messages[number];
        *kept = *message;
        kept->type = arena_copy(&graph->arena, message->type);
        kept->key = arena_copy(&graph->arena, message->key);
        kept->id = arena_copy(&graph->arena, message->id);
        kept->data = arena_copy(&graph->arena, message->data);
    }
    buf_release(&text);
    return number;
}

const struct graph_message *graph_message_at(const struct graph *graph, uint32_t number)
{
    return &graph->messages[number];
}

static void add_header(struct record *record, struct header *headers, const char *name,
                       struct bytes value)
{
    headers[record->header_count++] = (struct header){bytes_str(name), value};
}

/* source has room for LOG_SOURCE_SIZE. Where no event follows, the next record has the
 * same offset: what is in a state does not depend on repeats. */
static struct record record_of(const struct graph_message *message,
                               const struct head *head, char *source,
                               struct header headers[HEADERS_MAX])
{
    const struct core_settings settings = settings_of(message->to);
    struct record record = {
        .partition = (int32_t)message->to,
        .offset = (int64_t)head->sequence,
        .timestamp_ms = message->time_ms,
        .key = message->key,
        .value = message->data,
        .headers = headers,
    };

    log_source(&settings.identity, source);
    add_header(&record, headers, "ce_specversion", bytes_str("1.0"));
    add_header(&record, headers, "ce_id", message->id);
    add_header(&record, headers, "ce_type", message->type);
    if (message->from == GRAPH_USERS) {
        add_header(&record, headers, "ce_source", bytes_str(USERS_SOURCE));
    } else {
        add_header(&record, headers, "ce_source", bytes_str(source));
        add_header(&record, headers, "kinlog_epoch", bytes_str(EPOCH));
        add_header(&record, headers, "ce_replyto", bytes_str("-"));
    }
    return record;
}

/* ---- what leaves: as agent/shard/outbox.c sends it --------------------------------- */

static void add_sent(struct graph *graph, struct graph_step *step,
                     const struct event *event, uint32_t shard)
{
    const struct core_settings settings = settings_of(shard);
    struct arena arena = ARENA_INIT;
    struct followup followup;
    int code = followup_of(&settings.identity, event, /* data= */ NULL, &arena, &followup,
                           &graph->err);

    must(graph, code, "follow-up");
    if (code == 0) {
        const struct graph_message message = {
            .from = shard,
            .to = followup.all_others ? GRAPH_SHARDS - 1 - shard : followup.shard,
            .time_ms = GRAPH_TIME_MS,
            .type = bytes_str(followup.type),
            .key = followup.key,
            .id = followup.id,
            .data = followup.data,
        };
        step->sent = one_more(graph, step->sent, step->sent_count, sizeof step->sent[0]);
        step->sent[step->sent_count++] = graph_message_number(graph, &message);
    }
    arena_release(&arena);
}

/* Which command of the users, from its id. */
static uint32_t command_of(struct bytes id)
{
    char text[16];

    snprintf(text, sizeof text, "%.*s", (int)id.size, (const char *)id.data);
    return (uint32_t)strtoul(text, NULL, 10);
}

static void add_answer(struct graph *graph, struct graph_step *step,
                       const struct answer *answer)
{
    struct buf text = BUF_INIT;
    uint32_t value;

    for (size_t i = 0; i < ANSWER_HEADERS; i++) {
        buf_append_bytes(&text, answer->headers[i]);
        buf_append_byte(&text, '\n');
    }
    buf_append_bytes(&text, answer->key);
    buf_append_byte(&text, '\n');
    buf_append_bytes(&text, answer->value);
    intern(&graph->answer_set, buf_bytes(&text), &value);
    buf_release(&text);
    step->answers =
        one_more(graph, step->answers, step->answer_count, sizeof step->answers[0]);
    step->answers[step->answer_count++] =
        (struct graph_answer){command_of(answer->headers[ANSWER_CAUSATION_ID]), value};
}

/* One effect: events first..first+count-1. */
static void let_go(struct graph *graph, struct graph_step *step, struct kv *kv,
                   struct kv_batch *batch, uint32_t shard, uint64_t first, uint32_t count,
                   bool repeat)
{
    struct event_scan *scan = NULL;
    struct event event;
    struct answer answer;
    int code;

    must(graph,
         answer_from_log(graph->makers[shard], kv, batch, first, count, &answer,
                         &graph->err),
         "answer");
    if (!answer.waits && !bytes_equal_str(answer.reply_to, "-"))
        add_answer(graph, step, &answer);
    must(graph, event_scan_open(kv, batch, first, first + count - 1, &scan, &graph->err),
         "scan");
    while ((code = event_scan_next(scan, &event, &graph->err)) == 0) {
        if (!repeat || followup_repeats(&event))
            add_sent(graph, step, &event, shard);
    }
    must(graph, code, "scan");
    event_scan_close(scan);
}

/* ---- states ------------------------------------------------------------------------ */

static struct kv *copy_of(struct graph *graph, struct kv *from)
{
    struct kv_cursor *cursor;
    struct bytes key, value;
    struct kv *kv;

    must(graph, kv_open_memory(&kv, &graph->err), "store");
    struct kv_batch *batch = kv_batch_new(kv);
    for (enum kv_space space = 0; space < KV_SPACES; space++) {
        must(graph,
             kv_cursor_open(from, NULL, space, bytes_str(""), BYTES_ABSENT, &cursor,
                            &graph->err),
             "cursor");
        while (kv_cursor_next(cursor, &key, &value, &graph->err) == 0)
            must(graph, kv_batch_put(batch, space, key, value, &graph->err), "copy");
        kv_cursor_close(cursor);
    }
    must(graph, kv_batch_commit(batch, /* sync= */ false, &graph->err), "copy");
    kv_batch_free(batch);
    return kv;
}

static void note_associations(struct graph *graph, struct graph_state *state,
                              struct views *views)
{
    struct association_scan *scan = NULL;
    struct association row;

    must(graph, association_scan_open(views, 0, &scan, &graph->err), "associations");
    while (association_scan_next(scan, &row, &graph->err) == 0) {
        state->associations =
            one_more(graph, state->associations, state->association_count,
                     sizeof state->associations[0]);
        state->associations[state->association_count++] = (struct graph_association){
            .source = row.source,
            .restore = row.restore,
            .number = row.number,
            .behavior = row.behavior,
            .pending = row.pending,
        };
    }
    association_scan_close(scan);
}

static void note_references(struct graph *graph, struct graph_state *state,
                            struct views *views)
{
    struct reference_scan *scan = NULL;
    struct reference row;

    must(graph, reference_scan_open(views, BYTES_ABSENT, &scan, &graph->err),
         "references");
    while (reference_scan_next(scan, &row, &graph->err) == 0) {
        state->references = one_more(graph, state->references, state->reference_count,
                                     sizeof state->references[0]);
        state->references[state->reference_count++] = (struct graph_reference){
            device_of_object(row.object), row.request, row.state == REFERENCE_ADOPTING};
    }
    reference_scan_close(scan);
}

static void note_relationships(struct graph *graph, struct graph_state *state,
                               struct views *views)
{
    struct relationship_scan *scan = NULL;
    struct relationship row;

    must(graph, relationship_scan_open(views, 0, &scan, &graph->err), "relationships");
    while (relationship_scan_next(scan, &row, &graph->err) == 0) {
        state->relationships =
            one_more(graph, state->relationships, state->relationship_count,
                     sizeof state->relationships[0]);
        struct graph_relationship *noted =
            &state->relationships[state->relationship_count++];
        *noted = (struct graph_relationship){
            .device = row.resource_id,
            .user = row.unique_user_name.data[row.unique_user_name.size - 1],
            .pending = row.is_pending,
        };
        for (size_t i = 0; i < row.source_count; i++)
            noted->source_bits |= 1u << row.sources[i];
    }
    relationship_scan_close(scan);
}

static void note_open_requests(struct graph *graph, struct graph_state *state,
                               struct views *views)
{
    uint64_t number = 0;

    while (request_next_pending(views, number, &number, &graph->err) == 0) {
        state->open_requests =
            one_more(graph, state->open_requests, state->open_request_count,
                     sizeof state->open_requests[0]);
        state->open_requests[state->open_request_count++] = number++;
    }
}

static void note_timers(struct graph *graph, struct graph_state *state,
                        struct views *views)
{
    struct timer_scan *scan = NULL;
    struct bytes name;

    must(graph, timer_scan_open(views, INT64_MAX, &scan, &graph->err), "timers");
    while (state->due_count < GRAPH_TIMERS_MAX &&
           timer_scan_next(scan, &state->due_ms[state->due_count], &name, &graph->err) ==
               0)
        state->due_count++;
    timer_scan_close(scan);
}

/* Are the views what follows from the log? */
static bool equals_replay(struct graph *graph, struct kv *kv)
{
    struct buf difference = BUF_INIT;
    struct kv *shadow;

    must(graph, views_replay(kv, NULL, NULL, &shadow, &graph->err), "replay");
    int code = views_compare(kv, shadow, &difference, &graph->err);
    must(graph, code, "compare");
    kv_close(shadow);
    buf_release(&difference);
    return code == 0;
}

static void note_facts(struct graph *graph, struct graph_state *state)
{
    struct views *views;

    must(graph, views_open(state->kv, /* batch= */ NULL, &views, &graph->err), "views");
    note_associations(graph, state, views);
    note_references(graph, state, views);
    note_relationships(graph, state, views);
    note_open_requests(graph, state, views);
    note_timers(graph, state, views);
    views_close(views);
}

/* Takes kv. The chain tells logs apart, and all else follows from the log. */
static uint32_t enter(struct graph *graph, uint32_t shard, struct kv *kv,
                      const uint8_t *chain, const char **ret_fault)
{
    uint32_t number;

    if (!intern(&graph->state_set, bytes_of(chain, SHA256_SIZE), &number)) {
        kv_close(kv);
        return number;
    }
    graph->states =
        intern_grow(graph->states, number, &graph->state_capacity, sizeof *graph->states);
    struct graph_state *state = &graph->states[number];
    *state = (struct graph_state){.shard = shard, .kv = kv};
    note_facts(graph, state);
    if (!equals_replay(graph, kv))
        *ret_fault = "the views are not what follows from the log";
    return number;
}

static struct core *open_core(struct graph *graph, struct kv *kv, uint32_t shard)
{
    const struct core_settings settings = settings_of(shard);
    const struct epoch epoch = {1, EPOCH_ID};
    struct core *core;

    must(graph, core_open(kv, &settings, &core, &graph->err), "open");
    core_set_epoch(core, &epoch);
    return core;
}

/* Commits, closes the core, and takes its store. */
static uint32_t enter_from(struct graph *graph, uint32_t shard, struct core *core,
                           const char **ret_fault)
{
    struct kv *kv = core_kv(core);

    must(graph, core_commit(core, /* sync= */ false, &graph->err), "commit");
    const struct head head = *core_head(core);
    core_close(core);
    return enter(graph, shard, kv, head.chain, ret_fault);
}

uint32_t graph_empty(struct graph *graph, uint32_t shard)
{
    const char *fault = NULL;
    struct kv *kv;

    must(graph, kv_open_memory(&kv, &graph->err), "store");
    struct core *core = open_core(graph, kv, shard);
    must(graph, core_start_log(core, 0, &graph->err), "start");
    return enter_from(graph, shard, core, &fault);
}

/* ---- steps ------------------------------------------------------------------------- */

static const char *keep(struct graph *graph, const char *text)
{
    return (const char *)arena_copy(&graph->arena, bytes_of(text, strlen(text) + 1)).data;
}

/* What shards say to each other is never refused, and stays where it is. */
static const char *judge(struct graph *graph, const struct graph_message *message,
                         const struct core_outcome *outcome, struct core *core)
{
    size_t count;
    const struct core_event *events = core_events(core, &count);

    for (size_t i = 0; i < count; i++) {
        graph->seen[events[i].event.type - schema_events] = true;
        if (message->from != GRAPH_USERS &&
            events[i].event.type->schema == &command_rejected_v1_schema)
            return "a message between shards is refused";
    }
    if (outcome->result == CORE_FORWARD || outcome->result == CORE_DEAD_LETTER)
        return "a record is forwarded, or a dead letter";
    return NULL;
}

/* As effects.c does: effects_add(). */
static void add_effects(struct graph *graph, struct graph_step *step, struct core *core,
                        uint32_t shard, const struct core_outcome *outcome)
{
    uint32_t each = outcome->each_alone ? 1 : outcome->count;

    if (outcome->result != CORE_DECIDED && outcome->result != CORE_REPEATED)
        return;
    for (uint32_t i = 0; i < outcome->count; i += each)
        let_go(graph, step, core_kv(core), core_batch(core), shard,
               outcome->first_sequence + i, each, outcome->result == CORE_REPEATED);
}

static const char *fault_of_core(struct graph *graph)
{
    const char *fault = keep(graph, graph->err.text);

    error_clear(&graph->err);
    return fault;
}

/* Twice: what the first time left is lost in a crash. */
static const char *take(struct graph *graph, struct core *core,
                        const struct graph_message *message, struct core_outcome *outcome)
{
    char source[LOG_SOURCE_SIZE];
    struct header headers[HEADERS_MAX];
    const struct record record = record_of(message, core_head(core), source, headers);
    struct head first;

    if (core_record(core, &record, outcome, &graph->err) != 0)
        return fault_of_core(graph);
    first = *core_head(core);
    must(graph, core_abandon(core, &graph->err), "abandon");
    if (core_record(core, &record, outcome, &graph->err) != 0)
        return fault_of_core(graph);
    if (memcmp(first.chain, core_head(core)->chain, SHA256_SIZE) != 0)
        return "a batch that was given up left something";
    return judge(graph, message, outcome, core);
}

static void make_delivery(struct graph *graph, uint32_t state, uint32_t message,
                          struct graph_step *step)
{
    /* a copy: the array moves */
    const struct graph_message taken = graph->messages[message];
    struct kv *kv = copy_of(graph, graph->states[state].kv);
    struct core *core = open_core(graph, kv, taken.to);
    struct core_outcome outcome = {0};

    step->state = state;
    step->fault = take(graph, core, &taken, &outcome);
    if (step->fault == NULL) {
        add_effects(graph, step, core, taken.to, &outcome);
        step->state = enter_from(graph, taken.to, core, &step->fault);
    } else {
        core_close(core);
        kv_close(kv);
    }
}

/* As effects.c does: ask_again(). */
static void ask_again(struct graph *graph, struct graph_step *step, struct core *core,
                      uint32_t shard)
{
    struct arena arena = ARENA_INIT;
    struct event event;
    uint64_t number = 0;
    int code;

    while ((code = request_next_pending(core_views(core), number, &number,
                                        &graph->err)) == 0) {
        must(graph,
             event_log_read(core_kv(core), NULL, number, &arena, &event, &graph->err),
             "request");
        let_go(graph, step, core_kv(core), NULL, shard, number, event.count,
               /* repeat= */ false);
        number++;
    }
    must(graph, code, "requests");
    arena_release(&arena);
}

/* As effects.c does: answer_again(). */
static void answer_again(struct graph *graph, struct graph_step *step, struct kv *kv,
                         uint32_t shard)
{
    struct event_scan *scan = NULL;
    struct event event;
    int code;

    must(graph, event_scan_open(kv, NULL, 1, UINT64_MAX, &scan, &graph->err), "scan");
    while ((code = event_scan_next(scan, &event, &graph->err)) == 0) {
        bool alone = bytes_equal_str(event.command_type, "kinlog.Tick.v1");
        if (event.causation_id.data != NULL && (event.index == 1 || alone))
            let_go(graph, step, kv, NULL, shard, event.sequence, alone ? 1 : event.count,
                   /* repeat= */ false);
    }
    must(graph, code, "scan");
    event_scan_close(scan);
}

static void make_restart(struct graph *graph, uint32_t state, bool cursor_at_end,
                         struct graph_step *step)
{
    uint32_t shard = graph->states[state].shard;
    struct core *core = open_core(graph, graph->states[state].kv, shard);

    step->state = state;
    ask_again(graph, step, core, shard);
    if (!cursor_at_end)
        answer_again(graph, step, core_kv(core), shard);
    core_close(core);
}

static const struct graph_step *step_of(struct graph *graph, uint32_t state,
                                        uint32_t message)
{
    const uint32_t key[] = {state, message};
    uint32_t number;

    if (!intern(&graph->step_set, bytes_of(key, sizeof key), &number))
        return &graph->steps[number];
    graph->steps =
        intern_grow(graph->steps, number, &graph->step_capacity, sizeof *graph->steps);
    struct graph_step step = {0};
    if (message == RESTART_ALL || message == RESTART_OPEN)
        make_restart(graph, state, message == RESTART_OPEN, &step);
    else
        make_delivery(graph, state, message, &step);
    graph->steps[number] = step;
    return &graph->steps[number];
}

const struct graph_step *graph_deliver(struct graph *graph, uint32_t state,
                                       uint32_t message)
{
    return step_of(graph, state, message);
}

const struct graph_step *graph_restart(struct graph *graph, uint32_t state,
                                       bool cursor_at_end)
{
    return step_of(graph, state, cursor_at_end ? RESTART_OPEN : RESTART_ALL);
}
