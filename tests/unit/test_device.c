/* test_device.c - RegisterDevice, RemoveDevice and the view of devices.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "schemas/events.h"
#include "tests/lib/decide_fixture.h"

#define DEVICE_7 "{\"ResourceID\":7,\"Name\":\"PC7\"}"

static int get(struct decide_fixture *fixture, uint32_t resource_id,
               struct device *device)
{
    int code =
        device_get(fixture->views, resource_id, &fixture->arena, device, &fixture->err);

    assert_true(code >= 0);
    return code;
}

/* A new device is registered with all its properties; what is absent is null, ClientType
 * 1. */
static void test_register(void **state)
{
    struct decide_fixture *fixture = *state;
    struct device device;

    run(fixture, "RegisterDevice", DEVICE_7);
    assert_event_count(fixture, 1);
    assert_event(
        fixture, 0, "DeviceRegistered", "device:7", "device/7",
        "{\"ResourceID\":7,\"Name\":\"PC7\",\"ClientType\":1,\"MACAddresses\":null,"
        "\"Domain\":null}");
    assert_int_equal(get(fixture, 7, &device), 0);
    assert_true(bytes_equal_str(device.name, "PC7"));
    assert_null(device.domain.data);
    assert_int_equal(device.client_type, 1);
    assert_int_equal(device.mac_address_count, 0);
    assert_int_equal(device.version, 1);
    assert_int_equal(get(fixture, 8, &device), 1);

    run(fixture, "RegisterDevice",
        "{\"ResourceID\":4294967295,\"Name\":\"x\",\"ClientType\":0,"
        "\"MACAddresses\":[\"00:11\",\"00:22\"],\"Domain\":\"CORP\"}");
    assert_event(fixture, 0, "DeviceRegistered", "device:4294967295", "device/4294967295",
                 "{\"ResourceID\":4294967295,\"Name\":\"x\",\"ClientType\":0,"
                 "\"MACAddresses\":[\"00:11\",\"00:22\"],\"Domain\":\"CORP\"}");
    assert_int_equal(get(fixture, 4294967295, &device), 0);
    assert_int_equal(device.mac_address_count, 2);
    assert_true(bytes_equal_str(device.mac_addresses[1], "00:22"));
    assert_true(bytes_equal_str(device.domain, "CORP"));
}

/* The same content again changes nothing; an empty list of addresses is the same as none.
 * */
static void test_register_same(void **state)
{
    struct decide_fixture *fixture = *state;

    run(fixture, "RegisterDevice", DEVICE_7);
    run(fixture, "RegisterDevice", DEVICE_7);
    assert_unchanged(fixture, "{}", 1, false);
    assert_event(fixture, 0, "CommandUnchanged", "device:7", "device/7",
                 "{\"Command\":\"kinlog.RegisterDevice.v1\",\"Out\":{},\"Version\":1,"
                 "\"ExtendedStatus\":null}");
    run(fixture, "RegisterDevice",
        "{\"ResourceID\":7,\"Name\":\"PC7\",\"ClientType\":1,\"MACAddresses\":[],"
        "\"Domain\":null}");
    assert_unchanged(fixture, "{}", 1, false);
}

/* Other content replaces everything: each property counts, one left out is cleared. */
static void test_register_changed(void **state)
{
    static const char *const variants[] = {
        "{\"ResourceID\":7,\"Name\":\"PC8\"}",
        "{\"ResourceID\":7,\"Name\":\"PC8\",\"ClientType\":2}",
        "{\"ResourceID\":7,\"Name\":\"PC8\",\"ClientType\":2,\"Domain\":\"A\"}",
        "{\"ResourceID\":7,\"Name\":\"PC8\",\"ClientType\":2,\"Domain\":\"B\"}",
        "{\"ResourceID\":7,\"Name\":\"PC8\",\"MACAddresses\":[\"a\",\"b\"]}",
        "{\"ResourceID\":7,\"Name\":\"PC8\",\"MACAddresses\":[\"b\",\"a\"]}",
        "{\"ResourceID\":7,\"Name\":\"PC8\",\"MACAddresses\":[\"b\"]}",
        DEVICE_7,
    };
    struct decide_fixture *fixture = *state;
    struct device device;

    run(fixture, "RegisterDevice", DEVICE_7);
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        run(fixture, "RegisterDevice", variants[i]);
        assert_event_count(fixture, 1);
        assert_string_equal(fixture->events[0].type->name, "DeviceChanged");
        assert_int_equal(get(fixture, 7, &device), 0);
        assert_int_equal(device.version, i + 2);
    }
    assert_event(
        fixture, 0, "DeviceChanged", "device:7", "device/7",
        "{\"ResourceID\":7,\"Name\":\"PC7\",\"ClientType\":1,\"MACAddresses\":null,"
        "\"Domain\":null}");
    assert_int_equal(device.mac_address_count, 0);
}

