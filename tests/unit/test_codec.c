/* test_codec.c - decoding, encoding, faults, limits, canonical form, content hashes.
 *
 * The keywords over schemas of any shape are tested by tests/schemas/ against the public
 * suite; here is what the messages' own schemas promise, and the order and wording of
 * faults.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "schemas/codec.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "events/base/error.h"
#include "events/base/hash.h"
#include "schemas/answers.h"
#include "schemas/codec_tables.h"
#include "schemas/commands.h"
#include "schemas/events.h"
#include "schemas/json_number.h"

#define VECTORS "schemas/content-hash.vectors.json"

struct fixture {
    struct arena arena;
    struct codec_error error;
    struct create_relationship_v1 create;
};

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return *state == NULL;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    arena_release(&fixture->arena);
    free(fixture);
    return 0;
}

static enum codec_fault decode_bytes(struct fixture *fixture, struct bytes json)
{
    return codec_decode(&create_relationship_v1_schema, CODEC_IGNORE_CASE, json,
                        &fixture->arena, &fixture->create, &fixture->error);
}

static enum codec_fault decode(struct fixture *fixture, const char *json)
{
    return decode_bytes(fixture, bytes_str(json));
}

/* A good command but for one member's value. */
static enum codec_fault decode_with(struct fixture *fixture, const char *member,
                                    const char *value)
{
    static const char *const MEMBERS[][2] = {
        {"MachineResourceId", "1"}, {"UserAccountName", "\"a\\\\b\""}, {"SourceId", "2"}};
    struct buf json = BUF_INIT;
    bool replaced = false;

    buf_append_str(&json, "{");
    for (size_t i = 0; i < 3; i++) {
        bool here = strcmp(member, MEMBERS[i][0]) == 0;
        replaced = replaced || here;
        buf_printf(&json, "%s\"%s\":%s", i > 0 ? "," : "", MEMBERS[i][0],
                   here ? value : MEMBERS[i][1]);
    }
    if (!replaced) {
        buf_printf(&json, ",\"%s\":%s", member, value);
    }
    buf_append_str(&json, "}");
    /* The struct may borrow from the text. */
    enum codec_fault fault =
        decode_bytes(fixture, arena_copy(&fixture->arena, buf_bytes(&json)));
    buf_release(&json);
    return fault;
}

static void assert_mismatch(const struct fixture *fixture, const char *member,
                            const char *text)
{
    assert_int_equal(fixture->error.fault, CODEC_MISMATCH);
    assert_string_equal(fixture->error.member, member);
    if (strstr(fixture->error.text, text) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", text, fixture->error.text);
    }
}

static void assert_bytes(struct bytes got, const char *expected)
{
    if (!bytes_equal_str(got, expected)) {
        fail_msg("\"%.*s\" is not \"%s\"", (int)got.size, (const char *)got.data,
                 expected);
    }
}

/* ---- decoding and encoding --------------------------------------------------------- */

/* Members in any order and spelling, escapes, integers written as reals, a scalar for a
 * list. */
static void test_decode(void **state)
{
    struct fixture *fixture = *state;
    const struct create_relationship_v1 *create = &fixture->create;

    assert_int_equal(decode(fixture,
                            " {\"SOURCEID\": [4, 2.0, 4e0],\r\n\"useraccountname\":"
                            "\"contoso\\u005canna \\ud83d\\ude00\\n\\/\\\"\",\t"
                            "\"machineresourceid\":16777222.0e0, \"TypeId\": 1 } "),
                     CODEC_OK);
    assert_int_equal(create->machine_resource_id, 16777222);
    assert_bytes(create->user_account_name, "contoso\\anna \xf0\x9f\x98\x80\n/\"");
    assert_int_equal(create->source_id.count, 3);
    assert_int_equal(create->source_id.items[0], 4);
    assert_int_equal(create->source_id.items[1], 2);
    assert_int_equal(create->source_id.items[2], 4);
    assert_true(create->has_type_id);
    assert_int_equal(create->type_id.count, 1);
    assert_int_equal(create->type_id.items[0], 1);
}

/* Optional members that are absent or null leave their flag false, and the struct
 * zero. */
static void test_absent(void **state)
{
    struct fixture *fixture = *state;
    struct register_device_v1 device;

    assert_int_equal(decode_with(fixture, "TypeId", "null"), CODEC_OK);
    assert_false(fixture->create.has_type_id);
    assert_int_equal(fixture->create.type_id.count, 0);
    assert_null(fixture->create.type_id.items);
    memset(&device, 0xff, sizeof(device));
    assert_int_equal(codec_decode(&register_device_v1_schema, CODEC_IGNORE_CASE,
                                  bytes_str("{\"ResourceID\":1,\"Name\":\"PC\"}"),
                                  &fixture->arena, &device, NULL),
                     CODEC_OK);
    assert_false(device.has_client_type);
    assert_false(device.has_mac_addresses);
    assert_false(device.has_domain);
    assert_null(device.domain.data);
    /* An empty list is there. */
    assert_int_equal(
        codec_decode(&register_device_v1_schema, CODEC_IGNORE_CASE,
                     bytes_str("{\"ResourceID\":1,\"Name\":\"PC\",\"MACAddresses\":[]}"),
                     &fixture->arena, &device, NULL),
        CODEC_OK);
    assert_true(device.has_mac_addresses);
    assert_int_equal(device.mac_addresses.count, 0);
}

