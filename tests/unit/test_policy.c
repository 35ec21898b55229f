/* test_policy.c - SetPolicy, AdoptPolicy, Tick, and the views of policy and timers.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "projections/timer_view.h"
#include "schemas/events.h"
#include "tests/lib/decide_fixture.h"

#define STUB "{\"Name\":\"devices.unknown\",\"Value\":\"stub\"}"
#define REFUSE "{\"Name\":\"devices.unknown\",\"Value\":\"refuse\"}"

static uint64_t revision(struct decide_fixture *fixture)
{
    uint64_t highest;

    assert_int_equal(policy_revision(fixture->views, &highest, &fixture->err), 0);
    return highest;
}

/* A change has the next revision; the value can be read back. */
static void test_set(void **state)
{
    struct decide_fixture *fixture = *state;
    struct policy policy;

    run(fixture, "SetPolicy", STUB);
    assert_event_count(fixture, 1);
    assert_event(fixture, 0, "PolicyChanged", "policy", "policy/devices.unknown",
                 "{\"Name\":\"devices.unknown\",\"Value\":\"stub\",\"Revision\":1}");
    run(fixture, "SetPolicy", REFUSE);
    assert_event(fixture, 0, "PolicyChanged", "policy", "policy/devices.unknown",
                 "{\"Name\":\"devices.unknown\",\"Value\":\"refuse\",\"Revision\":2}");
    assert_int_equal(
        policy_get(fixture->views, "devices.unknown", &policy, &fixture->err), 0);
    assert_string_equal(policy.name, "devices.unknown");
    assert_string_equal(policy.value, "refuse");
    assert_int_equal(policy.revision, 2);
    assert_int_equal(policy.version, 2);
    assert_int_equal(revision(fixture), 2);
}

/* What was never set has its default. */
static void test_default(void **state)
{
    struct decide_fixture *fixture = *state;
    struct policy policy;

    assert_int_equal(
        policy_get(fixture->views, "devices.unknown", &policy, &fixture->err), 1);
    assert_string_equal(policy.value, "refuse");
    assert_int_equal(policy.revision, 0);
    assert_int_equal(policy_get(fixture->views, "core.rules", &policy, &fixture->err), 1);
    assert_string_equal(policy.value, "1");
    assert_int_equal(policy_get(fixture->views, "no.such", &policy, &fixture->err), 1);
    assert_string_equal(policy.value, "");
    assert_int_equal(revision(fixture), 0);
}

/* The present value again, the default included, changes nothing. */
static void test_set_same(void **state)
{
    struct decide_fixture *fixture = *state;

    run(fixture, "SetPolicy", REFUSE);
    assert_unchanged(fixture, "{\"Revision\":0}", 0, false);
    assert_true(bytes_equal_str(fixture->events[0].key, "policy"));
    assert_true(bytes_equal_str(fixture->events[0].subject, "policy/devices.unknown"));
    run(fixture, "SetPolicy", STUB);
    run(fixture, "SetPolicy", STUB);
    assert_unchanged(fixture, "{\"Revision\":1}", 2, false);
    run(fixture, "SetPolicy", "{\"Name\":\"core.rules\",\"Value\":\"1\"}");
    assert_unchanged(fixture, "{\"Revision\":1}", 0, false);
}

/* Names and values that there are not are invalid; a name stands in no subject then. */
static void test_set_invalid(void **state)
{
    static const char *const bad_rules[] = {
        "0", "2", "01", "", "1 ", "+1", "999999999999999"};
    struct decide_fixture *fixture = *state;

    run(fixture, "SetPolicy", "{\"Name\":\"no.such\",\"Value\":\"stub\"}");
    assert_refused(fixture, RETURN_INVALID_PARAMETER, "Name", 0);
    assert_true(bytes_equal_str(fixture->events[0].key, "policy"));
    assert_null(fixture->events[0].subject.data);
    run(fixture, "SetPolicy", STUB);
    run(fixture, "SetPolicy", "{\"Name\":\"devices.unknown\",\"Value\":\"Stub\"}");
    assert_refused(fixture, RETURN_INVALID_PARAMETER, "Value", 2);
    for (size_t i = 0; i < sizeof bad_rules / sizeof bad_rules[0]; i++) {
        run_format(fixture, "SetPolicy", "{\"Name\":\"core.rules\",\"Value\":\"%s\"}",
                   bad_rules[i]);
        assert_refused(fixture, RETURN_INVALID_PARAMETER, "Value", 0);
    }
}

