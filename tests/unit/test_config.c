/* test_config.c - the INI reader, the environment, -X, the table of keys, and the agent's
 * log lines.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/config/config.h"
#include "agent/config/ini.h"
#include "agent/config/spelling.h"
#include "agent/log.h"

/* ---- ini --------------------------------------------------------------------------- */

static int parse(const char *text, struct ini *ini, struct error *err)
{
    *err = (struct error){0};
    return ini_parse("a.conf", bytes_str(text), ini, err);
}

/* Sections, comments, CRLF, blanks and a byte order mark are read as the header says. */
static void test_ini_reads(void **state)
{
    (void)state;
    struct ini ini;
    struct error err;

    assert_int_equal(
        parse("\xef\xbb\xbf; head\r\n# head\r\n[agent]\r\nsite = hq   ; ce_source\r\n"
              "\tdata_dir=/a b;c#d\t;x\r\n\r\n[kafka]\nempty =\ne2 = ; nothing\n[agent] "
              "; again\n"
              "last=1=2",
              &ini, &err),
        0);
    assert_int_equal(ini.count, 5);
    assert_string_equal(ini.entries[0].section, "agent");
    assert_string_equal(ini.entries[0].key, "site");
    assert_string_equal(ini.entries[0].value, "hq");
    assert_int_equal(ini.entries[0].line, 4);
    assert_string_equal(ini.entries[1].value, "/a b;c#d");
    assert_string_equal(ini.entries[2].value, "");
    assert_string_equal(ini.entries[3].value, "");
    assert_string_equal(ini.entries[4].section, "agent");
    assert_string_equal(ini.entries[4].value, "1=2");
    assert_int_equal(ini.entries[4].line, 11);
    assert_int_equal(ini.section_count, 2);
    ini_release(&ini);
}

/* What is no INI file is refused with file, line and reason. */
static void test_ini_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"site = hq\n", "a.conf:1: a key before the first [section]"},
        {"[a]\nx\n", "a.conf:2: expected `key = value`"},
        {"[a]\n = x\n", "a.conf:2: there is no key"},
        {"\n[a\n", "a.conf:2: a section is written [name]"},
        {"[ ]\n", "a.conf:1: the section has no name"},
        {"[a]\nx=\x01\n", "a.conf:2: a control character"},
        {"[a]\nx=1\n[b]\nx=1\n[a]\nx=2\n",
         "a.conf:6: [a] x stands already in line 2; remove one of them"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ini ini;
        struct error err;

        assert_int_equal(parse(cases[i].text, &ini, &err), ERROR_CONFIG);
        if (strncmp(err.text, cases[i].error, strlen(cases[i].error)) != 0)
            fail_msg("%s instead of %s", err.text, cases[i].error);
        ini_release(&ini);
    }
}

/* ---- config ------------------------------------------------------------------------ */

struct written {
    char path[64];
};

static struct written write_file(const char *text)
{
    struct written file = {"/tmp/kinlog-test-config-XXXXXX"};
    int fd = mkstemp(file.path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(close(fd), 0);
    return file;
}

/* As `run` does: what config_load() leaves to config_need_broker() is checked, too. */
static int load(const char *text, const char *const *environment,
                const char *const *overrides, struct config **ret_config,
                struct error *err)
{
    struct written file = write_file(text);
    struct config_source source = {.file = file.path,
                                   .overrides = overrides,
                                   .environment = (char *const *)environment};