/* An empty string is present and not absent. */
static void test_empty_string(void **state)
{
    struct fixture *fixture = *state;
    struct set_policy_v1 policy;

    assert_int_equal(codec_decode(&set_policy_v1_schema, CODEC_IGNORE_CASE,
                                  bytes_str("{\"Name\":\"x\",\"Value\":\"\"}"),
                                  &fixture->arena, &policy, NULL),
                     CODEC_OK);
    assert_non_null(policy.value.data);
    assert_int_equal(policy.value.size, 0);
}

/* A struct within the struct, a list of structs, free-form members: decoded, encoded, the
 * same. */
static void test_round_trip(void **state)
{
    static const char *const ANSWERS[] = {
        "{\"Command\":\"kinlog.CreateRelationship.v1\",\"ReturnValue\":0,\"Outcome\":"
        "\"accepted\","
        "\"Shard\":2,\"Sequence\":1841,\"Version\":1841,\"EventCount\":2,\"Events\":[{"
        "\"Sequence\":1840,"
        "\"Type\":\"kinlog.DeviceRegistered.v1\"},{\"Sequence\":1841,\"Type\":"
        "\"kinlog.RelationshipCreated.v1\"}],\"Out\":{\"RelationshipResourceID\":23},"
        "\"ExtendedStatus\":null}",
        "{\"Command\":\"-\",\"ReturnValue\":-2147217396,\"Outcome\":\"refused\","
        "\"Shard\":0,"
        "\"Sequence\":9223372036854775807,\"Version\":null,\"EventCount\":1,\"Events\":[{"
        "\"Sequence\":7,"
        "\"Type\":\"kinlog.CommandRejected.v1\"}],\"Out\":{},\"ExtendedStatus\":{"
        "\"Description\":"
        "\"\\\"what\\\"\\\\ "
        "\\u0001\xc3\xa9\",\"Operation\":\"-\",\"ParameterInfo\":null,\"StatusCode\":"
        "-2147217396}}",
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < 2; i++) {
        struct answer_v1 answer;
        struct buf out = BUF_INIT;
        assert_int_equal(codec_decode(&answer_v1_schema, CODEC_EXACT,
                                      bytes_str(ANSWERS[i]), &fixture->arena, &answer,
                                      &fixture->error),
                         CODEC_OK);
        assert_int_equal(answer.events.count, 2 - i);
        assert_int_equal(answer.has_extended_status, i == 1);
        assert_int_equal(codec_encode(&answer_v1_schema, &answer, &out), 0);
        assert_string_equal(buf_cstr(&out), ANSWERS[i]);
        buf_release(&out);
    }
}

/* Absent members: null where the schema requires them, left out where it does not. */
static void test_encode_absent(void **state)
{
    struct delete_relationship_v1 delete = {.has_relationship_resource_id = true,
                                            .relationship_resource_id = 23};
    struct type_removed_v1 removed = {
        .relationship_resource_id = 23,
        .resource_id = 1,
        .unique_user_name = bytes_str("a\\b"),
        .type_id = 1,
    };
    struct buf out = BUF_INIT;

    (void)state;
    assert_int_equal(codec_encode(&delete_relationship_v1_schema, &delete, &out), 0);
    assert_string_equal(buf_cstr(&out), "{\"RelationshipResourceID\":23}");
    buf_clear(&out);
    assert_int_equal(codec_encode(&type_removed_v1_schema, &removed, &out), 0);
    assert_string_equal(buf_cstr(&out),
                        "{\"RelationshipResourceID\":23,\"ResourceID\":1,"
                        "\"UniqueUserName\":\"a\\\\b\",\"TypeId\":1,\"Types\":null}");
    buf_release(&out);
}

/* Free-form members come out in canonical form, whatever they looked like. */
static void test_free_form(void **state)
{
    struct fixture *fixture = *state;
    struct command_unchanged_v1 unchanged;

    assert_int_equal(
        codec_decode(
            &command_unchanged_v1_schema, CODEC_EXACT,
            bytes_str(
                "{\"Command\":\"c\",\"Out\": { \"b\" : [ 1.0, true ],\"a\":\"\\u0041\"},"
                "\"Version\":null,\"ExtendedStatus\":null}"),
            &fixture->arena, &unchanged, NULL),
        CODEC_OK);
    assert_bytes(unchanged.out, "{\"a\":\"A\",\"b\":[1,true]}");
    assert_int_equal(
        codec_decode(
            &command_unchanged_v1_schema, CODEC_EXACT,
            bytes_str("{\"Command\":\"c\",\"Out\":{\"a\":1e400},\"Version\":null,"
                      "\"ExtendedStatus\":null}"),
            &fixture->arena, &unchanged, &fixture->error),
        CODEC_MISMATCH);
    assert_mismatch(fixture, "Out", "too large");
}

/* Events are read by exact names, and null is no absence. */
static void test_exact_names(void **state)
{
    struct fixture *fixture = *state;
    struct device_removed_v1 removed;

    assert_int_equal(codec_decode(&device_removed_v1_schema, CODEC_EXACT,
                                  bytes_str("{\"resourceid\":1}"), &fixture->arena,
                                  &removed, &fixture->error),
                     CODEC_MISMATCH);
    assert_mismatch(fixture, "ResourceID", "missing");
    assert_int_equal(codec_decode(&device_removed_v1_schema, CODEC_EXACT,
                                  bytes_str("{\"ResourceID\":null}"), &fixture->arena,
                                  &removed, &fixture->error),
                     CODEC_MISMATCH);
    assert_mismatch(fixture, "ResourceID", "is null");
    assert_int_equal(codec_decode(&device_removed_v1_schema, CODEC_EXACT,
                                  bytes_str("{\"\\u0052esourceID\":1}"), &fixture->arena,
                                  &removed, NULL),
                     CODEC_OK);
}

