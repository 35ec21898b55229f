/* test_cli_args.c - the command line without stores and brokers: arguments, send's
 * typing, JSON, tables, help.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "agent/cli/answer_text.h"
#include "agent/cli/args.h"
#include "agent/cli/cli.h"
#include "agent/cli/event_text.h"
#include "agent/cli/json_out.h"
#include "agent/cli/progress.h"
#include "agent/cli/send_value.h"
#include "agent/cli/sending.h"
#include "agent/cli/table.h"
#include "agent/cli/user_filter.h"
#include "events/base/hash.h"

/* ---- taking arguments apart -------------------------------------------------------- */

struct parsed {
    struct cli cli;
    struct cli_arguments arguments;
    struct error err;
    char *argv[16];
    int r;
};

static void parse(struct parsed *parsed, const char *words)
{
    static char text[512];
    int argc = 0;

    *parsed = (struct parsed){0};
    (void)snprintf(text, sizeof(text), "%s", words);
    for (char *rest = text, *word; (word = strtok_r(rest, " ", &rest)) != NULL;)
        parsed->argv[argc++] = word;
    parsed->r =
        cli_parse(&parsed->cli, argc, parsed->argv, &parsed->arguments, &parsed->err);
}

/* Options may stand anywhere: before the command, between its words, after them. */
static void test_parse_anywhere(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "kinlog --config a.conf -X agent.site=x list --limit 3 relationships --ndjson",
        "kinlog list relationships --limit=3 --ndjson --config a.conf -X agent.site=x",
        ("kinlog --ndjson -Xagent.site=x list --config=a.conf --limit 7 --limit 3 "
         "relationships"),
    };

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct parsed parsed;

        parse(&parsed, lines[i]);
        assert_int_equal(parsed.r, 0);
        assert_string_equal(parsed.cli.command->name, "list");
        assert_string_equal(parsed.cli.config_file, "a.conf");
        assert_int_equal(parsed.cli.override_count, 1);
        assert_string_equal(parsed.cli.overrides[0], "agent.site=x");
        assert_string_equal(cli_value(&parsed.cli, "limit"), "3");
        assert_false(cli_has(&parsed.cli, "primary"));
        assert_int_equal(parsed.cli.form, OUTPUT_NDJSON);
        assert_int_equal(parsed.arguments.argc, 1);
        assert_string_equal(parsed.arguments.argv[0], "relationships");
    }
}

/* A value may begin with '-', and what follows "--" is no option. */
static void test_parse_dashes(void **state)
{
    (void)state;
    struct parsed parsed;

    parse(&parsed, "kinlog log --since -15m --follow");
    assert_int_equal(parsed.r, 0);
    assert_string_equal(cli_value(&parsed.cli, "since"), "-15m");
    assert_true(cli_has(&parsed.cli, "follow"));
    parse(&parsed, "kinlog show -- --source -id");
    assert_int_equal(parsed.r, 0);
    assert_int_equal(parsed.arguments.argc, 2);
    assert_string_equal(parsed.arguments.argv[0], "--source");
    parse(&parsed, "kinlog send RegisterDevice --help");
    assert_true(parsed.arguments.help);
    parse(&parsed, "kinlog");
    assert_int_equal(parsed.r, 0);
    assert_null(parsed.cli.command);
}

/* What cannot be understood is refused, with what was probably meant. */
static void test_parse_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *line, *error;
    } cases[] = {
        {"kinlog staus", "there is no command staus; did you mean status?"},
        {"kinlog frobnicate", "there is no command frobnicate; `kinlog help` lists them"},
        {"kinlog list --lmit 3", "there is no option --lmit; did you mean --limit?"},
        {"kinlog list --frobnicate", "list has no option --frobnicate"},
        {"kinlog --frobnicate", "kinlog has no option --frobnicate"},
        {"kinlog list -q", "there is no option -q"},
        {"kinlog list --limit", "--limit wants a value"},
        {"kinlog list --primary=3", "--primary takes no value"},
        {"kinlog list --s 3", "--s may mean several options; write it out"},
        {"kinlog log --limit 3", "log has no option --limit"},
        {"kinlog run --json", "run has no --json"},
        {"kinlog run --ndjson", "run has no --ndjson"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed parsed;

        parse(&parsed, cases[i].line);
        assert_int_equal(parsed.r, ERROR_USAGE);
        assert_string_equal(parsed.err.text, cases[i].error);
    }
}

