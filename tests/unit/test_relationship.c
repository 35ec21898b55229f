/* test_relationship.c - CreateRelationship, the instance methods, and the view of
 * relationships.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "events/base/user_name.h"
#include "schemas/commands.h"
#include "schemas/events.h"
#include "tests/lib/decide_fixture.h"

/* Slot 221 is device:1's, so its relationships are 222, 462, ... */
#define FIRST 222
#define SECOND 462
#define SUBJECT "device/1/relationship/222"
#define ANN "\"ResourceID\":1,\"UniqueUserName\":\"Corp\\\\Ann\","
#define ANN_OUT                                                                          \
    "\"RelationshipResourceID\":222,\"ResourceID\":1,\"UniqueUserName\":"                \
    "\"Corp\\\\Ann\","

/* Device 1 is registered and Corp\Ann uses it, by source 2, as a primary user: events 1
 * and 2. */
static void create_ann(struct decide_fixture *fixture)
{
    run(fixture, "RegisterDevice",
        "{\"ResourceID\":1,\"Name\":\"PC1\",\"ClientType\":3}");
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"Corp\\\\Ann\",\"SourceId\":2,"
        "\"TypeId\":1}");
}

/* The relationship of device 1 and user: 0 or 1. */
static int get(struct decide_fixture *fixture, const char *user, struct relationship *ret)
{
    int code = relationship_get(fixture->views, 1, bytes_str(user), &fixture->arena, ret,
                                &fixture->err);

    assert_true(code >= 0);
    return code;
}

/* A new pair is created with all nine properties, and is found by name and by number. */
static void test_create(void **state)
{
    struct decide_fixture *fixture = *state;
    struct relationship relationship;

    create_ann(fixture);
    assert_event_count(fixture, 1);
    assert_event(
        fixture, 0, "RelationshipCreated", "device:1", SUBJECT,
        "{\"ResourceID\":1,\"UniqueUserName\":\"Corp\\\\Ann\","
        "\"RelationshipResourceID\":222,\"ResourceName\":\"PC1\","
        "\"ResourceClientType\":3,\"CreationTime\":\"20260101000000.000000+000\","
        "\"IsActive\":true,\"Sources\":[2],\"Types\":[1]}");
    assert_int_equal(get(fixture, "CORP\\aNN", &relationship), 0);
    assert_true(bytes_equal_str(relationship.unique_user_name, "Corp\\Ann"));
    assert_int_equal(relationship.relationship_resource_id, FIRST);
    assert_int_equal(relationship.creation_time_ms, FIXTURE_TIME_MS);
    assert_true(relationship.is_active);
    assert_int_equal(relationship.source_count, 1);
    assert_int_equal(relationship.sources[0], 2);
    assert_int_equal(relationship.type_count, 1);
    assert_int_equal(relationship.version, 2);
    assert_int_equal(relationship_get_by_id(fixture->views, FIRST, &fixture->arena,
                                            &relationship, &fixture->err),
                     0);
    assert_int_equal(relationship.resource_id, 1);
    assert_int_equal(relationship_get_by_id(fixture->views, FIRST + 1, &fixture->arena,
                                            &relationship, &fixture->err),
                     1);
}

/* Lists keep the order given, each value once; without types Types is null. SourceId 3
 * and 9 do. */
static void test_create_lists(void **state)
{
    struct decide_fixture *fixture = *state;

    create_ann(fixture);
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"corp\\\\bob\",\"SourceId\":[9,3,"
        "9,1]}");
    assert_event(
        fixture, 0, "RelationshipCreated", "device:1", "device/1/relationship/462",
        "{\"ResourceID\":1,\"UniqueUserName\":\"corp\\\\bob\","
        "\"RelationshipResourceID\":462,\"ResourceName\":\"PC1\","
        "\"ResourceClientType\":3,\"CreationTime\":\"20260101000000.000000+000\","
        "\"IsActive\":true,\"Sources\":[9,3,1],\"Types\":null}");
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"corp\\\\cid\",\"SourceId\":[1,2,"
        "3,4,5,6,7,"
        "8,9,1,2,3,4,5,6,7,8,9],\"TypeId\":[1,1]}");
    const struct relationship_created_v1 *data = fixture->decision.events[0].data;
    assert_int_equal(data->sources.count, 9);
    assert_int_equal(data->types.count, 1);
    assert_int_equal(data->relationship_resource_id, 702);
}

