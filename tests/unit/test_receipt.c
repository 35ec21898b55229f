/* test_receipt.c - receipts: which commands were seen, and where their events are.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/decide_fixture.h"

#define HASH_A "AAAAAAAAAAAAAAAAAAAAAA"
#define HASH_B "BBBBBBBBBBBBBBBBBBBBBB"
#define HASH_C "CCCCCCCCCCCCCCCCCCCCCC"

static struct receipt find(struct decide_fixture *fixture, const char *source,
                           const char *id, const char *content_hash)
{
    struct receipt receipt;

    assert_int_equal(receipt_find(fixture->views, bytes_str(source), bytes_str(id),
                                  bytes_str(content_hash), &receipt, &fixture->err),
                     0);
    return receipt;
}

/* A command leaves a receipt of all its events, to be found by source, id and content. */
static void test_same(void **state)
{
    struct decide_fixture *fixture = *state;

    assert_int_equal(find(fixture, "/test", "one", HASH_A).match, RECEIPT_NONE);
    fixture->id = "one";
    fixture->content_hash = HASH_A;
    run(fixture, "RegisterDevice", "{\"ResourceID\":1,\"Name\":\"PC1\"}");
    fixture->id = "two";
    fixture->content_hash = "-";
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"c\\\\u\",\"SourceId\":[1,2]}");
    fixture->id = "three";
    fixture->content_hash = HASH_C;
    run(fixture, "RemoveDevice", "{\"ResourceID\":1}");
    struct receipt receipt = find(fixture, "/test", "three", HASH_C);
    assert_int_equal(receipt.match, RECEIPT_SAME);
    assert_int_equal(receipt.first_sequence, 3);
    assert_int_equal(receipt.count, 2);
    receipt = find(fixture, "/test", "one", NULL);
    assert_int_equal(receipt.match, RECEIPT_SAME);
    assert_int_equal(receipt.first_sequence, 1);
    assert_int_equal(receipt.count, 1);
    assert_int_equal(find(fixture, "/test", "two", "-").match, RECEIPT_SAME);
    assert_int_equal(find(fixture, "/test", "two", HASH_A).match, RECEIPT_CONFLICT);
    /* Source and id are apart: no other division of the same text is the same command. */
    assert_int_equal(find(fixture, "/tes", "tone", HASH_A).match, RECEIPT_NONE);
    assert_int_equal(find(fixture, "/other", "one", NULL).match, RECEIPT_NONE);
}

/* Refused and idle commands leave receipts, too. */
static void test_refused_and_unchanged(void **state)
{
    struct decide_fixture *fixture = *state;

    fixture->id = "no";
    fixture->content_hash = HASH_A;
    run(fixture, "RemoveDevice", "{\"ResourceID\":1}");
    fixture->id = "idle";
    fixture->content_hash = HASH_B;
    run(fixture, "SetPolicy", "{\"Name\":\"devices.unknown\",\"Value\":\"refuse\"}");
    assert_int_equal(find(fixture, "/test", "no", HASH_A).first_sequence, 1);
    assert_int_equal(find(fixture, "/test", "idle", HASH_B).first_sequence, 2);
}

/* What the pipeline does with known id and other content. */
static void answer_conflict(struct decide_fixture *fixture, const char *id,
                            const char *content_hash)
{
    const struct rejection rejection = {
        .command_type = bytes_str("kinlog.RemoveDevice.v1"),
        .outcome = "conflict",
        .return_value = RETURN_OTHER_FAILURE,
        .description = "this id was seen before with other content",
        .key = bytes_str("device:1"),
        .subject = bytes_str("device/1"),
    };

    arena_reset(&fixture->arena);
    decision_init(&fixture->decision, &fixture->arena);
    assert_int_equal(decide_rejection(&fixture->decision, &rejection, &fixture->err), 0);
    fixture->id = id;
    fixture->content_hash = content_hash;
    apply_decision(fixture, "kinlog.RemoveDevice.v1");
}