/* Numbers have one spelling and a highest value; a list of sources has each once. */
static void test_values(void **state)
{
    static const struct {
        const char *name;
        const char *good[4];
        const char *bad[8];
    } cases[] = {
        {"usage.days", {"1", "90", "0"}, {"91", "-1", "01", "", "7 ", "1.0", "x"}},
        {"usage.minutes", {"1", "129600", "0"}, {"129601", "060", "", "1e3"}},
        {"approval.sources",
         {"4", "1,4", "9,2,1", ""},
         {"0", "10", "1,", ",1", "1,,4", "1 4", "1,4,1", "a"}},
    };
    struct decide_fixture *fixture = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t k = 0; k < 8 && cases[i].bad[k] != NULL; k++) {
            run_format(fixture, "SetPolicy", "{\"Name\":\"%s\",\"Value\":\"%s\"}",
                       cases[i].name, cases[i].bad[k]);
            assert_refused(fixture, RETURN_INVALID_PARAMETER, "Value", 0);
        }
        for (size_t k = 0; k < 4 && cases[i].good[k] != NULL; k++) {
            run_format(fixture, "SetPolicy", "{\"Name\":\"%s\",\"Value\":\"%s\"}",
                       cases[i].name, cases[i].good[k]);
            assert_string_equal(fixture->events[0].type->name, "PolicyChanged");
        }
    }
}

/* expectedversion is that of the policy's name. */
static void test_expected_version(void **state)
{
    struct decide_fixture *fixture = *state;

    fixture->next.has_expected_version = true;
    fixture->next.expected_version = 1;
    run(fixture, "SetPolicy", STUB);
    assert_refused(fixture, RETURN_STALE_VERSION, "expectedversion", 0);
    fixture->next.has_expected_version = true;
    run(fixture, "SetPolicy", STUB);
    fixture->next.has_expected_version = true;
    fixture->next.expected_version = 2;
    run(fixture, "SetPolicy", REFUSE);
    assert_string_equal(fixture->events[0].type->name, "PolicyChanged");
}

/* Only agents have a shard adopt a policy, and only a higher revision is adopted. */
static void test_adopt(void **state)
{
    struct decide_fixture *fixture = *state;

    run(fixture, "AdoptPolicy",
        "{\"Name\":\"devices.unknown\",\"Value\":\"stub\",\"Revision\":5}");
    assert_refused(fixture, RETURN_ACCESS_DENIED, NULL, 0);
    /* Permission goes before what the parameters refer to. */
    run(fixture, "AdoptPolicy",
        "{\"Name\":\"no.such\",\"Value\":\"stub\",\"Revision\":5}");
    assert_refused(fixture, RETURN_ACCESS_DENIED, NULL, 0);
    fixture->next.from_agents = true;
    run(fixture, "AdoptPolicy",
        "{\"Name\":\"devices.unknown\",\"Value\":\"stub\",\"Revision\":5}");
    assert_event(fixture, 0, "PolicyChanged", "policy", "policy/devices.unknown",
                 "{\"Name\":\"devices.unknown\",\"Value\":\"stub\",\"Revision\":5}");
    fixture->next.from_agents = true;
    run(fixture, "AdoptPolicy",
        "{\"Name\":\"devices.unknown\",\"Value\":\"refuse\",\"Revision\":5}");
    assert_unchanged(fixture, "{\"Revision\":5}", 3, false);
    fixture->next.from_agents = true;
    run(fixture, "AdoptPolicy",
        "{\"Name\":\"core.rules\",\"Value\":\"1\",\"Revision\":4}");
    assert_unchanged(fixture, "{\"Revision\":5}", 0, false);
    fixture->next.from_agents = true;
    run(fixture, "AdoptPolicy",
        "{\"Name\":\"core.rules\",\"Value\":\"1\",\"Revision\":6}");
    assert_string_equal(fixture->events[0].type->name, "PolicyChanged");
    assert_int_equal(revision(fixture), 6);
    /* Revisions count over all names. */
    run(fixture, "SetPolicy", REFUSE);
    assert_event(fixture, 0, "PolicyChanged", "policy", "policy/devices.unknown",
                 "{\"Name\":\"devices.unknown\",\"Value\":\"refuse\",\"Revision\":7}");
}