/* expectedversion is the device's: 0 = must not exist, else the version that the sender
 * saw. */
static void test_expected_version(void **state)
{
    struct decide_fixture *fixture = *state;

    fixture->next.has_expected_version = true;
    fixture->next.expected_version = 5;
    run(fixture, "RegisterDevice", DEVICE_7);
    assert_refused(fixture, RETURN_STALE_VERSION, "expectedversion", 0);
    fixture->next.has_expected_version = true;
    run(fixture, "RegisterDevice", DEVICE_7);
    assert_string_equal(fixture->events[0].type->name, "DeviceRegistered");
    fixture->next.has_expected_version = true;
    run(fixture, "RegisterDevice", DEVICE_7);
    assert_refused(fixture, RETURN_STALE_VERSION, "expectedversion", 2);
    fixture->next.has_expected_version = true;
    fixture->next.expected_version = 1;
    run(fixture, "RemoveDevice", "{\"ResourceID\":7}");
    assert_refused(fixture, RETURN_STALE_VERSION, "expectedversion", 2);
    fixture->next.has_expected_version = true;
    fixture->next.expected_version = 2;
    run(fixture, "RemoveDevice", "{\"ResourceID\":7}");
    assert_event(fixture, 0, "DeviceRemoved", "device:7", "device/7",
                 "{\"ResourceID\":7}");
}

/* A device that is not there cannot be removed, whatever version is expected. */
static void test_remove_unknown(void **state)
{
    struct decide_fixture *fixture = *state;

    fixture->next.has_expected_version = true;
    fixture->next.expected_version = 9;
    run(fixture, "RemoveDevice", "{\"ResourceID\":7}");
    assert_refused(fixture, RETURN_NOT_FOUND, "ResourceID", 0);
    assert_true(bytes_equal_str(fixture->events[0].key, "device:7"));
    assert_true(bytes_equal_str(fixture->events[0].subject, "device/7"));
    const struct command_rejected_v1 *data = fixture->decision.events[0].data;
    assert_true(bytes_equal_str(data->extended_status.operation, "RemoveDevice"));
}

/* Its relationships end first, in the order of their folded names, and only its own. */
static void test_remove_ends_relationships(void **state)
{
    struct decide_fixture *fixture = *state;
    struct device device;
    struct relationship relationship;

    run(fixture, "RegisterDevice", DEVICE_7);
    run(fixture, "RegisterDevice", "{\"ResourceID\":8,\"Name\":\"PC8\"}");
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":7,\"UserAccountName\":\"c\\\\Zoe\",\"SourceId\":2}");
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":7,\"UserAccountName\":\"C\\\\abe\",\"SourceId\":2}");
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":8,\"UserAccountName\":\"c\\\\abe\",\"SourceId\":2}");
    run(fixture, "RemoveDevice", "{\"ResourceID\":7}");
    assert_event_count(fixture, 3);
    const struct relationship_deleted_v1 *first = fixture->decision.events[0].data;
    const struct relationship_deleted_v1 *second = fixture->decision.events[1].data;
    assert_true(bytes_equal_str(first->unique_user_name, "C\\abe"));
    assert_true(bytes_equal_str(first->reason, "device_removed"));
    assert_true(bytes_equal_str(second->unique_user_name, "c\\Zoe"));
    assert_string_equal(fixture->events[2].type->name, "DeviceRemoved");
    assert_true(bytes_equal_str(fixture->events[0].key, "device:7"));
    assert_int_equal(get(fixture, 7, &device), 1);
    assert_int_equal(get(fixture, 8, &device), 0);
    assert_int_equal(relationship_get(fixture->views, 7, bytes_str("c\\abe"),
                                      &fixture->arena, &relationship, &fixture->err),
                     1);
    assert_int_equal(relationship_get(fixture->views, 8, bytes_str("c\\abe"),
                                      &fixture->arena, &relationship, &fixture->err),
                     0);
}