/* Each other content has one answer of its own; the original stays as it was. */
static void test_conflict(void **state)
{
    struct decide_fixture *fixture = *state;

    fixture->id = "one";
    fixture->content_hash = HASH_A;
    run(fixture, "RegisterDevice", "{\"ResourceID\":1,\"Name\":\"PC1\"}");
    assert_int_equal(find(fixture, "/test", "one", HASH_B).match, RECEIPT_CONFLICT);
    answer_conflict(fixture, "one", HASH_B);
    struct receipt receipt = find(fixture, "/test", "one", HASH_B);
    assert_int_equal(receipt.match, RECEIPT_CONFLICT_SEEN);
    assert_int_equal(receipt.first_sequence, 2);
    assert_int_equal(receipt.count, 1);
    assert_int_equal(find(fixture, "/test", "one", HASH_C).match, RECEIPT_CONFLICT);
    answer_conflict(fixture, "one", HASH_C);
    assert_int_equal(find(fixture, "/test", "one", HASH_C).first_sequence, 3);
    receipt = find(fixture, "/test", "one", HASH_A);
    assert_int_equal(receipt.match, RECEIPT_SAME);
    assert_int_equal(receipt.first_sequence, 1);
    assert_int_equal(find(fixture, "/test", "one", NULL).first_sequence, 1);
}

/* The rejection's data: outcome, method name, and "-" for an unknown type. */
static void test_rejection(void **state)
{
    struct decide_fixture *fixture = *state;
    struct rejection rejection = {
        .command_type = bytes_str("Nonsense"),
        .outcome = "refused",
        .return_value = RETURN_NOT_SUPPORTED,
        .description = "unknown",
    };

    decision_init(&fixture->decision, &fixture->arena);
    assert_int_equal(decide_rejection(&fixture->decision, &rejection, &fixture->err), 0);
    fixture->content_hash = HASH_A;
    apply_decision(fixture, "Nonsense");
    assert_event(
        fixture, 0, "CommandRejected", NULL, NULL,
        "{\"Command\":\"Nonsense\",\"Outcome\":\"refused\",\"ReturnValue\":-2147217396,"
        "\"Version\":null,\"ExtendedStatus\":{\"Description\":\"unknown\","
        "\"Operation\":\"-\",\"ParameterInfo\":null,\"StatusCode\":-2147217396}}");
    rejection = (struct rejection){
        .command_type = bytes_str("kinlog.AddType.v1"),
        .outcome = "conflict",
        .return_value = RETURN_OTHER_FAILURE,
        .parameter = "id",
        .description = "text",
        .has_version = true,
        .version = 7,
    };
    decision_init(&fixture->decision, &fixture->arena);
    assert_int_equal(decide_rejection(&fixture->decision, &rejection, &fixture->err), 0);
    apply_decision(fixture, "kinlog.AddType.v1");
    assert_event(
        fixture, 0, "CommandRejected", NULL, NULL,
        "{\"Command\":\"kinlog.AddType.v1\",\"Outcome\":\"conflict\","
        "\"ReturnValue\":-2147217407,\"Version\":7,\"ExtendedStatus\":"
        "{\"Description\":\"text\",\"Operation\":\"AddType\",\"ParameterInfo\":\"id\","
        "\"StatusCode\":-2147217407}}");
}

/* An event of no command leaves no receipt; a command decided twice is damage. */
static void test_misfits(void **state)
{
    struct decide_fixture *fixture = *state;
    char before[65], after[65];

    run(fixture, "RemoveDevice", "{\"ResourceID\":1}");
    views_digest(fixture->views, VIEW_RECEIPTS, before);
    struct event event = fixture->events[0];
    event.sequence++;
    assert_int_equal(views_apply(fixture->views, &event, NULL, &fixture->err),
                     ERROR_CORRUPT);
    error_clear(&fixture->err);
    event.type = event_type_find(bytes_str("kinlog.PositionAdvanced.v1"));
    event.data = bytes_str("{\"Offset\":1}");
    event.causation_id = BYTES_ABSENT;
    event.causation_source = BYTES_ABSENT;
    assert_int_equal(views_apply(fixture->views, &event, NULL, &fixture->err), 0);
    views_digest(fixture->views, VIEW_RECEIPTS, after);
    assert_string_equal(before, after);
}

#define TEST(function)                                                                   \
    cmocka_unit_test_setup_teardown(function, decide_fixture_setup,                      \
                                    decide_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_same),     TEST(test_refused_and_unchanged),
        TEST(test_conflict), TEST(test_rejection),
        TEST(test_misfits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
