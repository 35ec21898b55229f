/* test_reader.c - the strict reader: which records of an events partition are the log.
 *
 * A topic is written by hand, record by record: claims, events under an epoch, answer
 * cursors, strangers.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/shard/reader.h"

static const struct log_identity identity = {"00112233445566778899aabbccddeeff", "hq", 0,
                                             1};

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* A writer's idea of the log: what it would publish next. */
struct writer {
    uint64_t sequence;
    uint8_t chain[SHA256_SIZE];
    char epoch[EPOCH_TEXT_SIZE];
    bool disordered; /* headers from the last to the first, and each once more */
};

struct fixture {
    struct reader *reader;
    struct sha256 *hasher;
    struct arena arena;
    int64_t offset; /* of the next record */
    uint64_t taken; /* events handed on so far, dense from 1 */
    uint64_t repeats;
    struct error err;
};

static int on_event(void *context, const struct event *event,
                    const struct event_record *record, struct error *err)
{
    struct fixture *fixture = context;

    (void)record;
    (void)err;
    assert_int_equal(event->sequence, fixture->taken + 1);
    fixture->taken++;
    return 0;
}

static int on_repeat(void *context, const struct event *event, struct error *err)
{
    struct fixture *fixture = context;

    (void)err;
    assert_true(event->sequence <= fixture->taken);
    fixture->repeats++;
    return 0;
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    fixture->hasher = sha256_new();
    assert_int_equal(reader_new(&identity, NULL, &fixture->reader, &fixture->err), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    reader_free(fixture->reader);
    sha256_free(fixture->hasher);
    arena_release(&fixture->arena);
    free(fixture);
    return 0;
}

static int take(struct fixture *fixture, const struct record *record)
{
    struct reader_sink sink = {on_event, on_repeat, fixture};
    struct record placed = *record;

    placed.offset = fixture->offset++;
    error_clear(&fixture->err);
    return reader_take(fixture->reader, &placed, &sink, &fixture->err);
}

/* Publishes a claim; the writer goes on under its epoch. */
static void claim(struct fixture *fixture, struct writer *writer, const char *id,
                  uint64_t floor)
{
    struct claim data = {.floor = floor, .rules = 1};
    struct buf value = BUF_INIT;
    struct epoch epoch;

    snprintf(data.id, sizeof data.id, "%s", id);
    snprintf(data.log, sizeof data.log, "%s", identity.log);
    snprintf(data.agent, sizeof data.agent, "host \"one\"");
    assert_int_equal(claim_write(&data, "1", &value), 0);
    epoch = claim_epoch(&data, fixture->offset);
    epoch_text(&epoch, writer->epoch);
    struct record record = {.key = bytes_str(CLAIM_KEY), .value = buf_bytes(&value)};
    assert_int_equal(take(fixture, &record), 0);
    buf_release(&value);
}

static void start(struct fixture *fixture, struct writer *writer)
{
    memset(writer, 0, sizeof *writer);
    chain_start(fixture->hasher, &identity, writer->chain);
}

/* Turns the headers round, and puts another of each name behind them. */
static void disorder(struct header *headers, size_t *count)
{
    for (size_t i = 0; i < *count / 2; i++) {
        struct header first = headers[i];
        headers[i] = headers[*count - 1 - i];
        headers[*count - 1 - i] = first;
    }
    for (size_t i = 0; i + 1 < *count; i++)
        headers[*count + i] = (struct header){headers[i].name, bytes_str("other")};
    *count += *count - 1;
}

/* Publishes event index/count of a command; returns what the reader says. */
static int publish(struct fixture *fixture, struct writer *writer, uint32_t index,
                   uint32_t count, const char *data)
{
    struct event event = {
        .sequence = writer->sequence + 1,
        .type = event_type_find(bytes_str("kinlog.PositionAdvanced.v1")),
        .has_command = true,
        .command_offset = 5,
        .index = index,
        .count = count,
        .content_hash = bytes_str("-"),
        .command_type = bytes_str("-"),
        .data = bytes_str(data),
    };
    struct header headers[2 * EVENT_HEADERS + 1];
    struct event_record text;
    size_t header_count = 0;

    assert_int_equal(event_seal(&identity, fixture->hasher, writer->chain, &event,
                                &fixture->arena, &text),
                     0);
    for (size_t i = 0; i < EVENT_HEADERS; i++) {
        if (text.headers[i].data != NULL)
            headers[header_count++] =
                (struct header){bytes_str(event_header_names[i]), text.headers[i]};
    }
    headers[header_count++] =
        (struct header){bytes_str(EPOCH_HEADER), bytes_str(writer->epoch)};
    if (writer->disordered)
        disorder(headers, &header_count);
    struct record record = {.key = text.key,
                            .value = text.data,
                            .headers = headers,
                            .header_count = header_count};
    writer->sequence++;
    memcpy(writer->chain, event.chain, SHA256_SIZE);
    return take(fixture, &record);
}

/* Before the first claim nothing is valid. */
static void test_before_claim(void **state)
{
    struct fixture *fixture = *state;
    struct writer writer;

    start(fixture, &writer);
    snprintf(writer.epoch, sizeof writer.epoch, "0;" ID_A);
    assert_int_equal(publish(fixture, &writer, 1, 1, "{}"), 0);
    assert_int_equal(fixture->taken, 0);
}

/* An owner's events count from its claim on; the end is where the last one lies. */
static void test_owner(void **state)
{
    struct fixture *fixture = *state;
    struct writer writer;

    start(fixture, &writer);
    claim(fixture, &writer, ID_A, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(publish(fixture, &writer, 1, 1, "{}"), 0);
    assert_int_equal(fixture->taken, 3);
    assert_int_equal(reader_end(fixture->reader)->sequence, 3);
    assert_int_equal(reader_end(fixture->reader)->offset, 3);
    assert_string_equal(reader_end(fixture->reader)->epoch.id, ID_A);
    assert_string_equal(reader_claim(fixture->reader)->agent, "host \"one\"");
}

/* Headers may come in any order, and the first of a name counts. */
static void test_header_order(void **state)
{
    struct fixture *fixture = *state;
    struct writer writer;

    start(fixture, &writer);
    writer.disordered = true;
    claim(fixture, &writer, ID_A, 0);
    assert_int_equal(publish(fixture, &writer, 1, 1, "{}"), 0);
    assert_int_equal(publish(fixture, &writer, 1, 2, "{}"), 0);
    assert_int_equal(publish(fixture, &writer, 2, 2, "{}"), 0);
    assert_int_equal(fixture->taken, 3);
}

/* A deposed owner's late records are void, whatever they hold. */
static void test_late_records(void **state)
{
    struct fixture *fixture = *state;
    struct writer old, new;

    start(fixture, &old);
    claim(fixture, &old, ID_A, 0);
    assert_int_equal(publish(fixture, &old, 1, 1, "{}"), 0);
    new = old;
    claim(fixture, &new, ID_B, 1);
    assert_int_equal(publish(fixture, &old, 1, 1, "{\"old\":1}"), 0);
    assert_int_equal(publish(fixture, &new, 1, 1, "{\"new\":1}"), 0);
    assert_int_equal(publish(fixture, &old, 1, 1, "{\"old\":2}"), 0);
    assert_int_equal(fixture->taken, 2);
    assert_int_equal(fixture->repeats, 0);
}

/* The same epoch number under another claim's id is void (a topic that lost its tail,
 * R2). */
static void test_same_number(void **state)
{
    struct fixture *fixture = *state;
    struct writer owner, stranger;

    start(fixture, &owner);
    claim(fixture, &owner, ID_A, 7);
    stranger = owner;
    snprintf(stranger.epoch, sizeof stranger.epoch, "7;" ID_B);
    assert_int_equal(publish(fixture, &stranger, 1, 1, "{}"), 0);
    assert_int_equal(fixture->taken, 0);
    assert_int_equal(publish(fixture, &owner, 1, 1, "{}"), 0);
    assert_int_equal(fixture->taken, 1);
}

/* A command's events count together, at the last one. */
static void test_whole_commands(void **state)
{
    struct fixture *fixture = *state;
    struct writer writer;

    start(fixture, &writer);
    claim(fixture, &writer, ID_A, 0);
    assert_int_equal(publish(fixture, &writer, 1, 3, "{}"), 0);
    assert_int_equal(publish(fixture, &writer, 2, 3, "{}"), 0);
    assert_int_equal(fixture->taken, 0);
    assert_int_equal(reader_end(fixture->reader)->sequence, 0);
    assert_int_equal(publish(fixture, &writer, 3, 3, "{}"), 0);
    assert_int_equal(fixture->taken, 3);
}

/* Half a command before a claim is void: the new owner publishes it whole. */
static void test_half_command(void **state)
{
    struct fixture *fixture = *state;
    struct writer writer, again;

    start(fixture, &writer);
    again = writer;
    claim(fixture, &writer, ID_A, 0);
    assert_int_equal(publish(fixture, &writer, 1, 2, "{}"), 0);
    claim(fixture, &again, ID_B, 0);
    assert_int_equal(publish(fixture, &again, 1, 2, "{\"b\":1}"), 0);
    assert_int_equal(publish(fixture, &again, 2, 2, "{\"b\":2}"), 0);
    assert_int_equal(fixture->taken, 2);
}

/* What the broker repeats is handed to the holder for comparison, or compared here if it
 * is pending. */
static void test_repeats(void **state)
{
    struct fixture *fixture = *state;
    struct writer writer, before;

    start(fixture, &writer);
    claim(fixture, &writer, ID_A, 0);
    before = writer;
    snprintf(before.epoch, sizeof before.epoch, "%s", writer.epoch);
    assert_int_equal(publish(fixture, &writer, 1, 1, "{}"), 0);
    assert_int_equal(publish(fixture, &before, 1, 1, "{}"), 0);
    assert_int_equal(fixture->repeats, 1);
    before = writer;
    assert_int_equal(publish(fixture, &writer, 1, 2, "{}"), 0);
    assert_int_equal(publish(fixture, &before, 1, 2, "{}"), 0);
    before.sequence--;
    memset(before.chain, 1, SHA256_SIZE);
    assert_int_equal(publish(fixture, &before, 1, 2, "{\"other\":1}"), ERROR_CORRUPT);
    assert_non_null(strstr(fixture->err.text, "differ"));
}

/* A gap, and a chain that does not fit, stop the reader under a valid epoch. */
static void test_faults(void **state)
{
    struct fixture *fixture = *state;
    struct writer writer, wrong;

    start(fixture, &writer);
    claim(fixture, &writer, ID_A, 0);
    assert_int_equal(publish(fixture, &writer, 1, 1, "{}"), 0);
    wrong = writer;
    wrong.sequence++;
    assert_int_equal(publish(fixture, &wrong, 1, 1, "{}"), ERROR_CORRUPT);
    assert_non_null(strstr(fixture->err.text, "event 2 is missing"));
    wrong = writer;
    wrong.chain[0] ^= 1;
    assert_int_equal(publish(fixture, &wrong, 1, 1, "{}"), ERROR_CORRUPT);
    assert_non_null(strstr(fixture->err.text, "chain"));
}

/* A command that begins in its middle, changes its length, or stops for another one, is no command. */
static void test_disorder(void **state)
{
    struct fixture *fixture = *state;
    struct writer writer, wrong;

    start(fixture, &writer);
    claim(fixture, &writer, ID_A, 0);
    wrong = writer;
    assert_int_equal(publish(fixture, &wrong, 2, 2, "{}"), ERROR_CORRUPT);
    assert_non_null(strstr(fixture->err.text, "2/2"));
    assert_int_equal(publish(fixture, &writer, 1, 3, "{}"), 0);
    wrong = writer;
    assert_int_equal(publish(fixture, &wrong, 3, 3, "{}"), ERROR_CORRUPT);
    wrong = writer;
    assert_int_equal(publish(fixture, &wrong, 2, 2, "{}"), ERROR_CORRUPT);
    wrong = writer;
    assert_int_equal(publish(fixture, &wrong, 1, 3, "{}"), ERROR_CORRUPT);
    assert_int_equal(fixture->taken, 0);
    assert_int_equal(publish(fixture, &writer, 2, 3, "{}"), 0);
    assert_int_equal(publish(fixture, &writer, 3, 3, "{}"), 0);
    assert_int_equal(fixture->taken, 3);
}

/* The answer cursor counts only under the present epoch; other kinlog: keys are skipped.
 * */
static void test_answered(void **state)
{
    struct fixture *fixture = *state;
    struct writer writer;
    struct header header = {bytes_str(EPOCH_HEADER), BYTES_ABSENT};
    struct record record = {.key = bytes_str(ANSWERED_KEY),
                            .value = bytes_str("{\"Sequence\":9}"),
                            .headers = &header,
                            .header_count = 1};

    start(fixture, &writer);
    claim(fixture, &writer, ID_A, 0);
    header.value = bytes_str("0;" ID_B);
    assert_int_equal(take(fixture, &record), 0);
    assert_int_equal(reader_answered(fixture->reader), 0);
    header.value = bytes_str(writer.epoch);
    assert_int_equal(take(fixture, &record), 0);
    assert_int_equal(reader_answered(fixture->reader), 9);
    record.key = bytes_str("kinlog:digest");
    assert_int_equal(take(fixture, &record), 0);
    assert_int_equal(fixture->taken, 0);
}

/* What calls itself a claim and is none, or is one of another log, changes nothing. */
static void test_false_claims(void **state)
{
    static const char *const values[] = {
        "", "{}", "no JSON",
        "{\"Id\":\"x\",\"Floor\":0,\"Agent\":\"\",\"Version\":\"\",\"Rules\":1,\"Log\":"
        "\"\"}",
        "{\"Id\":\"" ID_B "\",\"Floor\":99,\"Agent\":\"\",\"Version\":\"\",\"Rules\":1,"
        "\"Log\":\"ffffffffffffffffffffffffffffffff\"}"};
    struct fixture *fixture = *state;
    struct writer writer;

    start(fixture, &writer);
    claim(fixture, &writer, ID_A, 0);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct record record = {.key = bytes_str(CLAIM_KEY),
                                .value = bytes_str(values[i])};
        assert_int_equal(take(fixture, &record), 0);
    }
    struct record tombstone = {.key = bytes_str(CLAIM_KEY)};
    assert_int_equal(take(fixture, &tombstone), 0);
    assert_int_equal(publish(fixture, &writer, 1, 1, "{}"), 0);
    assert_int_equal(fixture->taken, 1);
}

/* A reader that resumes at a mark goes on as the one that read from the start would. */
static void test_resume(void **state)
{
    struct fixture *fixture = *state;
    struct writer writer;

    start(fixture, &writer);
    claim(fixture, &writer, ID_A, 3);
    assert_int_equal(publish(fixture, &writer, 1, 1, "{}"), 0);
    struct mark mark = *reader_end(fixture->reader);
    reader_free(fixture->reader);
    assert_int_equal(reader_new(&identity, &mark, &fixture->reader, &fixture->err), 0);
    assert_int_equal(reader_highest_epoch(fixture->reader), 3);
    assert_int_equal(publish(fixture, &writer, 1, 1, "{}"), 0);
    assert_int_equal(fixture->taken, 2);
    assert_int_equal(reader_end(fixture->reader)->sequence, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_before_claim, setup, teardown),
        cmocka_unit_test_setup_teardown(test_owner, setup, teardown),
        cmocka_unit_test_setup_teardown(test_header_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_records, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same_number, setup, teardown),
        cmocka_unit_test_setup_teardown(test_whole_commands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_command, setup, teardown),
        cmocka_unit_test_setup_teardown(test_repeats, setup, teardown),
        cmocka_unit_test_setup_teardown(test_faults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disorder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_false_claims, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resume, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
