/* test_association.c - who is associated with whom, and the life of a migration.
 *
 * With one shard all devices are local; with two, the fixture is shard 0, where devices
 * OURS and OURS_TOO live, and THEIRS lives in shard 1.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "projections/association_view.h"
#include "projections/reference_view.h"
#include "tests/lib/decide_fixture.h"

#define PAIR "\"SourceClientResourceID\":1,\"RestoreClientResourceID\":2"
#define SUBJECT "device/1/association/2"
#define ANN "{\"UserName\":\"contoso\\\\ann\"}"
#define RECIPIENT "HPV5q6RaELodHvBtkfyiqp7QoRUFFWUxVUBdCxjLmmc"
#define LOW_ORDER "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define LET_RECEIVE "{\"Name\":\"keys.recipients\",\"Value\":\"" RECIPIENT "\"}"
#define BOB "{\"LocaleID\":1033,\"UserName\":\"contoso\\\\bob\"}"

static void add_devices(struct decide_fixture *fixture, uint32_t count)
{
    for (uint32_t i = 1; i <= count; i++)
        run_format(fixture, "RegisterDevice", "{\"ResourceID\":%u,\"Name\":\"PC%u\"}", i,
                   i);
}

static struct association get(struct decide_fixture *fixture, uint32_t source,
                              uint32_t restore)
{
    static struct arena arena = ARENA_INIT;
    struct association association;

    arena_release(&arena);
    assert_int_equal(association_get(fixture->views, source, restore, &arena,
                                     &association, &fixture->err),
                     0);
    return association;
}

/* All devices in one shard: the reference is made and released with the association. */
static void test_add_and_delete(void **state)
{
    struct decide_fixture *fixture = *state;

    add_devices(fixture, 2);
    run(fixture, "AddAssociation", "{" PAIR "}");
    assert_event_count(fixture, 2);
    assert_event(
        fixture, 0, "ReferenceAdded", "device:2", "device/2",
        "{\"Request\":\"0-3\",\"Kind\":\"association\",\"Object\":\"device:2\"}");
    assert_event(fixture, 1, "AssociationAdded", "device:1", SUBJECT,
                 "{" PAIR ",\"MigrationID\":\"0-3\",\"MigrationBehavior\":0,"
                 "\"MigrationType\":1,\"UserNames\":null}");
    assert_int_equal(
        association_status(&(struct association){.store_creation_ms = DATE_NEVER,
                                                 .store_release_ms = DATE_NEVER}),
        MIGRATION_NOT_STARTED);
    run(fixture, "AddAssociation", "{" PAIR "}");
    assert_unchanged(fixture, "{\"MigrationID\":\"0-3\"}", 4, false);
    run(fixture, "DeleteAssociation",
        "{\"MigrationID\":\"0-3\",\"SourceClientResourceID\":2}");
    assert_refused(fixture, RETURN_NOT_FOUND, "MigrationID", 0);
    run(fixture, "DeleteAssociation", "{\"MigrationID\":\"1-3\"}");
    assert_refused(fixture, RETURN_NOT_FOUND, "MigrationID", 0);
    run(fixture, "DeleteAssociation", "{" PAIR "}");
    assert_event_count(fixture, 2);
    assert_event(fixture, 0, "ReferenceReleased", "device:2", "device/2",
                 "{\"Request\":\"0-3\",\"Object\":\"device:2\"}");
    assert_event(fixture, 1, "AssociationDeleted", "device:1", SUBJECT,
                 "{" PAIR ",\"MigrationID\":\"0-3\",\"Reason\":\"explicit\"}");
    run(fixture, "DeleteAssociation", "{" PAIR "}");
    assert_refused(fixture, RETURN_NOT_FOUND, "RestoreClientResourceID", 0);
    run(fixture, "DeleteAssociation",
        "{\"SourceClientResourceID\":7,\"RestoreClientResourceID\":2}");
    assert_refused(fixture, RETURN_NOT_FOUND, "SourceClientResourceID", 0);
    run(fixture, "RemoveDevice", "{\"ResourceID\":2}");
    assert_event_count(fixture, 1);
}

