/* test_replacement.c - a device is replaced by another, of the same shard and of another one.
 *
 * With one shard all devices are local; with two, the fixture is shard 0, where device
 * OURS lives, and THEIRS lives in shard 1.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/shard/followup.h"
#include "projections/reference_view.h"
#include "projections/replacement_view.h"
#include "schemas/events.h"
#include "tests/lib/decide_fixture.h"

#define REPLACE "{\"ResourceID\":1,\"NewResourceID\":2}"
#define BEGAN "\"CreationTime\":\"20260101000000.000000+000\""

static void add_device(struct decide_fixture *fixture, uint32_t number)
{
    run_format(fixture, "RegisterDevice", "{\"ResourceID\":%u,\"Name\":\"PC%u\"}", number,
               number);
}

static void add_user(struct decide_fixture *fixture, uint32_t device, const char *user,
                     const char *rest)
{
    run_format(fixture, "CreateRelationship",
               "{\"MachineResourceId\":%u,\"UserAccountName\":\"contoso\\\\%s\",%s}",
               device, user, rest);
}

static struct relationship get(struct decide_fixture *fixture, uint32_t device,
                               const char *name)
{
    static struct arena arena = ARENA_INIT;
    struct relationship relationship = {0};

    arena_release(&arena);
    assert_true(relationship_get(fixture->views, device, bytes_str(name), &arena,
                                 &relationship, &fixture->err) >= 0);
    return relationship;
}

/* Fails if the newest refusal is about something else. */
static void assert_says(const struct decide_fixture *fixture, const char *words)
{
    const struct command_rejected_v1 *data = fixture->decision.events[0].data;
    char text[512];

    assert_refused(fixture, RETURN_OTHER_FAILURE, "ResourceID", data->version);
    snprintf(text, sizeof text, "%.*s", (int)data->extended_status.description.size,
             (const char *)data->extended_status.description.data);
    if (strstr(text, words) == NULL)
        fail_msg("%s: %s", words, text);
}

/* ---- one shard --------------------------------------------------------------------- */