/* 50,000 relationships end with their device in one command. */
static void test_remove_many(void **state)
{
    const int users = 50000;
    struct decide_fixture *fixture = *state;
    struct relationship_scan *scan;
    struct relationship relationship;
    uint32_t count;

    run(fixture, "RegisterDevice", DEVICE_7);
    for (int i = 0; i < users; i++) {
        run_format(fixture, "CreateRelationship",
                   "{\"MachineResourceId\":7,\"UserAccountName\":\"corp\\\\user%d\","
                   "\"SourceId\":[2,4],\"TypeId\":1}",
                   i);
        if (i % 1000 == 0)
            commit(fixture);
    }
    run(fixture, "RemoveDevice", "{\"ResourceID\":7}");
    assert_event_count(fixture, (size_t)users + 1);
    assert_int_equal(fixture->events[users].index, users + 1);
    commit(fixture);
    assert_int_equal(relationship_scan_open(fixture->views, 7, &scan, &fixture->err), 0);
    assert_int_equal(relationship_scan_next(scan, &relationship, &fixture->err), 1);
    relationship_scan_close(scan);
    /* The numbers stay used. */
    assert_int_equal(relationship_slot_count(fixture->views,
                                             slot_of_key(bytes_str("device:7")), &count,
                                             &fixture->err),
                     0);
    assert_int_equal(count, users);
}

/* A scan gives all devices in the order of their ids. */
static void test_scan(void **state)
{
    struct decide_fixture *fixture = *state;
    struct device_scan *scan;
    struct device device;

    run(fixture, "RegisterDevice", "{\"ResourceID\":256,\"Name\":\"b\"}");
    run(fixture, "RegisterDevice",
        "{\"ResourceID\":7,\"Name\":\"a\",\"MACAddresses\":[\"m\"]}");
    assert_int_equal(device_scan_open(fixture->views, &scan, &fixture->err), 0);
    assert_int_equal(device_scan_next(scan, &device, &fixture->err), 0);
    assert_int_equal(device.resource_id, 7);
    assert_true(bytes_equal_str(device.mac_addresses[0], "m"));
    assert_int_equal(device_scan_next(scan, &device, &fixture->err), 0);
    assert_int_equal(device.resource_id, 256);
    assert_int_equal(device_scan_next(scan, &device, &fixture->err), 1);
    device_scan_close(scan);
}

/* The shard and the key of a command follow from its parameters. */
static void test_route(void **state)
{
    struct decide_fixture *fixture = *state;
    const struct schema_entry *type = command_type("RemoveDevice");
    const void *params = decode_command(fixture, type, "{\"ResourceID\":1}");
    struct buf key = BUF_INIT;

    assert_int_equal(command_shard(type, params, 4, 3), 221 % 4);
    assert_int_equal(command_key(type, params, &key), 0);
    assert_string_equal(buf_cstr(&key), "device:1");
    buf_clear(&key);
    type = command_type("RegisterDevice");
    params = decode_command(fixture, type, "{\"ResourceID\":1,\"Name\":\"n\"}");
    assert_int_equal(command_shard(type, params, 240, 3), 221);
    assert_int_equal(command_key(type, params, &key), 0);
    assert_string_equal(buf_cstr(&key), "device:1");
    buf_release(&key);
}

/* An expired command is refused before anything else; one that came just in time is not.
 * */
