/* test_reading.c - the reading subcommands on real stores, without any broker: what they
 * print, that they work beside a writer, and that verify finds each kind of damage and
 * rebuild mends what is derived.
 *
 * Runs $OUT/kinlog (default build/kinlog) on a data folder that the test makes by the
 * pipeline's core.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "agent/shard/core.h"
#include "agent/shard/store.h"
#include "events/base/hash.h"
#include "events/event_log.h"

#define SHARDS 2
#define TIME_MS 1767225600000 /* 2026-01-01T00:00:00Z */

/* ---- a data folder with a little in it --------------------------------------------- */

struct site {
    char root[64];
    char data_dir[96];
    struct store_folder *folder;
    struct kv *kv[SHARDS];
    struct core *core[SHARDS];
    int64_t next_offset[SHARDS];
    int64_t time_ms;
};

static struct core_settings settings_of(const struct site *site, uint32_t shard)
{
    return (struct core_settings){.identity = store_identity(site->folder, shard),
                                  .site_key = site->folder->site_key,
                                  .commands_topic = "kinlog.commands",
                                  .replies_topic = "kinlog.replies"};
}

static void check(int r, const struct error *err)
{
    if (r < 0)
        fail_msg("%s", err->text);
}

static void open_writer(struct site *site, uint32_t shard)
{
    struct core_settings settings = settings_of(site, shard);
    struct error err = {0};

    check(store_open_shard(site->folder, shard, KV_READ_WRITE, &site->kv[shard], &err),
          &err);
    check(core_open(site->kv[shard], &settings, &site->core[shard], &err), &err);
}

static void close_writer(struct site *site, uint32_t shard)
{
    core_close(site->core[shard]);
    kv_close(site->kv[shard]);
    site->core[shard] = NULL;
    site->kv[shard] = NULL;
}

/* One command, decided and committed in a batch of its own; the witness follows. */
static void decide_one(struct site *site, const char *type, const char *key,
                       const char *id, const char *data)
{
    uint32_t shard = slot_of_key(bytes_str(key)) % SHARDS;
    const struct header headers[] = {
        {bytes_str("ce_specversion"), bytes_str("1.0")},
        {bytes_str("ce_id"), bytes_str(id)},
        {bytes_str("ce_source"), bytes_str("/hr")},
        {bytes_str("ce_type"), bytes_str(type)},
        {bytes_str("content-type"), bytes_str("application/json")},
    };
    struct record record = {.partition = (int32_t)shard,
                            .offset = site->next_offset[shard]++,
                            .timestamp_ms = site->time_ms += 1000,
                            .key = bytes_str(key),
                            .value = bytes_str(data),
                            .headers = headers,
                            .header_count = sizeof(headers) / sizeof(headers[0])};
    struct core_outcome outcome;
    struct error err = {0};

    check(core_record(site->core[shard], &record, &outcome, &err), &err);
    assert_int_equal(outcome.result, CORE_DECIDED);
    check(core_commit(site->core[shard], /* sync= */ true, &err), &err);
    check(witness_write(site->folder, shard, core_head(site->core[shard]), &err), &err);
    core_next_batch(site->core[shard]);
}