/* Numbers, durations and times as the help writes them; nothing else. */
static void test_numbers_and_times(void **state)
{
    (void)state;
    struct error err = {0};
    uint64_t number;
    int64_t ms;
    static const char *const no_numbers[] = {
        "", "x", "1x", "-1", "+1", " 1", "0", "10", "99999999999999999999"};
    static const char *const no_durations[] = {
        "", "x", "-1s", "1w", "1.5s", "s", "9999999999999999d"};
    static const char *const no_times[] = {"",   "yesterday",  "-",
                                           "-x", "2026-01-31", "--5m"};

    assert_int_equal(args_number("n", "9", 1, 9, &number, &err), 0);
    assert_int_equal(number, 9);
    assert_int_equal(
        args_number("n", "18446744073709551615", 0, UINT64_MAX, &number, &err), 0);
    for (size_t i = 0; i < sizeof(no_numbers) / sizeof(no_numbers[0]); i++)
        assert_int_equal(args_number("n", no_numbers[i], 1, 9, &number, &err),
                         ERROR_USAGE);
    assert_string_equal(err.text, "n: a number from 1 to 9 is wanted");
    error_clear(&err);

    assert_int_equal(args_duration("d", "500ms", &ms, &err), 0);
    assert_int_equal(ms, 500);
    assert_int_equal(args_duration("d", "10", &ms, &err), 0);
    assert_int_equal(ms, 10000);
    assert_int_equal(args_duration("d", "2m", &ms, &err), 0);
    assert_int_equal(ms, 120000);
    assert_int_equal(args_duration("d", "7d", &ms, &err), 0);
    assert_int_equal(ms, 7LL * 24 * 3600 * 1000);
    for (size_t i = 0; i < sizeof(no_durations) / sizeof(no_durations[0]); i++)
        assert_int_equal(args_duration("d", no_durations[i], &ms, &err), ERROR_USAGE);

    assert_int_equal(args_time("t", "1970-01-01T00:00:01Z", 5, &ms, &err), 0);
    assert_int_equal(ms, 1000);
    assert_int_equal(args_time("t", "-15m", 1000000, &ms, &err), 0);
    assert_int_equal(ms, 100000);
    assert_int_equal(args_time("t", "5s", 1000, &ms, &err), 0);
    assert_int_equal(ms, 6000);
    for (size_t i = 0; i < sizeof(no_times) / sizeof(no_times[0]); i++)
        assert_int_equal(args_time("t", no_times[i], 0, &ms, &err), ERROR_USAGE);
}

/* ---- send -------------------------------------------------------------------------- */

static char told[256];

static void tell(const struct schema_entry *entry, const char *name, const char *nearest)
{
    (void)snprintf(told, sizeof(told), "%s.%s -> %s", entry->name, name,
                   nearest != NULL ? nearest : "nothing");
}

