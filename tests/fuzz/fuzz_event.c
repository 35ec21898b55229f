/* fuzz_event.c - events as others left them: the stored form in the log, the record in the events topic.
 *
 * Beyond "no crash": what is read is written again as the same bytes; an event that was read is taken into
 * the views, or refused as damaged; two shards that take the same events have the same views.
 *
 * The input is a list of pieces (pieces.h). A mark says what follows it: MARK_STORED one text, a stored
 * form; MARK_RECORD a key, the data, and one text for each header of an event; MARK_NEXT the same, made the
 * next event of the log, with the chain that it needs.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "events/base/datetime.h"
#include "events/event_log.h"
#include "tests/fuzz/pieces.h"
#include "tests/fuzz/prepared.h"

enum { MARK_STORED, MARK_RECORD, MARK_NEXT, MARKS };

#define EVENTS_MAX 12

/* A fold refuses an event, and says why, or takes it. */
static void check_code(int code, const struct error *err)
{
    expect(code == 0 || code == ERROR_CORRUPT);
    expect((code == 0) == (err->text[0] == '\0'));
}

/* Its answer can be made, whatever it says, or it is said to be damaged. */
static void check_answer(struct prepared *prepared, const struct event *event)
{
    struct answer_maker *maker = prepared->owner.maker;
    struct answer answer;
    struct error err = {0};

    answer_begin(maker);
    int code = answer_add(maker, event, /* data= */ NULL, &err);
    check_code(code, &err);
    if (code == 0 && event->index == event->count && event->has_command)
        expect(answer_end(maker, &answer, &err) == 0);
}

/* Into views where it may fit or not; both sides forget it again. */
static void check_fold(struct prepared *prepared, const struct event *event)
{
    struct error err = {0};
    struct head head = *core_head(prepared->owner.core);

    check_code(views_apply(core_views(prepared->owner.core), event, NULL, &err), &err);
    error_clear(&err);
    check_code(head_apply(&head, event, &err), &err);
    prepared_reset(prepared);
}

static void take_stored(struct prepared *prepared, struct bytes value)
{
    const struct log_identity *identity = &prepared->settings.identity;
    struct arena arena = ARENA_INIT;
    struct buf again = BUF_INIT;
    struct error err = {0};
    struct event event;
    struct event_record record;

    int code =
        event_decode(core_head(prepared->owner.core)->sequence + 1, value, &event, &err);
    expect(code == 0 || code == ERROR_CORRUPT || code == ERROR_VERSION);
    if (code == 0) {
        expect(event_encode(&event, &again) == 0);
        expect(bytes_equal(buf_bytes(&again), value));
        expect(event_render(identity, &event, &arena, &record) == 0);
        check_event(identity, &event, &record);
        check_answer(prepared, &event);
        check_fold(prepared, &event);
    }
    arena_release(&arena);
    buf_release(&again);
}

static bool cut_event(struct prepared *prepared, struct cutter *cutter,
                      struct event *ret_event)
{
    struct event_record record;
    struct error err = {0};

    record.key = cut_text(cutter);
    record.data = cut_text(cutter);
    for (size_t i = 0; i < EVENT_HEADERS; i++)
        record.headers[i] = cut_text(cutter);
    int code = event_parse(&prepared->settings.identity, &record, ret_event, &err);
    expect(code == 0 || code == ERROR_INVALID || code == ERROR_VERSION);
    expect((code == 0) == (err.text[0] == '\0'));
    if (code == 0)
        check_event(&prepared->settings.identity, ret_event, &record);
    return code == 0;
}

/* The event as the next one of the log, on both sides. */
static void take_next(struct prepared *prepared, struct event *event)
{
    const struct head *head = core_head(prepared->owner.core);
    struct arena arena = ARENA_INIT;
    struct event_record record;
    struct sha256 *hasher = sha256_new();
    struct error err = {0}, again = {0};
    struct event read;

    expect(hasher != NULL);
    event->sequence = head->sequence + 1;
    expect(event_seal(&prepared->settings.identity, hasher, head->chain, event, &arena,
                      &record) == 0);
    check_event(&prepared->settings.identity, event, &record);
    int code = core_adopt(prepared->owner.core, event, &record, &err);
    check_code(code, &err);
    expect(core_adopt(prepared->follower.core, event, &record, &again) == code);
    if (code == 0) {
        prepared_compare(prepared);
        expect(event_log_read(prepared->owner.kv, core_batch(prepared->owner.core),
                              event->sequence, &arena, &read, NULL) == 0);
        expect(memcmp(read.chain, event->chain, SHA256_SIZE) == 0);
        check_answer(prepared, &read);
    } else {
        prepared_reset(prepared);
    }
    sha256_free(hasher);
    arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct prepared *prepared = prepared_get();
    struct cutter cutter = cutter_of(data, size);

    for (int i = 0; i < EVENTS_MAX && (i == 0 || !cutter_done(&cutter)); i++) {
        struct piece mark = {.mark = MARK_STORED};
        struct event event;

        (void)cut_mark(&cutter, &mark);
        if (mark.mark % MARKS == MARK_STORED) {
            take_stored(prepared, cut_text(&cutter));
        } else if (cut_event(prepared, &cutter, &event)) {
            if (mark.mark % MARKS == MARK_NEXT)
                take_next(prepared, &event);
            else
                check_fold(prepared, &event);
        }
    }
    prepared_compare(prepared);
    prepared_reset(prepared);
    cutter_release(&cutter);
    return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const more[] = {
        "2-11",
        "2-12",
        "/kinlog/hq/00112233445566778899aabbccddeeff",
        "1.0",
        "application/json",
        "2026-05-28T20:26:40.123Z",
        "9;1/1;",
        "10;1/2;",
        "10;2/2;",
        "AAAAAAAAAAAAAAAAAAAAAA",
        "a\\b",
        "\"a\\\\b\"",
        "\"refused\"",
        "\"conflict\"",
        "device:4",
        "device/4/relationship/23",
        "\"last_source\"",
        "\"explicit\"",
        "\"device_removed\"",
        "\"denied\"",
        "\"usage.minutes\"",
        "\"2026-05-28T20:26:40.123Z\"",
        "device/4/usage",
        "\"devices.unknown\"",
        "\"core.rules\"",
        "\"20260528202640.123000+000\"",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    };

    (void)argc;
    (void)argv;
    words_add_schemas();
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        word_add(more[i]);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    return mutate_pieces(data, size, size_max, seed);
}