/* The same device on both sides is a migration in place, not a fault; unknown ones are. */
static void test_devices(void **state)
{
    struct decide_fixture *fixture = *state;

    add_devices(fixture, 1);
    run(fixture, "AddAssociation",
        "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":1}");
    assert_event_count(fixture, 1);
    assert_event(fixture, 0, "AssociationAdded", "device:1", "device/1/association/1",
                 "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":1,"
                 "\"MigrationID\":\"0-2\",\"MigrationBehavior\":0,\"MigrationType\":2,"
                 "\"UserNames\":null}");
    run(fixture, "AddAssociation", "{" PAIR "}");
    assert_refused(fixture, RETURN_NOT_FOUND, "RestoreClientResourceID", 0);
    run(fixture, "AddAssociation",
        "{\"SourceClientResourceID\":5,\"RestoreClientResourceID\":6}");
    assert_refused(fixture, RETURN_NOT_FOUND, "SourceClientResourceID", 0);
    run(fixture, "SetPolicy", "{\"Name\":\"devices.unknown\",\"Value\":\"stub\"}");
    run(fixture, "AddAssociation",
        "{\"SourceClientResourceID\":5,\"RestoreClientResourceID\":6}");
    assert_event_count(fixture, 4); /* both devices, the reference, the association */
    assert_int_equal(get(fixture, 5, 6).number, fixture->sequence - 3);
}

/* Users are compared as names are; behavior 2 allows no other association, before or
 * after. */
static void test_users_and_exclusion(void **state)
{
    struct decide_fixture *fixture = *state;

    add_devices(fixture, 3);
    run(fixture, "AddAssociation", "{" PAIR ",\"UserNames\":[" ANN "," BOB "]}");
    assert_event_count(fixture, 2);
    assert_int_equal(get(fixture, 1, 2).behavior, CAPTURE_AND_RESTORE_SPECIFIED);
    run(fixture, "AddAssociationEx",
        "{" PAIR ",\"MigrationBehavior\":2,\"UserNames\":[" BOB
        ",{\"UserName\":\"CONTOSO\\\\Ann\"}]}");
    assert_unchanged(fixture, "{\"MigrationID\":\"0-4\"}", 5, false);
    run(fixture, "AddAssociationEx",
        "{" PAIR ",\"MigrationBehavior\":1,\"UserNames\":[" BOB "," ANN "]}");
    assert_refused(fixture, RETURN_ALREADY_EXISTS, "RestoreClientResourceID", 5);
    run(fixture, "AddAssociation", "{" PAIR ",\"UserNames\":[" BOB "]}");
    assert_refused(fixture, RETURN_ALREADY_EXISTS, "RestoreClientResourceID", 5);
    run(fixture, "AddAssociation",
        "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":3}");
    assert_refused(fixture, RETURN_ALREADY_EXISTS, "UserNames", 0);
    run(fixture, "ChangeAssociation", "{" PAIR ",\"MigrationBehavior\":0}");
    assert_event(fixture, 0, "AssociationChanged", "device:1", SUBJECT,
                 "{" PAIR ",\"MigrationID\":\"0-4\",\"MigrationBehavior\":0,"
                 "\"UserNames\":null}");
    run(fixture, "AddAssociation",
        "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":3}");
    assert_event_count(fixture, 2);
    run(fixture, "ChangeAssociation",
        "{" PAIR ",\"MigrationBehavior\":2,\"AddUserNames\":[" ANN "]}");
    assert_refused(fixture, RETURN_ALREADY_EXISTS, "MigrationBehavior",
                   get(fixture, 1, 2).version);
}