    *err = (struct error){0};
    *ret_config = NULL;
    while (overrides != NULL && overrides[source.override_count] != NULL)
        source.override_count++;
    int r = config_load(&source, ret_config, err);
    if (r == 0) {
        r = config_need_broker(*ret_config, err);
        if (r < 0)
            config_free(*ret_config);
    }
    assert_int_equal(unlink(file.path), 0);
    /* The file's random name is of no interest to the cases. */
    if (strncmp(err->text, file.path, strlen(file.path)) == 0)
        memmove(err->text, err->text + strlen(file.path),
                strlen(err->text + strlen(file.path)) + 1);
    return r;
}

/* Without anything, every key has its default. */
static void test_defaults(void **state)
{
    (void)state;
    struct config_source source = {0};
    struct config *config;
    struct error err = {0};

    assert_int_equal(config_load(&source, &config, &err), 0);
    assert_null(config->file);
    assert_null(config->site);
    assert_string_equal(config->data_dir, "/var/lib/kinlog");
    assert_int_equal(config->free_space_floor_bytes, 256 << 20);
    assert_string_equal(config->prefix, "kinlog");
    assert_false(config->create);
    assert_int_equal(config->partitions, 12);
    assert_int_equal(config->reply_allow_count, 0);
    assert_string_equal(config_topics(config).dead_letters, "kinlog.dead-letters");
    assert_string_equal(config->log_format, "logfmt");
    assert_int_equal(config->log_level, 6);
    assert_int_equal(config->kafka.common_count, 0);
    assert_int_equal(config_need_site(config, &err), ERROR_CONFIG);
    error_clear(&err);
    assert_int_equal(config_need_broker(config, &err), ERROR_CONFIG);
    config_free(config);
}

/* The file gives the values; the sections for librdkafka keep names, values and origins.
 * */
static void test_file(void **state)
{
    (void)state;
    struct config *config;
    struct error err;

    assert_int_equal(
        load(
            "[agent]\nsite = hq\nfree_space_floor = 2G\n[topics]\nprefix = x\ncreate = "
            "true\n"
            "partitions = 4\nreply_allow = a.b , c\n[log]\nformat = json\nlevel = debug\n"
            "[kafka]\nbootstrap.servers = one:9092\nclient.rack = r\n[kafka.consumer]\n"
            "fetch.wait.max.ms = 20\n[kafka.producer]\nlinger.ms = 3\n",
            NULL, NULL, &config, &err),
        0);
    assert_string_equal(config->site, "hq");
    assert_int_equal(config->free_space_floor_bytes, 2LL << 30);
    assert_true(config->create);
    assert_int_equal(config->partitions, 4);
    assert_int_equal(config->reply_allow_count, 2);
    assert_string_equal(config->reply_allow[0], "a.b");
    assert_string_equal(config->reply_allow[1], "c");
    assert_int_equal(config->log_level, 7);
    assert_string_equal(config->topic_commands, "x.commands");
    assert_string_equal(config->kafka.client_id, "kinlog-hq");
    assert_string_equal(config->kafka.group_id, "x.hq");
    assert_int_equal(config->kafka.common_count, 2);
    assert_string_equal(config->kafka.common[1].name, "client.rack");
    assert_string_equal(config->kafka.common[1].value, "r");
    assert_non_null(strstr(config->kafka.common[1].origin, ":14"));
    assert_string_equal(config->kafka.consumer[0].name, "fetch.wait.max.ms");
    assert_string_equal(config->kafka.producer[0].value, "3");
    assert_int_equal(config_need_site(config, &err), 0);
    assert_int_equal(config_need_broker(config, &err), 0);
    config_free(config);
}

/* -X wins over the environment, the environment over the file; later properties come
 * last. */
static void test_order(void **state)
{
    (void)state;
    static const char *const environment[] = {
        "HOME=/",
        "KINLOG_AGENT_DATA_DIR=/env",
        "KINLOG_AGENT_SITE=env",
        "KINLOG_CONFIG=/nowhere",
        "KINLOG_KAFKA_BOOTSTRAP_SERVERS=env:1",
        "KINLOG_KAFKA_CONSUMER_FETCH_WAIT_MAX_MS=30",
        "KINLOG_KAFKA_NO__THING=4",
        NULL};
    static const char *const overrides[] = {"agent.site=flag",
                                            "kafka.bootstrap.servers=flag:1",
                                            "kafka.producer.linger.ms=7", NULL};
    struct config *config;
    struct error err;

    assert_int_equal(load("[agent]\nsite = file\ndata_dir = "
                          "/file\n[kafka]\nbootstrap.servers = file:1\n",
                          environment, overrides, &config, &err),
                     ERROR_CONFIG);
    /* The library has nothing of that name: '__' became '_'. */
    assert_non_null(strstr(err.text, "no_thing"));

    static const char *const good[] = {
        "KINLOG_AGENT_DATA_DIR=/env", "KINLOG_AGENT_SITE=env",
        "KINLOG_KAFKA_BOOTSTRAP_SERVERS=env:1",
        "KINLOG_KAFKA_CONSUMER_FETCH_WAIT_MAX_MS=30", NULL};
    assert_int_equal(load("[agent]\nsite = file\ndata_dir = "
                          "/file\n[kafka]\nbootstrap.servers = file:1\n",
                          good, overrides, &config, &err),
                     0);
    assert_string_equal(config->data_dir, "/env");
    assert_string_equal(config->site, "flag");
    assert_int_equal(config->kafka.common_count, 3);
    assert_string_equal(config->kafka.common[1].value, "env:1");
    assert_string_equal(config->kafka.common[1].origin,
                        "environment KINLOG_KAFKA_BOOTSTRAP_SERVERS");
    assert_string_equal(config->kafka.common[2].value, "flag:1");
    assert_string_equal(config->kafka.common[2].origin, "-X");
    assert_string_equal(config->kafka.consumer[0].value, "30");
    assert_string_equal(config->kafka.producer[0].name, "linger.ms");
    config_free(config);
}

/* Wrong keys and values are refused with origin, reason, and what was probably meant. */
static void test_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *variable, *override, *error;
    } cases[] = {
        {"[agent]\nsites = hq\n", NULL, NULL,
         ":2: [agent] has no key sites; did you mean site?"},
        {"[agnet]\nsite = hq\n", NULL, NULL,
         ":1: there is no section [agnet]; did you mean [agent]?"},
        {"[warehouse]\n", NULL, NULL,
         ":1: there is no section [warehouse]; there are [agent]"},
        {"[agent]\nprefix = x\n", NULL, NULL,
         ":2: [agent] has no key prefix; it belongs in [topics]"},
        {"[agent]\nbootstrap.servers = x\n", NULL, NULL,
         ":2: [agent] has no key bootstrap.servers; it belongs in [kafka]"},
        {"[agent]\nsite = two words\n", NULL, NULL,
         ":2: [agent] site: a site is 1 to 63 letters"},
        {"[agent]\nsite = -x\n", NULL, NULL, ":2: [agent] site: "},
        {"[agent]\ndata_dir =\n", NULL, NULL, ":2: [agent] data_dir: "},
        {"[agent]\nfree_space_floor = 1Q\n", NULL, NULL,
         ":2: [agent] free_space_floor: a size"},
        {"[agent]\nfree_space_floor = 99999999999T\n", NULL, NULL,
         ":2: [agent] free_space_floor: the size is too large"},
        {"[topics]\npartitions = 7\n", NULL, NULL,
         ":2: [topics] partitions: a number that divides"},
        {"[topics]\npartitions = 0\n", NULL, NULL,
         ":2: [topics] partitions: a number that divides"},
        {"[topics]\npartitions = -1\n", NULL, NULL,
         ":2: [topics] partitions: a number is wanted"},
        {"[topics]\ncreate = yes\n", NULL, NULL, ":2: [topics] create: true or false"},
        {"[topics]\nprefix = a/b\n", NULL, NULL, ":2: [topics] prefix: "},
        {"[topics]\nreply_allow = a,,b\n", NULL, NULL,
         ":2: [topics] reply_allow: topic names"},
        {"[log]\nlevel = loud\n", NULL, NULL, ":2: [log] level: error, warning"},
        {"[log]\nformat = xml\n", NULL, NULL, ":2: [log] format: logfmt or json"},
        {"[kafka]\nacks = 1\n", NULL, NULL, ""},
        {"[kafka]\nno.such.thing = 1\n", NULL, NULL, ""},
        {"", "KINLOG_AGENT_SIET=x", NULL,
         "environment KINLOG_AGENT_SIET: there is no such key; did you mean "
         "KINLOG_AGENT_SITE?"},
        {"", "KINLOG_WHATEVER_ELSE_THERE_IS=x", NULL,
         "environment KINLOG_WHATEVER_ELSE_THERE_IS: there is no such key; names are"},
        {"", "KINLOG_TOPICS_PARTITIONS=x", NULL,
         "environment KINLOG_TOPICS_PARTITIONS: [topics] partitions: a number is wanted"},
        {"", NULL, "agent.site", "-X: section.key=value is wanted"},
        {"", NULL, "=x", "-X: section.key=value is wanted"},
        {"", NULL, "agnt.site=x",
         "-X: there is no section [agnt]; did you mean [agent]?"},
        {"", NULL, "agent.sit=x", "-X: [agent] has no key sit; did you mean site?"},
        {"", NULL, "log.level=x", "-X: [log] level: error"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *const environment[] = {cases[i].variable, NULL};
        const char *const overrides[] = {cases[i].override, NULL};
        struct config *config;
        struct error err;

        assert_int_equal(load(cases[i].text, environment, overrides, &config, &err),
                         ERROR_CONFIG);
        if (strncmp(err.text, cases[i].error, strlen(cases[i].error)) != 0)
            fail_msg("case %zu: %s instead of %s", i, err.text, cases[i].error);
    }
}