/* ---- faults ------------------------------------------------------------------------ */

/* Numbers: what is an integer, what fits 32 bits, and that a string never stands for
 * one. */
static void test_numbers(void **state)
{
    static const struct {
        const char *value;
        const char *text; /* NULL: taken */
    } CASES[] = {
        {"4294967295", NULL},
        {"4294967296", "out of range"},
        {"0", "out of range"},
        {"-1", "out of range"},
        {"-0", "out of range"},
        {"1.5", "whole number"},
        {"1e400", "out of range"},
        {"-1e400", "out of range"},
        {"1e-400", "whole number"},
        {"1e99999999999999999999", "out of range"},
        {"2.0", NULL},
        {"2e0", NULL},
        {"0.2E+1", NULL},
        {"20000e-4", NULL},
        {"429496729500000e-5", NULL},
        {"1.00000000000000000000000000001", "whole number"},
        {"4294967295.00000000000000000001", "whole number"},
        {"\"1\"", "is a string: send an integer from 1 to 4294967295, without quotes"},
        {"true", "is true or false"},
        {"[1]", "is a list"},
        {"{}", "is an object"},
        {"null", "is missing"},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        enum codec_fault fault =
            decode_with(fixture, "MachineResourceId", CASES[i].value);
        if (CASES[i].text == NULL) {
            assert_int_equal(fault, CODEC_OK);
        } else {
            assert_mismatch(fixture, "MachineResourceId", CASES[i].text);
        }
    }
}

/* Sources and types: their ranges, as number and in lists. */
static void test_sources(void **state)
{
    static const struct {
        const char *member;
        const char *value;
        bool fits;
    } CASES[] = {
        {"SourceId", "0", false},       {"SourceId", "1", true},
        {"SourceId", "3", true},        {"SourceId", "9", true},
        {"SourceId", "10", false},      {"SourceId", "[]", false},
        {"SourceId", "[1,9]", true},    {"SourceId", "[1,10]", false},
        {"SourceId", "[[1]]", false},   {"SourceId", "[null]", false},
        {"SourceId", "[\"1\"]", false}, {"TypeId", "0", false},
        {"TypeId", "1", true},          {"TypeId", "2", false},
        {"TypeId", "[1]", true},        {"TypeId", "[1,2]", false},
        {"TypeId", "[]", false},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        enum codec_fault fault = decode_with(fixture, CASES[i].member, CASES[i].value);
        assert_int_equal(fault, CASES[i].fits ? CODEC_OK : CODEC_MISMATCH);
        assert_string_equal(fixture->error.member, CASES[i].fits ? "" : CASES[i].member);
    }
}

/* Lengths count code points. */
static void test_lengths(void **state)
{
    struct fixture *fixture = *state;
    struct buf name = BUF_INIT;

    for (size_t count = 255; count <= 257; count++) {
        buf_clear(&name);
        buf_append_byte(&name, '"');
        for (size_t i = 0; i < count; i++) {
            buf_append_str(&name, i % 2 == 0 ? "\xf0\x9f\x98\x80" : "\\u00e9");
        }
        buf_append_byte(&name, '"');
        assert_int_equal(decode_with(fixture, "UserAccountName", buf_cstr(&name)),
                         count <= 256 ? CODEC_OK : CODEC_MISMATCH);
    }
    assert_mismatch(fixture, "UserAccountName",
                    "is 257 characters long: send a string of 3 to 256 characters");
    assert_int_equal(decode_with(fixture, "UserAccountName", "\"a\\\\\""),
                     CODEC_MISMATCH);
    buf_release(&name);
}

/* Of several faults the first in declared order is told; missing ones count, unknown ones
 * come last. */
static void test_fault_order(void **state)
{
    static const struct {
        const char *json;
        const char *member;
        const char *pointer;
    } CASES[] = {
        {"{\"x\":1,\"TypeId\":2,\"SourceId\":10,\"UserAccountName\":1,"
         "\"MachineResourceId\":0}",
         "MachineResourceId", "/MachineResourceId"},
        {"{\"x\":1,\"TypeId\":2,\"SourceId\":10,\"UserAccountName\":1}",
         "MachineResourceId", "/MachineResourceId"},
        {"{\"x\":1,\"TypeId\":2,\"SourceId\":10,\"MachineResourceId\":1}",
         "UserAccountName", "/UserAccountName"},
        {"{\"x\":1,\"TypeId\":2,\"UserAccountName\":\"a\\\\b\",\"MachineResourceId\":1}",
         "SourceId", "/SourceId"},
        {"{\"x\":1,\"TypeId\":[1,2],\"SourceId\":1,\"UserAccountName\":\"a\\\\b\","
         "\"MachineResourceId\":1}",
         "TypeId", "/TypeId/1"},
        {"{\"x\":1,\"SourceId\":1,\"UserAccountName\":\"a\\\\b\",\"MachineResourceId\":"
         "1}",
         "", ""},
        {"[]", "", ""},
        {"{}", "MachineResourceId", "/MachineResourceId"},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        assert_int_equal(decode(fixture, CASES[i].json), CODEC_MISMATCH);
        assert_string_equal(fixture->error.member, CASES[i].member);
        assert_string_equal(fixture->error.pointer, CASES[i].pointer);
    }
}

/* One name twice is no JSON for us; one member in two spellings is a mismatch that names
 * it. */