/* Policy is decided where its key lies, adopted where the command lies. */
static void test_route(void **state)
{
    struct decide_fixture *fixture = *state;
    const struct schema_entry *type = command_type("SetPolicy");
    const void *params = decode_command(fixture, type, STUB);
    struct buf key = BUF_INIT;

    assert_int_equal(command_shard(type, params, 240, 7), 222);
    assert_int_equal(command_key(type, params, &key), 0);
    assert_string_equal(buf_cstr(&key), "policy");
    buf_clear(&key);
    type = command_type("AdoptPolicy");
    params = decode_command(
        fixture, type,
        "{\"Name\":\"devices.unknown\",\"Value\":\"stub\",\"Revision\":5}");
    assert_int_equal(command_shard(type, params, 240, 7), 7);
    assert_int_equal(command_key(type, params, &key), 0);
    assert_string_equal(buf_cstr(&key), "policy");
    buf_clear(&key);
    type = command_type("Tick");
    params = decode_command(fixture, type, "{}");
    assert_int_equal(command_shard(type, params, 240, 7), 7);
    assert_int_equal(command_key(type, params, &key), 0);
    assert_string_equal(buf_cstr(&key), "");
    buf_release(&key);
}

/* The table of names is what the decision knows. */
#define RECIPIENT "HPV5q6RaELodHvBtkfyiqp7QoRUFFWUxVUBdCxjLmmc"

/* A list of public keys; nobody is one, too. */
static void test_recipients(void **state)
{
    static const char *const bad[] = {",",
                                      RECIPIENT ",",
                                      "," RECIPIENT,
                                      RECIPIENT ",," RECIPIENT,
                                      RECIPIENT ", " RECIPIENT,
                                      RECIPIENT "=",
                                      "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    struct decide_fixture *fixture = *state;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        run_format(fixture, "SetPolicy",
                   "{\"Name\":\"keys.recipients\",\"Value\":\"%s\"}", bad[i]);
        assert_refused(fixture, RETURN_INVALID_PARAMETER, "Value", 0);
    }
    run(fixture, "SetPolicy", "{\"Name\":\"keys.recipients\",\"Value\":\"\"}");
    assert_unchanged(fixture, "{\"Revision\":0}", 0, false);
    run(fixture, "SetPolicy",
        "{\"Name\":\"keys.recipients\",\"Value\":\"" RECIPIENT "," RECIPIENT "\"}");
    assert_event_count(fixture, 1);
    run(fixture, "SetPolicy", "{\"Name\":\"keys.recipients\",\"Value\":\"\"}");
    assert_event_count(fixture, 1);
}

static void test_names(void **state)
{
    size_t count = 0;

    (void)state;
    while (policy_name_at(count) != NULL) {
        assert_non_null(policy_name_at(count)->allowed);
        count++;
    }
    assert_int_equal(count, 7);
    for (size_t i = 1; i < count; i++)
        assert_true(strcmp(policy_name_at(i - 1)->name, policy_name_at(i)->name) < 0);
    assert_string_equal(policy_name_at(2)->name, "devices.unknown");
    assert_string_equal(policy_name_at(2)->default_value, "refuse");
}

/* A Tick from anyone but the shard's owner is refused; from the owner with nothing due it
 * is nothing. */