static void assert_types(const struct decide_fixture *fixture, const char *const *types,
                         size_t count)
{
    assert_event_count(fixture, count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(fixture->events[i].type->name, types[i]);
}

/* A user of the old device alone, one of both, one who waits for approval there alone. */
static void test_local(void **state)
{
    static const char *const types[] = {
        "RelationshipMoved",   "RelationshipCreated", "RelationshipAdopted", /* ann */
        "RelationshipMoved",   "SourceAdded",         "TypeAdded",
        "RelationshipAdopted",                                               /* bob */
        "RelationshipMoved",   "SourceAdded",         "RelationshipAdopted", /* cat */
        "DeviceReplaced",      "DeviceRemoved"};
    struct decide_fixture *fixture = *state;
    struct device device;

    add_device(fixture, 1);
    add_device(fixture, 2);
    run(fixture, "SetPolicy", "{\"Name\":\"approval.sources\",\"Value\":\"1\"}");
    add_user(fixture, 1, "ann", "\"SourceId\":3,\"TypeId\":1");
    add_user(fixture, 1, "Bob", "\"SourceId\":[2,6],\"TypeId\":1");
    add_user(fixture, 1, "cat", "\"SourceId\":1");
    add_user(fixture, 2, "bob", "\"SourceId\":[1,6]");
    add_user(fixture, 2, "cat", "\"SourceId\":2,\"TypeId\":1");
    fixture->next.time_ms = FIXTURE_TIME_MS + 86400000;
    run(fixture, "ReplaceDevice", REPLACE);
    assert_types(fixture, types, sizeof types / sizeof types[0]);
    assert_event(fixture, 0, "RelationshipMoved", "device:1", "device/1/relationship/222",
                 "{\"RelationshipResourceID\":222,\"ResourceID\":1,\"UniqueUserName\":"
                 "\"contoso\\\\ann\",\"NewResourceID\":2," BEGAN ",\"Sources\":[3],"
                 "\"Types\":[1],\"Pending\":false,\"Request\":\"0-10\"}");
    assert_event(
        fixture, 10, "DeviceReplaced", "device:1", "device/1",
        "{\"ResourceID\":1,\"NewResourceID\":2,\"Request\":\"0-10\",\"Count\":3}");
    assert_event(fixture, 11, "DeviceRemoved", "device:1", "device/1",
                 "{\"ResourceID\":1}");
    assert_int_equal(
        device_get(fixture->views, 1, &fixture->arena, &device, &fixture->err), 1);

    struct relationship ann = get(fixture, 2, "contoso\\ann");
    assert_int_equal(ann.creation_time_ms, FIXTURE_TIME_MS); /* it goes on */
    assert_int_equal(ann.sources[0], 3);
    assert_int_equal(ann.type_count, 1);
    struct relationship bob = get(fixture, 2, "contoso\\bob");
    assert_true(bytes_equal_str(bob.unique_user_name, "contoso\\bob"));
    assert_int_equal(bob.source_count, 3);
    assert_int_equal(bob.sources[2], 2);
    assert_int_equal(bob.type_count, 1);
    struct relationship cat = get(fixture, 2, "contoso\\cat");
    assert_false(cat.is_pending);
    assert_int_equal(cat.source_count, 2);
    assert_int_equal(get(fixture, 1, "contoso\\ann").resource_id, 0);
    run(fixture, "ReplaceDevice", REPLACE);
    assert_refused(fixture, RETURN_NOT_FOUND, "ResourceID", 0);
}

/* Who waits for approval goes on waiting, on whatever device; who does not, does not, though
 * the policy has changed. */
static void test_approval_moves(void **state)
{
    struct decide_fixture *fixture = *state;

    add_device(fixture, 1);
    add_device(fixture, 2);
    add_user(fixture, 1, "bob", "\"SourceId\":1,\"TypeId\":1");
    run(fixture, "SetPolicy", "{\"Name\":\"approval.sources\",\"Value\":\"1\"}");
    add_user(fixture, 1, "ann", "\"SourceId\":1,\"TypeId\":1");
    add_user(fixture, 2, "cat", "\"SourceId\":1,\"TypeId\":1");
    run(fixture, "ReplaceDevice", REPLACE);
    assert_true(get(fixture, 2, "contoso\\ann").is_pending);
    assert_false(get(fixture, 2, "contoso\\bob").is_pending);
    assert_int_equal(get(fixture, 2, "contoso\\bob").type_count, 1);
    assert_true(get(fixture, 2, "contoso\\cat").is_pending);
    run(fixture, "ApproveRelationship",
        "{\"ResourceID\":2,\"UniqueUserName\":\"contoso\\\\ann\"}");
    assert_event_count(fixture, 1);
}

/* What is referred to: unknown devices, and what the site does with them. */
static void test_unknown(void **state)
{
    static const char *const types[] = {"DeviceRegistered",    "RelationshipMoved",
                                        "RelationshipCreated", "RelationshipAdopted",
                                        "DeviceReplaced",      "DeviceRemoved"};
    struct decide_fixture *fixture = *state;

    run(fixture, "ReplaceDevice", REPLACE);
    assert_refused(fixture, RETURN_NOT_FOUND, "ResourceID", 0);
    add_device(fixture, 1);
    add_user(fixture, 1, "ann", "\"SourceId\":2");
    run(fixture, "ReplaceDevice", REPLACE);
    assert_refused(fixture, RETURN_NOT_FOUND, "NewResourceID", 2);
    run(fixture, "SetPolicy", "{\"Name\":\"devices.unknown\",\"Value\":\"stub\"}");
    fixture->next.has_expected_version = true;
    fixture->next.expected_version = 1;
    run(fixture, "ReplaceDevice", REPLACE);
    assert_refused(fixture, RETURN_STALE_VERSION, "expectedversion", 2);
    run(fixture, "ReplaceDevice", REPLACE);
    assert_types(fixture, types, sizeof types / sizeof types[0]);
    assert_int_equal(get(fixture, 2, "contoso\\ann").source_count, 1);
}

/* What no schema keyword can say. */
static void test_faults(void **state)
{
#define AGENTS "\"Request\":\"0-1\",\"Object\":\"device:1\""
#define MOVED                                                                            \
    "\"ResourceID\":1,\"RelationshipResourceID\":1,\"Sources\":[1],\"Pending\":false"
    static const struct {
        const char *command, *json, *parameter;
    } faults[] = {
        {"ReplaceDevice", "{\"ResourceID\":7,\"NewResourceID\":7}", "NewResourceID"},
        {"AdoptRelationship",
         "{\"Request\":\"0-1\",\"Object\":\"device:01\",\"UniqueUserName\":\"a\\\\b\","
         "\"CreationTime\":\"20260101000000.000000+000\"," MOVED "}",
         "Object"},
        {"AdoptRelationship",
         "{\"Request\":\"0.1\",\"Object\":\"device:1\",\"UniqueUserName\":\"a\\\\b\","
         "\"CreationTime\":\"20260101000000.000000+000\"," MOVED "}",
         "Request"},
        {"AdoptRelationship",
         "{" AGENTS ",\"UniqueUserName\":\"nobody\","
         "\"CreationTime\":\"20260101000000.000000+000\"," MOVED "}",
         "UniqueUserName"},
        {"AdoptRelationship",
         "{" AGENTS ",\"UniqueUserName\":\"a\\\\b\","
         "\"CreationTime\":\"20261301000000.000000+000\"," MOVED "}",
         "CreationTime"},
        {"EndAdoption", "{\"Request\":\"0-1\",\"Object\":\"device:0\",\"Count\":0}",
         "Object"},
        {"EndAdoption", "{\"Request\":\"0-01\",\"Object\":\"device:1\",\"Count\":0}",
         "Request"},
        {"ConfirmAdoption", "{\"Request\":\"0-1\",\"Object\":\"devices:1\"}", "Object"},
        {"ConfirmAdoption", "{\"Request\":\"one\",\"Object\":\"device:1\"}", "Request"},
    };
    struct decide_fixture *fixture = *state;

    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct param_fault fault = command_check(
            command_type(faults[i].command),
            decode_command(fixture, command_type(faults[i].command), faults[i].json),
            /* faulty= */ NULL);
        if (fault.text == NULL)
            fail_msg("%s %s: no fault", faults[i].command, faults[i].json);
        assert_string_equal(fault.parameter, faults[i].parameter);
    }
}

