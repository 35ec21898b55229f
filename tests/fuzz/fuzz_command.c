/* fuzz_command.c - any records at all through envelope, codec and core, as the owner of a shard takes them.
 *
 * Beyond "no crash": every record is decided, repeated, forwarded or buried; the answer is a function of
 * the events; the same record again is answered the same; another agent that reads the events comes to the
 * same views.
 *
 * The input is a list of pieces (pieces.h): key, value, then name and value of each header. A mark ends a
 * record; its argument says what is special about the next one (see struct special).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "agent/shard/claim.h"
#include "events/event_log.h"
#include "schemas/answers.h"
#include "tests/fuzz/pieces.h"
#include "tests/fuzz/prepared.h"

#define HEADERS_MAX 24
#define RECORDS_MAX 6
#define PAD_BYTES (300 * 1024)

struct special {
    int64_t later_ms; /* than the record before */
    int64_t gap;      /* in the offsets */
    bool padded;      /* the value is larger than the limit */
    bool from_owner;  /* it bears the owner's epoch, and the log's own source */
};

struct record_input {
    struct record record;
    struct header headers[HEADERS_MAX + 2];
};

static struct special special_of(uint8_t argument)
{
    static const int64_t later[] = {0, 1, -1000, 3600001, 86400000, INT64_C(1) << 52};

    return (struct special){.later_ms = later[argument % 6],
                            .gap = (argument & 8) != 0 ? POSITION_RECORDS_MAX : 0,
                            .padded = (argument & 0xf0) == 0xf0,
                            .from_owner = (argument & 16) != 0};
}

static void keep_text(struct buf *out, struct bytes text)
{
    buf_append_u32be(out, text.data == NULL ? UINT32_MAX : (uint32_t)text.size);
    expect(buf_append_bytes(out, text) == 0);
}

/* The answer of events that are in the log or in the batch, its value checked against the schema. */
static void keep_answer(struct side *side, const struct core_outcome *outcome,
                        struct buf *ret_text)
{
    struct arena arena = ARENA_INIT;
    struct codec_error fault;
    struct answer_v1 data;
    struct answer answer;

    expect(outcome->count > 0 && outcome->first_sequence > 0 &&
           outcome->first_sequence + outcome->count - 1 <=
               core_head(side->core)->sequence);
    expect(answer_from_log(side->maker, side->kv, core_batch(side->core),
                           outcome->first_sequence, outcome->count, &answer, NULL) == 0);
    expect(codec_decode(&answer_v1_schema, CODEC_EXACT, answer.value, &arena, &data,
                        &fault) == CODEC_OK);
    arena_release(&arena);
    buf_clear(ret_text);
    keep_text(ret_text, answer.reply_to);
    keep_text(ret_text, answer.key);
    for (size_t i = 0; i < ANSWER_HEADERS; i++)
        keep_text(ret_text, answer.headers[i]);
    keep_text(ret_text, answer.value);
}

/* What the outcome says fits what was added to the log. */
static void check_outcome(const struct prepared *prepared,
                          const struct core_outcome *outcome, uint64_t before)
{
    uint64_t after = core_head(prepared->owner.core)->sequence;
    const struct log_identity *identity = &prepared->settings.identity;

    switch (outcome->result) {
    case CORE_DECIDED:
        expect(outcome->first_sequence == before + 1 && after == before + outcome->count);
        break;
    case CORE_DEAD_LETTER:
        expect(after == before + 1 && outcome->reason != NULL);
        break;
    case CORE_FORWARD:
        expect(outcome->target < identity->shards && outcome->target != identity->shard);
        expect(after <= before + 1);
        break;
    default:
        expect(after <= before + 1); /* PositionAdvanced */
        break;
    }
}

static struct core_outcome take(struct prepared *prepared, const struct record *record)
{
    struct core *core = prepared->owner.core;
    uint64_t before = core_head(core)->sequence;
    struct core_outcome outcome;
    struct error err = {0};
    size_t events;

    (void)core_events(core, &events);
    expect(core_record(core, record, &outcome, &err) == 0);
    expect(core_head(core)->next_offset == record->offset + 1);
    check_outcome(prepared, &outcome, before);
    prepared_follow(prepared, events);
    return outcome;
}

/* A conclusion is answered once, to the command that had asked: what brought it about is not
 * answered when it comes again. */
static bool concludes(const struct side *side, const struct core_outcome *outcome)
{
    struct arena arena = ARENA_INIT;
    struct event event;
    uint64_t concluded;

    expect(event_log_read(side->kv, core_batch(side->core), outcome->first_sequence,
                          &arena, &event, NULL) == 0);
    expect(answer_concludes(&event, /* data= */ NULL, &concluded, NULL) == 0);
    arena_release(&arena);
    return concluded != 0;
}