static void test_twins(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(decode_with(fixture, "sourceID", "2"), CODEC_MISMATCH);
    assert_mismatch(fixture, "SourceId", "two spellings");
    assert_int_equal(decode(fixture, "{\"TypeId\":1,\"TypeId\":1}"), CODEC_SYNTAX);
    assert_int_equal(fixture->error.offset, 12);
    assert_int_equal(decode(fixture, "{\"TypeId\":1,\"Type\\u0049d\":1}"), CODEC_SYNTAX);
    assert_int_equal(decode(fixture, "{\"x\":{\"y\":[{\"a\":1,\"\\u0061\":1}]}}"),
                     CODEC_SYNTAX);
    assert_int_equal(decode(fixture, "{\"a\":{\"x\":1},\"b\":{\"x\":1},\"x\":1}"),
                     CODEC_MISMATCH);
    assert_int_equal(decode(fixture, "{\"typeid\":null,\"TYPEID\":1}"), CODEC_MISMATCH);
}

/* Many members: twins are found by sorting, too, and none is seen where there is none. */
static void test_many_members(void **state)
{
    struct buf json = BUF_INIT;

    (void)state;
    for (int twin = 0; twin < 2; twin++) {
        buf_clear(&json);
        buf_append_str(&json, "{\"m000\\u0031\":0");
        for (int i = 2; i < 4000; i++) {
            buf_printf(&json, ",\"m%04d\":0", i);
        }
        buf_printf(&json, ",\"m%s\":0}", twin ? "0001" : "x");
        assert_int_equal(codec_check_json(buf_bytes(&json), NULL),
                         twin ? CODEC_SYNTAX : CODEC_OK);
    }
    buf_release(&json);
}

/* What is no JSON ends as such, with the byte where it was seen, whatever else is
 * wrong. */
static void test_syntax(void **state)
{
    static const struct {
        const char *json;
        size_t offset;
    } CASES[] = {
        {"", 0},
        {" ", 1},
        {"hello", 0},
        {"{", 1},
        {"{\"a\"", 4},
        {"{\"a\":", 5},
        {"{\"a\":1", 6},
        {"{\"a\":1,}", 7},
        {"{,\"a\":1}", 1},
        {"{\"a\" 1}", 5},
        {"{a:1}", 1},
        {"{\"a\":1}}", 7},
        {"{\"a\":1} {", 8},
        {"[1,]", 3},
        {"[1 2]", 3},
        {"[", 1},
        {"nul", 0},
        {"truE", 0},
        {"01", 0},
        {"-01", 1},
        {"-", 1},
        {"1.", 2},
        {".5", 0},
        {"1e", 2},
        {"1e+", 3},
        {"+1", 0},
        {"NaN", 0},
        {"\"a", 2},
        {"\"\\", 2},
        {"\"\\x\"", 2},
        {"\"\\u12g4\"", 3},
        {"\"\\u00", 3},
        {"\"a\nb\"", 2},
        {"\"\\u0000\"", 3},
        {"\"\\ud800\"", 7},
        {"\"\\udc00\"", 3},
        {"\"\\ud800\\ud800\"", 7},
        {"\"\\ud800\\n\"", 7},
        {"{\"a\\u0000\":1}", 5},
        {"\xef\xbb\xbf{}", 0},
        {"\"\x80\"", 1},
        {"\"\xc0\xaf\"", 1},
        {"\"\xe0\x80\xaf\"", 1},
        {"\"\xed\xa0\x80\"", 1},
        {"\"\xf4\x90\x80\x80\"", 1},
        {"\"\xf5\x80\x80\x80\"", 1},
        {"\"\xe2\x82\"", 1},
        {"\"\xe2\x82", 1},
        {"\"\xff\"", 1},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        assert_int_equal(decode(fixture, CASES[i].json), CODEC_SYNTAX);
        assert_int_equal(fixture->error.offset, CASES[i].offset);
        assert_int_equal(codec_check_json(bytes_str(CASES[i].json), NULL), CODEC_SYNTAX);
    }
    assert_int_equal(decode_bytes(fixture, BYTES_ABSENT), CODEC_SYNTAX);
    assert_int_equal(decode_bytes(fixture, bytes_of("\"a\0b\"", 5)), CODEC_SYNTAX);
    assert_int_equal(decode_bytes(fixture, bytes_of("{}\0", 3)), CODEC_SYNTAX);
    /* The mismatch comes first in the text, the syntax decides. */
    assert_int_equal(decode(fixture, "{\"MachineResourceId\":0,\"x\":[}"), CODEC_SYNTAX);
}