/* Ranges and forms are the schema's; each is refused before it is decided. */
static void test_hostile(void **state)
{
    static const char *const bad[] = {
        "{}",
        "{\"ResourceID\":1}",
        "{\"NewResourceID\":1}",
        "{\"ResourceID\":0,\"NewResourceID\":1}",
        "{\"ResourceID\":1,\"NewResourceID\":0}",
        "{\"ResourceID\":1,\"NewResourceID\":4294967296}",
        "{\"ResourceID\":1,\"NewResourceID\":-2}",
        "{\"ResourceID\":1,\"NewResourceID\":2.5}",
        "{\"ResourceID\":1,\"NewResourceID\":\"2\"}",
        "{\"ResourceID\":1,\"NewResourceID\":null}",
        "{\"ResourceID\":1,\"NewResourceID\":[2]}",
        "{\"ResourceID\":1,\"NewResourceID\":2,\"newresourceid\":3}",
        "{\"ResourceID\":1,\"NewResourceID\":2,\"Force\":true}",
        "{\"ResourceID\":1,\"NewResourceID\":1e400}",
    };
    const struct schema_entry *type = command_type("ReplaceDevice");
    struct decide_fixture *fixture = *state;
    struct codec_error fault;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        void *data = arena_alloc(&fixture->arena, type->struct_size);
        if (codec_decode(type->schema, CODEC_IGNORE_CASE, bytes_str(bad[i]),
                         &fixture->arena, data, &fault) == CODEC_OK)
            fail_msg("%s: no fault", bad[i]);
    }
}