static int setup(void **state)
{
    struct site *site = calloc(1, sizeof(*site));
    struct log_identity identity = {.site = "hq", .shards = SHARDS};
    static const uint8_t key[SITE_KEY_SIZE] = {1, 2, 3};
    struct error err = {0};

    (void)snprintf(site->root, sizeof(site->root), "/tmp/kinlog-test-reading-XXXXXX");
    assert_non_null(mkdtemp(site->root));
    (void)snprintf(site->data_dir, sizeof(site->data_dir), "%s/data", site->root);
    memset(identity.log, 'a', LOG_ID_SIZE - 1);
    check(store_folder_create(site->data_dir, &identity, key, NULL, NULL, &err), &err);
    check(store_folder_open(site->data_dir, /* writing= */ true, &site->folder, &err),
          &err);
    site->time_ms = TIME_MS;
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        open_writer(site, shard);
        check(core_start_log(site->core[shard], 0, &err), &err);
        check(core_commit(site->core[shard], /* sync= */ true, &err), &err);
        core_next_batch(site->core[shard]);
    }
    for (int i = 1; i <= 6; i++) {
        char device[32], id[32], data[256];

        (void)snprintf(device, sizeof(device), "device:%d", i);
        (void)snprintf(id, sizeof(id), "d%d", i);
        (void)snprintf(data, sizeof(data), "{\"ResourceID\":%d,\"Name\":\"PC%d\"}", i,
                       9 - i);
        decide_one(site, "RegisterDevice", device, id, data);
        (void)snprintf(id, sizeof(id), "r%d", i);
        (void)snprintf(
            data, sizeof(data),
            "{\"MachineResourceId\":%d,\"UserAccountName\":\"%s\",\"SourceId\":[2,%d]%s}",
            i, i % 2 == 0 ? "hq\\\\ann" : "EU\\\\Ben", i + 2,
            i == 3 ? ",\"TypeId\":1" : "");
        decide_one(site, "CreateRelationship", device, id, data);
    }
    decide_one(
        site, "CreateRelationship", "device:99", "x1",
        "{\"MachineResourceId\":99,\"UserAccountName\":\"hq\\\\ann\",\"SourceId\":2}");
    *state = site;
    return 0;
}

static void let_go(struct site *site)
{
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        if (site->core[shard] != NULL)
            close_writer(site, shard);
    }
    store_folder_close(site->folder);
    site->folder = NULL;
}

static void take_again(struct site *site)
{
    struct error err = {0};

    check(store_folder_open(site->data_dir, /* writing= */ true, &site->folder, &err),
          &err);
    for (uint32_t shard = 0; shard < SHARDS; shard++)
        open_writer(site, shard);
}

static int teardown(void **state)
{
    struct site *site = *state;
    char command[128];

    let_go(site);
    (void)snprintf(command, sizeof(command), "rm -rf %s", site->root);
    assert_int_equal(system(command), 0);
    free(site);
    return 0;
}

/* ---- running kinlog ---------------------------------------------------------------- */

struct output {
    char text[65536]; /* stdout and stderr */
    int code;
};

static const char *program(void)
{
    static char path[256];
    const char *out = getenv("OUT");

    (void)snprintf(path, sizeof(path), "%s/kinlog", out != NULL ? out : "build");
    return path;
}

static struct output *kinlog(const struct site *site, const char *arguments)
{
    static struct output output;
    char command[1024];

    (void)snprintf(command, sizeof(command),
                   "unset KINLOG_CONFIG; %s %s -X agent.data_dir=%s 2>&1", program(),
                   arguments, site->data_dir);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t size = fread(output.text, 1, sizeof(output.text) - 1, pipe);
    output.text[size] = '\0';
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    output.code = WEXITSTATUS(status);
    return &output;
}

static void expect(const struct site *site, const char *arguments, int code,
                   const char *text)
{
    struct output *output = kinlog(site, arguments);

    if (output->code != code || strstr(output->text, text) == NULL)
        fail_msg("kinlog %s: %d instead of %d, or not with \"%s\":\n%s", arguments,
                 output->code, code, text, output->text);
}

/* The lines of --ndjson as an array; the caller lets go of it. */
static json_t *ndjson(const struct site *site, const char *arguments)
{
    json_t *list = json_array();
    struct output *output = kinlog(site, arguments);

    assert_int_equal(output->code, 0);
    for (char *rest = output->text, *line;
         (line = strtok_r(rest, "\n", &rest)) != NULL;) {
        json_t *object = json_loads(line, 0, NULL);

        if (object == NULL)
            fail_msg("no JSON: %s", line);
        assert_int_equal(json_array_append_new(list, object), 0);
    }
    return list;
}

static json_int_t number(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    if (!json_is_integer(value))
        fail_msg("%s is no number", name);
    return json_integer_value(value);
}

/* ---- list, get, log, show ---------------------------------------------------------- */