/* All of UTF-8 is taken, noncharacters and pairs of surrogates included. */
static void test_utf8(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(
        decode_with(fixture, "UserAccountName",
                    "\"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80"
                    "\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""),
        CODEC_OK);
    assert_int_equal(decode_with(fixture, "UserAccountName",
                                 "\"\\ud800\\udc00\\udbff\\udfff\\uffff\""),
                     CODEC_OK);
    assert_bytes(fixture->create.user_account_name,
                 "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\xef\xbf\xbf");
}

static struct buf repeated(const char *unit, size_t count, const char *end)
{
    struct buf json = BUF_INIT;

    for (size_t i = 0; i < count; i++) {
        buf_append_str(&json, unit);
    }
    buf_append_str(&json, end);
    return json;
}

static void assert_checked(struct buf json, enum codec_fault expected)
{
    assert_int_equal(codec_check_json(buf_bytes(&json), NULL), expected);
    buf_release(&json);
}

/* Depth, number of values, size: the last that is taken, the first that is not, and far
 * beyond. */
static void test_limits(void **state)
{
    struct fixture *fixture = *state;
    struct buf deep = repeated("[", JSON_DEPTH_MAX, "");

    for (size_t i = 0; i < JSON_DEPTH_MAX; i++) {
        buf_append_str(&deep, "]");
    }
    assert_checked(deep, CODEC_OK);
    assert_checked(repeated("[", JSON_DEPTH_MAX + 1, ""), CODEC_LIMIT);
    assert_checked(repeated("[", 10000, ""), CODEC_LIMIT);
    assert_checked(repeated("{\"a\":", 10000, ""), CODEC_LIMIT);

    struct buf wide = BUF_INIT;
    buf_append_str(&wide, "[0");
    for (size_t i = 2; i < JSON_VALUES_MAX; i++) {
        buf_append_str(&wide, ",0");
    }
    buf_append_str(&wide, "]");
    assert_int_equal(codec_check_json(buf_bytes(&wide), NULL), CODEC_OK);
    wide.size--;
    buf_append_str(&wide, ",0]");
    assert_checked(wide, CODEC_LIMIT);

    struct buf large = repeated(" ", JSON_BYTES_MAX - 2, "{}");
    assert_int_equal(codec_check_json(buf_bytes(&large), NULL), CODEC_OK);
    buf_append_str(&large, " ");
    assert_checked(large, CODEC_LIMIT);

    struct buf flood = repeated("{},", 1 << 18, "");
    flood.data[0] = '[';
    assert_int_equal(decode_bytes(fixture, buf_bytes(&flood)), CODEC_LIMIT);
    assert_int_equal(codec_check_json(bytes_of(flood.data, 1000), NULL), CODEC_SYNTAX);
    buf_release(&flood);
    assert_checked(repeated("[{},{},", 10, ""), CODEC_SYNTAX);
}

/* No text of an error holds a string of the document, be it a value or an unknown
 * member's name. */
static void test_no_echo(void **state)
{
    static const char *const CASES[] = {
        "{\"MachineResourceId\":\"zebra\"}",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"z\",\"SourceId\":\"zebra\"}",
        "{\"zebra\":1,\"zebra\":1}",
        "\"zebra",
        "zebra",
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        assert_int_not_equal(decode(fixture, CASES[i]), CODEC_OK);
        assert_null(strstr(fixture->error.text, "zebra"));
        assert_null(strstr(fixture->error.pointer, "zebra"));
        assert_true(fixture->error.text[0] != '\0');
    }
    assert_int_equal(decode_with(fixture, "zebra", "1"), CODEC_MISMATCH);
    assert_mismatch(fixture, "",
                    "known are MachineResourceId, UserAccountName, SourceId, TypeId");
    assert_null(strstr(fixture->error.text, "zebra"));
}

/* ---- keywords, on tables made by hand ---------------------------------------------- */

#define ANYTHING                                                                         \
    .types = SCHEMA_ANY, .length_max = SCHEMA_NO_LIMIT, .items_max = SCHEMA_NO_LIMIT

static bool fits(const struct schema_node *node, const char *json)
{
    struct schema schema = {.title = "Try.v1", .root = node};
    enum codec_fault fault = codec_validate(&schema, CODEC_EXACT, bytes_str(json), NULL);

    assert_true(fault == CODEC_OK || fault == CODEC_MISMATCH);
    return fault == CODEC_OK;
}

/* enum and const compare values, not spellings; 1 is no true, and numbers are exact. */
static void test_enum_and_const(void **state)
{
    static const char *const VALUES[] = {"1", "\"a\"", "null", "{\"x\":[1,2],\"y\":null}",
                                         "9007199254740993"};
    const struct schema_node one_of = {ANYTHING, .values = VALUES, .value_count = 5};
    const struct schema_node zero = {ANYTHING, .constant = "0"};

    (void)state;
    assert_true(fits(&one_of, "1.0"));
    assert_true(fits(&one_of, "10e-1"));
    assert_true(fits(&one_of, "\"\\u0061\""));
    assert_true(fits(&one_of, " null "));
    assert_true(fits(&one_of, "{ \"y\":null, \"x\" : [ 1e0,2 ] }"));
    assert_true(fits(&one_of, "9007199254740993"));
    assert_false(fits(&one_of, "9007199254740992"));
    assert_false(fits(&one_of, "true"));
    assert_false(fits(&one_of, "\"1\""));
    assert_false(fits(&one_of, "{\"x\":[2,1],\"y\":null}"));
    assert_true(fits(&zero, "-0.0"));
    assert_false(fits(&zero, "false"));
    assert_false(fits(&zero, "\"\""));
}

/* uniqueItems on anything. */
static void test_unique_items(void **state)
{
    const struct schema_node unique = {ANYTHING, .unique_items = true};

    (void)state;
    assert_true(fits(&unique, "[]"));
    assert_true(fits(&unique, "[1,\"1\",true,null,[1],{\"a\":1}]"));
    assert_true(fits(&unique, "[[1],[1,1],[[1]]]"));
    assert_false(fits(&unique, "[1,2,1.0]"));
    assert_false(fits(&unique, "[{\"a\":1,\"b\":2},{\"b\":2,\"a\":1}]"));
    assert_false(fits(&unique, "[\"a\",\"\\u0061\"]"));
    assert_true(fits(&unique, "\"not a list\""));
}

/* minimum and maximum are exact, and only for numbers. */
static void test_bounds(void **state)
{
    const struct schema_node node = {ANYTHING, .minimum = "-1.1", .maximum = "3"};

    (void)state;
    assert_true(fits(&node, "-1.1"));
    assert_true(fits(&node, "-11e-1"));
    assert_false(fits(&node, "-1.10000000000000000000000001"));
    assert_true(fits(&node, "3.0"));
    assert_false(fits(&node, "3.00000000000000000000001"));
    assert_true(fits(&node, "0"));
    assert_true(fits(&node, "-0"));
    assert_true(fits(&node, "1e-1000"));
    assert_false(fits(&node, "-1e1000"));
    assert_true(fits(&node, "\"x\""));
}

static const struct schema_node nothing = {.length_max = SCHEMA_NO_LIMIT,
                                           .items_max = SCHEMA_NO_LIMIT};
static const struct schema_node string = {
    .types = SCHEMA_STRING, .length_max = SCHEMA_NO_LIMIT, .items_max = SCHEMA_NO_LIMIT};
static const struct schema_node *const TUPLE[] = {&string, &nothing};
static const struct schema_node tuple = {ANYTHING, .tuple = TUPLE, .tuple_count = 2};
static const struct schema_node tree;
static const struct schema_member MEMBERS[] = {
    {.info = {.name = "left", .required = true},
     .node = &tree,
     .has_offset = SCHEMA_NO_FLAG}};
static const struct schema_node tree = {
    .types = SCHEMA_OBJECT | SCHEMA_NULL,
    .length_max = SCHEMA_NO_LIMIT,
    .items_max = SCHEMA_NO_LIMIT,
    .members = MEMBERS,
    .member_count = 1,
    .additional = &string,
};

/* A schema for additional members; a list of schemas; the schema false; recursion. */
static void test_nested_schemas(void **state)
{
    (void)state;
    assert_true(fits(&tuple, "[\"a\"]"));
    assert_false(fits(&tuple, "[1]"));
    assert_false(fits(&tuple, "[\"a\",1]"));
    assert_true(fits(&tree, "{\"left\":{\"left\":null,\"x\":\"y\"}}"));
    assert_false(fits(&tree, "{\"left\":{\"left\":null,\"x\":1}}"));
    assert_false(fits(&tree, "{\"left\":{}}"));
    assert_false(fits(&nothing, "null"));
}

/* ---- canonical form and content hashes --------------------------------------------- */

static void assert_canonical(const char *json, const char *expected)
{
    struct buf out = BUF_INIT;

    assert_int_equal(codec_canonical(bytes_str(json), &out), 0);
    assert_string_equal(buf_cstr(&out), expected);
    buf_release(&out);
}

/* RFC 8785, appendix B, and the corners of ECMAScript's notation. */
static void test_canonical_numbers(void **state)
{
    static const char *const CASES[][2] = {
        {"0", "0"},
        {"-0", "0"},
        {"0e999", "0"},
        {"4.9406564584124654e-324", "5e-324"},
        {"-4.9406564584124654e-324", "-5e-324"},
        {"1.7976931348623157e308", "1.7976931348623157e+308"},
        {"-1.7976931348623157e308", "-1.7976931348623157e+308"},
        {"9007199254740992", "9007199254740992"},
        {"-9007199254740992", "-9007199254740992"},
        {"9007199254740993", "9007199254740992"},
        {"295147905179352830000", "295147905179352830000"},
        {"9.999999999999997e22", "9.999999999999997e+22"},
        {"1e23", "1e+23"},
        {"1.0000000000000001e23", "1.0000000000000001e+23"},
        {"999999999999999700000", "999999999999999700000"},
        {"999999999999999900000", "999999999999999900000"},
        {"1e21", "1e+21"},
        {"1e20", "100000000000000000000"},
        {"9.999999999999997e-7", "9.999999999999997e-7"},
        {"0.000001", "0.000001"},
        {"1e-7", "1e-7"},
        {"333333333.3333332", "333333333.3333332"},
        {"333333333.33333325", "333333333.33333325"},
        {"333333333.3333333", "333333333.3333333"},
        {"-0.0000033333333333333333", "-0.0000033333333333333333"},
        {"1424953923781206.2", "1424953923781206.2"},
        {"333333333.33333329", "333333333.3333333"},
        {"1E30", "1e+30"},
        {"4.50", "4.5"},
        {"2e-3", "0.002"},
        {"1e-27", "1e-27"},
        {"1e-400", "0"},
        {"123e0", "123"},
    };
    struct buf out = BUF_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        assert_canonical(CASES[i][0], CASES[i][1]);
    }
    assert_int_equal(codec_canonical(bytes_str("1e400"), &out), ERROR_INVALID);
    assert_int_equal(codec_canonical(bytes_str("{\"a\":"), &out), ERROR_INVALID);
    buf_release(&out);
}