/* An existing pair gets what it lacks: sources first, then types, one event each. */
static void test_merge(void **state)
{
    struct decide_fixture *fixture = *state;
    struct relationship relationship;

    run(fixture, "RegisterDevice", "{\"ResourceID\":1,\"Name\":\"PC1\"}");
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"Corp\\\\Ann\",\"SourceId\":2}");
    fixture->next.time_ms += 5000;
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"CORP\\\\ANN\",\"SourceId\":[2,6,"
        "4,6],"
        "\"TypeId\":1}");
    assert_event_count(fixture, 3);
    assert_event(fixture, 0, "SourceAdded", "device:1", SUBJECT,
                 "{" ANN_OUT "\"SourceId\":6,\"Sources\":[2,6]}");
    assert_event(fixture, 1, "SourceAdded", "device:1", SUBJECT,
                 "{" ANN_OUT "\"SourceId\":4,\"Sources\":[2,6,4]}");
    assert_event(fixture, 2, "TypeAdded", "device:1", SUBJECT,
                 "{" ANN_OUT "\"TypeId\":1,\"Types\":[1]}");
    assert_int_equal(fixture->events[1].index, 2);
    assert_int_equal(fixture->events[1].count, 3);
    assert_int_equal(get(fixture, "corp\\ann", &relationship), 0);
    assert_int_equal(relationship.source_count, 3);
    assert_int_equal(relationship.version, 5);
    assert_int_equal(relationship.creation_time_ms, FIXTURE_TIME_MS);
    assert_true(bytes_equal_str(relationship.unique_user_name, "Corp\\Ann"));
}

/* Nothing new: unchanged, with the number and the present version; SourceId 3 is remarked
 * upon. */
static void test_merge_nothing(void **state)
{
    struct decide_fixture *fixture = *state;

    create_ann(fixture);
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"corp\\\\ann\",\"SourceId\":2}");
    assert_unchanged(fixture, "{\"RelationshipResourceID\":222}", 2, false);
    assert_true(bytes_equal_str(fixture->events[0].subject, SUBJECT));
    run(fixture, "AddSource", "{" ANN "\"SourceId\":3}");
    assert_string_equal(fixture->events[0].type->name, "SourceAdded");
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"corp\\\\ann\",\"SourceId\":[2,3]"
        "}");
    assert_unchanged(fixture, "{\"RelationshipResourceID\":222}", 4, true);
}

/* An unknown device is refused unless the site's policy says to register it as a stub. */
static void test_unknown_device(void **state)
{
    struct decide_fixture *fixture = *state;
    struct device device;

    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"c\\\\u\",\"SourceId\":2}");
    assert_refused(fixture, RETURN_NOT_FOUND, "MachineResourceId", 0);
    assert_true(bytes_equal_str(fixture->events[0].key, "device:1"));
    assert_true(bytes_equal_str(fixture->events[0].subject, "device/1"));
    run(fixture, "SetPolicy", "{\"Name\":\"devices.unknown\",\"Value\":\"stub\"}");
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"c\\\\u\",\"SourceId\":2}");
    assert_event_count(fixture, 2);
    assert_event(fixture, 0, "DeviceRegistered", "device:1", "device/1",
                 "{\"ResourceID\":1,\"Name\":null,\"ClientType\":1,\"MACAddresses\":null,"
                 "\"Domain\":null}");
    assert_event(
        fixture, 1, "RelationshipCreated", "device:1", SUBJECT,
        "{\"ResourceID\":1,\"UniqueUserName\":\"c\\\\u\","
        "\"RelationshipResourceID\":222,\"ResourceName\":null,"
        "\"ResourceClientType\":1,\"CreationTime\":\"20260101000000.000000+000\","
        "\"IsActive\":true,\"Sources\":[2],\"Types\":null}");
    assert_int_equal(
        device_get(fixture->views, 1, &fixture->arena, &device, &fixture->err), 0);
    assert_null(device.name.data);
    /* What is learned of it later changes it. */
    run(fixture, "RegisterDevice", "{\"ResourceID\":1,\"Name\":\"PC1\"}");
    assert_string_equal(fixture->events[0].type->name, "DeviceChanged");
}