/* Removals come first, additions keep the place of a user who stays. */
static void test_change(void **state)
{
    struct decide_fixture *fixture = *state;

    add_devices(fixture, 2);
    run(fixture, "AddAssociation", "{" PAIR ",\"UserNames\":[" ANN "," BOB "]}");
    run(fixture, "ChangeAssociation",
        "{\"MigrationID\":\"0-3\",\"RemoveUserNames\":[{\"UserName\":\"contoso\\\\ANN\"}]"
        ","
        "\"AddUserNames\":[{\"LocaleID\":1,\"UserName\":\"Contoso\\\\Bob\"}," ANN "]}");
    assert_event(fixture, 0, "AssociationChanged", "device:1", SUBJECT,
                 "{" PAIR ",\"MigrationID\":\"0-3\",\"MigrationBehavior\":2,"
                 "\"UserNames\":[{\"LocaleID\":1,\"UserName\":\"contoso\\\\bob\"},"
                 "{\"LocaleID\":0,\"UserName\":\"contoso\\\\ann\"}]}");
    run(fixture, "ChangeAssociation", "{" PAIR ",\"AddUserNames\":[" ANN "]}");
    assert_unchanged(fixture, "{}", get(fixture, 1, 2).version, false);
    run(fixture, "ChangeAssociation", "{" PAIR ",\"RemoveUserNames\":[" ANN "," BOB "]}");
    assert_refused(fixture, RETURN_INVALID_PARAMETER, "RemoveUserNames",
                   get(fixture, 1, 2).version);
}

/* What no schema keyword can say. */
static void test_parameters(void **state)
{
    struct decide_fixture *fixture = *state;
    static const struct {
        const char *command, *json, *parameter;
    } faults[] = {
        {"AddAssociationEx", "{" PAIR ",\"MigrationBehavior\":1}", "UserNames"},
        {"AddAssociationEx", "{" PAIR ",\"MigrationBehavior\":2}", "UserNames"},
        {"AddAssociation",
         "{" PAIR ",\"UserNames\":[" ANN ",{\"UserName\":\"CONTOSO\\\\ANN\"}]}",
         "UserNames"},
        {"AddAssociation", "{" PAIR ",\"UserNames\":[{\"UserName\":\"nobackslash\"}]}",
         "UserNames"},
        {"ChangeAssociation", "{" PAIR ",\"RemoveUserNames\":[" ANN "," ANN "]}",
         "RemoveUserNames"},
        {"DeleteAssociation", "{}", "MigrationID"},
        {"DeleteAssociation", "{\"RestoreClientResourceID\":1}",
         "SourceClientResourceID"},
        {"DeleteAssociation", "{\"SourceClientResourceID\":1}",
         "RestoreClientResourceID"},
        {"DeleteAssociation", "{\"MigrationID\":\"1-\"}", "MigrationID"},
        {"DeleteAssociation", "{\"MigrationID\":\"01-2\"}", "MigrationID"},
        {"DeleteAssociation", "{\"MigrationID\":\"1-0\"}", "MigrationID"},
        {"DeleteAssociation", "{\"MigrationID\":\"4294967296-1\"}", "MigrationID"},
        {"DeleteAssociation", "{\"MigrationID\":\"1-9007199254740992\"}", "MigrationID"},
        {"StartCapture", "{\"StorePath\":\"x\"}", "MigrationID"},
        {"GetEncryptDecryptKey", "{" PAIR ",\"PublicKey\":\"" LOW_ORDER "\"}",
         "PublicKey"},
        {"GetEncryptDecryptKey",
         "{\"SourceClientResourceID\":1,\"PublicKey\":\"" LOW_ORDER "\"}",
         "RestoreClientResourceID"},
        {"RequestReference",
         "{\"Request\":\"x-1\",\"Kind\":\"association\",\"Object\":\"device:1\"}",
         "Request"},
        {"RequestReference",
         "{\"Request\":\"1-1\",\"Kind\":\"association\",\"Object\":\"device:0\"}",
         "Object"},
    };

    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        const struct schema_entry *type = command_type(faults[i].command);
        struct param_fault fault = command_check(
            type, decode_command(fixture, type, faults[i].json), /* faulty= */ NULL);
        if (fault.text == NULL)
            fail_msg("%s %s: no fault", faults[i].command, faults[i].json);
        assert_string_equal(fault.parameter, faults[i].parameter);
    }
}