/* RFC 8785: strings are escaped as little as can be, members sorted by UTF-16, at every
 * level. */
static void test_canonical_form(void **state)
{
    (void)state;
    assert_canonical("\"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\"",
                     "\"\xe2\x82\xac$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"");
    assert_canonical(
        "{\"\\u20ac\":1,\"\\r\":2,\"\\ufb33\":3,\"1\":4,\"\\ud83d\\ude00\":5,\"\\u0080\":"
        "6,"
        "\"\\u00f6\":7}",
        "{\"\\r\":2,\"1\":4,\"\xc2\x80\":6,\"\xc3\xb6\":7,\"\xe2\x82\xac\":1,"
        "\"\xf0\x9f\x98\x80\":5,\"\xef\xac\xb3\":3}");
    assert_canonical(
        " [ { \"b\" : { \"d\":[] , \"c\":{} }, \"a\" : null } , [ true,false ] ] ",
        "[{\"a\":null,\"b\":{\"c\":{},\"d\":[]}},[true,false]]");
    assert_canonical("{\"\":1,\"a\":2,\"aa\":3,\"A\":4}",
                     "{\"\":1,\"A\":4,\"a\":2,\"aa\":3}");
}

static const struct schema_entry *command_of(const char *type)
{
    const struct schema_entry *entry = schema_commands;

    while (entry->type != NULL && strcmp(entry->type, type) != 0) {
        entry++;
    }
    assert_non_null(entry->type);
    return entry;
}

static struct bytes vector_data(const json_t *vector, struct arena *arena)
{
    const char *hex = json_string_value(json_object_get(vector, "dataHex"));
    const char *text = json_string_value(json_object_get(vector, "data"));

    if (hex == NULL) {
        return bytes_str(text);
    }
    uint8_t *data = arena_alloc(arena, strlen(hex) / 2);
    assert_true(hex_decode(bytes_str(hex), data, strlen(hex) / 2));
    return bytes_of(data, strlen(hex) / 2);
}

static void check_vector(struct fixture *fixture, struct bytes key, const json_t *vector)
{
    const char *type = json_string_value(json_object_get(vector, "type"));
    const struct schema_entry *entry = command_of(type);
    struct bytes data = vector_data(vector, &fixture->arena);
    void *value = arena_alloc(&fixture->arena, entry->struct_size);
    struct buf input = BUF_INIT, hash = BUF_INIT;
    uint8_t mac[SHA256_SIZE];

    enum codec_fault fault = codec_decode(entry->schema, CODEC_IGNORE_CASE, data,
                                          &fixture->arena, value, &fixture->error);
    assert_int_equal(fault == CODEC_OK,
                     json_is_true(json_object_get(vector, "decodable")));
    buf_append(&input, type, strlen(type) + 1);
    if (fault == CODEC_OK) {
        assert_int_equal(codec_hash_input(entry->schema, value, &input), 0);
    } else {
        buf_append_bytes(&input, data);
    }
    hmac_sha256(key, buf_bytes(&input), mac);
    base64url_append(&hash, mac, 16);
    assert_string_equal(buf_cstr(&hash),
                        json_string_value(json_object_get(vector, "hash")));
    buf_release(&input);
    buf_release(&hash);
}

/* The vectors that tests/schemas/make_vectors.py computes without any of this code. */
static void test_hash_vectors(void **state)
{
    struct fixture *fixture = *state;
    json_error_t error;
    json_t *file = json_load_file(VECTORS, 0, &error);
    uint8_t key[32];
    size_t index;
    json_t *vector;

    assert_non_null(file);
    assert_true(hex_decode(bytes_str(json_string_value(json_object_get(file, "siteKey"))),
                           key, 32));
    json_array_foreach (json_object_get(file, "vectors"), index, vector) {
        check_vector(fixture, bytes_of(key, sizeof(key)), vector);
    }
    assert_true(index > 20);
    json_decref(file);
}

/* What the hash covers, byte by byte. */
static void test_hash_input(void **state)
{
    static const char EXPECTED[] = "MachineResourceId\0001\0SourceId\0[2]\0TypeId\0[1]\0"
                                   "UserAccountName\0\"a\\\\b\"";
    struct fixture *fixture = *state;
    struct buf input = BUF_INIT;

    assert_int_equal(decode_with(fixture, "TypeId", "1"), CODEC_OK);
    assert_int_equal(
        codec_hash_input(&create_relationship_v1_schema, &fixture->create, &input), 0);
    assert_int_equal(input.size, sizeof(EXPECTED));
    assert_memory_equal(input.data, EXPECTED, sizeof(EXPECTED));
    buf_release(&input);
}

/* ---- the small tools --------------------------------------------------------------- */

/* Stepping through an object: names decoded, values raw. */
static void test_next_member(void **state)
{
    struct fixture *fixture = *state;
    struct bytes json = bytes_str(" { \"\\u0061\" : [1, {\"x\":2}] , \"b\":\"c\"} ");
    struct bytes name, raw;
    size_t position = 0;

    assert_int_equal(codec_next_member(json, &position, &fixture->arena, &name, &raw), 0);
    assert_bytes(name, "a");
    assert_bytes(raw, "[1, {\"x\":2}]");
    assert_int_equal(codec_next_member(json, &position, &fixture->arena, &name, &raw), 0);
    assert_bytes(name, "b");
    assert_bytes(raw, "\"c\"");
    assert_bytes(codec_string(raw, &fixture->arena), "c");
    assert_int_equal(codec_next_member(json, &position, &fixture->arena, &name, &raw), 1);
    position = 0;
    assert_int_equal(
        codec_next_member(bytes_str("{}"), &position, &fixture->arena, &name, &raw), 1);
    assert_int_equal(
        codec_next_member(bytes_str("[1]"), &position, &fixture->arena, &name, &raw),
        ERROR_INVALID);
    assert_int_equal(
        codec_next_member(bytes_str(""), &position, &fixture->arena, &name, &raw),
        ERROR_INVALID);
    assert_null(codec_string(bytes_str("1"), &fixture->arena).data);
    assert_bytes(codec_string(bytes_str("\"\\ud83d\\ude00\""), &fixture->arena),
                 "\xf0\x9f\x98\x80");
}

/* The grammar alone: twins, U+0000 and half pairs pass, and stepping over them stays
 * inside. */
static void test_grammar_only(void **state)
{
    static const char *const PASS[] = {
        "{\"a\":1,\"a\":2}", "{\"a\":\"\\u0000\"}",          "{\"\\ud800\":1}",
        "{\"\\udc00\":1}",   "{\"\\ud800\\n\":\"\\ud800\"}", "{\"\\ud800\\ud800\":1}",
    };
    static const char *const NAMES[] = {"a",
                                        "a",
                                        "\xef\xbf\xbd",
                                        "\xef\xbf\xbd",
                                        "\xef\xbf\xbd\n",
                                        "\xef\xbf\xbd\xef\xbf\xbd"};
    static const char *const FAIL[] = {"{\"a\":1,}", "{\"\\u00\":1}", "{\"\x80\":1}", ""};
    struct fixture *fixture = *state;
    struct bytes name, raw;

    for (size_t i = 0; i < sizeof(PASS) / sizeof(PASS[0]); i++) {
        /* A block of its own, so that the sanitizer sees a read behind it. */
        struct bytes json = bytes_str(PASS[i]);
        uint8_t *block = malloc(json.size);
        size_t position = 0;
        assert_non_null(block);
        memcpy(block, json.data, json.size);
        json.data = block;
        assert_int_equal(codec_check_json(json, NULL), CODEC_SYNTAX);
        assert_int_equal(codec_check_grammar(json, NULL), CODEC_OK);
        assert_int_equal(codec_next_member(json, &position, &fixture->arena, &name, &raw),
                         0);
        assert_bytes(name, NAMES[i]);
        while (codec_next_member(json, &position, &fixture->arena, &name, &raw) == 0) {
            (void)codec_string(raw, &fixture->arena);
        }
        free(block);
    }
    for (size_t i = 0; i < sizeof(FAIL) / sizeof(FAIL[0]); i++) {
        assert_int_equal(codec_check_grammar(bytes_str(FAIL[i]), NULL), CODEC_SYNTAX);
    }
    assert_null(codec_string(bytes_str("\"\\ud800\""), &fixture->arena).data);
}

/* The registry: complete, sorted, and what it says of members. */
static void test_registry(void **state)
{
    const struct schema_entry *tables[] = {schema_commands, schema_events,
                                           schema_answers};
    const size_t counts[] = {32, 39, 1};
    const struct codec_member *member;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        size_t count = 0;
        for (const struct schema_entry *entry = tables[i]; entry->type != NULL;
             entry++, count++) {
            assert_true(count == 0 || strcmp(entry[-1].type, entry->type) < 0);
            assert_non_null(codec_schema_description(entry->schema));
            for (size_t k = 0; codec_schema_member(entry->schema, k) != NULL; k++) {
                assert_non_null(codec_schema_member(entry->schema, k)->description);
            }
        }
        assert_int_equal(count, counts[i]);
    }
    assert_string_equal(codec_schema_title(&create_relationship_v1_schema),
                        "CreateRelationship.v1");
    member = codec_schema_member(&create_relationship_v1_schema, 0);
    assert_string_equal(member->name, "MachineResourceId");
    assert_true(member->key && member->required && !member->personal);
    assert_int_equal(member->kind, CODEC_INTEGER);
    member = codec_schema_member(&create_relationship_v1_schema, 1);
    assert_true(member->personal && member->kind == CODEC_STRING);
    member = codec_schema_member(&create_relationship_v1_schema, 3);
    assert_false(member->required);
    assert_int_equal(member->kind, CODEC_SCALAR_OR_ARRAY);
    assert_int_equal(member->item_kind, CODEC_INTEGER);
    assert_null(codec_schema_member(&create_relationship_v1_schema, 4));
    assert_null(codec_schema_member(&tick_v1_schema, 0));
}