/* expectedversion of CreateRelationship is the relationship's: 0, right and stale. */
static void test_create_expected_version(void **state)
{
    static const char ann[] =
        "{\"MachineResourceId\":1,\"UserAccountName\":\"corp\\\\ann\",\"SourceId\":4}";
    struct decide_fixture *fixture = *state;

    run(fixture, "RegisterDevice", "{\"ResourceID\":1,\"Name\":\"PC1\"}");
    fixture->next.has_expected_version = true;
    fixture->next.expected_version = 1; /* the device's */
    run(fixture, "CreateRelationship", ann);
    assert_refused(fixture, RETURN_STALE_VERSION, "expectedversion", 0);
    fixture->next.has_expected_version = true;
    run(fixture, "CreateRelationship", ann);
    assert_string_equal(fixture->events[0].type->name, "RelationshipCreated");
    fixture->next.has_expected_version = true;
    run(fixture, "CreateRelationship", ann);
    assert_refused(fixture, RETURN_STALE_VERSION, "expectedversion", 3);
    fixture->next.has_expected_version = true;
    fixture->next.expected_version = 3;
    run(fixture, "CreateRelationship", ann);
    assert_unchanged(fixture, "{\"RelationshipResourceID\":222}", 3, false);
    /* An unknown device goes before a stale version. */
    fixture->next.has_expected_version = true;
    fixture->next.expected_version = 3;
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":2,\"UserAccountName\":\"corp\\\\ann\",\"SourceId\":4}");
    assert_refused(fixture, RETURN_NOT_FOUND, "MachineResourceId", 0);
}

/* Numbers grow by 240 per slot, are never used again, and end before they wrap around. */
static void test_numbers(void **state)
{
    static const uint8_t slot_row[] = {'S', 221};
    static const uint8_t nearly_all[] = {0x01, 0x11, 0x11,
                                         0x10}; /* (2^32 - 1 - 222) / 240 */
    struct decide_fixture *fixture = *state;

    create_ann(fixture);
    run(fixture, "DeleteRelationship", "{\"RelationshipResourceID\":222}");
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"Corp\\\\Ann\",\"SourceId\":2}");
    const struct relationship_created_v1 *data = fixture->decision.events[0].data;
    assert_int_equal(data->relationship_resource_id, SECOND);
    assert_int_equal(kv_batch_put(fixture->batch, KV_VIEWS, bytes_of(slot_row, 2),
                                  bytes_of(nearly_all, 4), &fixture->err),
                     0);
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"Corp\\\\Bob\",\"SourceId\":2}");
    data = fixture->decision.events[0].data;
    assert_string_equal(fixture->events[0].type->name, "RelationshipCreated");
    assert_true(data->relationship_resource_id > UINT32_MAX - 240);
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"Corp\\\\Cid\",\"SourceId\":2}");
    assert_refused(fixture, RETURN_OTHER_FAILURE, NULL, 0);
}

/* AddSource adds from left to right what is not there. */
static void test_add_source(void **state)
{
    struct decide_fixture *fixture = *state;

    create_ann(fixture);
    run(fixture, "AddSource", "{" ANN "\"SourceId\":[4,2,4,1]}");
    assert_event_count(fixture, 2);
    assert_event(fixture, 0, "SourceAdded", "device:1", SUBJECT,
                 "{" ANN_OUT "\"SourceId\":4,\"Sources\":[2,4]}");
    assert_event(fixture, 1, "SourceAdded", "device:1", SUBJECT,
                 "{" ANN_OUT "\"SourceId\":1,\"Sources\":[2,4,1]}");
    run(fixture, "AddSource", "{\"RelationshipResourceID\":222,\"SourceId\":4}");
    assert_unchanged(fixture, "{}", 4, false);
    run(fixture, "RemoveSource", "{\"RelationshipResourceID\":222,\"SourceId\":3}");
    assert_unchanged(fixture, "{}", 4, true);
}