/* Words become JSON by the schema's types; what does not fit goes on as it is. */
static void test_send_typing(void **state)
{
    (void)state;
    static const struct {
        const char *type, *words, *data;
    } cases[] = {
        {"RegisterDevice", "ResourceID=7 Name=PC7",
         "{\"ResourceID\":7,\"Name\":\"PC7\"}"},
        {"kinlog.RegisterDevice.v1", "resourceid=7 NAME=7",
         "{\"ResourceID\":7,\"Name\":\"7\"}"},
        {"RegisterDevice", "ResourceID=x", "{\"ResourceID\":\"x\"}"},
        {"RegisterDevice", "ResourceID=2.0", "{\"ResourceID\":2.0}"},
        {"RegisterDevice", "ResourceID=1e400", "{\"ResourceID\":1e400}"},
        {"RegisterDevice", "ResourceID=007", "{\"ResourceID\":\"007\"}"},
        {"RegisterDevice", "ResourceID=", "{\"ResourceID\":\"\"}"},
        {"RegisterDevice", "Name=", "{\"Name\":\"\"}"},
        {"RegisterDevice", "Name=[1]", "{\"Name\":\"[1]\"}"},
        {"RegisterDevice", "MACAddresses=a,b", "{\"MACAddresses\":[\"a\",\"b\"]}"},
        {"RegisterDevice", "MACAddresses=a", "{\"MACAddresses\":[\"a\"]}"},
        {"RegisterDevice", "MACAddresses=", "{\"MACAddresses\":[]}"},
        {"RegisterDevice", "MACAddresses=[\"a,b\"]", "{\"MACAddresses\":[\"a,b\"]}"},
        {"RegisterDevice", "MACAddresses=[a", "{\"MACAddresses\":[\"[a\"]}"},
        {"CreateRelationship", "SourceId=2", "{\"SourceId\":2}"},
        {"CreateRelationship", "SourceId=2,4", "{\"SourceId\":[2,4]}"},
        {"CreateRelationship", "SourceId=2,", "{\"SourceId\":[2,\"\"]}"},
        {"CreateRelationship", "SourceId=[2]", "{\"SourceId\":[2]}"},
        {"CreateRelationship", "SourceId=[]", "{\"SourceId\":[]}"},
        {"CreateRelationship", "SourceId=x,4", "{\"SourceId\":[\"x\",4]}"},
        {"CreateRelationship", "UserAccountName=hq\\ann",
         "{\"UserAccountName\":\"hq\\\\ann\"}"},
        {"CreateRelationship", "UserAccountName=a=b,c",
         "{\"UserAccountName\":\"a=b,c\"}"},
        {"SetPolicy", "Name=core.rules Value=2",
         "{\"Name\":\"core.rules\",\"Value\":\"2\"}"},
        {"RemoveDevice", "ResorceID=7", "{\"ResorceID\":7}"},
        {"Unheard", "a=1 b=x c=true d=null e=[1] f={} g=\"q\"",
         "{\"a\":1,\"b\":\"x\",\"c\":true,\"d\":null,\"e\":[1],\"f\":{},\"g\":"
         "\"\\\"q\\\"\"}"},
        {"RemoveDevice", "", "{}"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out = BUF_INIT;
        struct error err = {0};
        char text[256], *words[16];
        int count = 0;

        (void)snprintf(text, sizeof(text), "%s", cases[i].words);
        for (char *rest = text, *word; (word = strtok_r(rest, " ", &rest)) != NULL;)
            words[count++] = word;
        assert_int_equal(send_data_append(&out, send_type_find(cases[i].type), count,
                                          words, tell, &err),
                         0);
        assert_string_equal(buf_cstr(&out), cases[i].data);
        buf_release(&out);
    }
    assert_string_equal(told, "RemoveDevice.ResorceID -> ResourceID");
}

/* A word that is no assignment is wrong usage, and is not repeated in the error. */
static void test_send_words(void **state)
{
    (void)state;
    static const char *const wrong[] = {"hq\\ann", "=x", ""};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char *words[] = {(char *)"ResourceID=1", (char *)wrong[i]};
        struct buf out = BUF_INIT;
        struct error err = {0};

        assert_int_equal(
            send_data_append(&out, send_type_find("RemoveDevice"), 2, words, NULL, &err),
            ERROR_USAGE);
        assert_string_equal(err.text, "parameter 2: Name=value is wanted");
        buf_release(&out);
    }
}

/* Key and shard are those of the parameters, in any spelling; what cannot be decoded has
 * no key. */
static void test_send_route(void **state)
{
    (void)state;
    static const struct {
        const char *type, *data, *key;
        uint32_t shard;
    } cases[] = {
        {"RegisterDevice", "{\"resourceid\":7,\"Name\":\"x\"}", "device:7", UINT32_MAX},
        {"AddSource", "{\"RelationshipResourceID\":23,\"SourceId\":2}", NULL, 22},
        {"SetPolicy", "{\"Name\":\"devices.unknown\",\"Value\":\"stub\"}", "policy",
         UINT32_MAX},
        {"RegisterDevice", "{\"ResourceID\":\"7\"}", "", 0},
        {"RegisterDevice", "nonsense", "", 0},
        {"Unheard", "{}", "", 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct outgoing outgoing = {.type = cases[i].type,
                                    .data = bytes_str(cases[i].data)};
        struct buf key = BUF_INIT;
        struct error err = {0};
        uint32_t shard;

        assert_int_equal(outgoing_route(&outgoing, 240, &shard, &key, &err), 0);
        if (cases[i].key != NULL)
            assert_string_equal(buf_cstr(&key), cases[i].key);
        assert_int_equal(shard, cases[i].shard == UINT32_MAX
                                    ? slot_of_key(buf_bytes(&key))
                                    : cases[i].shard);
        buf_release(&key);
    }
}

/* Ids are UUIDs of version 4, each another. */
static void test_uuid(void **state)
{
    (void)state;
    char one[UUID_SIZE], two[UUID_SIZE];
    struct error err = {0};

    assert_int_equal(uuid_make(one, &err), 0);
    assert_int_equal(uuid_make(two, &err), 0);
    assert_int_equal(strlen(one), 36);
    assert_int_equal(strspn(one, "0123456789abcdef-"), 36);
    assert_int_equal(one[14], '4');
    assert_non_null(strchr("89ab", one[19]));
    assert_string_not_equal(one, two);
}

/* ---- answers ----------------------------------------------------------------------- */

static char *printed_answer(const char *value)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    answer_print(out, bytes_str(value));
    (void)fclose(out);
    return text;
}