/* One object a line, exactly the class's properties, by shard and key. */
static void test_list(void **state)
{
    struct site *site = *state;
    static const char *const names[] = {"ResourceID",
                                        "UniqueUserName",
                                        "RelationshipResourceID",
                                        "ResourceName",
                                        "ResourceClientType",
                                        "CreationTime",
                                        "IsActive",
                                        "Sources",
                                        "Types",
                                        "Pending",
                                        "Version",
                                        "Shard"};
    json_t *all = ndjson(site, "list relationships --ndjson");
    json_int_t last = -1;

    assert_int_equal(json_array_size(all), 6);
    for (size_t i = 0; i < 6; i++) {
        const json_t *object = json_array_get(all, i);
        json_int_t device = number(object, "ResourceID");
        char key[32], name[16];

        assert_int_equal(json_object_size(object), sizeof(names) / sizeof(names[0]));
        for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
            assert_non_null(json_object_get(object, names[k]));
        assert_true(number(object, "Shard") * 1000 + device > last);
        last = number(object, "Shard") * 1000 + device;
        (void)snprintf(key, sizeof(key), "device:%d", (int)device);
        (void)snprintf(name, sizeof(name), "PC%d", 9 - (int)device);
        assert_int_equal(number(object, "Shard"), slot_of_key(bytes_str(key)) % SHARDS);
        assert_string_equal(json_string_value(json_object_get(object, "ResourceName")),
                            name);
        assert_int_equal(json_array_size(json_object_get(object, "Sources")), 2);
        assert_true(device == 3 ? json_is_array(json_object_get(object, "Types"))
                                : json_is_null(json_object_get(object, "Types")));
    }
    json_decref(all);
    json_t *devices = ndjson(site, "list devices --ndjson --sort -Name --limit 2");
    assert_int_equal(json_array_size(devices), 2);
    assert_int_equal(number(json_array_get(devices, 0), "ResourceID"), 1);
    assert_int_equal(number(json_array_get(devices, 1), "ResourceID"), 2);
    assert_int_equal(json_object_size(json_array_get(devices, 0)), 7);
    assert_true(
        json_is_null(json_object_get(json_array_get(devices, 0), "MACAddresses")));
    json_decref(devices);
}

/* Each filter takes what it says; together they take what all of them take. */
static void test_filters(void **state)
{
    struct site *site = *state;
    static const struct {
        const char *filter;
        size_t count;
    } cases[] = {
        {"--user ann", 3},
        {"--user BEN", 3},
        {"--user 'eu\\ben'", 3},
        {"--user 'hq\\ben'", 0},
        {"--device 3", 1},
        {"--device pc8", 1},
        {"--device PC", 0},
        {"--device 99", 0},
        {"--source 2", 6},
        {"--source 7", 1},
        {"--source 9", 0},
        {"--primary", 1},
        {"--pending", 0},
        {"--limit 4", 4},
        {"--limit 0", 0},
        {"--user ann --source 4", 1},
        {"--user ann --device 3", 0},
        {"--sort CreationTime --limit 5", 5},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char arguments[128];

        (void)snprintf(arguments, sizeof(arguments), "list relationships --ndjson %s",
                       cases[i].filter);
        json_t *found = ndjson(site, arguments);
        if (json_array_size(found) != cases[i].count)
            fail_msg("%s: %zu", cases[i].filter, json_array_size(found));
        json_decref(found);
    }
    expect(site, "list devices --user ann", 2, "is for relationships, usage");
    expect(site, "list usage --pending", 2, "is for relationships");
    expect(site, "list relationships --restore 3", 2, "is for associations");
    expect(site, "list relationships --user 'a\\b\\c'", 2, "more than one backslash");
}

/* Devices 1, 2 and 3 live in one shard, 4 in the other. */
static void associate(struct site *site)
{
    decide_one(site, "AddAssociation", "device:1", "a1",
               "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":2}");
    decide_one(site, "AddAssociationEx", "device:1", "a2",
               "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":3,"
               "\"MigrationBehavior\":1,\"UserNames\":[{\"LocaleID\":1031,"
               "\"UserName\":\"hq\\\\ann\"}]}");
    decide_one(site, "StartCapture", "device:4", "a3",
               "{\"SourceClientResourceID\":4,\"StorePath\":\"\\\\\\\\s\\\\x\"}");
    decide_one(site, "CompleteCapture", "device:4", "a4",
               "{\"SourceClientResourceID\":4,\"RestoreClientResourceID\":4}");
    decide_one(site, "AddAssociation", "device:3", "a5",
               "{\"SourceClientResourceID\":3,\"RestoreClientResourceID\":4}");
}