/* RemoveSource removes what is there and leaves the others in their order. */
static void test_remove_source(void **state)
{
    struct decide_fixture *fixture = *state;
    struct relationship relationship;

    create_ann(fixture);
    run(fixture, "AddSource", "{" ANN "\"SourceId\":[4,1]}");
    run(fixture, "RemoveSource", "{" ANN "\"SourceId\":[4,7]}");
    assert_event_count(fixture, 1);
    assert_event(fixture, 0, "SourceRemoved", "device:1", SUBJECT,
                 "{" ANN_OUT "\"SourceId\":4,\"Sources\":[2,1]}");
    assert_int_equal(get(fixture, "corp\\ann", &relationship), 0);
    assert_int_equal(relationship.source_count, 2);
    assert_int_equal(relationship.sources[1], 1);
    assert_int_equal(relationship.type_count, 1);
    run(fixture, "RemoveSource", "{" ANN "\"SourceId\":4}");
    assert_unchanged(fixture, "{}", 5, false);
}

/* Without its last source the relationship is deleted, and its name is free again. */
static void test_last_source(void **state)
{
    struct decide_fixture *fixture = *state;
    struct relationship relationship;

    create_ann(fixture);
    run(fixture, "AddSource", "{" ANN "\"SourceId\":4}");
    run(fixture, "RemoveSource", "{" ANN "\"SourceId\":[2,9,4]}");
    assert_event_count(fixture, 3);
    assert_event(fixture, 0, "SourceRemoved", "device:1", SUBJECT,
                 "{" ANN_OUT "\"SourceId\":2,\"Sources\":[4]}");
    assert_event(fixture, 1, "SourceRemoved", "device:1", SUBJECT,
                 "{" ANN_OUT "\"SourceId\":4,\"Sources\":null}");
    assert_event(fixture, 2, "RelationshipDeleted", "device:1", SUBJECT,
                 "{\"RelationshipResourceID\":222,\"ResourceID\":1,\"UniqueUserName\":"
                 "\"Corp\\\\Ann\",\"Reason\":\"last_source\"}");
    assert_int_equal(get(fixture, "corp\\ann", &relationship), 1);
    assert_int_equal(relationship_get_by_id(fixture->views, FIRST, &fixture->arena,
                                            &relationship, &fixture->err),
                     1);
    run(fixture, "RemoveSource", "{" ANN "\"SourceId\":4}");
    assert_refused(fixture, RETURN_NOT_FOUND, "UniqueUserName", 0);
}

/* Types come and go; without any the relationship stays. */
static void test_types(void **state)
{
    struct decide_fixture *fixture = *state;
    struct relationship relationship;

    create_ann(fixture);
    run(fixture, "AddType", "{" ANN "\"TypeId\":1}");
    assert_unchanged(fixture, "{}", 2, false);
    run(fixture, "RemoveType", "{" ANN "\"TypeId\":[1,1]}");
    assert_event_count(fixture, 1);
    assert_event(fixture, 0, "TypeRemoved", "device:1", SUBJECT,
                 "{" ANN_OUT "\"TypeId\":1,\"Types\":null}");
    assert_int_equal(get(fixture, "corp\\ann", &relationship), 0);
    assert_int_equal(relationship.type_count, 0);
    run(fixture, "RemoveType", "{" ANN "\"TypeId\":1}");
    assert_unchanged(fixture, "{}", 4, false);
    run(fixture, "AddType", "{\"RelationshipResourceID\":222,\"TypeId\":1}");
    assert_event(fixture, 0, "TypeAdded", "device:1", SUBJECT,
                 "{" ANN_OUT "\"TypeId\":1,\"Types\":[1]}");
}

/* DeleteRelationship ends it whatever its sources. */
static void test_delete(void **state)
{
    struct decide_fixture *fixture = *state;

    create_ann(fixture);
    run(fixture, "AddSource", "{" ANN "\"SourceId\":4}");
    run(fixture, "DeleteRelationship",
        "{\"RelationshipResourceID\":222,\"ResourceID\":1,\"UniqueUserName\":"
        "\"cORP\\\\aNN\"}");
    assert_event_count(fixture, 1);
    assert_event(fixture, 0, "RelationshipDeleted", "device:1", SUBJECT,
                 "{\"RelationshipResourceID\":222,\"ResourceID\":1,\"UniqueUserName\":"
                 "\"Corp\\\\Ann\",\"Reason\":\"explicit\"}");
    run(fixture, "DeleteRelationship", "{\"RelationshipResourceID\":222}");
    assert_refused(fixture, RETURN_NOT_FOUND, "RelationshipResourceID", 0);
}