/* An answer says outcome, reason, out parameters and events, and escapes what a terminal
 * would obey. */
static void test_answers(void **state)
{
    (void)state;
    static const char refused[] = "{\"Command\":\"kinlog.AddType.v1\",\"ReturnValue\":-"
                                  "2147217406,\"Outcome\":\"refused\",\"Shard\":2,"
                                  "\"Sequence\":9,\"Version\":null,\"EventCount\":1,"
                                  "\"Events\":[{\"Sequence\":9,\"Type\":"
                                  "\"kinlog.CommandRejected.v1\"}],\"Out\":{},"
                                  "\"ExtendedStatus\":{\"Description\":\"no\\u001b[31m\","
                                  "\"Operation\":\"AddType\",\"ParameterInfo\":"
                                  "\"ResourceID\",\"StatusCode\":-2147217406}}";
    static const char accepted[] =
        "{\"Command\":\"kinlog.SetPolicy.v1\",\"ReturnValue\":0,\"Outcome\":\"accepted\","
        "\"Shard\":1,"
        "\"Sequence\":150,\"Version\":150,\"EventCount\":130,\"Events\":[{\"Sequence\":"
        "21,\"Type\":"
        "\"kinlog.PolicyChanged.v1\"}],\"Out\":{\"Revision\":3},\"ExtendedStatus\":null}";
    struct answer_summary summary;
    struct error err = {0};
    char *text = printed_answer(refused);

    assert_string_equal(text, "Refused: AddType, -2147217406 (not found)\n"
                              "  ResourceID: no\\u{1b}[31m\n"
                              "  event 2-9 CommandRejected\n");
    free(text);
    text = printed_answer(accepted);
    assert_string_equal(text, "Accepted: SetPolicy, 0 (done)\n"
                              "  Revision = 3\n"
                              "  event 1-21 PolicyChanged\n"
                              "  and 129 more, up to 1-150\n");
    free(text);
    assert_int_equal(answer_read(bytes_str(accepted), &summary, &err), 0);
    assert_true(summary.success && summary.accepted);
    assert_int_equal(summary.shard, 1);
    assert_int_equal(summary.sequence, 150);
    assert_int_equal(summary.revision, 3);
    assert_int_equal(answer_read(bytes_str(refused), &summary, &err), 0);
    assert_false(summary.success || summary.accepted);
    assert_int_equal(summary.revision, -1);
    assert_int_equal(answer_read(bytes_str("{}"), &summary, &err), ERROR_INVALID);
    assert_int_equal(answer_read(BYTES_ABSENT, &summary, NULL), ERROR_INVALID);
}

/* ---- writers ----------------------------------------------------------------------- */

static void write_document(struct json_out *json)
{
    static const uint32_t numbers[] = {2, 4};

    json_out_object(json, NULL);
    json_out_string(json, "text", "a\"\\\n\x01\x7f\xc3\xa4");
    json_out_string(json, "absent", NULL);
    json_out_text(json, "empty", bytes_str(""));
    json_out_array(json, "list");
    json_out_integer(json, NULL, INT64_MIN);
    json_out_unsigned(json, NULL, UINT64_MAX);
    json_out_bool(json, NULL, true);
    json_out_close(json);
    json_out_numbers(json, "numbers", numbers, 2);
    json_out_numbers(json, "none", numbers, 0);
    json_out_array(json, "nothing");
    json_out_close(json);
    json_out_raw(json, "raw", bytes_str("{\"a\":1}"));
    json_out_close(json);
    json_out_end(json);
}