/* By source, restoring device, user and status; one that waits is not there yet. */
static void test_associations(void **state)
{
    struct site *site = *state;
    static const struct {
        const char *filter;
        size_t count;
    } cases[] = {
        {"", 3},           {"--source 1", 2},       {"--source pc8", 2},
        {"--source 3", 0}, {"--restore 3", 1},      {"--restore PC5", 1},
        {"--user ann", 1}, {"--user 'hq\\ANN'", 1}, {"--user bob", 0},
        {"--status 0", 2}, {"--status 1", 1},       {"--status 2", 0},
    };
    char arguments[128];

    associate(site);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void)snprintf(arguments, sizeof(arguments), "list associations --ndjson %s",
                       cases[i].filter);
        json_t *found = ndjson(site, arguments);
        if (json_array_size(found) != cases[i].count)
            fail_msg("%s: %zu", cases[i].filter, json_array_size(found));
        json_decref(found);
    }
    expect(site, "list associations --status 3", 2, "--status");
    expect(site, "show /hr a5", 1, "waits for the answer of another shard");
    expect(site, "get association 7", 2, "no MigrationID");
    expect(site, "get association 1-999", 1, "no such association");
}

/* All properties of the class; names are those of today. */
static void test_association(void **state)
{
    struct site *site = *state;
    char arguments[64];

    associate(site);
    decide_one(site, "RegisterDevice", "device:3", "renamed",
               "{\"ResourceID\":3,\"Name\":\"NEW\",\"MACAddresses\":"
               "[\"00:11:22:33:44:55\",\"00:11:22:33:44:66\"]}");
    decide_one(site, "ReportUsage", "device:3", "u1",
               "{\"ResourceID\":3,\"UniqueUserName\":\"eu\\\\zoe\",\"Start\":"
               "\"2026-01-01T00:00:00Z\",\"Minutes\":1,\"Count\":1}");
    decide_one(site, "ReportUsage", "device:3", "u2",
               "{\"ResourceID\":3,\"UniqueUserName\":\"hq\\\\ann\",\"Start\":"
               "\"2025-12-31T00:00:00Z\",\"Minutes\":1,\"Count\":1}");
    json_t *found = ndjson(site, "list associations --ndjson --restore 3");
    const char *id =
        json_string_value(json_object_get(json_array_get(found, 0), "MigrationID"));
    (void)snprintf(arguments, sizeof(arguments), "get association %s --ndjson", id);
    json_t *got = ndjson(site, arguments);
    assert_int_equal(json_array_size(got), 1);
    const json_t *object = json_array_get(got, 0);
    assert_true(json_equal((json_t *)object, json_array_get(found, 0)));
    assert_int_equal(json_object_size(object), 22);
    assert_int_equal(number(object, "MigrationBehavior"), 1);
    assert_int_equal(number(object, "MigrationType"), 1);
    assert_string_equal(json_string_value(json_object_get(object, "SourceName")), "PC8");
    assert_string_equal(json_string_value(json_object_get(object, "RestoreName")), "NEW");
    assert_string_equal(json_string_value(json_object_get(object, "RestoreMACAddresses")),
                        "00:11:22:33:44:55,00:11:22:33:44:66");
    assert_string_equal(json_string_value(json_object_get(object, "SiteCode")), "hq");
    assert_string_equal(json_string_value(json_object_get(object, "StoreCreationDate")),
                        "00000000000000.000000+***");
    assert_true(json_is_null(json_object_get(object, "SourceLastLogonUserName")));
    assert_string_equal(
        json_string_value(json_object_get(object, "RestoreLastLogonUserDomain")), "eu");
    assert_string_equal(
        json_string_value(json_object_get(object, "RestoreLastLogonUserName")), "zoe");
    const json_t *user = json_array_get(json_object_get(object, "UserNames"), 0);
    assert_int_equal(number(user, "LocaleID"), 1031);
    assert_string_equal(json_string_value(json_object_get(user, "UserName")), "hq\\ann");
    json_decref(got);
    json_decref(found);
}