/* The three steps, each repeated, each too early. */
static void test_life(void **state)
{
    struct decide_fixture *fixture = *state;

    add_devices(fixture, 2);
    run(fixture, "AddAssociation", "{" PAIR "}");
    run(fixture, "CompleteCapture", "{" PAIR "}");
    assert_refused(fixture, RETURN_OTHER_FAILURE, NULL, 4);
    run(fixture, "StartCapture",
        "{\"SourceClientResourceID\":1,\"StorePath\":\"\\\\\\\\s\\\\a\"}");
    assert_event(fixture, 0, "CaptureStarted", "device:1", SUBJECT,
                 "{" PAIR ",\"MigrationID\":\"0-3\",\"StorePath\":\"\\\\\\\\s\\\\a\"}");
    assert_true(
        association_in_progress(&(struct association){.store_path = bytes_str("x"),
                                                      .store_release_ms = DATE_NEVER,
                                                      .store_deletion_ms = DATE_NEVER}));
    run(fixture, "StartCapture",
        "{\"SourceClientResourceID\":1,\"StorePath\":\"\\\\\\\\s\\\\a\"}");
    assert_unchanged(fixture, "{}", 6, false);
    run(fixture, "StartCapture",
        "{\"SourceClientResourceID\":1,\"StorePath\":\"\\\\\\\\s\\\\b\"}");
    assert_refused(fixture, RETURN_OTHER_FAILURE, "StorePath", 6);
    run(fixture, "DeleteAssociation", "{" PAIR "}");
    assert_refused(fixture, RETURN_OTHER_FAILURE, NULL, 6);
    run(fixture, "CompleteRestore", "{" PAIR "}");
    assert_refused(fixture, RETURN_OTHER_FAILURE, NULL, 6);
    run(fixture, "DeleteStore", "{" PAIR "}");
    assert_refused(fixture, RETURN_OTHER_FAILURE, NULL, 6);
    run(fixture, "CompleteCapture", "{" PAIR "}");
    assert_event(fixture, 0, "CaptureCompleted", "device:1", SUBJECT,
                 "{" PAIR ",\"MigrationID\":\"0-3\","
                 "\"StoreCreationDate\":\"20260101000000.000000+000\"}");
    struct association association = get(fixture, 1, 2);
    assert_int_equal(association_status(&association), MIGRATION_IN_PROGRESS);
    assert_int_equal(association.store_creation_ms, FIXTURE_TIME_MS);
    run(fixture, "CompleteCapture", "{" PAIR "}");
    assert_unchanged(fixture, "{}", association.version, false);
    run(fixture, "CompleteRestore", "{" PAIR "}");
    association = get(fixture, 1, 2);
    assert_int_equal(association_status(&association), MIGRATION_COMPLETED);
    run(fixture, "DeleteStore", "{" PAIR "}");
    association = get(fixture, 1, 2);
    assert_int_equal(association_status(&association), MIGRATION_COMPLETED);
    assert_int_equal(association.store_deletion_ms, FIXTURE_TIME_MS);
    run(fixture, "DeleteStore", "{" PAIR "}");
    assert_unchanged(fixture, "{}", association.version, false);
    run(fixture, "CompleteRestore", "{" PAIR "}");
    assert_refused(fixture, RETURN_OTHER_FAILURE, NULL, association.version);
    run(fixture, "DeleteAssociation", "{" PAIR "}");
    assert_event_count(fixture, 2);
}

/* A store that is deleted before it is restored is not restored, and no obstacle. */
static void test_abandoned(void **state)
{
    struct decide_fixture *fixture = *state;

    add_devices(fixture, 2);
    run(fixture, "AddAssociation", "{" PAIR "}");
    run(fixture, "StartCapture", "{" PAIR ",\"StorePath\":\"s\"}");
    run(fixture, "CompleteCapture", "{" PAIR "}");
    run(fixture, "DeleteStore", "{" PAIR "}");
    run(fixture, "CompleteRestore", "{" PAIR "}");
    assert_refused(fixture, RETURN_OTHER_FAILURE, NULL, get(fixture, 1, 2).version);
    run(fixture, "DeleteAssociation", "{" PAIR "}");
    assert_event_count(fixture, 2);
}

