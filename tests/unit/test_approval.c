/* test_approval.c - relationships that wait for approval.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "schemas/events.h"
#include "tests/lib/decide_fixture.h"

/* Slot 221 is device:1's, so its relationships are 222, 462, ... */
#define SUBJECT "device/1/relationship/222"
#define ANN                                                                              \
    "\"RelationshipResourceID\":222,\"ResourceID\":1,\"UniqueUserName\":\"Corp\\\\Ann\""
#define MEANT "{\"RelationshipResourceID\":222}"

static void create(struct decide_fixture *fixture, const char *sources, const char *more)
{
    run_format(fixture, "CreateRelationship",
               "{\"MachineResourceId\":1,\"UserAccountName\":\"Corp\\\\Ann\","
               "\"SourceId\":%s%s}",
               sources, more);
}

/* Device 1 is registered; sources 1 and 4 need approval. */
static void begin(struct decide_fixture *fixture)
{
    run(fixture, "RegisterDevice", "{\"ResourceID\":1,\"Name\":\"PC1\"}");
    run(fixture, "SetPolicy", "{\"Name\":\"approval.sources\",\"Value\":\"4,1\"}");
}

static struct relationship get(struct decide_fixture *fixture)
{
    struct relationship relationship = {0};

    assert_true(relationship_get_by_id(fixture->views, 222, &fixture->arena,
                                       &relationship, &fixture->err) >= 0);
    return relationship; /* of number 0 if there is none */
}

/* One that only such sources vouch for is there, active, without a type, and waits. */
static void test_create(void **state)
{
    struct decide_fixture *fixture = *state;

    begin(fixture);
    create(fixture, "[1,4]", ",\"TypeId\":1");
    assert_event_count(fixture, 2);
    assert_event(
        fixture, 0, "RelationshipCreated", "device:1", SUBJECT,
        "{\"ResourceID\":1,\"UniqueUserName\":\"Corp\\\\Ann\","
        "\"RelationshipResourceID\":222,\"ResourceName\":\"PC1\","
        "\"ResourceClientType\":1,\"CreationTime\":\"20260101000000.000000+000\","
        "\"IsActive\":true,\"Sources\":[1,4],\"Types\":null}");
    assert_event(fixture, 1, "ApprovalRequested", "device:1", SUBJECT, "{" ANN "}");
    struct relationship relationship = get(fixture);
    assert_true(relationship.is_pending);
    assert_true(relationship.is_active);
    assert_int_equal(relationship.version, 4);
    /* The same wish again changes nothing, the types neither. */
    create(fixture, "1", ",\"TypeId\":1");
    assert_unchanged(fixture, "{\"RelationshipResourceID\":222}", 4, false);
}

/* One that another source vouches for as well does not wait. */
static void test_not_alone(void **state)
{
    struct decide_fixture *fixture = *state;

    begin(fixture);
    create(fixture, "[1,2]", ",\"TypeId\":1");
    assert_event_count(fixture, 1);
    assert_false(get(fixture).is_pending);
    assert_int_equal(get(fixture).type_count, 1);
    /* Nor does one that is there already: but such a source gives it no type. */
    run(fixture, "RemoveType", "{" ANN ",\"TypeId\":1}");
    run(fixture, "RemoveSource", "{" ANN ",\"SourceId\":1}");
    create(fixture, "1", ",\"TypeId\":1");
    assert_event_count(fixture, 1);
    assert_string_equal(fixture->events[0].type->name, "SourceAdded");
    assert_false(get(fixture).is_pending);
    assert_int_equal(get(fixture).type_count, 0);
    create(fixture, "9", ",\"TypeId\":1");
    assert_event_count(fixture, 2);
    assert_string_equal(fixture->events[1].type->name, "TypeAdded");
}