/* The error of a librdkafka property names where it stands, and no secret. */
static void test_kafka_errors(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    struct config *config;
    struct error err;

    assert_int_equal(load("[kafka]\n\nlinger.ms = soon\n", none, none, &config, &err),
                     ERROR_CONFIG);
    assert_non_null(strstr(err.text, ":3"));
    assert_non_null(strstr(err.text, "linger.ms"));
    assert_int_equal(
        load("[kafka]\nsasl.passwort = hunter2\n", none, none, &config, &err),
        ERROR_CONFIG);
    assert_null(strstr(err.text, "hunter2"));
    assert_int_equal(
        load("[kafka]\nssl.key.pem = hunter2\nacks = 1\n", none, none, &config, &err),
        ERROR_CONFIG);
    assert_null(strstr(err.text, "hunter2"));
}

/* A file that is not there is said to be so. */
static void test_no_file(void **state)
{
    (void)state;
    struct config_source source = {.file = "/nowhere/kinlog.conf"};
    struct config *config;
    struct error err = {0};

    assert_int_equal(config_load(&source, &config, &err), ERROR_CONFIG);
    assert_string_equal(
        err.text,
        "cannot read the configuration /nowhere/kinlog.conf: No such file or directory");
}

/* Suggestions: typing errors and beginnings are near, other words are not. */
static void test_spelling(void **state)
{
    (void)state;
    static const char *const names[] = {"status", "send", "show", "relationships", "get"};
    static const struct {
        const char *word, *best;
    } cases[] = {{"staus", "status"},
                 {"sned", "send"},
                 {"STATUS", "status"},
                 {"rel", "relationships"},
                 {"relationship", "relationships"},
                 {"frobnicate", NULL},
                 {"x", NULL},
                 {"gte", "get"}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct spelling spelling = {.word = cases[i].word};

        for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
            spelling_try(&spelling, names[k]);
        if (cases[i].best == NULL)
            assert_null(spelling_best(&spelling));
        else
            assert_string_equal(spelling_best(&spelling), cases[i].best);
    }
}

