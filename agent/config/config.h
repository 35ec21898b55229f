/* config.h - where things are: the INI file, the environment and -X, in one table of
 * keys.
 *
 * Order: -X, then the environment, then the file, then the default. Every key of the
 * agent's own is a row of config_keys (name, default, meaning, check), from which --help
 * and the operations page are made; sections [kafka], [kafka.consumer] and
 * [kafka.producer] go to librdkafka unchanged (kafka_settings_check judges them). Nothing
 * here changes a decision: that is site policy.
 *
 * Environment: KINLOG_<SECTION>_<KEY>, upper case; in a librdkafka name '.' is written
 * '_' and '_' is written '__' (KINLOG_KAFKA_BOOTSTRAP_SERVERS,
 * KINLOG_KAFKA_CONSUMER_FETCH_WAIT_MAX_MS, KINLOG_AGENT_DATA_DIR). KINLOG_CONFIG names
 * the file. Any other KINLOG_ name is an error.
 *
 * Errors (ERROR_CONFIG) name file, line and reason, and the nearest known key; values of
 * secrets (password, secret, .pem, .key) are never shown.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CONFIG_CONFIG_H
#define AGENT_CONFIG_CONFIG_H

#include "agent/kafka/kafka.h"
#include "events/base/error.h"

struct config {
    char *file; /* NULL = none was read */
    /* [agent] */
    char *data_dir; /* data_dir, default /var/lib/kinlog */
    char *site;     /* site, required for run and init: [A-Za-z0-9][A-Za-z0-9._-]{0,62} */
    /* free_space_floor = 256M: below it the agent takes no new command */
    int64_t free_space_floor_bytes;
    /* [topics] */
    char *prefix;       /* prefix, default kinlog: [A-Za-z0-9._-]{1,200} */
    bool create;        /* create, default false */
    int32_t partitions; /* partitions, default 12; must divide 240 */
    char **reply_allow; /* reply_allow = a, b; topic names */
    size_t reply_allow_count;
    char *topic_commands, *topic_events, *topic_replies, *topic_dead_letters,
        *topic_storage;
    /* [log] */
    char *log_format; /* format = logfmt | json */
    int log_level;    /* level = error | warning | info | debug, as syslog 3, 4, 6, 7 */
    /* [kafka...] */
    /* client_id "kinlog-<site>", group_id "<prefix>.<site>" */
    struct kafka_settings kafka;
    bool embedded; /* [demo] only: set by code, no key */
};

struct config_source {
    const char *file;             /* --config or KINLOG_CONFIG; NULL = none */
    const char *const *overrides; /* "section.key=value" of each -X */
    size_t override_count;
    char *const *environment; /* usually environ */
};

/* Reads everything and checks all but the sections of librdkafka (config_need_broker). */
int config_load(const struct config_source *source, struct config **ret_config,
                struct error *err);
void config_free(struct config *config);
struct topic_names config_topics(const struct config *config);
/* For who is about to write: ERROR_CONFIG, with the cure, if the site has no name. */
int config_need_site(const struct config *config, struct error *err);
/* For who is about to talk to Kafka, before that: ERROR_CONFIG if librdkafka refuses a
 * property or no broker is named. Not part of config_load(), so that reading the store
 * needs no access to keys and certificates. */
int config_need_broker(const struct config *config, struct error *err);

#endif
