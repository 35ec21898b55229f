/* fuzz_config.c - any configuration: the file, the environment, -X.
 *
 * Beyond "no crash": it is read, or refused with a reason; what was read is within its bounds; a secret is
 * never in the reason; the text of an INI file means the same when it is written again.
 *
 * The input is a list of pieces (pieces.h): the file's text, then the settings. A mark says what the
 * settings behind it are: MARK_VARIABLE, MARK_OVERRIDE, or MARK_PROPERTY: the name of a
 * librdkafka property.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* memfd_create, memmem */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/config/config_keys.h"
#include "agent/config/ini.h"
#include "agent/kafka/handle.h"
#include "events/base/hash.h"
#include "tests/fuzz/pieces.h"

enum { MARK_VARIABLE, MARK_OVERRIDE, MARK_PROPERTY, MARKS };

#define SETTINGS_MAX 32
#define SECRET "XyzzyPlughXyzzyPlugh"

struct config_input {
    struct bytes text;
    char *variables[SETTINGS_MAX + 1];
    const char *overrides[SETTINGS_MAX];
    size_t variable_count, override_count;
};

static bool ends_with(const char *text, const char *end)
{
    return strlen(text) >= strlen(end) &&
           strcmp(text + strlen(text) - strlen(end), end) == 0;
}

/* Of a secret's value no part may be told. */
static void add_property(struct cutter *cutter, struct config_input *input,
                         const char *name)
{
    bool is_secret = strstr(name, "password") != NULL || strstr(name, "secret") != NULL ||
                     ends_with(name, ".pem") || ends_with(name, ".key");
    struct buf text = BUF_INIT;

    buf_printf(&text, "kafka.%s=%s", name, is_secret ? SECRET : "10");
    char *copy = cutter_own(cutter, buf_bytes(&text), text.size + 1);
    copy[text.size] = '\0';
    buf_release(&text);
    input->overrides[input->override_count++] = copy;
}

static void cut_settings(struct cutter *cutter, struct config_input *input)
{
    uint8_t kind = MARK_VARIABLE;
    struct piece mark;

    while (!cutter_done(cutter)) {
        if (cut_mark(cutter, &mark)) {
            kind = mark.mark % MARKS;
            continue;
        }
        char *text = cut_string(cutter);
        if (kind == MARK_VARIABLE && input->variable_count < SETTINGS_MAX)
            input->variables[input->variable_count++] = text;
        if (kind == MARK_OVERRIDE && input->override_count < SETTINGS_MAX)
            input->overrides[input->override_count++] = text;
        if (kind == MARK_PROPERTY && input->override_count < SETTINGS_MAX &&
            strchr(text, '=') == NULL)
            add_property(cutter, input, text);
    }
}

/* ---- the file ----------------------------------------------------------------------- */

static void write_ini(const struct ini *ini, struct buf *out)
{
    for (size_t i = 0; i < ini->section_count; i++)
        buf_printf(out, "[%s]\n", ini->sections[i].name);
    for (size_t i = 0; i < ini->count; i++)
        buf_printf(out, "[%s]\n%s=%s\n", ini->entries[i].section, ini->entries[i].key,
                   ini->entries[i].value);
    expect(!out->failed);
}

static void compare_ini(const struct ini *a, const struct ini *b)
{
    expect(a->count == b->count && a->section_count == b->section_count);
    for (size_t i = 0; i < a->count; i++) {
        expect(strcmp(a->entries[i].section, b->entries[i].section) == 0);
        expect(strcmp(a->entries[i].key, b->entries[i].key) == 0);
        expect(strcmp(a->entries[i].value, b->entries[i].value) == 0);
    }
}

static void check_ini(struct bytes text)
{
    struct buf written = BUF_INIT;
    struct error err = {0};
    struct ini first, again;

    int code = ini_parse("x.conf", text, &first, &err);
    expect(code == 0 || code == ERROR_CONFIG);
    if (code == 0) {
        write_ini(&first, &written);
        expect(ini_parse("x.conf", buf_bytes(&written), &again, NULL) == 0);
        compare_ini(&first, &again);
        ini_release(&again);
    } else {
        expect(strncmp(err.text, "x.conf:", 7) == 0);
    }
    ini_release(&first);
    buf_release(&written);
}

/* ---- the whole ---------------------------------------------------------------------- */