/* Each instance method finds its target, and says which part of it is not found. */
static void test_not_found(void **state)
{
    static const struct {
        const char *name;
        const char *rest;
    } methods[] = {
        {"AddSource", ",\"SourceId\":2}"}, {"RemoveSource", ",\"SourceId\":2}"},
        {"AddType", ",\"TypeId\":1}"},     {"RemoveType", ",\"TypeId\":1}"},
        {"DeleteRelationship", "}"},
    };
    static const struct {
        const char *target;
        const char *parameter;
        const char *key;
        const char *subject;
    } targets[] = {
        {"\"RelationshipResourceID\":223", "RelationshipResourceID", NULL, NULL},
        {"\"ResourceID\":2,\"UniqueUserName\":\"corp\\\\ann\"", "ResourceID", "device:2",
         "device/2"},
        {"\"ResourceID\":1,\"UniqueUserName\":\"corp\\\\bob\"", "UniqueUserName",
         "device:1", "device/1"},
        {"\"RelationshipResourceID\":222,\"ResourceID\":2", "RelationshipResourceID",
         "device:2", "device/2"},
        {"\"RelationshipResourceID\":222,\"UniqueUserName\":\"corp\\\\bob\"",
         "RelationshipResourceID", NULL, NULL},
        {"\"RelationshipResourceID\":222,\"UniqueUserName\":\"corp\\\\cid\"",
         "RelationshipResourceID", NULL, NULL},
        {"\"RelationshipResourceID\":222,\"ResourceID\":2,\"UniqueUserName\":"
         "\"corp\\\\ann\"",
         "RelationshipResourceID", "device:2", "device/2"},
    };
    struct decide_fixture *fixture = *state;

    create_ann(fixture);
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"Corp\\\\Cid\",\"SourceId\":2}");
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        for (size_t j = 0; j < sizeof targets / sizeof targets[0]; j++) {
            fixture->next.has_expected_version = true;
            fixture->next.expected_version = 99;
            run_format(fixture, methods[i].name, "{%s%s", targets[j].target,
                       methods[i].rest);
            assert_refused(fixture, RETURN_NOT_FOUND, targets[j].parameter, 0);
            assert_true(bytes_equal(fixture->events[0].key, bytes_str(targets[j].key)));
            assert_true(
                bytes_equal(fixture->events[0].subject, bytes_str(targets[j].subject)));
        }
    }
}

/* expectedversion of the instance methods, with a version used up by each event. */
static void test_instance_expected_version(void **state)
{
    struct decide_fixture *fixture = *state;

    create_ann(fixture);
    fixture->next.has_expected_version = true;
    run(fixture, "AddSource", "{" ANN "\"SourceId\":4}");
    assert_refused(fixture, RETURN_STALE_VERSION, "expectedversion", 2);
    fixture->next.has_expected_version = true;
    fixture->next.expected_version = 2;
    run(fixture, "AddSource", "{" ANN "\"SourceId\":4}");
    assert_string_equal(fixture->events[0].type->name, "SourceAdded");
    fixture->next.has_expected_version = true;
    fixture->next.expected_version = 2;
    run(fixture, "DeleteRelationship", "{\"RelationshipResourceID\":222}");
    assert_refused(fixture, RETURN_STALE_VERSION, "expectedversion", 4);
    assert_true(bytes_equal_str(fixture->events[0].subject, SUBJECT));
}

static void check(struct decide_fixture *fixture, const char *name, const char *json,
                  const char *parameter)
{
    const struct schema_entry *type = command_type(name);
    struct param_fault fault =
        command_check(type, decode_command(fixture, type, json), NULL);

    if (parameter == NULL) {
        assert_null(fault.text);
        return;
    }
    assert_non_null(fault.text);
    assert_string_equal(fault.parameter, parameter);
}