/* --json is one document that names each shard's sequence. */
static void test_list_json(void **state)
{
    struct site *site = *state;
    json_t *document = json_loads(kinlog(site, "list devices --json")->text, 0, NULL);

    assert_non_null(document);
    assert_int_equal(json_array_size(json_object_get(document, "Devices")), 6);
    const json_t *shards = json_object_get(document, "Shards");
    assert_int_equal(json_array_size(shards), SHARDS);
    for (uint32_t shard = 0; shard < SHARDS; shard++)
        assert_int_equal(number(json_array_get(shards, shard), "Sequence"),
                         core_head(site->core[shard])->sequence);
    json_decref(document);
}

/* Both keys of a relationship lead to it, in any case of the name. */
static void test_get(void **state)
{
    struct site *site = *state;
    json_t *one = ndjson(site, "get relationship '3/eu\\BEN' --ndjson");
    char arguments[64];

    assert_int_equal(json_array_size(one), 1);
    (void)snprintf(arguments, sizeof(arguments), "get relationship %d --ndjson",
                   (int)number(json_array_get(one, 0), "RelationshipResourceID"));
    json_t *other = ndjson(site, arguments);
    assert_true(json_equal(one, other));
    json_decref(one);
    json_decref(other);
    expect(site, "get device 4 --json", 0, "\"Name\": \"PC5\"");
    expect(site, "get policy devices.unknown", 0, "refuse");
    expect(site, "get policy devices.unkown", 1, "did you mean devices.unknown?");
    expect(site, "get relationship '9/hq\\ann'", 1, "there is no such relationship");
    expect(site, "get relationship 4000000", 1, "there is no such relationship");
    expect(site, "get relationship 0", 2, "from 1 to 4294967295");
    expect(site, "get relationship x/y", 2, "ResourceID before the '/'");
}

/* Usage is found by its pair; a relationship that waits by --pending. */
static void test_usage(void **state)
{
    struct site *site = *state;

    expect(site, "list usage", 0, "No usage yet.");
    decide_one(site, "ReportUsage", "device:4", "u1",
               "{\"ResourceID\":4,\"UniqueUserName\":\"hq\\\\ann\",\"Start\":"
               "\"2025-12-31T08:15:00Z\",\"Minutes\":30,\"Count\":2}");
    decide_one(site, "ReportUsage", "device:4", "u2",
               "{\"ResourceID\":4,\"UniqueUserName\":\"hq\\\\cid\",\"Start\":"
               "\"2025-12-31T08:15:00Z\",\"Minutes\":30,\"Count\":0}");
    expect(site, "list usage --user ann", 0, "2025-12-31T08:15:00Z       2");
    expect(site, "get usage '4/HQ\\Ann'", 0, "20251231081500.000000+000");
    json_t *all = ndjson(site, "list usage --device PC5 --ndjson --sort -LoginCount");
    assert_int_equal(json_array_size(all), 2);
    const json_t *first = json_array_get(all, 0), *second = json_array_get(all, 1);
    assert_string_equal(json_string_value(json_object_get(first, "UniqueUserName")),
                        "hq\\ann");
    assert_string_equal(json_string_value(json_object_get(first, "ResourceName")), "PC5");
    assert_int_equal(number(first, "LoginCount"), 2);
    assert_true(json_is_null(json_object_get(second, "LastLoginTime")));
    assert_int_equal(json_object_size(first), 7);
    json_decref(all);
    expect(site, "list usage --device 1", 0, "No usage like that.");
    expect(site, "get usage 4", 2, "ResourceID/UniqueUserName");
    expect(site, "get usage '4/hq\\dan'", 1, "no use of device 4");
    expect(site, "verify", 0, "");
}

