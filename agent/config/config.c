/* config.c - see config.h. Three kinds of source become one list of settings, in the
 * order in which later ones win; then each is checked against the table of keys, or kept
 * for librdkafka.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/config/config.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config/config_keys.h"
#include "agent/config/ini.h"
#include "agent/config/spelling.h"
#include "events/base/bytes.h"

#define ENVIRONMENT_PREFIX "KINLOG_"
#define ENVIRONMENT_FILE "KINLOG_CONFIG"

struct setting {
    const char *section;
    const char *name;
    const char *value;
    const char *origin; /* "kinlog.conf:12", "environment KINLOG_AGENT_SITE", "-X" */
};

/* What a struct config lives in. */
struct box {
    struct config config; /* first: config_free casts back */
    struct arena arena;
    struct buf settings; /* array of struct setting */
    struct ini ini;
};

static int no_memory(struct error *err)
{
    return error_set(err, ERROR_NO_MEMORY, "out of memory");
}

/* ---- collecting -------------------------------------------------------------------- */

static const char *keep(struct box *box, const char *text, size_t size)
{
    char *copy = arena_alloc(&box->arena, size + 1);

    if (copy != NULL)
        (void)snprintf(copy, size + 1, "%.*s", (int)size, text);
    return copy;
}

static const char *keep_joined(struct box *box, const char *prefix, const char *text,
                               size_t size)
{
    size_t room = strlen(prefix) + size + 1;
    char *copy = arena_alloc(&box->arena, room);

    if (copy != NULL)
        (void)snprintf(copy, room, "%s%.*s", prefix, (int)size, text);
    return copy;
}

static int add_setting(struct box *box, const struct setting *setting, struct error *err)
{
    if (setting->section == NULL || setting->name == NULL || setting->value == NULL ||
        setting->origin == NULL ||
        buf_append(&box->settings, setting, sizeof(*setting)) < 0)
        return no_memory(err);
    return 0;
}

static bool is_kafka_section(const char *section)
{
    for (size_t i = 0; config_kafka_sections[i] != NULL; i++) {
        if (strcmp(section, config_kafka_sections[i]) == 0)
            return true;
    }
    return false;
}

static bool is_section(const char *section)
{
    for (size_t i = 0; config_keys[i].section != NULL; i++) {
        if (strcmp(section, config_keys[i].section) == 0)
            return true;
    }
    return is_kafka_section(section);
}

static const char *nearest_section(const char *section)
{
    struct spelling spelling = {.word = section};

    for (size_t i = 0; config_keys[i].section != NULL; i++)
        spelling_try(&spelling, config_keys[i].section);
    for (size_t i = 0; config_kafka_sections[i] != NULL; i++)
        spelling_try(&spelling, config_kafka_sections[i]);
    return spelling_best(&spelling);
}

static int unknown_section(const char *origin, const char *section, struct error *err)
{
    const char *nearest = nearest_section(section);

    if (nearest != NULL)
        return error_set(err, ERROR_CONFIG,
                         "%s: there is no section [%s]; did you mean [%s]?", origin,
                         section, nearest);
    return error_set(
        err, ERROR_CONFIG,
        "%s: there is no section [%s]; there are [agent], [topics], [log], [kafka], "
        "[kafka.consumer] and [kafka.producer]",
        origin, section);
}

static const char *line_origin(struct box *box, const char *file, unsigned line)
{
    struct buf text = BUF_INIT;

    (void)buf_printf(&text, "%s:%u", file, line);
    const char *origin =
        text.failed ? NULL : keep(box, (const char *)text.data, text.size);
    buf_release(&text);
    return origin;
}