/* ---- log lines --------------------------------------------------------------------- */

/* Both forms of a line, with what needs quotes and escapes. */
static void test_log_lines(void **state)
{
    (void)state;
    static const char *const fields[] = {
        "shard", "2", "text", "a \"b\"\n\x1b[31m\xff\xc3\xa4\xc2\x85", "none", NULL,
        "empty", "",  NULL};
    char line[LOG_LINE_MAX + 1];

    size_t size = log_render(line, false, 0, 4, "shard", "no mark", fields);
    assert_int_equal(size, strlen(line));
    assert_string_equal(
        line,
        "ts=1970-01-01T00:00:00.000Z level=warning component=shard "
        "msg=\"no mark\" shard=2 text=\"a \\\"b\\\"\\n\\x1b[31m\\xff\xc3\xa4\\x85\" "
        "empty=\"\"\n");
    (void)log_render(line, true, 0, 3, "shard", "gone", fields);
    assert_string_equal(
        line, "{\"ts\":\"1970-01-01T00:00:00.000Z\",\"level\":\"error\","
              "\"component\":\"shard\",\"msg\":\"gone\",\"shard\":\"2\",\"text\":"
              "\"a \\\"b\\\"\\n\\u001b[31m\\ufffd\xc3\xa4\\u0085\",\"empty\":\"\"}\n");
}

/* A line never grows beyond its limit, and stays well-formed. */
static void test_log_limit(void **state)
{
    (void)state;
    char line[LOG_LINE_MAX + 1], long_text[5000];
    const char *const fields[] = {"more", long_text, "last", "x", NULL};

    for (size_t length = 0; length < sizeof(long_text);
         length += length < 1100 ? 1 : 500) {
        memset(long_text, length % 2 == 0 ? 'a' : '"', length);
        long_text[length] = '\0';
        for (int json = 0; json < 2; json++) {
            size_t size = log_render(line, json, 0, 6, "x", long_text, fields);

            assert_in_range(size, 1, LOG_LINE_MAX);
            assert_int_equal(line[size - 1], '\n');
            assert_int_equal(line[size - 2], json ? '}' : line[size - 2]);
            if (length > 1000)
                assert_non_null(strstr(line, json ? "...\"}" : "...\"\n"));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ini_reads),    cmocka_unit_test(test_ini_refuses),
        cmocka_unit_test(test_defaults),     cmocka_unit_test(test_file),
        cmocka_unit_test(test_order),        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_kafka_errors), cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_spelling),     cmocka_unit_test(test_log_lines),
        cmocka_unit_test(test_log_limit),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