/* The record, and the same record once more behind it. */
static void take_twice(struct prepared *prepared, struct record *record)
{
    struct buf answers[3] = {BUF_INIT, BUF_INIT, BUF_INIT};
    struct core_outcome first = take(prepared, record), again;
    bool answered = first.result == CORE_DECIDED || first.result == CORE_REPEATED;

    if (answered) {
        keep_answer(&prepared->owner, &first, &answers[0]);
        keep_answer(&prepared->follower, &first, &answers[1]);
        expect(bytes_equal(buf_bytes(&answers[0]), buf_bytes(&answers[1])));
    }
    record->offset++;
    again = take(prepared, record);
    if (answered) {
        expect(again.first_sequence == first.first_sequence &&
               again.count == first.count);
        expect(again.result ==
               (concludes(&prepared->owner, &first) ? CORE_NOTHING : CORE_REPEATED));
        keep_answer(&prepared->owner, &again, &answers[2]);
        expect(bytes_equal(buf_bytes(&answers[0]), buf_bytes(&answers[2])));
    } else {
        expect(again.result == first.result && again.target == first.target &&
               again.reason == first.reason);
    }
    for (size_t i = 0; i < 3; i++)
        buf_release(&answers[i]);
}

/* Key, value and headers up to the next mark. */
static void cut_record(struct cutter *cutter, struct record_input *input)
{
    struct record *record = &input->record;
    struct bytes rest;
    struct piece piece;

    record->key = cut_text(cutter);
    record->value = cut_text(cutter);
    record->headers = input->headers;
    record->header_count = 0;
    while (!cutter_done(cutter) && record->header_count < HEADERS_MAX) {
        rest = cutter->rest;
        if (!piece_next(&rest, &piece) || piece.is_mark)
            return;
        struct header *header = &input->headers[record->header_count++];
        header->name = cut_text(cutter);
        header->value = cut_text(cutter);
        if (header->name.data == NULL)
            header->name = bytes_str("");
    }
}

static void apply_special(const struct prepared *prepared, struct record_input *input,
                          const struct special *special, struct cutter *cutter)
{
    static char epoch[EPOCH_TEXT_SIZE], source[LOG_SOURCE_SIZE];
    struct record *record = &input->record;

    if (special->padded && record->value.data != NULL) {
        char *padded = cutter_own(cutter, record->value, PAD_BYTES);
        memset(padded + record->value.size, ' ', PAD_BYTES - record->value.size);
        record->value = bytes_of(padded, PAD_BYTES);
    }
    if (special->from_owner) {
        epoch_text(&prepared->epoch, epoch);
        log_source(&prepared->settings.identity, source);
        input->headers[record->header_count++] =
            (struct header){bytes_str(EPOCH_HEADER), bytes_str(epoch)};
        input->headers[record->header_count++] =
            (struct header){bytes_str("ce_source"), bytes_str(source)};
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct prepared *prepared = prepared_get();
    struct cutter cutter = cutter_of(data, size);
    struct record_input input = {
        .record = {.partition = (int32_t)prepared->settings.identity.shard}};
    int64_t offset = prepared->next_offset, time_ms = 1780000000000;

    for (int i = 0; i < RECORDS_MAX && (i == 0 || !cutter_done(&cutter)); i++) {
        struct piece mark = {.argument = 0};
        (void)cut_mark(&cutter, &mark);
        struct special special = special_of(mark.argument);
        cut_record(&cutter, &input);
        apply_special(prepared, &input, &special, &cutter);
        time_ms += special.later_ms;
        input.record.timestamp_ms = time_ms;
        input.record.offset = offset + special.gap;
        take_twice(prepared, &input.record);
        offset = input.record.offset + 1;
    }
    prepared_compare(prepared);
    expect(views_flush(core_views(prepared->owner.core), NULL) == 0);
    prepared_reset(prepared);
    cutter_release(&cutter);
    return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const words[] = {
        "ce_time",
        "ce_dataschema",
        "ce_datacontenttype",
        "ce_expirytime",
        "ce_expectedversion",
        "kinlog_forwarded",
        "kinlog_epoch",
        "Content-Type",
        "application/cloudevents+json; charset=UTF-8",
        "application/cloudevents-batch+json",
        "application/json",
        "1.0",
        "2026-06-01T00:00:00Z",
        "2030-01-01T00:00:00Z",
        "device:4",
        "device:5",
        "policy",
        "helpdesk.replies",
        "-",
        "/s",
        "p0",
        "p3",
        "\"specversion\":\"1.0\",",
        "\"id\":\"1\",",
        "\"source\":\"/s\",",
        "\"type\":\"",
        "\"data\":{",
        "\"data_base64\":\"",
        "\"schema\":{},\"payload\":{",
        "refuse",
        "stub",
        "devices.unknown",
        "approval.sources",
        "usage.days",
        "usage.minutes",
        "1,4",
        "\"2026-05-28T08:15:00+02:00\"",
        "core.rules",
        "\"a\\\\b\"",
        "\"a\\\\c\"",
    };

    (void)argc;
    (void)argv;
    words_add_schemas();
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        word_add(words[i]);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    return mutate_pieces(data, size, size_max, seed);
}