static void check_config(const struct config *config)
{
    expect(config->data_dir != NULL && config->data_dir[0] != '\0');
    expect(config->partitions >= 1 && SLOTS % config->partitions == 0);
    expect(config->free_space_floor_bytes >= 0);
    expect(config->site == NULL ||
           (strlen(config->site) >= 1 && strlen(config->site) <= 63));
    expect(config->log_level >= 3 && config->log_level <= 7);
    for (size_t i = 0; i < config->reply_allow_count; i++)
        expect(strlen(config->reply_allow[i]) >= 1);
    struct topic_names names = config_topics(config);
    expect(names.commands != NULL && names.events != NULL && names.storage != NULL);
}

static void check_error(int code, const struct error *err)
{
    expect(code == 0 || code == ERROR_CONFIG);
    expect(memchr(err->text, 0, sizeof err->text) != NULL);
    expect((code == 0) == (err->text[0] == '\0'));
    expect(strstr(err->text, SECRET) == NULL);
}

/* The library takes the properties, or refuses one by name. Its clients are not opened: they are threads,
 * which may outlive the input. */
static void check_properties(const struct kafka_settings *settings)
{
    static const enum handle_role roles[] = {HANDLE_SOURCE, HANDLE_LOG_SINK};

    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        rd_kafka_conf_t *conf = NULL;
        struct error err = {0};
        int code = handle_conf_new(settings, roles[i], /* max_message_bytes= */ 1000000,
                                   &conf, &err);

        check_error(code, &err);
        if (code == 0)
            rd_kafka_conf_destroy(conf);
    }
}

static void load(const struct config_input *input, const char *path)
{
    struct config_source source = {.file = path,
                                   .overrides = input->overrides,
                                   .override_count = input->override_count,
                                   .environment = input->variables};
    struct config *config = NULL;
    struct error err = {0};

    int code = config_load(&source, &config, &err);
    check_error(code, &err);
    if (code != 0)
        return;
    check_config(config);
    check_properties(&config->kafka);
    config_free(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cutter cutter = cutter_of(data, size);
    struct config_input input = {.text = cut_text(&cutter)};
    char path[64];

    if (memmem(data, size, SECRET, strlen(SECRET)) != NULL) {
        cutter_release(&cutter);
        return -1; /* it would stand in other places, too */
    }
    cut_settings(&cutter, &input);
    check_ini(input.text);
    int file = memfd_create("config", MFD_CLOEXEC);
    expect(file >= 0);
    expect(write(file, input.text.data, input.text.size) == (ssize_t)input.text.size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    load(&input, input.text.data != NULL ? path : NULL);
    expect(close(file) == 0);
    cutter_release(&cutter);
    return 0;
}

static void add_keys(void)
{
    for (size_t i = 0; config_keys[i].section != NULL; i++) {
        const struct config_key *key = &config_keys[i];
        struct buf word = BUF_INIT;

        word_add(key->section);
        word_add(key->name);
        buf_printf(&word, "%s.%s=", key->section, key->name);
        word_add(buf_cstr(&word));
        buf_release(&word);
        if (key->default_value != NULL && key->default_value[0] != '\0')
            word_add(key->default_value);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const more[] = {
        "KINLOG_AGENT_SITE=",
        "KINLOG_TOPICS_REPLY_ALLOW=",
        "KINLOG_CONFIG=",
        "KINLOG_KAFKA_BOOTSTRAP_SERVERS=localhost:9092",
        "KINLOG_KAFKA_CONSUMER_FETCH_WAIT_MAX_MS=10",
        "KINLOG_KAFKA_PRODUCER_",
        "kafka.bootstrap.servers=localhost:9092",
        "kafka.consumer.",
        "kafka.producer.",
        "bootstrap.servers",
        "security.protocol",
        "sasl_ssl",
        "sasl.mechanism",
        "sasl.password",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
        "sasl.oauthbearer.client.secret",
        "linger.ms",
        "compression.codec",
        "[agent]\n",
        "[kafka]\n",
        "[kafka.consumer]\n",
        " ; ",
        "true",
        "240",
        "9223372036854775807",
        "acks",
        "enable.idempotence",
        "group.id",
    };

    (void)argc;
    (void)argv;
    add_keys();
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        word_add(more[i]);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    return mutate_pieces(data, size, size_max, seed);
}