/* At any time, to whom the policy lists: an event of the association each time, with all
 * that is to be remembered. */
static void test_key(void **state)
{
    struct decide_fixture *fixture = *state;

    add_devices(fixture, 2);
    run(fixture, "AddAssociation", "{" PAIR "}");
    run(fixture, "GetEncryptDecryptKey", "{" PAIR ",\"PublicKey\":\"" RECIPIENT "\"}");
    assert_refused(fixture, RETURN_ACCESS_DENIED, "PublicKey", 4);
    run(fixture, "SetPolicy", LET_RECEIVE);
    for (int i = 0; i < 2; i++) {
        run(fixture, "GetEncryptDecryptKey",
            "{\"MigrationID\":\"0-3\",\"PublicKey\":\"" RECIPIENT "\"}");
        assert_event_count(fixture, 1);
        assert_event(fixture, 0, "EncryptDecryptKeyGiven", "device:1", SUBJECT,
                     "{" PAIR ",\"MigrationID\":\"0-3\",\"Recipient\":\"" RECIPIENT
                     "\"}");
        assert_int_equal(get(fixture, 1, 2).version, fixture->sequence);
    }
    run(fixture, "GetEncryptDecryptKey",
        "{\"MigrationID\":\"0-2\",\"PublicKey\":\"" RECIPIENT "\"}");
    assert_refused(fixture, RETURN_NOT_FOUND, "MigrationID", 0);
    run(fixture, "SetPolicy", "{\"Name\":\"keys.recipients\",\"Value\":\"\"}");
    run(fixture, "GetEncryptDecryptKey", "{" PAIR ",\"PublicKey\":\"" RECIPIENT "\"}");
    assert_refused(fixture, RETURN_ACCESS_DENIED, "PublicKey",
                   get(fixture, 1, 2).version);
}

/* A capture without any association makes the one in place; with several it must be said
 * which. */
static void test_capture_in_place(void **state)
{
    struct decide_fixture *fixture = *state;

    add_devices(fixture, 3);
    run(fixture, "StartCapture", "{\"SourceClientResourceID\":9,\"StorePath\":\"s\"}");
    assert_refused(fixture, RETURN_NOT_FOUND, "SourceClientResourceID", 0);
    run(fixture, "StartCapture", "{\"SourceClientResourceID\":3,\"StorePath\":\"s\"}");
    assert_event_count(fixture, 2);
    assert_event(fixture, 0, "AssociationAdded", "device:3", "device/3/association/3",
                 "{\"SourceClientResourceID\":3,\"RestoreClientResourceID\":3,"
                 "\"MigrationID\":\"0-5\",\"MigrationBehavior\":0,\"MigrationType\":2,"
                 "\"UserNames\":null}");
    run(fixture, "AddAssociation", "{" PAIR "}");
    run(fixture, "AddAssociation",
        "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":3}");
    run(fixture, "StartCapture", "{\"SourceClientResourceID\":1,\"StorePath\":\"s\"}");
    assert_refused(fixture, RETURN_INVALID_PARAMETER, "RestoreClientResourceID", 0);
    run(fixture, "StartCapture",
        "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":1,\"StorePath\":"
        "\"s\"}");
    assert_refused(fixture, RETURN_NOT_FOUND, "RestoreClientResourceID", 0);
    run(fixture, "StartCapture", "{" PAIR ",\"StorePath\":\"s\"}");
    assert_event_count(fixture, 1);
}

/* A device that has associations, on either side, is removed with Force only, and they
 * end with it. */