/* Its associations as source stay, as far as they can be completed without it. */
static void test_associations(void **state)
{
    static const char *const types[] = {"DeviceReplaced", "DeviceRemoved"};
    struct decide_fixture *fixture = *state;

    for (uint32_t device = 1; device <= 3; device++)
        add_device(fixture, device);
    run(fixture, "StartCapture",
        "{\"SourceClientResourceID\":1,\"StorePath\":\"\\\\\\\\store\\\\1\"}");
    run(fixture, "ReplaceDevice", REPLACE);
    assert_says(fixture, "restore its own user state");
    run(fixture, "CompleteCapture",
        "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":1}");
    run(fixture, "CompleteRestore",
        "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":1}");
    run(fixture, "AddAssociation",
        "{\"SourceClientResourceID\":3,\"RestoreClientResourceID\":1}");
    run(fixture, "ReplaceDevice", REPLACE);
    assert_says(fixture, "restoring device of an association");
    run(fixture, "DeleteAssociation",
        "{\"SourceClientResourceID\":3,\"RestoreClientResourceID\":1}");
    run(fixture, "AddAssociation",
        "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":2}");
    run(fixture, "StartCapture",
        "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":2,"
        "\"StorePath\":\"\\\\\\\\store\\\\1\"}");
    run(fixture, "ReplaceDevice", REPLACE);
    assert_types(fixture, types, sizeof types / sizeof types[0]);
    run(fixture, "CompleteCapture",
        "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":2}");
    assert_string_equal(fixture->events[0].type->name, "CaptureCompleted");
    run(fixture, "CompleteRestore",
        "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":2}");
    assert_string_equal(fixture->events[0].type->name, "RestoreCompleted");
    run(fixture, "DeleteAssociation",
        "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":2}");
    assert_event_count(fixture, 2); /* with its reference */
}

/* More than move at once are refused; as many as do, move. */
static void test_many(void **state)
{
    struct decide_fixture *fixture = *state;

    add_device(fixture, 1);
    add_device(fixture, 2);
    for (unsigned i = 0; i <= 10000; i++)
        run_format(fixture, "CreateRelationship",
                   "{\"MachineResourceId\":1,\"UserAccountName\":\"contoso\\\\u%u\","
                   "\"SourceId\":2}",
                   i);
    run(fixture, "ReplaceDevice", REPLACE);
    assert_says(fixture, "more than 10000 relationships");
    run(fixture, "DeleteRelationship",
        "{\"ResourceID\":1,\"UniqueUserName\":\"contoso\\\\u0\"}");
    run(fixture, "ReplaceDevice", REPLACE);
    assert_event_count(fixture, 3 * 10000 + 2);
    assert_int_equal(get(fixture, 2, "contoso\\u10000").source_count, 1);
}

/* Numbers left for two, where three are wanted. */
static void test_used_up(void **state)
{
    struct decide_fixture *fixture = *state;
    struct relationship relationship;
    uint8_t slot_row[2] = {'S'}, count[4];

    add_device(fixture, 1);
    add_device(fixture, 2);
    add_user(fixture, 2, "zoe", "\"SourceId\":2");
    relationship = get(fixture, 2, "contoso\\zoe");
    slot_row[1] = (uint8_t)((relationship.relationship_resource_id - 1) % SLOTS);
    for (int i = 0; i < 3; i++)
        run_format(fixture, "CreateRelationship",
                   "{\"MachineResourceId\":1,\"UserAccountName\":\"contoso\\\\u%d\","
                   "\"SourceId\":2}",
                   i);
    write_u32be(count, UINT32_MAX / SLOTS + (slot_row[1] < UINT32_MAX % SLOTS) - 2);
    assert_int_equal(kv_batch_put(fixture->batch, KV_VIEWS, bytes_of(slot_row, 2),
                                  bytes_of(count, 4), &fixture->err),
                     0);
    run(fixture, "ReplaceDevice", REPLACE);
    assert_refused(fixture, RETURN_OTHER_FAILURE, NULL, 1);
    run(fixture, "DeleteRelationship",
        "{\"ResourceID\":1,\"UniqueUserName\":\"contoso\\\\u0\"}");
    run(fixture, "ReplaceDevice", REPLACE);
    assert_event_count(fixture, 3 * 2 + 2);
}

/* ---- two shards -------------------------------------------------------------------- */

#define REQUEST "\"Request\":\"0-3\""
#define TERMS "{" REQUEST ",\"Object\":\"device:2\"}"