/* Both forms are the same JSON; one of them is one line. */
static void test_json(void **state)
{
    (void)state;
    static const char line[] = "{\"text\":\"a\\\"\\\\\\n\\u0001\\u007f\xc3\xa4\","
                               "\"absent\":null,\"empty\":\"\",\"list\":"
                               "[-9223372036854775808,18446744073709551615,true],"
                               "\"numbers\":[2,4],\"none\":null,\"nothing\":[],"
                               "\"raw\":{\"a\":1}}\n";
    char *texts[2];

    for (int pretty = 0; pretty < 2; pretty++) {
        size_t size;
        FILE *out = open_memstream(&texts[pretty], &size);
        struct json_out json;

        json_out_begin(&json, out, pretty);
        write_document(&json);
        (void)fclose(out);
    }
    assert_string_equal(texts[0], line);
    assert_non_null(strstr(texts[1], "\n  \"list\": [\n    -9223372036854775808,\n"));
    /* Jansson's numbers end at 2^63. */
    char *large = strstr(texts[0], "18446744073709551615"),
         *other = strstr(texts[1], "18446744073709551615");
    memcpy(large, "1844674407370955161 ", 20);
    memcpy(other, "1844674407370955161 ", 20);
    json_t *one = json_loads(texts[0], 0, NULL), *two = json_loads(texts[1], 0, NULL);
    assert_non_null(one);
    assert_true(json_equal(one, two));
    json_decref(one);
    json_decref(two);
    free(texts[0]);
    free(texts[1]);
}

/* Columns are as wide as their widest cell, counted as a terminal counts; control
 * characters are shown. */
static void test_table(void **state)
{
    static const char *const titles[] = {"N", "<NAME", "<LIST", NULL};
    (void)state;
    char *text = NULL;
    size_t size;
    static const uint32_t numbers[] = {2, 4};
    FILE *out = open_memstream(&text, &size);
    struct table *table = table_new(out, titles);

    table_cell(table, "%d", 1);
    table_text(table, bytes_str("M\xc3\xbcller"));
    table_numbers(table, numbers, 2);
    table_cell(table, "%d", 100);
    table_text(table, bytes_str("\x1b[2J\xff"));
    table_numbers(table, numbers, 0);
    table_flush(table);
    table_cell(table, "%d", 100000);
    table_text(table, BYTES_ABSENT);
    table_text(table, bytes_str("\xe6\xbc\xa2\xe5\xad\x97"));
    table_free(table);
    (void)fclose(out);
    assert_string_equal(text, "  N  NAME           LIST\n"
                              "  1  M\xc3\xbcller         2,4\n"
                              "100  \\u{1b}[2J\\xff  -\n"
                              "100000  -              \xe6\xbc\xa2\xe5\xad\x97\n");
    free(text);
}

/* A table of many rows streams after its first thousand. */
static void test_table_streams(void **state)
{
    static const char *const titles[] = {"N", NULL};
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    struct table *table = table_new(out, titles);

    for (int i = 0; i < TABLE_ROWS_HELD - 1; i++)
        table_cell(table, "%d", i);
    (void)fflush(out);
    assert_int_equal(size, 0);
    table_cell(table, "%d", 999);
    (void)fflush(out);
    assert_int_equal(size, 1001 * 4);
    table_cell(table, "%d", 7);
    (void)fflush(out);
    assert_int_equal(size, 1002 * 4);
    table_free(table);
    (void)fclose(out);
    free(text);
}

/* ---- progress ---------------------------------------------------------------------- */