static void test_remove_device(void **state)
{
    struct decide_fixture *fixture = *state;

    add_devices(fixture, 3);
    run(fixture, "AddAssociation", "{" PAIR "}");
    run(fixture, "AddAssociation",
        "{\"SourceClientResourceID\":2,\"RestoreClientResourceID\":3}");
    for (uint32_t device = 1; device <= 3; device++) {
        run_format(fixture, "RemoveDevice", "{\"ResourceID\":%u}", device);
        assert_refused(fixture, RETURN_OTHER_FAILURE, "ResourceID", device);
    }
    run(fixture, "RemoveDevice", "{\"ResourceID\":2,\"Force\":true}");
    assert_event_count(fixture, 5);
    assert_event(fixture, 0, "ReferenceReleased", "device:3", "device/3",
                 "{\"Request\":\"0-6\",\"Object\":\"device:3\"}");
    assert_event(fixture, 1, "AssociationDeleted", "device:2", "device/2/association/3",
                 "{\"SourceClientResourceID\":2,\"RestoreClientResourceID\":3,"
                 "\"MigrationID\":\"0-6\",\"Reason\":\"source_removed\"}");
    assert_event(fixture, 2, "AssociationDeleted", "device:1", SUBJECT,
                 "{" PAIR ",\"MigrationID\":\"0-4\",\"Reason\":\"restore_removed\"}");
    assert_event(fixture, 3, "ReferenceReleased", "device:2", "device/2",
                 "{\"Request\":\"0-4\",\"Object\":\"device:2\"}");
    run(fixture, "RemoveDevice", "{\"ResourceID\":1}");
    assert_event_count(fixture, 1);
}

/* ---- two shards -------------------------------------------------------------------- */

#define OURS 1
#define THEIRS 2
#define ASK "\"SourceClientResourceID\":1,\"RestoreClientResourceID\":2"

static void ask(struct decide_fixture *fixture)
{
    here(fixture, "RegisterDevice", "{\"ResourceID\":1,\"Name\":\"PC1\"}");
    here(fixture, "AddAssociation", "{" ASK "}");
    assert_event_count(fixture, 1);
    assert_event(fixture, 0, "AssociationRequested", "device:1", SUBJECT,
                 "{" ASK ",\"MigrationID\":\"0-2\",\"MigrationBehavior\":0,"
                 "\"MigrationType\":1,\"UserNames\":null,\"Object\":\"device:2\","
                 "\"TimeoutSeconds\":30}");
    assert_int_equal(state_of(fixture, 2), REQUEST_PENDING);
}

#define TERMS "\"Request\":\"0-2\",\"Object\":\"device:2\""

/* A pending association counts as there; confirmed, it is. */
static void test_confirmed(void **state)
{
    struct decide_fixture *fixture = *state;

    ask(fixture);
    here(fixture, "AddAssociation", "{" ASK "}");
    assert_refused(fixture, RETURN_ALREADY_EXISTS, "RestoreClientResourceID", 2);
    here(fixture, "DeleteAssociation", "{" ASK "}");
    assert_refused(fixture, RETURN_OTHER_FAILURE, NULL, 2);
    here(fixture, "RemoveDevice", "{\"ResourceID\":1,\"Force\":true}");
    assert_refused(fixture, RETURN_OTHER_FAILURE, "ResourceID", 1);
    here(fixture, "SetPolicy", LET_RECEIVE);
    here(fixture, "GetEncryptDecryptKey", "{" ASK ",\"PublicKey\":\"" RECIPIENT "\"}");
    assert_refused(fixture, RETURN_OTHER_FAILURE, NULL, 2);
    here(fixture, "ConfirmReference", "{" TERMS "}");
    assert_event(fixture, 0, "AssociationAdded", "device:1", SUBJECT,
                 "{" ASK ",\"MigrationID\":\"0-2\",\"MigrationBehavior\":0,"
                 "\"MigrationType\":1,\"UserNames\":null}");
    assert_int_equal(state_of(fixture, 2), REQUEST_ADDED);
    assert_false(get(fixture, OURS, THEIRS).pending);
    here(fixture, "ConfirmReference", "{" TERMS "}");
    assert_unchanged(fixture, "{}", fixture->sequence - 1, false);
    here(fixture, "RefuseReference",
         "{" TERMS ",\"ReturnValue\":-2147217406,\"Description\":\"no\"}");
    assert_unchanged(fixture, "{}", fixture->sequence - 2, false);
    here(fixture, "EndReference", "{" TERMS "}");
    assert_event(fixture, 0, "AssociationDeleted", "device:1", SUBJECT,
                 "{" ASK ",\"MigrationID\":\"0-2\",\"Reason\":\"restore_removed\"}");
    here(fixture, "EndReference", "{" TERMS "}");
    assert_unchanged(fixture, "{}", 0, false);
}