static void ask(struct decide_fixture *fixture)
{
    add_device(fixture, 1);
    add_user(fixture, 1, "ann", "\"SourceId\":2");
    here(fixture, "ReplaceDevice", REPLACE);
    assert_event_count(fixture, 1);
    assert_event(fixture, 0, "ReplacementRequested", "device:1", "device/1",
                 "{\"ResourceID\":1,\"NewResourceID\":2," REQUEST
                 ",\"Object\":\"device:2\",\"TimeoutSeconds\":30}");
    assert_int_equal(state_of(fixture, 3), REQUEST_PENDING);
}

/* While it waits the device lives on, but goes nowhere else; what it has when the
 * confirmation comes moves. */
static void test_confirmed(void **state)
{
    static const char *const types[] = {"RelationshipMoved", "RelationshipMoved",
                                        "DeviceReplaced", "DeviceRemoved"};
    struct decide_fixture *fixture = *state;

    ask(fixture);
    here(fixture, "ReplaceDevice", REPLACE);
    assert_says(fixture, "is being replaced");
    here(fixture, "RemoveDevice", "{\"ResourceID\":1,\"Force\":true}");
    assert_says(fixture, "is being replaced");
    here(fixture, "RegisterDevice", "{\"ResourceID\":1,\"Name\":\"other\"}");
    assert_string_equal(fixture->events[0].type->name, "DeviceChanged");
    add_user(fixture, 1, "bob", "\"SourceId\":2");
    here(fixture, "ConfirmAdoption", TERMS); /* too early */
    assert_event_count(fixture, 1);
    assert_string_equal(fixture->events[0].type->name, "CommandUnchanged");
    here(fixture, "ConfirmReference", TERMS);
    assert_types(fixture, types, sizeof types / sizeof types[0]);
    assert_event(fixture, 2, "DeviceReplaced", "device:1", "device/1",
                 "{\"ResourceID\":1,\"NewResourceID\":2," REQUEST ",\"Count\":2}");
    assert_int_equal(state_of(fixture, 3), REQUEST_GRANTED);
    /* What comes late changes nothing, and time neither. */
    here(fixture, "ConfirmReference", TERMS);
    assert_unchanged(fixture, "{}", 0, false);
    here(fixture, "RefuseReference",
         "{" REQUEST ",\"Object\":\"device:2\",\"ReturnValue\":-2147217406,"
         "\"Description\":\"no\"}");
    assert_unchanged(fixture, "{}", 0, false);
    here(fixture, "EndReference", TERMS);
    assert_unchanged(fixture, "{}", 0, false);
    fixture->next.time_ms = FIXTURE_TIME_MS + 3600000;
    fixture->next.record_time_ms = FIXTURE_TIME_MS + 3600000;
    here(fixture, "Tick", "{}");
    assert_event_count(fixture, 0);
    add_device(fixture, 1); /* one of the same id comes back: it is another one */
    here(fixture, "ConfirmAdoption", TERMS);
    assert_event(fixture, 0, "ReplacementCompleted", "device:1", "device/1",
                 "{\"ResourceID\":1,\"NewResourceID\":2," REQUEST "}");
    assert_int_equal(state_of(fixture, 3), REQUEST_ADDED);
    here(fixture, "ConfirmAdoption", TERMS);
    assert_unchanged(fixture, "{}", 0, false);
    here(fixture, "EndReference", TERMS);
    assert_unchanged(fixture, "{}", 0, false);
    here(fixture, "RemoveDevice", "{\"ResourceID\":1}");
    assert_event_count(fixture, 1);
}