/* The log comes in the order of time, whole or as the filters say, and as CloudEvents. */
static void test_log(void **state)
{
    struct site *site = *state;
    json_t *all = ndjson(site, "log --ndjson");
    const char *time = "";

    assert_int_equal(json_array_size(all), SHARDS + 13);
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *event = json_array_get(all, i);
        const char *this_time = json_string_value(json_object_get(event, "time"));

        assert_true(strcmp(time, this_time) <= 0);
        time = this_time;
        assert_string_equal(json_string_value(json_object_get(event, "specversion")),
                            "1.0");
        assert_string_equal(json_string_value(json_object_get(event, "datacontenttype")),
                            "application/json");
        assert_true(json_is_object(json_object_get(event, "data")));
        assert_int_equal(strlen(json_string_value(json_object_get(event, "chain"))), 43);
    }
    json_decref(all);
    static const struct {
        const char *filter;
        size_t count;
    } cases[] = {
        {"--subject device/3", 2},
        {"--subject device/3/relationship", 1},
        {"--subject device", 13},
        {"--subject device/33", 0},
        {"--subject devic", 0},
        {"--from 1 --to 1", SHARDS},
        {"--since 2026-01-01T00:00:12Z", 2},
        {"--until 2026-01-01T00:00:02Z", SHARDS + 1},
        {"--since 2026-01-01T00:00:02Z --until 2026-01-01T00:00:04Z", 2},
        {"--since -1m", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char arguments[128];

        (void)snprintf(arguments, sizeof(arguments), "log --ndjson %s", cases[i].filter);
        json_t *found = ndjson(site, arguments);
        if (json_array_size(found) != cases[i].count)
            fail_msg("%s: %zu", cases[i].filter, json_array_size(found));
        json_decref(found);
    }
    expect(site, "log --shard 2", 2, "--shard: a number from 0 to 1 is wanted");
    expect(site, "log --follow --json", 2, "use --ndjson");
    expect(site, "log --shard 0", 0, "LogStarted");
}

/* --follow sees what a writer commits meanwhile, and ends well when interrupted. */
static void test_follow(void **state)
{
    struct site *site = *state;
    char path[128], command[512], line[4096];
    int pipes[2], status;

    (void)snprintf(path, sizeof(path), "-Xagent.data_dir=%s", site->data_dir);
    (void)snprintf(command, sizeof(command), "%s", program());
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(pipes[1], STDOUT_FILENO);
        (void)close(pipes[0]);
        (void)close(pipes[1]);
        (void)unsetenv("KINLOG_CONFIG");
        (void)execl(command, command, "log", "--follow", "--ndjson", path, (char *)NULL);
        _exit(127);
    }
    (void)close(pipes[1]);
    FILE *out = fdopen(pipes[0], "r");
    for (int i = 0; i < SHARDS + 13; i++)
        assert_non_null(fgets(line, sizeof(line), out));
    for (int i = 0; i < 3; i++) {
        char id[16], data[64];

        (void)snprintf(id, sizeof(id), "late%d", i);
        (void)snprintf(data, sizeof(data), "{\"ResourceID\":%d}", i + 1);
        (void)snprintf(command, sizeof(command), "device:%d", i + 1);
        decide_one(site, "RemoveDevice", command, id, data);
        for (int k = 0; k < 2; k++) {
            assert_non_null(fgets(line, sizeof(line), out));
            assert_non_null(strstr(line, id));
        }
    }
    assert_int_equal(kill(pid, SIGINT), 0);
    assert_null(fgets(line, sizeof(line), out));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    (void)fclose(out);
}

/* The receipt is found in whichever shard it is, with the answer and the events. */
static void test_show(void **state)
{
    struct site *site = *state;

    expect(site, "show /hr r3", 0, "Accepted: CreateRelationship, 0 (done)");
    expect(site, "show /hr x1", 0,
           "Refused: CreateRelationship, -2147217406 (not found)");
    expect(site, "show /hr r99", 1, "no shard here has seen");
    expect(site, "show /other r3", 1, "no shard here has seen");
    json_t *document = json_loads(kinlog(site, "show /hr r3 --json")->text, 0, NULL);
    const json_t *receipt = json_array_get(json_object_get(document, "Receipts"), 0);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(receipt, "Answer"), "Outcome")),
        "accepted");
    assert_int_equal(json_array_size(json_object_get(receipt, "Events")), 1);
    json_decref(document);
}