static int collect_file(struct box *box, const char *file, struct error *err)
{
    int r = ini_read(file, &box->ini, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < box->ini.section_count; i++) {
        const char *section = box->ini.sections[i].name;

        if (!is_section(section)) {
            const char *origin = line_origin(box, file, box->ini.sections[i].line);
            return origin == NULL ? no_memory(err)
                                  : unknown_section(origin, section, err);
        }
    }
    for (size_t i = 0; i < box->ini.count; i++) {
        const struct ini_entry *entry = &box->ini.entries[i];
        struct setting setting = {entry->section, entry->key, entry->value,
                                  line_origin(box, file, entry->line)};

        r = add_setting(box, &setting, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* KINLOG_<SECTION>_<KEY> of an own key, given as "<SECTION>_<KEY>"? */
static bool names_key(const char *name, size_t size, const struct config_key *key)
{
    size_t section_size = strlen(key->section);

    if (size != section_size + 1 + strlen(key->name))
        return false;
    for (size_t i = 0; i < size; i++) {
        char expected = i < section_size    ? key->section[i]
                        : i == section_size ? '_'
                                            : key->name[i - section_size - 1];

        if (name[i] != (char)toupper((unsigned char)expected))
            return false;
    }
    return true;
}

/* "BOOTSTRAP_SERVERS" -> "bootstrap.servers", "A__B" -> "a_b". NULL = out of memory. */
static const char *kafka_name(struct box *box, const char *name, size_t size)
{
    char *lower = arena_alloc(&box->arena, size + 1);
    size_t length = 0;

    if (lower == NULL)
        return NULL;
    for (size_t i = 0; i < size; i++) {
        if (name[i] != '_') {
            lower[length++] = (char)tolower((unsigned char)name[i]);
        } else if (i + 1 < size && name[i + 1] == '_') {
            lower[length++] = '_';
            i++;
        } else {
            lower[length++] = '.';
        }
    }
    return lower;
}

static int unknown_variable(struct box *box, const char *name, size_t size,
                            struct error *err)
{
    struct buf upper = BUF_INIT;
    const char *word = keep(box, name, size);
    struct spelling spelling = {.word = word};

    if (word == NULL)
        return no_memory(err);
    for (size_t i = 0; config_keys[i].section != NULL; i++) {
        const struct config_key *key = &config_keys[i];
        char *candidate;

        buf_clear(&upper);
        (void)buf_printf(&upper, ENVIRONMENT_PREFIX "%s_%s", key->section, key->name);
        if (upper.failed ||
            (candidate = (char *)keep(box, (char *)upper.data, upper.size)) == NULL)
            continue;
        for (char *at = candidate; *at != '\0'; at++)
            *at = (char)toupper((unsigned char)*at);
        spelling_try(&spelling, candidate);
    }
    spelling_try(&spelling, ENVIRONMENT_FILE);
    buf_release(&upper);
    const char *nearest = spelling_best(&spelling);
    if (nearest != NULL)
        return error_set(err, ERROR_CONFIG,
                         "environment %s: there is no such key; did you mean %s?", word,
                         nearest);
    return error_set(
        err, ERROR_CONFIG,
        "environment %s: there is no such key; names are KINLOG_<SECTION>_<KEY>, as "
        "KINLOG_AGENT_SITE or KINLOG_KAFKA_BOOTSTRAP_SERVERS",
        word);
}

static int collect_variable(struct box *box, const char *variable, struct error *err)
{
    static const struct {
        const char *prefix, *section;
    } kafka[] = {{"KAFKA_CONSUMER_", "kafka.consumer"},
                 {"KAFKA_PRODUCER_", "kafka.producer"},
                 {"KAFKA_", "kafka"}};
    const char *equals = strchr(variable, '=');

    if (equals == NULL)
        return 0;
    const char *name = variable + strlen(ENVIRONMENT_PREFIX);
    size_t size = (size_t)(equals - name);
    struct setting setting = {
        NULL, NULL, equals + 1,
        keep_joined(box, "environment ", variable, (size_t)(equals - variable))};

    for (size_t i = 0; config_keys[i].section != NULL; i++) {
        if (names_key(name, size, &config_keys[i])) {
            setting.section = config_keys[i].section;
            setting.name = config_keys[i].name;
            return add_setting(box, &setting, err);
        }
    }
    for (size_t i = 0; i < sizeof(kafka) / sizeof(kafka[0]); i++) {
        size_t prefix_size = strlen(kafka[i].prefix);

        if (size > prefix_size && strncmp(name, kafka[i].prefix, prefix_size) == 0) {
            setting.section = kafka[i].section;
            setting.name = kafka_name(box, name + prefix_size, size - prefix_size);
            return add_setting(box, &setting, err);
        }
    }
    return unknown_variable(box, variable, (size_t)(equals - variable), err);
}

static int collect_environment(struct box *box, char *const *environment,
                               struct error *err)
{
    for (size_t i = 0; environment != NULL && environment[i] != NULL; i++) {
        if (strncmp(environment[i], ENVIRONMENT_PREFIX, strlen(ENVIRONMENT_PREFIX)) !=
                0 ||
            strncmp(environment[i], ENVIRONMENT_FILE "=", strlen(ENVIRONMENT_FILE "=")) ==
                0)
            continue;
        int r = collect_variable(box, environment[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* "section.key=value": the section ends at the first dot, but for [kafka.consumer] and
 * [kafka.producer]. */
static int collect_override(struct box *box, const char *text, struct error *err)
{
    const char *equals = strchr(text, '=');
    const char *dot = strchr(text, '.');
    size_t section_size;

    if (equals == NULL || dot == NULL || dot > equals || dot == text || dot + 1 == equals)
        return error_set(err, ERROR_CONFIG,
                         "-X: section.key=value is wanted, as agent.site=hq");
    section_size = (size_t)(dot - text);
    for (size_t i = 0; config_kafka_sections[i] != NULL; i++) {
        size_t size = strlen(config_kafka_sections[i]);

        if (size > section_size && strncmp(text, config_kafka_sections[i], size) == 0 &&
            text[size] == '.')
            section_size = size;
    }
    struct setting setting = {
        keep(box, text, section_size),
        keep(box, text + section_size + 1, (size_t)(equals - text) - section_size - 1),
        equals + 1, "-X"};
    if (setting.section != NULL && !is_section(setting.section))
        return unknown_section("-X", setting.section, err);
    return add_setting(box, &setting, err);
}

/* ---- applying ---------------------------------------------------------------------- */

/* The name belongs to another section, or looks like librdkafka's? */
static const char *other_section(const char *section, const char *name)
{
    for (size_t i = 0; config_keys[i].section != NULL; i++) {
        if (strcmp(config_keys[i].name, name) == 0 &&
            strcmp(config_keys[i].section, section) != 0)
            return config_keys[i].section;
    }
    return strchr(name, '.') != NULL ? "kafka" : NULL;
}

static int unknown_key(const struct setting *setting, struct error *err)
{
    struct spelling spelling = {.word = setting->name};
    const char *other = other_section(setting->section, setting->name);

    if (other != NULL)
        return error_set(err, ERROR_CONFIG, "%s: [%s] has no key %s; it belongs in [%s]",
                         setting->origin, setting->section, setting->name, other);
    for (size_t i = 0; config_keys[i].section != NULL; i++) {
        if (strcmp(config_keys[i].section, setting->section) == 0)
            spelling_try(&spelling, config_keys[i].name);
    }
    const char *nearest = spelling_best(&spelling);
    if (nearest != NULL)
        return error_set(err, ERROR_CONFIG, "%s: [%s] has no key %s; did you mean %s?",
                         setting->origin, setting->section, setting->name, nearest);
    return error_set(err, ERROR_CONFIG,
                     "%s: [%s] has no key %s; `kinlog help config` lists them",
                     setting->origin, setting->section, setting->name);
}

static int apply_own(struct box *box, const struct setting *setting, struct error *err)
{
    for (size_t i = 0; config_keys[i].section != NULL; i++) {
        const struct config_key *key = &config_keys[i];

        if (strcmp(key->section, setting->section) != 0 ||
            strcmp(key->name, setting->name) != 0)
            continue;
        const char *fault = key->set(&box->config, &box->arena, setting->value);
        if (fault == NULL)
            return 0;
        if (strcmp(fault, CONFIG_OUT_OF_MEMORY) == 0)
            return no_memory(err);
        return error_set(err, ERROR_CONFIG, "%s: [%s] %s: %s", setting->origin,
                         setting->section, setting->name, fault);
    }
    return unknown_key(setting, err);
}

static int apply_defaults(struct box *box, struct error *err)
{
    for (size_t i = 0; config_keys[i].section != NULL; i++) {
        const struct config_key *key = &config_keys[i];

        if (key->default_value != NULL &&
            key->set(&box->config, &box->arena, key->default_value) != NULL)
            return no_memory(err);
    }
    return 0;
}

/* The properties of one section as an array in the arena. */
static int gather_kafka(struct box *box, const char *section,
                        const struct kafka_property **ret_properties, size_t *ret_count,
                        struct error *err)
{
    const struct setting *settings =
        (const struct setting *)(const void *)box->settings.data;
    size_t count = box->settings.size / sizeof(struct setting), used = 0;
    struct kafka_property *properties =
        arena_alloc(&box->arena, (count + 1) * sizeof(*properties));

    if (properties == NULL)
        return no_memory(err);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(settings[i].section, section) == 0)
            properties[used++] = (struct kafka_property){
                settings[i].name, settings[i].value, settings[i].origin};
    }
    *ret_properties = properties;
    *ret_count = used;
    return 0;
}

static int apply_settings(struct box *box, struct error *err)
{
    const struct setting *settings =
        (const struct setting *)(const void *)box->settings.data;
    size_t count = box->settings.size / sizeof(struct setting);
    struct kafka_settings *kafka = &box->config.kafka;
    int r = apply_defaults(box, err);

    for (size_t i = 0; r == 0 && i < count; i++) {
        if (!is_kafka_section(settings[i].section))
            r = apply_own(box, &settings[i], err);
    }
    if (r == 0)
        r = gather_kafka(box, "kafka", &kafka->common, &kafka->common_count, err);
    if (r == 0)
        r = gather_kafka(box, "kafka.consumer", &kafka->consumer, &kafka->consumer_count,
                         err);
    if (r == 0)
        r = gather_kafka(box, "kafka.producer", &kafka->producer, &kafka->producer_count,
                         err);
    return r;
}

static char *joined(struct box *box, const char *a, const char *b)
{
    return (char *)keep_joined(box, a, b, strlen(b));
}

static int derive(struct box *box, struct error *err)
{
    struct config *config = &box->config;
    const char *site = config->site != NULL ? config->site : "reader";
    char *dotted = joined(box, config->prefix, ".");

    if (dotted == NULL)
        return no_memory(err);
    config->topic_commands = joined(box, dotted, "commands");
    config->topic_events = joined(box, dotted, "events");
    config->topic_replies = joined(box, dotted, "replies");
    config->topic_dead_letters = joined(box, dotted, "dead-letters");
    config->topic_storage = joined(box, dotted, "storage");
    config->kafka.client_id = joined(box, "kinlog-", site);
    config->kafka.group_id = joined(box, dotted, site);
    if (config->topic_commands == NULL || config->topic_events == NULL ||
        config->topic_replies == NULL || config->topic_dead_letters == NULL ||
        config->topic_storage == NULL || config->kafka.client_id == NULL ||
        config->kafka.group_id == NULL)
        return no_memory(err);
    return 0;
}

int config_load(const struct config_source *source, struct config **ret_config,
                struct error *err)
{
    struct box *box = calloc(1, sizeof(*box));
    int r = 0;

    if (box == NULL)
        return no_memory(err);
    if (source->file != NULL) {
        box->config.file = (char *)keep(box, source->file, strlen(source->file));
        r = box->config.file == NULL ? no_memory(err)
                                     : collect_file(box, source->file, err);
    }
    if (r == 0)
        r = collect_environment(box, source->environment, err);
    for (size_t i = 0; r == 0 && i < source->override_count; i++)
        r = collect_override(box, source->overrides[i], err);
    if (r == 0)
        r = apply_settings(box, err);
    if (r == 0)
        r = derive(box, err);
    if (r < 0) {
        config_free(&box->config);
        return r;
    }
    *ret_config = &box->config;
    return 0;
}

void config_free(struct config *config)
{
    struct box *box = (struct box *)config;

    if (box == NULL)
        return;
    ini_release(&box->ini);
    buf_release(&box->settings);
    arena_release(&box->arena);
    free(box);
}

/* ---- reading ----------------------------------------------------------------------- */

struct topic_names config_topics(const struct config *config)
{
    return (struct topic_names){config->topic_commands, config->topic_events,
                                config->topic_replies, config->topic_dead_letters,
                                config->topic_storage};
}

int config_need_site(const struct config *config, struct error *err)
{
    if (config->site != NULL)
        return 0;
    return error_set(
        err, ERROR_CONFIG,
        "%s%sthe site has no name: set `site` in [agent], KINLOG_AGENT_SITE or "
        "-X agent.site=NAME",
        config->file != NULL ? config->file : "", config->file != NULL ? ": " : "");
}

int config_need_broker(const struct config *config, struct error *err)
{
    return kafka_settings_check(&config->kafka, err);
}