/* Refused or timed out: nothing has moved, and it can be asked for again. */
static void test_given_up(void **state)
{
    struct decide_fixture *fixture = *state;

    ask(fixture);
    here(fixture, "RefuseReference",
         "{" REQUEST ",\"Object\":\"device:2\",\"ReturnValue\":-2147217406,"
         "\"Description\":\"no\"}");
    assert_event(
        fixture, 0, "RequestRefused", "device:1", "device/1",
        "{" REQUEST ",\"Object\":\"device:2\",\"Command\":"
        "\"kinlog.ReplaceDevice.v1\",\"ReturnValue\":-2147217406,\"Version\":null,"
        "\"ExtendedStatus\":{\"Description\":\"no\",\"Operation\":\"ReplaceDevice\","
        "\"ParameterInfo\":\"NewResourceID\",\"StatusCode\":-2147217406},"
        "\"Reason\":\"refused\"}");
    assert_int_equal(get(fixture, 1, "contoso\\ann").source_count, 1);
    here(fixture, "ConfirmReference", TERMS);
    assert_string_equal(fixture->events[0].type->name, "ReferenceUnwanted");
    here(fixture, "ReplaceDevice", REPLACE);
    assert_string_equal(fixture->events[0].type->name, "ReplacementRequested");
    fixture->next.time_ms = FIXTURE_TIME_MS + 30000;
    fixture->next.record_time_ms = FIXTURE_TIME_MS + 30000;
    here(fixture, "Tick", "{}");
    assert_event_count(fixture, 1);
    const struct request_refused_v1 *data = fixture->decision.events[0].data;
    assert_int_equal(data->extended_status.status_code, 3);
    assert_true(bytes_equal_str(data->extended_status.parameter_info, "NewResourceID"));
    here(fixture, "RemoveDevice", "{\"ResourceID\":1}");
    assert_event_count(fixture, 2);
}

/* What stands in the way only when the confirmation comes. */
static void test_in_the_way_by_now(void **state)
{
    struct decide_fixture *fixture = *state;

    ask(fixture);
    here(fixture, "RequestReference",
         "{\"Request\":\"1-9\",\"Kind\":\"association\",\"Object\":\"device:1\"}");
    assert_string_equal(fixture->events[0].type->name, "ReferenceAdded");
    here(fixture, "ConfirmReference", TERMS);
    assert_string_equal(fixture->events[0].type->name, "RequestRefused");
    const struct request_refused_v1 *data = fixture->decision.events[0].data;
    assert_true(bytes_equal_str(data->extended_status.parameter_info, "ResourceID"));
    assert_int_equal(data->return_value, RETURN_OTHER_FAILURE);
    assert_int_equal(get(fixture, 1, "contoso\\ann").source_count, 1);
}

/* An association of the device waits for its own confirmation. */
static void test_association_pending(void **state)
{
    struct decide_fixture *fixture = *state;

    add_device(fixture, 1);
    here(fixture, "AddAssociation",
         "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":2}");
    here(fixture, "ReplaceDevice", REPLACE);
    assert_says(fixture, "association of the device is being added");
}

/* ---- the other side ---------------------------------------------------------------- */

#define ADOPT(id, user, rest)                                                            \
    "{\"Request\":\"1-7\",\"Object\":\"device:1\",\"ResourceID\":5,"                     \
    "\"RelationshipResourceID\":" id ",\"UniqueUserName\":\"contoso\\\\" user            \
    "\",\"CreationTime\":\"20250101000000.000000+000\"," rest "}"
#define OBJECT "{\"Request\":\"1-7\",\"Object\":\"device:1\"}"
#define END(count) "{\"Request\":\"1-7\",\"Object\":\"device:1\",\"Count\":" count "}"

static void take_over(struct decide_fixture *fixture)
{
    add_device(fixture, 1);
    here(fixture, "RequestReference",
         "{\"Request\":\"1-7\",\"Kind\":\"replacement\",\"Object\":\"device:1\"}");
    assert_event(
        fixture, 0, "ReferenceAdded", "device:1", "device/1",
        "{\"Request\":\"1-7\",\"Kind\":\"replacement\",\"Object\":\"device:1\"}");
}

static struct reference reference(struct decide_fixture *fixture)
{
    const struct position request = {1, 7};
    struct reference found;

    assert_true(reference_get(fixture->views, bytes_str("device:1"), &request, &found,
                              &fixture->err) >= 0);
    return found;
}