static void test_expiry(void **state)
{
    struct decide_fixture *fixture = *state;

    fixture->next.has_expiry = true;
    fixture->next.expiry_ms = FIXTURE_TIME_MS - 1;
    run(fixture, "RemoveDevice", "{\"ResourceID\":7}");
    assert_refused(fixture, RETURN_OTHER_FAILURE, "expirytime", 0);
    fixture->next.has_expiry = true;
    fixture->next.expiry_ms = FIXTURE_TIME_MS;
    run(fixture, "RegisterDevice", DEVICE_7);
    assert_string_equal(fixture->events[0].type->name, "DeviceRegistered");
    /* The record's own time counts, not the core's. */
    fixture->next.time_ms = FIXTURE_TIME_MS + 1000;
    fixture->next.has_expiry = true;
    fixture->next.expiry_ms = FIXTURE_TIME_MS;
    run(fixture, "RemoveDevice", "{\"ResourceID\":7}");
    assert_string_equal(fixture->events[0].type->name, "DeviceRemoved");
}

/* An event that does not fit the views is damage, and says so without names. */
static void test_misfits(void **state)
{
    struct decide_fixture *fixture = *state;
    struct event event;

    run(fixture, "RegisterDevice", DEVICE_7);
    event = fixture->events[0];
    event.causation_id = BYTES_ABSENT;
    assert_int_equal(views_apply(fixture->views, &event, NULL, &fixture->err),
                     ERROR_CORRUPT);
    assert_null(strstr(fixture->err.text, "PC7"));
    error_clear(&fixture->err);
    event.type = event_type_find(bytes_str("kinlog.DeviceRemoved.v1"));
    event.data = bytes_str("{\"ResourceID\":9}");
    assert_int_equal(views_apply(fixture->views, &event, NULL, &fixture->err),
                     ERROR_CORRUPT);
    error_clear(&fixture->err);
    event.data = bytes_str("{\"ResourceID\":\"9\"}");
    assert_int_equal(views_apply(fixture->views, &event, NULL, &fixture->err),
                     ERROR_CORRUPT);
}

/* A damaged row is reported, not read: cut at every length, and with a count of 2^34
 * addresses. */
static void test_damaged_row(void **state)
{
    static const uint8_t key[] = {'D', 0, 0, 0, 7};
    static const uint8_t many[] = {0, 0, 0, 0, 0,    0,    0,    1,    0,   0,
                                   0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x3f};
    struct decide_fixture *fixture = *state;
    struct buf row = BUF_INIT;
    struct device device;

    run(fixture, "RegisterDevice",
        "{\"ResourceID\":7,\"Name\":\"PC7\",\"MACAddresses\":[\"aa\"],\"Domain\":\"D\"}");
    assert_int_equal(
        kv_batch_get(fixture->batch, KV_VIEWS, bytes_of(key, 5), &row, &fixture->err), 0);
    for (size_t size = 0; size < row.size; size++) {
        assert_int_equal(kv_batch_put(fixture->batch, KV_VIEWS, bytes_of(key, 5),
                                      bytes_of(row.data, size), &fixture->err),
                         0);
        assert_int_equal(
            device_get(fixture->views, 7, &fixture->arena, &device, &fixture->err),
            ERROR_CORRUPT);
        error_clear(&fixture->err);
    }
    buf_release(&row);
    assert_int_equal(kv_batch_put(fixture->batch, KV_VIEWS, bytes_of(key, 5),
                                  bytes_of(many, sizeof many), &fixture->err),
                     0);
    assert_int_equal(
        device_get(fixture->views, 7, &fixture->arena, &device, &fixture->err),
        ERROR_CORRUPT);
}

#define TEST(function)                                                                   \
    cmocka_unit_test_setup_teardown(function, decide_fixture_setup,                      \
                                    decide_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_register),
        TEST(test_register_same),
        TEST(test_register_changed),
        TEST(test_expected_version),
        TEST(test_remove_unknown),
        TEST(test_remove_ends_relationships),
        TEST(test_remove_many),
        TEST(test_scan),
        TEST(test_route),
        TEST(test_expiry),
        TEST(test_misfits),
        TEST(test_damaged_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