/* Status needs neither broker nor agent, and says whether there is one. */
static void test_status(void **state)
{
    struct site *site = *state;
    static const char *const names[] = {
        "Shard",          "Role",       "Epoch", "Sequence",  "Published",
        "CommandOffset",  "CommandEnd", "Lag",   "Forwarded", "Refused",
        "PolicyRevision", "Rules",      "Chain", "Digests"};
    json_t *document = json_loads(kinlog(site, "status --json")->text, 0, NULL);
    json_int_t refused = 0;

    assert_true(json_is_true(
        json_object_get(document, "AgentRuns"))); /* this test holds the lock */
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        const json_t *part = json_array_get(json_object_get(document, "Shards"), shard);

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            assert_non_null(json_object_get(part, names[i]));
        assert_int_equal(number(part, "Sequence"),
                         core_head(site->core[shard])->sequence);
        assert_int_equal(number(part, "CommandOffset"), site->next_offset[shard]);
        assert_true(json_is_null(json_object_get(part, "Lag")));
        assert_int_equal(json_object_size(json_object_get(part, "Digests")), VIEWS);
        refused += number(part, "Refused");
    }
    assert_int_equal(refused, 1);
    json_decref(document);
    let_go(site);
    expect(site, "status", 0, "no agent runs here");
    expect(site, "status --json", 0, "\"Role\": \"stopped\"");
    take_again(site);
}

/* ---- verify and rebuild ------------------------------------------------------------ */

static struct bytes sequence_key(uint64_t sequence, uint8_t key[8])
{
    write_u64be(key, sequence);
    return bytes_of(key, 8);
}

/* Changes a row behind everybody's back; value absent: removes it. */
static void tamper(struct site *site, enum kv_space space, struct bytes key,
                   struct bytes value)
{
    struct kv_batch *batch = kv_batch_new(site->kv[0]);
    struct error err = {0};

    if (value.data == NULL)
        check(kv_batch_delete(batch, space, key, &err), &err);
    else
        check(kv_batch_put(batch, space, key, value, &err), &err);
    check(kv_batch_commit(batch, /* sync= */ true, &err), &err);
    kv_batch_free(batch);
}

/* The first key of a space that begins with this byte (0 = any). */
static void first_row(struct site *site, enum kv_space space, uint8_t begin,
                      struct buf *key, struct buf *value)
{
    struct kv_cursor *cursor;
    struct bytes found_key, found_value;
    struct error err = {0};
    struct bytes from = begin != 0 ? bytes_of(&begin, 1) : bytes_str("");

    check(kv_cursor_open(site->kv[0], NULL, space, from, BYTES_ABSENT, &cursor, &err),
          &err);
    assert_int_equal(kv_cursor_next(cursor, &found_key, &found_value, &err), 0);
    assert_int_equal(buf_append_bytes(key, found_key), 0);
    assert_int_equal(buf_append_bytes(value, found_value), 0);
    kv_cursor_close(cursor);
}

/* A log that nobody touched is found whole. */
static void test_verify_whole(void **state)
{
    struct site *site = *state;

    expect(site, "verify", 0, "chain whole, views and receipts as replayed");
    expect(site, "verify --shard 1 --json", 0, "\"Result\": \"ok\"");
    expect(site, "rebuild", 1, "in use");
}

/* An event whose data was altered breaks the chain there; verify says where and ends with
 * 5. */
static void test_verify_altered_event(void **state)
{
    struct site *site = *state;
    struct buf value = BUF_INIT;
    struct error err = {0};
    uint8_t key[8];

    check(kv_get(site->kv[0], KV_LOG, sequence_key(3, key), &value, &err), &err);
    value.data[value.size - 3] ^= 1;
    tamper(site, KV_LOG, sequence_key(3, key), buf_bytes(&value));
    buf_release(&value);
    expect(site, "verify", 5, "shard 0: DAMAGED: ");
    expect(site, "verify", 5, "event 3");
    expect(site, "verify", 5, "shard 1: ");
    expect(site, "verify --shard 1", 0, "chain whole");
    expect(site, "verify --ndjson", 5, "\"Result\":\"damaged\"");
}