/* The device is kept, with Force too, until it has as many as it is told. */
static void test_adopted(void **state)
{
    static const char *const last[] = {"SourceAdded", "TypeAdded", "RelationshipAdopted",
                                       "ReferenceReleased"};
    struct decide_fixture *fixture = *state;

    take_over(fixture);
    here(fixture, "RemoveDevice", "{\"ResourceID\":1}");
    assert_says(fixture, "taking over the relationships");
    here(fixture, "RemoveDevice", "{\"ResourceID\":1,\"Force\":true}");
    assert_says(fixture, "taking over the relationships");
    here(fixture, "ReplaceDevice", REPLACE);
    assert_says(fixture, "taking over the relationships");
    add_user(fixture, 1, "bob", "\"SourceId\":1");
    here(fixture, "AdoptRelationship",
         ADOPT("6", "ann", "\"Sources\":[2,4],\"Pending\":true"));
    assert_event_count(fixture, 3);
    assert_event(fixture, 0, "RelationshipCreated", "device:1",
                 "device/1/relationship/462",
                 "{\"ResourceID\":1,\"UniqueUserName\":\"contoso\\\\ann\","
                 "\"RelationshipResourceID\":462,\"ResourceName\":\"PC1\","
                 "\"ResourceClientType\":1,\"CreationTime\":"
                 "\"20250101000000.000000+000\",\"IsActive\":true,\"Sources\":[2,4],"
                 "\"Types\":null}");
    assert_string_equal(fixture->events[1].type->name, "ApprovalRequested");
    assert_event(fixture, 2, "RelationshipAdopted", "device:1",
                 "device/1/relationship/462",
                 "{\"RelationshipResourceID\":462,\"ResourceID\":1,"
                 "\"OldRelationshipResourceID\":6,\"OldResourceID\":5,"
                 "\"Request\":\"1-7\"}");
    assert_int_equal(reference(fixture).adopted, 1);
    here(fixture, "EndAdoption", END("2"));
    assert_event(fixture, 0, "AdoptionEnded", "device:1", "device/1", END("2"));
    assert_int_equal(reference(fixture).wanted, 2);
    here(fixture, "RemoveDevice", "{\"ResourceID\":1,\"Force\":true}");
    assert_says(fixture, "taking over the relationships");
    here(fixture, "AdoptRelationship",
         ADOPT("246", "BOB", "\"Sources\":[1,2],\"Types\":[1],\"Pending\":false"));
    assert_types(fixture, last, sizeof last / sizeof last[0]);
    assert_int_equal(reference(fixture).state, REFERENCE_NONE);
    here(fixture, "RemoveDevice", "{\"ResourceID\":1}");
    assert_event_count(fixture, 3);
}

/* The end may come last, or there is nothing to take over. */
static void test_end_last(void **state)
{
    struct decide_fixture *fixture = *state;

    take_over(fixture);
    here(fixture, "AdoptRelationship",
         ADOPT("6", "ann", "\"Sources\":[2],\"Pending\":false"));
    assert_event_count(fixture, 2);
    here(fixture, "EndAdoption", END("1"));
    assert_event(fixture, 0, "ReferenceReleased", "device:1", "device/1", OBJECT);
}

static void test_end_of_nothing(void **state)
{
    struct decide_fixture *fixture = *state;

    take_over(fixture);
    here(fixture, "EndAdoption", END("0"));
    assert_event(fixture, 0, "ReferenceReleased", "device:1", "device/1", OBJECT);
}

/* It has been deleted here meanwhile: who comes with the old device is there again. */
static void test_deleted_meanwhile(void **state)
{
    struct decide_fixture *fixture = *state;

    take_over(fixture);
    add_user(fixture, 1, "ann", "\"SourceId\":6");
    run(fixture, "DeleteRelationship",
        "{\"ResourceID\":1,\"UniqueUserName\":\"contoso\\\\ann\"}");
    here(fixture, "AdoptRelationship",
         ADOPT("6", "ann", "\"Sources\":[2],\"Pending\":false"));
    assert_int_equal(get(fixture, 1, "contoso\\ann").source_count, 1);
    assert_int_equal(get(fixture, 1, "contoso\\ann").sources[0], 2);
}

