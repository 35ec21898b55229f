/* config_keys.c - see config_keys.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/config/config_keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/log.h"
#include "events/base/hash.h"
#include "events/event.h"

#define TOPIC_NAME_CHARACTERS                                                            \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
#define TOPIC_NAME_MAX 249 /* Kafka's */
#define PREFIX_MAX 200

const char *const config_kafka_sections[] = {"kafka", "kafka.consumer", "kafka.producer",
                                             NULL};
const char config_kafka_meaning[] =
    "Passed to librdkafka unchanged, under its own names: bootstrap.servers = host:9092. "
    "isolation.level, check.crcs, auto.offset.reset, enable.idempotence and acks are the "
    "agent's own; setting them is an error.";

static const char *set_text(char **ret_text, struct arena *arena, const char *value)
{
    struct bytes text = arena_copy(arena, bytes_of(value, strlen(value) + 1));

    if (text.data == NULL)
        return CONFIG_OUT_OF_MEMORY;
    *ret_text = (char *)text.data;
    return NULL;
}

static bool consists_of(const char *value, const char *characters, size_t size_max)
{
    size_t size = strlen(value);

    return size > 0 && size <= size_max && strspn(value, characters) == size;
}

static const char *set_data_dir(struct config *config, struct arena *arena,
                                const char *value)
{
    if (*value == '\0')
        return "a folder's path is wanted";
    return set_text(&config->data_dir, arena, value);
}

static const char *set_site(struct config *config, struct arena *arena, const char *value)
{
    if (!consists_of(value, TOPIC_NAME_CHARACTERS, SITE_SIZE - 1) ||
        !isalnum((unsigned char)value[0]))
        return "a site is 1 to 63 letters, digits, '.', '_' and '-', the first a letter "
               "or digit";
    return set_text(&config->site, arena, value);
}

/* "256M" and the like, binary: K, M, G, T. */
static const char *set_free_space_floor(struct config *config, struct arena *arena,
                                        const char *value)
{
    static const char units[] = "KMGT";
    static const char fault[] =
        "a size is wanted, as 256M (K, M, G, T are powers of 1024)";
    char *end;

    (void)arena;
    if (!isdigit((unsigned char)value[0]))
        return fault;
    errno = 0;
    unsigned long long size = strtoull(value, &end, 10);
    unsigned shift = 0;
    if (*end != '\0') {
        const char *unit = strchr(units, toupper((unsigned char)*end));

        if (unit == NULL || end[1] != '\0')
            return fault;
        shift = 10 * (unsigned)(unit - units + 1);
    }
    if (errno != 0 || size > (unsigned long long)INT64_MAX >> shift)
        return "the size is too large";
    config->free_space_floor_bytes = (int64_t)(size << shift);
    return NULL;
}

static const char *set_prefix(struct config *config, struct arena *arena,
                              const char *value)
{
    if (!consists_of(value, TOPIC_NAME_CHARACTERS, PREFIX_MAX))
        return "a prefix is 1 to 200 letters, digits, '.', '_' and '-'";
    return set_text(&config->prefix, arena, value);
}

static const char *set_create(struct config *config, struct arena *arena,
                              const char *value)
{
    (void)arena;
    if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
        return "true or false is wanted";
    config->create = strcmp(value, "true") == 0;
    return NULL;
}

static const char *set_partitions(struct config *config, struct arena *arena,
                                  const char *value)
{
    char *end;
    long partitions = strtol(value, &end, 10);

    (void)arena;
    if (!isdigit((unsigned char)value[0]) || *end != '\0')
        return "a number is wanted";
    if (partitions < 1 || partitions > SLOTS || SLOTS % partitions != 0)
        return "a number that divides 240 is wanted: 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, "
               "16, 20, 24, "
               "30, 40, 48, 60, 80, 120 or 240";
    config->partitions = (int32_t)partitions;
    return NULL;
}

static size_t count_commas(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++)
        count += *text == ',';
    return count;
}

static const char *set_reply_allow(struct config *config, struct arena *arena,
                                   const char *value)
{
    static const char blanks[] = " \t";
    char *text = NULL;

    config->reply_allow_count = 0;
    if (*value == '\0')
        return NULL;
    config->reply_allow = arena_alloc(arena, (count_commas(value) + 1) * sizeof(char *));
    if (config->reply_allow == NULL || set_text(&text, arena, value) != NULL)
        return CONFIG_OUT_OF_MEMORY;
    while (text != NULL) {
        char *comma = strchr(text, ',');

        if (comma != NULL)
            *comma = '\0';
        text += strspn(text, blanks);
        for (size_t size = strlen(text);
             size > 0 && strchr(blanks, text[size - 1]) != NULL;)
            text[--size] = '\0';
        if (!consists_of(text, TOPIC_NAME_CHARACTERS, TOPIC_NAME_MAX))
            return "topic names are wanted, with commas between them: letters, digits, "
                   "'.', '_', "
                   "'-'; at most 249";
        config->reply_allow[config->reply_allow_count++] = text;
        text = comma == NULL ? NULL : comma + 1;
    }
    return NULL;
}

static const char *set_log_format(struct config *config, struct arena *arena,
                                  const char *value)
{
    if (strcmp(value, "logfmt") != 0 && strcmp(value, "json") != 0)
        return "logfmt or json is wanted";
    return set_text(&config->log_format, arena, value);
}

static const char *set_log_level(struct config *config, struct arena *arena,
                                 const char *value)
{
    static const struct {
        const char *name;
        int level;
    } levels[] = {{"error", LOG_LEVEL_ERROR},
                  {"warning", LOG_LEVEL_WARNING},
                  {"info", LOG_LEVEL_INFO},
                  {"debug", LOG_LEVEL_DEBUG}};

    (void)arena;
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strcmp(value, levels[i].name) == 0) {
            config->log_level = levels[i].level;
            return NULL;
        }
    }
    return "error, warning, info or debug is wanted";
}

const struct config_key config_keys[] = {
    {"agent", "data_dir", "/var/lib/kinlog",
     "Where stores and the site key are. Made by `kinlog init`, never by `kinlog run`.",
     set_data_dir},
    {"agent", "site", NULL,
     "The name of this site in every event's ce_source; part of the log for ever. `run` "
     "and `init` "
     "need it.",
     set_site},
    {"agent", "free_space_floor", "256M",
     "Below this much free space on data_dir the agent takes no new command.",
     set_free_space_floor},
    {"topics", "prefix", "kinlog",
     "Topics are <prefix>.commands, .events, .replies, .dead-letters and .storage.",
     set_prefix},
    {"topics", "create", "false", "May `kinlog init` create the topics?", set_create},
    {"topics", "partitions", "12",
     "With how many partitions `kinlog init` creates them: the number of shards. Divides "
     "240.",
     set_partitions},
    {"topics", "reply_allow", "",
     "Topics that a command's `replyto` may name, besides <prefix>.replies: a, b.",
     set_reply_allow},
    {"log", "format", "logfmt", "The form of the agent's log on stderr: logfmt or json.",
     set_log_format},
    {"log", "level", "info", "What it holds: error, warning, info or debug.",
     set_log_level},
    {NULL, NULL, NULL, NULL, NULL},
};