static void test_tick(void **state)
{
    struct decide_fixture *fixture = *state;

    run(fixture, "Tick", "{}");
    assert_refused(fixture, RETURN_ACCESS_DENIED, NULL, 0);
    assert_null(fixture->events[0].key.data);
    fixture->next.from_agents = true;
    run(fixture, "Tick", "{}");
    assert_refused(fixture, RETURN_ACCESS_DENIED, NULL, 0);
    fixture->next.from_owner = true;
    run(fixture, "Tick", "{}");
    assert_event_count(fixture, 0);
    /* A timer of the future is not due, one of the past is of no kind that rules 1 know.
     * */
    assert_int_equal(
        timer_set(fixture->views, FIXTURE_TIME_MS + 1, bytes_str("t"), &fixture->err), 0);
    fixture->next.from_owner = true;
    run(fixture, "Tick", "{}");
    assert_event_count(fixture, 0);
    struct decision decision;
    decision_init(&decision, &fixture->arena);
    fixture->next.from_owner = true;
    fixture->next.type = command_type("Tick");
    fixture->next.record_time_ms = FIXTURE_TIME_MS + 1;
    assert_int_equal(decide(fixture->views, &fixture->next, &decision, &fixture->err),
                     ERROR_VERSION);
}

static int due_count(struct decide_fixture *fixture, int64_t now_ms, char *ret_first)
{
    struct timer_scan *scan = NULL;
    struct bytes name;
    int64_t due_ms;
    int count = 0, code;

    assert_int_equal(timer_scan_open(fixture->views, now_ms, &scan, &fixture->err), 0);
    while ((code = timer_scan_next(scan, &due_ms, &name, &fixture->err)) == 0) {
        assert_true(due_ms <= now_ms);
        if (count++ == 0)
            *ret_first = (char)name.data[0];
    }
    assert_int_equal(code, 1);
    timer_scan_close(scan);
    return count;
}

/* Timers come in the order in which they are due, and go when cleared. */
static void test_timers(void **state)
{
    struct decide_fixture *fixture = *state;
    struct views *views = fixture->views;
    char empty[65], digest[65], first;
    int64_t due_ms;

    views_digest(views, VIEW_TIMERS, empty);
    assert_int_equal(timer_next(views, &due_ms, &fixture->err), 1);
    assert_int_equal(timer_set(views, 2000, bytes_str("b"), &fixture->err), 0);
    assert_int_equal(timer_set(views, 1000, bytes_str("a"), &fixture->err), 0);
    assert_int_equal(timer_set(views, 1000, bytes_str("a"), &fixture->err), 0);
    assert_int_equal(timer_set(views, -1, bytes_str("a"), &fixture->err), ERROR_INVALID);
    error_clear(&fixture->err);
    assert_int_equal(timer_next(views, &due_ms, &fixture->err), 0);
    assert_int_equal(due_ms, 1000);
    assert_int_equal(due_count(fixture, 999, &first), 0);
    assert_int_equal(due_count(fixture, 1000, &first), 1);
    assert_int_equal(first, 'a');
    assert_int_equal(due_count(fixture, 2000, &first), 2);
    assert_int_equal(first, 'a');
    views_digest(views, VIEW_TIMERS, digest);
    assert_string_not_equal(digest, empty);
    assert_int_equal(timer_clear(views, 1000, bytes_str("a"), &fixture->err), 0);
    assert_int_equal(timer_clear(views, 1000, bytes_str("a"), &fixture->err), 0);
    assert_int_equal(timer_next(views, &due_ms, &fixture->err), 0);
    assert_int_equal(due_ms, 2000);
    assert_int_equal(timer_clear(views, 2000, bytes_str("b"), &fixture->err), 0);
    assert_int_equal(timer_next(views, &due_ms, &fixture->err), 1);
    views_digest(views, VIEW_TIMERS, digest);
    assert_string_equal(digest, empty);
}

/* A revision that is not above the present one cannot be in the log. */
static void test_misfit(void **state)
{
    struct decide_fixture *fixture = *state;

    run(fixture, "SetPolicy", STUB);
    struct event event = {
        .sequence = 2,
        .type = event_type_find(bytes_str("kinlog.PolicyChanged.v1")),
        .data = bytes_str("{\"Name\":\"core.rules\",\"Value\":\"1\",\"Revision\":1}"),
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
        TEST(test_set),         TEST(test_default), TEST(test_set_same),
        TEST(test_set_invalid), TEST(test_adopt),   TEST(test_expected_version),
        TEST(test_route),       TEST(test_names),   TEST(test_recipients),
        TEST(test_tick),        TEST(test_timers),  TEST(test_misfit),
        TEST(test_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