/* Approval gives the type and ends the waiting; said twice it changes nothing. */
static void test_approve(void **state)
{
    struct decide_fixture *fixture = *state;

    begin(fixture);
    create(fixture, "4", "");
    fixture->next.has_expected_version = true;
    fixture->next.expected_version = 3;
    run(fixture, "ApproveRelationship", MEANT);
    assert_refused(fixture, RETURN_STALE_VERSION, "expectedversion", 4);
    run(fixture, "ApproveRelationship",
        "{\"ResourceID\":1,\"UniqueUserName\":\"CORP\\\\ANN\"}");
    assert_event_count(fixture, 1);
    assert_event(fixture, 0, "TypeAdded", "device:1", SUBJECT,
                 "{" ANN ",\"TypeId\":1,\"Types\":[1]}");
    assert_false(get(fixture).is_pending);
    run(fixture, "ApproveRelationship", MEANT);
    assert_unchanged(fixture, "{}", 6, false);
    run(fixture, "DenyRelationship", MEANT);
    assert_refused(fixture, RETURN_OTHER_FAILURE, NULL, 6);
    /* Without its type it does not wait again. */
    run(fixture, "RemoveType", "{" ANN ",\"TypeId\":1}");
    assert_false(get(fixture).is_pending);
    run(fixture, "ApproveRelationship", MEANT);
    assert_refused(fixture, RETURN_OTHER_FAILURE, NULL, 9);
}

/* Denial ends the relationship. */
static void test_deny(void **state)
{
    struct decide_fixture *fixture = *state;

    begin(fixture);
    create(fixture, "4", "");
    run(fixture, "DenyRelationship", MEANT);
    assert_event_count(fixture, 1);
    assert_event(fixture, 0, "RelationshipDeleted", "device:1", SUBJECT,
                 "{" ANN ",\"Reason\":\"denied\"}");
    assert_int_equal(get(fixture).relationship_resource_id, 0);
    run(fixture, "DenyRelationship", MEANT);
    assert_refused(fixture, RETURN_NOT_FOUND, "RelationshipResourceID", 0);
    /* Asked for again, it waits again, under another number. */
    create(fixture, "4", "");
    assert_event_count(fixture, 2);
    assert_true(bytes_equal_str(fixture->events[1].subject, "device/1/relationship/462"));
}

/* Whoever gives the type ends the waiting; a source alone does not. */
static void test_other_ways(void **state)
{
    struct decide_fixture *fixture = *state;

    begin(fixture);
    create(fixture, "1", "");
    create(fixture, "2", "");
    assert_true(get(fixture).is_pending);
    run(fixture, "RemoveSource", "{" ANN ",\"SourceId\":2}");
    assert_true(get(fixture).is_pending);
    run(fixture, "AddType", "{" ANN ",\"TypeId\":1}");
    assert_false(get(fixture).is_pending);
    run(fixture, "DeleteRelationship", MEANT);
    create(fixture, "1", "");
    create(fixture, "2", ",\"TypeId\":1");
    assert_event_count(fixture, 2);
    assert_string_equal(fixture->events[1].type->name, "TypeAdded");
}

/* With the policy empty nothing waits, and what waits goes on waiting. */
static void test_policy(void **state)
{
    struct decide_fixture *fixture = *state;

    begin(fixture);
    create(fixture, "1", "");
    run(fixture, "SetPolicy", "{\"Name\":\"approval.sources\",\"Value\":\"\"}");
    assert_true(get(fixture).is_pending);
    run(fixture, "DeleteRelationship", MEANT);
    create(fixture, "1", "");
    assert_event_count(fixture, 1);
}

/* A relationship that has a type cannot begin to wait. */
static void test_misfit(void **state)
{
    struct decide_fixture *fixture = *state;

    begin(fixture);
    create(fixture, "2", ",\"TypeId\":1");
    struct event event = {
        .sequence = 4,
        .type = event_type_find(bytes_str("kinlog.ApprovalRequested.v1")),
        .data = bytes_str("{" ANN "}"),
    };
    assert_int_equal(views_apply(fixture->views, &event, NULL, &fixture->err),
                     ERROR_CORRUPT);
}

#define TEST(function)                                                                   \
    cmocka_unit_test_setup_teardown(function, decide_fixture_setup,                      \
                                    decide_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_create),     TEST(test_not_alone), TEST(test_approve), TEST(test_deny),
        TEST(test_other_ways), TEST(test_policy),    TEST(test_misfit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