/* Refused: it is gone, and a late confirmation is answered by a release. */
static void test_refused(void **state)
{
    struct decide_fixture *fixture = *state;

    ask(fixture);
    here(fixture, "RefuseReference",
         "{" TERMS ",\"ReturnValue\":-2147217406,\"Description\":\"no\"}");
    assert_event(fixture, 0, "RequestRefused", "device:1", SUBJECT,
                 "{\"Request\":\"0-2\",\"Object\":\"device:2\","
                 "\"Command\":\"kinlog.AddAssociation.v1\",\"ReturnValue\":-2147217406,"
                 "\"Version\":null,\"ExtendedStatus\":{\"Description\":\"no\","
                 "\"Operation\":\"AddAssociation\",\"ParameterInfo\":"
                 "\"RestoreClientResourceID\",\"StatusCode\":-2147217406},"
                 "\"Reason\":\"refused\"}");
    assert_int_equal(state_of(fixture, 2), REQUEST_REFUSED);
    here(fixture, "ConfirmReference", "{" TERMS "}");
    assert_event(fixture, 0, "ReferenceUnwanted", NULL, NULL, "{" TERMS "}");
    here(fixture, "AddAssociation", "{" ASK "}");
    assert_event_count(fixture, 1);
}

/* Not answered in time. */
static void test_timeout(void **state)
{
    struct decide_fixture *fixture = *state;

    ask(fixture);
    fixture->next.record_time_ms = FIXTURE_TIME_MS + 29999;
    here(fixture, "Tick", "{}");
    assert_event_count(fixture, 0);
    fixture->next.record_time_ms = FIXTURE_TIME_MS + 30000;
    here(fixture, "Tick", "{}");
    assert_event_count(fixture, 1);
    assert_int_equal(state_of(fixture, 2), REQUEST_REFUSED);
    here(fixture, "Tick", "{}");
    assert_event_count(fixture, 0);
    here(fixture, "SetPolicy", "{\"Name\":\"requests.timeout\",\"Value\":\"3601\"}");
    assert_refused(fixture, RETURN_INVALID_PARAMETER, "Value", 0);
}

static enum reference_state reference(struct decide_fixture *fixture, uint64_t sequence)
{
    const struct position request = {1, sequence};
    struct reference found;

    assert_true(reference_get(fixture->views, bytes_str("device:1"), &request, &found,
                              &fixture->err) >= 0);
    return found.state;
}

#define ASKED "\"Request\":\"1-7\",\"Object\":\"device:1\""
#define REQUESTED "{\"Request\":\"1-7\",\"Kind\":\"association\",\"Object\":\"device:1\"}"

/* The other side of it: what is asked of us is kept until it is released. */
static void test_object(void **state)
{
    struct decide_fixture *fixture = *state;

    here(fixture, "RequestReference", REQUESTED);
    assert_event(fixture, 0, "ReferenceRefused", "device:1", "device/1",
                 "{" ASKED
                 ",\"ReturnValue\":-2147217406,\"Description\":\"no device with "
                 "this id is registered; send RegisterDevice first\"}");
    here(fixture, "RegisterDevice", "{\"ResourceID\":1,\"Name\":\"PC1\"}");
    here(fixture, "RequestReference", REQUESTED);
    assert_event(fixture, 0, "ReferenceAdded", "device:1", "device/1", REQUESTED);
    assert_int_equal(reference(fixture, 7), REFERENCE_HELD);
    here(fixture, "RequestReference", REQUESTED);
    assert_unchanged(fixture, "{}", 0, false);
    here(fixture, "RemoveDevice", "{\"ResourceID\":1}");
    assert_refused(fixture, RETURN_OTHER_FAILURE, "ResourceID", 2);
    here(fixture, "ReleaseReference", "{" ASKED "}");
    assert_event(fixture, 0, "ReferenceReleased", "device:1", "device/1", "{" ASKED "}");
    assert_int_equal(reference(fixture, 7), REFERENCE_NONE);
}