/* Decimals at the edges of C's integers. */
static void test_decimal_edges(void **state)
{
    struct json_decimal decimal;
    uint64_t u64;
    int64_t i64;

    (void)state;
    decimal = json_decimal_of(bytes_str("18446744073709551615"));
    assert_true(json_decimal_u64(&decimal, &u64) && u64 == UINT64_MAX);
    assert_false(json_decimal_i64(&decimal, &i64));
    decimal = json_decimal_of(bytes_str("18446744073709551616"));
    assert_false(json_decimal_u64(&decimal, &u64));
    decimal = json_decimal_of(bytes_str("1e20"));
    assert_false(json_decimal_u64(&decimal, &u64));
    decimal = json_decimal_of(bytes_str("-9223372036854775808"));
    assert_true(json_decimal_i64(&decimal, &i64) && i64 == INT64_MIN);
    decimal = json_decimal_of(bytes_str("-9223372036854775809"));
    assert_false(json_decimal_i64(&decimal, &i64));
    decimal = json_decimal_of(bytes_str("9223372036854775807.0"));
    assert_true(json_decimal_i64(&decimal, &i64) && i64 == INT64_MAX);
    decimal = json_decimal_of(bytes_str("0.00120e4"));
    assert_true(json_decimal_u64(&decimal, &u64) && u64 == 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_decode, setup, teardown),
        cmocka_unit_test_setup_teardown(test_absent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_string, setup, teardown),
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test(test_encode_absent),
        cmocka_unit_test_setup_teardown(test_free_form, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exact_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sources, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lengths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fault_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_twins, setup, teardown),
        cmocka_unit_test(test_many_members),
        cmocka_unit_test_setup_teardown(test_syntax, setup, teardown),
        cmocka_unit_test_setup_teardown(test_utf8, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_echo, setup, teardown),
        cmocka_unit_test(test_enum_and_const),
        cmocka_unit_test(test_unique_items),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_nested_schemas),
        cmocka_unit_test(test_canonical_numbers),
        cmocka_unit_test(test_canonical_form),
        cmocka_unit_test_setup_teardown(test_hash_vectors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hash_input, setup, teardown),
        cmocka_unit_test_setup_teardown(test_next_member, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grammar_only, setup, teardown),
        cmocka_unit_test(test_registry),
        cmocka_unit_test(test_decimal_edges),
    };

    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