/* An event that is gone is a hole; a log that is cut short is noticed by the head. */
static void test_verify_missing_event(void **state)
{
    struct site *site = *state;
    uint64_t last = core_head(site->core[0])->sequence;
    uint8_t key[8];

    tamper(site, KV_LOG, sequence_key(last, key), BYTES_ABSENT);
    expect(site, "verify --shard 0", 5, "the witness knows event");
    tamper(site, KV_LOG, sequence_key(2, key), BYTES_ABSENT);
    expect(site, "verify --shard 0", 5, "DAMAGED");
}

/* A store that lost its newest part altogether is noticed by the witness. */
static void test_verify_witness(void **state)
{
    struct site *site = *state;
    struct head head = *core_head(site->core[0]);
    struct error err = {0};

    head.sequence += 5;
    check(witness_write(site->folder, 0, &head, &err), &err);
    expect(site, "verify --shard 0", 5, "the witness knows event");
    head.sequence = 3;
    check(witness_write(site->folder, 0, &head, &err), &err);
    expect(site, "verify --shard 0", 5, "the witness knows event 3 with another chain");
}

/* Rows of views and receipts that are not what the log gives are found, and made anew by
 * rebuild. */
static void test_rebuild(void **state)
{
    struct site *site = *state;
    static const struct {
        enum kv_space space;
        uint8_t begin;
        bool remove;
    } cases[] = {{KV_VIEWS, 'D', false}, {KV_VIEWS, 'R', true},  {KV_VIEWS, 'I', true},
                 {KV_VIEWS, 'S', false}, {KV_RECEIPTS, 0, true}, {KV_META, 'd', false}};
    static const struct {
        const char *arguments, *text;
    } forms[] = {
        {"rebuild --shard 0", "shard 0: views and receipts made anew from the log"},
        {"rebuild --shard 0 --ndjson", "{\"Shard\":0,\"Result\":\"rebuilt\"}\n"},
        {"rebuild --json",
         "{\n      \"Shard\": 0,\n      \"Result\": \"rebuilt\"\n    },"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf key = BUF_INIT, value = BUF_INIT;

        first_row(site, cases[i].space, cases[i].begin, &key, &value);
        value.data[value.size - 1] ^= 1;
        tamper(site, cases[i].space, buf_bytes(&key),
               cases[i].remove ? BYTES_ABSENT : buf_bytes(&value));
        buf_release(&key);
        buf_release(&value);
        expect(site, "verify --shard 0", 5, "DAMAGED");
        let_go(site);
        expect(site, forms[i % 3].arguments, 0, forms[i % 3].text);
        expect(site, "verify", 0, "chain whole");
        take_again(site);
    }
}

/* The repairs are for one shard at a time, and one at a time. */
static void test_rebuild_usage(void **state)
{
    struct site *site = *state;

    expect(site, "rebuild --shard 0 --from-topic --republish", 2, "one at a time");
    expect(site, "rebuild --shard 0 --commands-from middle", 2, "earliest or latest");
    let_go(site);
    expect(site, "rebuild --shard 0 --from-topic", 0, "the store is put aside");
    /* Without a shard: all of them. */
    expect(site, "rebuild --republish", 0, "publishes the log to the events topic anew");
    expect(site, "rebuild --republish", 0, "shard 1:");
    take_again(site);
    assert_int_equal(core_head(site->core[0])->sequence, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_filters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_associations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_association, setup, teardown),
        cmocka_unit_test_setup_teardown(test_list_json, setup, teardown),
        cmocka_unit_test_setup_teardown(test_usage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_get, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_follow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_show, setup, teardown),
        cmocka_unit_test_setup_teardown(test_status, setup, teardown),
        cmocka_unit_test_setup_teardown(test_verify_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_verify_altered_event, setup, teardown),
        cmocka_unit_test_setup_teardown(test_verify_missing_event, setup, teardown),
        cmocka_unit_test_setup_teardown(test_verify_witness, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rebuild, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rebuild_usage, setup, teardown),
    };

    return cmocka_run_group_tests_name("reading", tests, NULL, NULL);
}