/* What a step, and then the end, write to stderr, begun so long ago. */
static const char *drawn(bool terminal, int64_t ago_ms, uint64_t done, uint64_t total)
{
    static char text[256];
    struct progress progress;
    FILE *file = tmpfile();
    int kept = dup(STDERR_FILENO);

    assert_non_null(file);
    (void)dup2(fileno(file), STDERR_FILENO);
    progress_begin(&progress, "shard 3");
    progress.terminal = terminal;
    progress.start_ms -= ago_ms;
    progress_step(&progress, done, total);
    progress_end(&progress);
    (void)fflush(stderr);
    (void)dup2(kept, STDERR_FILENO);
    (void)close(kept);
    rewind(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    (void)fclose(file);
    return text;
}

/* What takes longer than a second shows how far it is, on a terminal, and takes it away
 * again. */
static void test_progress(void **state)
{
    (void)state;
    static const char bar[] = "\rshard 3 [###############...............]  50 %  ",
                      end[] = " s left\033[K\r\033[K";

    assert_string_equal(drawn(true, -60000, 1, 2), "");
    assert_string_equal(drawn(false, 5000, 1, 2), "");
    const char *text = drawn(true, 5000, 1, 2);
    assert_memory_equal(text, bar, strlen(bar));
    assert_string_equal(text + strlen(text) - strlen(end), end);
    assert_string_equal(drawn(true, 5000, 123, 0), "\rshard 3 123\033[K\r\033[K");
}

/* ---- the rest ---------------------------------------------------------------------- */

/* Users are compared folded, with or without their domain. */
static void test_user_filter(void **state)
{
    (void)state;
    static const struct {
        const char *wanted, *name;
        bool fits;
    } cases[] = {
        {"HQ\\Ann", "hq\\ann", true},
        {"ann", "hq\\Ann", true},
        {"ann", "hq\\annie", false},
        {"hq\\ann", "eu\\ann", false},
        {"hq", "hq\\ann", false},
        {"STRASSE",
         "hq\\stra\xc3\x9f"
         "e",
         true},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct user_filter filter;
        struct error err = {0};

        assert_int_equal(user_filter_init(&filter, cases[i].wanted, &err), 0);
        assert_int_equal(user_filter_fits(&filter, bytes_str(cases[i].name)),
                         cases[i].fits);
        user_filter_release(&filter);
    }
    struct user_filter filter;
    struct error err = {0};
    assert_int_equal(user_filter_init(&filter, "a\\b\\secret", &err), ERROR_USAGE);
    assert_null(strstr(err.text, "secret"));
    user_filter_release(&filter);
}

/* Help fits on a terminal of 80 columns. */
static void assert_narrow(const char *text)
{
    for (; *text != '\0'; text += *text == '\n') {
        size_t size = strcspn(text, "\n");

        if (size > 80)
            fail_msg("%zu columns: %.*s", size, (int)size, text);
        text += size;
    }
}

static void test_help_narrow(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    help_print_all(out);
    help_print_config(out);
    for (const struct cli_command *command = cli_commands; command->name != NULL;
         command++)
        help_print_command(out, command);
    for (const struct schema_entry *entry = schema_commands; entry->type != NULL; entry++)
        help_print_type(out, entry);
    (void)fclose(out);
    assert_narrow(text);
    free(text);
}

/* Every command of the table is explained: sentences, two examples that name it, exit
 * codes. */
static void test_help(void **state)
{
    (void)state;
    for (const struct cli_command *command = cli_commands; command->name != NULL;
         command++) {
        char *text = NULL, example[64];
        size_t size, examples = 0;
        FILE *out = open_memstream(&text, &size);

        help_print_command(out, command);
        (void)fclose(out);
        (void)snprintf(example, sizeof(example), "kinlog %s", command->name);
        for (const char *at = strstr(text, "\nExamples:");
             (at = strstr(at, example)) != NULL; at++)
            examples++;
        if (examples < 2 || strstr(text, "\nExit codes:\n  0  done\n") == NULL ||
            strchr(command->description, '.') == NULL || command->run == NULL)
            fail_msg("%s is not explained", command->name);
        for (size_t i = 0; command->options[i].name != NULL; i++)
            assert_non_null(strstr(text, command->options[i].name));
        free(text);
    }
}

/* Types lose prefix and version only if they have both. */
static void test_short_type(void **state)
{
    (void)state;
    assert_true(
        bytes_equal_str(short_type(bytes_str("kinlog.SourceAdded.v1")), "SourceAdded"));
    assert_true(bytes_equal_str(short_type(bytes_str("kinlog.SourceAdded.v2")),
                                "kinlog.SourceAdded.v2"));
    assert_true(bytes_equal_str(short_type(bytes_str("kinlog..v1")), "kinlog..v1"));
    assert_true(bytes_equal_str(short_type(bytes_str("-")), "-"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_anywhere), cmocka_unit_test(test_parse_dashes),
        cmocka_unit_test(test_parse_refuses),  cmocka_unit_test(test_numbers_and_times),
        cmocka_unit_test(test_send_typing),    cmocka_unit_test(test_send_words),
        cmocka_unit_test(test_send_route),     cmocka_unit_test(test_uuid),
        cmocka_unit_test(test_answers),        cmocka_unit_test(test_json),
        cmocka_unit_test(test_table),          cmocka_unit_test(test_table_streams),
        cmocka_unit_test(test_user_filter),    cmocka_unit_test(test_progress),
        cmocka_unit_test(test_help),           cmocka_unit_test(test_help_narrow),
        cmocka_unit_test(test_short_type),
    };

    return cmocka_run_group_tests_name("cli_args", tests, NULL, NULL);
}