/* Faults of the parameters beyond the schema: who is meant, and names. */
static void test_check(void **state)
{
    struct decide_fixture *fixture = *state;

    check(fixture, "DeleteRelationship", "{}", "RelationshipResourceID");
    check(fixture, "DeleteRelationship", "{\"ResourceID\":1}", "UniqueUserName");
    check(fixture, "DeleteRelationship", "{\"UniqueUserName\":\"nobackslash\"}",
          "ResourceID");
    check(fixture, "DeleteRelationship",
          "{\"ResourceID\":1,\"UniqueUserName\":\"nobackslash\"}", "UniqueUserName");
    check(
        fixture, "AddType",
        "{\"RelationshipResourceID\":1,\"UniqueUserName\":\"a\\\\b\\\\c\",\"TypeId\":1}",
        "UniqueUserName");
    check(fixture, "AddType", "{\"RelationshipResourceID\":1,\"TypeId\":1}", NULL);
    check(fixture, "AddSource",
          "{\"RelationshipResourceID\":1,\"ResourceID\":1,\"SourceId\":1}", NULL);
    check(fixture, "CreateRelationship",
          "{\"MachineResourceId\":1,\"UserAccountName\":\"user@corp\",\"SourceId\":1}",
          "UserAccountName");
    check(fixture, "CreateRelationship",
          "{\"MachineResourceId\":1,\"UserAccountName\":\"c\\\\u\",\"SourceId\":1}",
          NULL);
    check(fixture, "RemoveDevice", "{\"ResourceID\":1}", NULL);
}

/* Beside a member that did not decode only what is declared before it is named; it counts
 * as given. */
static void test_check_beside_fault(void **state)
{
    static const struct {
        const char *json;
        const char *faulty;
        const char *parameter;
    } cases[] = {
        {"{\"SourceId\":1}", "SourceId", "RelationshipResourceID"},
        {"{\"ResourceID\":1,\"SourceId\":1}", "SourceId", "UniqueUserName"},
        {"{\"SourceId\":1}", "RelationshipResourceID", NULL},
        {"{\"ResourceID\":1,\"SourceId\":1}", "UniqueUserName", NULL},
        {"{\"UniqueUserName\":\"nobackslash\",\"SourceId\":1}", "ResourceID", NULL},
    };
    struct decide_fixture *fixture = *state;
    const struct schema_entry *type = command_type("AddSource");

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct param_fault fault = command_check(
            type, decode_command(fixture, type, cases[i].json), cases[i].faulty);
        if (cases[i].parameter == NULL)
            assert_null(fault.text);
        else
            assert_string_equal(fault.parameter, cases[i].parameter);
    }
}

/* What the schema refuses never reaches a decision. */
static void test_schema_refuses(void **state)
{
    static const char *const bad[] = {
        "0",      "10",         "-1",   "1.5", "\"1\"", "[]",
        "[1,10]", "4294967296", "null", "{}",  "true",
    };
    struct decide_fixture *fixture = *state;
    const struct schema_entry *type = command_type("CreateRelationship");
    struct create_relationship_v1 params;
    struct codec_error fault;
    char json[128];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(
            json, sizeof json,
            "{\"MachineResourceId\":1,\"UserAccountName\":\"c\\\\u\",\"SourceId\":%s}",
            bad[i]);
        assert_int_not_equal(codec_decode(type->schema, CODEC_IGNORE_CASE,
                                          bytes_str(json), &fixture->arena, &params,
                                          &fault),
                             CODEC_OK);
        assert_string_equal(fault.member, "SourceId");
    }
    static const char *const bad_types[] = {"0", "2", "[]", "[1,2]", "\"1\""};
    for (size_t i = 0; i < sizeof bad_types / sizeof bad_types[0]; i++) {
        snprintf(json, sizeof json,
                 "{\"MachineResourceId\":1,\"UserAccountName\":\"c\\\\u\",\"SourceId\":1,"
                 "\"TypeId\":%s}",
                 bad_types[i]);
        assert_int_not_equal(codec_decode(type->schema, CODEC_IGNORE_CASE,
                                          bytes_str(json), &fixture->arena, &params,
                                          &fault),
                             CODEC_OK);
        assert_string_equal(fault.member, "TypeId");
    }
}

static void assert_route(struct decide_fixture *fixture, const char *name,
                         const char *json, uint32_t slot, const char *key)
{
    const struct schema_entry *type = command_type(name);
    const void *params = decode_command(fixture, type, json);
    struct buf text = BUF_INIT;

    assert_int_equal(command_shard(type, params, 240, 7), slot);
    assert_int_equal(command_shard(type, params, 12, 7), slot % 12);
    assert_int_equal(command_key(type, params, &text), 0);
    assert_string_equal(buf_cstr(&text), key);
    buf_release(&text);
}