/* Nobody asked: an agent's name alone makes no affinity. */
static void test_unasked(void **state)
{
    struct decide_fixture *fixture = *state;

    add_device(fixture, 1);
    here(fixture, "AdoptRelationship",
         ADOPT("6", "ann", "\"Sources\":[2],\"Pending\":false"));
    assert_refused(fixture, RETURN_ACCESS_DENIED, "Request", 0);
    here(fixture, "EndAdoption", END("0"));
    assert_refused(fixture, RETURN_ACCESS_DENIED, "Request", 0);
    here(fixture, "RequestReference",
         "{\"Request\":\"1-7\",\"Kind\":\"association\",\"Object\":\"device:1\"}");
    here(fixture, "AdoptRelationship",
         ADOPT("6", "ann", "\"Sources\":[2],\"Pending\":false"));
    assert_refused(fixture, RETURN_ACCESS_DENIED, "Request", 0);
    here(fixture, "AdoptRelationship",
         "{\"Request\":\"0-7\",\"Object\":\"device:1\",\"ResourceID\":5,"
         "\"RelationshipResourceID\":6,\"UniqueUserName\":\"a\\\\b\",\"CreationTime\":"
         "\"20250101000000.000000+000\",\"Sources\":[1],\"Pending\":false}");
    assert_refused(fixture, RETURN_ACCESS_DENIED, NULL, 0);
    fixture->next.shards = 2;
    run(fixture, "EndAdoption", END("0")); /* no agent */
    assert_refused(fixture, RETURN_ACCESS_DENIED, NULL, 0);
    fixture->next.shards = 2;
    run(fixture, "ConfirmAdoption", "{\"Request\":\"0-7\",\"Object\":\"device:1\"}");
    assert_refused(fixture, RETURN_ACCESS_DENIED, NULL, 0);
    here(fixture, "ConfirmAdoption", "{\"Request\":\"0-7\",\"Object\":\"device:1\"}");
    assert_event_count(fixture, 1);
    assert_string_equal(fixture->events[0].type->name, "CommandUnchanged");
}

/* No number is left for it: that is said, and the rest goes on. */
static void test_adopted_used_up(void **state)
{
    static const uint8_t slot_row[] = {'S', 221};
    struct decide_fixture *fixture = *state;
    uint8_t count[4];

    take_over(fixture);
    write_u32be(count, UINT32_MAX / SLOTS + (221 < UINT32_MAX % SLOTS));
    assert_int_equal(kv_batch_put(fixture->batch, KV_VIEWS, bytes_of(slot_row, 2),
                                  bytes_of(count, 4), &fixture->err),
                     0);
    here(fixture, "AdoptRelationship",
         ADOPT("6", "ann", "\"Sources\":[2],\"Pending\":false"));
    assert_event_count(fixture, 1);
    assert_event(fixture, 0, "RelationshipAdopted", "device:1", "device/1",
                 "{\"RelationshipResourceID\":null,\"ResourceID\":1,"
                 "\"OldRelationshipResourceID\":6,\"OldResourceID\":5,"
                 "\"Request\":\"1-7\"}");
    here(fixture, "EndAdoption", END("1"));
    assert_string_equal(fixture->events[0].type->name, "ReferenceReleased");
}

/* The user's command came again when it had been refused at last: the other shard was told
 * a second time to release the device. */
static void test_said_again(void **state)
{
    static const struct {
        const char *command;
        const char *event;
        bool again;
    } cases[] = {
        {"kinlog.ConfirmReference.v1", "kinlog.RelationshipMoved.v1", true},
        {"kinlog.ConfirmReference.v1", "kinlog.RequestRefused.v1", false},
        {"kinlog.ReplaceDevice.v1", "kinlog.ReplacementRequested.v1", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct event event = {
            .type = event_type_find(bytes_str(cases[i].event)),
            .command_type = bytes_str(cases[i].command),
        };
        assert_non_null(event.type);
        assert_int_equal(followup_repeats(&event), cases[i].again);
    }
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, decide_fixture_setup, decide_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_local),
        TEST(test_approval_moves),
        TEST(test_unknown),
        TEST(test_faults),
        TEST(test_hostile),
        TEST(test_associations),
        TEST(test_many),
        TEST(test_used_up),
        TEST(test_confirmed),
        TEST(test_given_up),
        TEST(test_in_the_way_by_now),
        TEST(test_association_pending),
        TEST(test_adopted),
        TEST(test_end_last),
        TEST(test_end_of_nothing),
        TEST(test_deleted_meanwhile),
        TEST(test_unasked),
        TEST(test_adopted_used_up),
        cmocka_unit_test(test_said_again),
    };

    return cmocka_run_group_tests_name("replacement", tests, NULL, NULL);
}