/* A release may come first: then the request is refused. */
static void test_release_first(void **state)
{
    struct decide_fixture *fixture = *state;

    here(fixture, "RegisterDevice", "{\"ResourceID\":1,\"Name\":\"PC1\"}");
    here(fixture, "ReleaseReference", "{" ASKED "}");
    assert_event_count(fixture, 1);
    assert_int_equal(reference(fixture, 7), REFERENCE_RELEASED);
    here(fixture, "ReleaseReference", "{" ASKED "}");
    assert_unchanged(fixture, "{}", 0, false);
    here(fixture, "RemoveDevice", "{\"ResourceID\":1}"); /* that is no reference */
    assert_event_count(fixture, 1);
    fixture->id = "1-7";
    here(fixture, "RequestReference", REQUESTED);
    assert_event_count(fixture, 1);
    assert_int_equal(reference(fixture, 7), REFERENCE_NONE);
    here(fixture, "ReleaseReference", "{" ASKED "}"); /* it was asked for by now */
    assert_unchanged(fixture, "{}", 0, false);
}

/* Force tells the shard that had asked. */
static void test_object_removed(void **state)
{
    struct decide_fixture *fixture = *state;

    here(fixture, "RegisterDevice", "{\"ResourceID\":1,\"Name\":\"PC1\"}");
    here(fixture, "RequestReference", REQUESTED);
    here(fixture, "RemoveDevice", "{\"ResourceID\":1,\"Force\":true}");
    assert_event_count(fixture, 2);
    assert_event(fixture, 0, "ReferenceEnded", "device:1", "device/1", "{" ASKED "}");
    here(fixture, "RequestReference", REQUESTED);
    assert_event_count(fixture, 1); /* refused: there is no device */
}

/* Only agents say these things. */
static void test_senders(void **state)
{
    struct decide_fixture *fixture = *state;

    run(fixture, "RequestReference", REQUESTED);
    assert_refused(fixture, RETURN_ACCESS_DENIED, NULL, 0);
    run(fixture, "ConfirmReference", "{" TERMS "}");
    assert_refused(fixture, RETURN_ACCESS_DENIED, NULL, 0);
    run(fixture, "EndReference", "{" TERMS "}");
    assert_refused(fixture, RETURN_ACCESS_DENIED, NULL, 0);
}

/* No agent has a shard ask itself, or one that is not there ask anything. */
static void test_asking_shard(void **state)
{
    struct decide_fixture *fixture = *state;

    here(fixture, "RegisterDevice", "{\"ResourceID\":1,\"Name\":\"PC1\"}");
    here(fixture, "RequestReference",
         "{\"Request\":\"0-3\",\"Kind\":\"association\",\"Object\":\"device:1\"}");
    assert_refused(fixture, RETURN_ACCESS_DENIED, NULL, 0);
    here(fixture, "ReleaseReference", "{\"Request\":\"2-3\",\"Object\":\"device:1\"}");
    assert_refused(fixture, RETURN_ACCESS_DENIED, NULL, 0);
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, decide_fixture_setup, decide_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_add_and_delete), TEST(test_devices),    TEST(test_users_and_exclusion),
        TEST(test_change),         TEST(test_parameters), TEST(test_life),
        TEST(test_abandoned),      TEST(test_key),        TEST(test_capture_in_place),
        TEST(test_remove_device),  TEST(test_confirmed),  TEST(test_refused),
        TEST(test_timeout),        TEST(test_object),     TEST(test_release_first),
        TEST(test_object_removed), TEST(test_senders),    TEST(test_asking_shard),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