/* A RelationshipResourceID routes without a lookup, and goes before a ResourceID. */
static void test_route(void **state)
{
    struct decide_fixture *fixture = *state;

    assert_route(
        fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"c\\\\u\",\"SourceId\":1}", 221,
        "device:1");
    assert_route(fixture, "DeleteRelationship", "{\"RelationshipResourceID\":462}", 221,
                 "");
    assert_route(fixture, "DeleteRelationship", "{\"RelationshipResourceID\":4294967295}",
                 14, "");
    assert_route(fixture, "DeleteRelationship",
                 "{\"ResourceID\":1,\"UniqueUserName\":\"c\\\\u\"}", 221, "device:1");
    assert_route(
        fixture, "DeleteRelationship",
        "{\"RelationshipResourceID\":5,\"ResourceID\":1,\"UniqueUserName\":\"c\\\\u\"}",
        4, "device:1");
}

/* A scan gives one device's relationships, or all, in key order. */
static void test_scan(void **state)
{
    static const char *const order[] = {"corp\\bob", "corp\\eve"};
    struct decide_fixture *fixture = *state;
    struct relationship_scan *scan;
    struct relationship relationship;

    create_ann(fixture);
    run(fixture, "RegisterDevice", "{\"ResourceID\":4294967295,\"Name\":\"PC\"}");
    for (size_t i = 2; i-- > 0;)
        run_format(fixture, "CreateRelationship",
                   "{\"MachineResourceId\":4294967295,\"UserAccountName\":\"corp\\\\%s\","
                   "\"SourceId\":2}",
                   strchr(order[i], '\\') + 1);
    assert_int_equal(
        relationship_scan_open(fixture->views, UINT32_MAX, &scan, &fixture->err), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(relationship_scan_next(scan, &relationship, &fixture->err), 0);
        assert_true(bytes_equal_str(relationship.unique_user_name, order[i]));
        assert_int_equal(relationship.resource_id, UINT32_MAX);
    }
    assert_int_equal(relationship_scan_next(scan, &relationship, &fixture->err), 1);
    relationship_scan_close(scan);
    assert_int_equal(relationship_scan_open(fixture->views, 0, &scan, &fixture->err), 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(relationship_scan_next(scan, &relationship, &fixture->err), 0);
    assert_int_equal(relationship_scan_next(scan, &relationship, &fixture->err), 1);
    relationship_scan_close(scan);
}

/* The aggregate that a command means is known before it is decided. */
static void test_command_aggregate(void **state)
{
    struct decide_fixture *fixture = *state;
    const struct schema_entry *type = command_type("AddSource");
    struct rejection rejection = {.parameter = "kept"};

    create_ann(fixture);
    struct command command = {.type = type, .shards = 1};

    command.params = decode_command(fixture, type, "{" ANN "\"SourceId\":4}");
    assert_int_equal(command_aggregate(fixture->views, &command, &fixture->arena,
                                       &rejection, &fixture->err),
                     0);
    assert_true(bytes_equal_str(rejection.key, "device:1"));
    assert_true(bytes_equal_str(rejection.subject, SUBJECT));
    assert_true(rejection.has_version);
    assert_int_equal(rejection.version, 2);
    assert_string_equal(rejection.parameter, "kept");
    command.type = command_type("CreateRelationship");
    command.params = decode_command(
        fixture, command.type,
        "{\"MachineResourceId\":5,\"UserAccountName\":\"c\\\\u\",\"SourceId\":4}");
    assert_int_equal(command_aggregate(fixture->views, &command, &fixture->arena,
                                       &rejection, &fixture->err),
                     0);
    assert_true(bytes_equal_str(rejection.key, "device:5"));
    assert_false(rejection.has_version);
}

/* Applies one event of the given type to the views, from JSON. */
static int apply_json(struct decide_fixture *fixture, const char *type, const char *json)
{
    struct event event = {
        .sequence = fixture->sequence + 1,
        .type = event_type_find(bytes_str(type)),
        .data = bytes_str(json),
    };

    error_clear(&fixture->err);
    return views_apply(fixture->views, &event, /* data= */ NULL, &fixture->err);
}

#define CREATED(number, user, sources)                                                   \
    "{\"ResourceID\":1,\"UniqueUserName\":\"" user                                       \
    "\",\"RelationshipResourceID\":" number                                              \
    ",\"ResourceName\":null,\"ResourceClientType\":1,"                                   \
    "\"CreationTime\":\"20260101000000.000000+000\",\"IsActive\":true,"                  \
    "\"Sources\":" sources ",\"Types\":null}"

/* Events that cannot follow from the views are damage. */
static void test_misfits(void **state)
{
    static const char created[] = "kinlog.RelationshipCreated.v1";
    struct decide_fixture *fixture = *state;

    create_ann(fixture);
    /* another slot, not the next number, a pair that is there */
    assert_int_equal(apply_json(fixture, created, CREATED("461", "c\\\\u", "[1]")),
                     ERROR_CORRUPT);
    assert_int_equal(apply_json(fixture, created, CREATED("702", "c\\\\u", "[1]")),
                     ERROR_CORRUPT);
    assert_int_equal(apply_json(fixture, created, CREATED("462", "corp\\\\ANN", "[1]")),
                     ERROR_CORRUPT);
    assert_null(strstr(fixture->err.text, "ANN"));
    assert_int_equal(apply_json(fixture, "kinlog.SourceAdded.v1",
                                "{\"RelationshipResourceID\":223,\"ResourceID\":1,"
                                "\"UniqueUserName\":\"Corp\\\\Ann\",\"SourceId\":4,"
                                "\"Sources\":[2,4]}"),
                     ERROR_CORRUPT);
    assert_int_equal(
        apply_json(fixture, "kinlog.RelationshipDeleted.v1",
                   "{\"RelationshipResourceID\":222,\"ResourceID\":2,"
                   "\"UniqueUserName\":\"Corp\\\\Ann\",\"Reason\":\"explicit\"}"),
        ERROR_CORRUPT);
    assert_int_equal(apply_json(fixture, "kinlog.SourceAdded.v1",
                                "{\"RelationshipResourceID\":222,\"ResourceID\":1,"
                                "\"UniqueUserName\":\"Corp\\\\Ann\",\"SourceId\":4,"
                                "\"Sources\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}"),
                     ERROR_CORRUPT);
}

/* A damaged row is reported, not read: cut at every length but its user name's. */
static void test_damaged_row(void **state)
{
    struct decide_fixture *fixture = *state;
    struct relationship relationship;
    struct buf row = BUF_INIT;
    struct buf key = BUF_INIT;

    create_ann(fixture);
    buf_append(&key, "R\0\0\0\1", 5);
    assert_int_equal(user_name_fold(bytes_str("Corp\\Ann"), &key), 0);
    assert_int_equal(
        kv_batch_get(fixture->batch, KV_VIEWS, buf_bytes(&key), &row, &fixture->err), 0);
    for (size_t size = 0; size <= row.size - strlen("Corp\\Ann"); size++) {
        assert_int_equal(kv_batch_put(fixture->batch, KV_VIEWS, buf_bytes(&key),
                                      bytes_of(row.data, size), &fixture->err),
                         0);
        assert_int_equal(relationship_get(fixture->views, 1, bytes_str("Corp\\Ann"),
                                          &fixture->arena, &relationship, &fixture->err),
                         ERROR_CORRUPT);
        error_clear(&fixture->err);
    }
    buf_release(&key);
    buf_release(&row);
}

#define TEST(function)                                                                   \
    cmocka_unit_test_setup_teardown(function, decide_fixture_setup,                      \
                                    decide_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_create),         TEST(test_create_lists),
        TEST(test_merge),          TEST(test_merge_nothing),
        TEST(test_unknown_device), TEST(test_create_expected_version),
        TEST(test_numbers),        TEST(test_add_source),
        TEST(test_remove_source),  TEST(test_last_source),
        TEST(test_types),          TEST(test_delete),
        TEST(test_not_found),      TEST(test_instance_expected_version),
        TEST(test_check),          TEST(test_check_beside_fault),
        TEST(test_schema_refuses), TEST(test_route),
        TEST(test_scan),           TEST(test_command_aggregate),
        TEST(test_misfits),        TEST(test_damaged_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
