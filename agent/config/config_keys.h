/* config_keys.h - the agent's own keys in one table: name, default, meaning, check.
 *
 * From it come reading, checking, the suggestions in errors, and the list that people
 * read.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CONFIG_CONFIG_KEYS_H
#define AGENT_CONFIG_CONFIG_KEYS_H

#include "agent/config/config.h"
#include "events/base/bytes.h"

struct config_key {
    const char *section;
    const char *name;
    const char *default_value; /* NULL = none */
    const char *meaning;
    /* Checks the value and stores it; text goes into arena. NULL, or what is wrong
     * (static). */
    const char *(*set)(struct config *config, struct arena *arena, const char *value);
};

extern const struct config_key
    config_keys[]; /* ends with section == NULL; sections together */

#define CONFIG_OUT_OF_MEMORY "out of memory"

/* The sections that go to librdkafka. */
extern const char *const config_kafka_sections[]; /* ends with NULL */
extern const char config_kafka_meaning[];         /* for people */

#endif
