/* send_value.h - from `Name=value` words to a command's JSON data, typed by its schema.
 *
 *     SourceId=2              number where the schema has one       {"SourceId":2}
 *     SourceId=2,4            list where the schema allows one      {"SourceId":[2,4]}
 *     SourceId=[2,4]          JSON, likewise
 *     Name=7                  string where the schema has one       {"Name":"7"}
 *
 * Nothing is judged here: what does not fit its type is sent as a string, an unknown name
 * with the type that its value looks like, and the agent answers what is wrong with it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_SEND_VALUE_H
#define AGENT_CLI_SEND_VALUE_H

#include "events/base/bytes.h"
#include "events/base/error.h"
#include "schemas/codec.h"

/* NULL if there is no such type; "CreateRelationship" or "kinlog.CreateRelationship.v1".
 * */
const struct schema_entry *send_type_find(const char *type);
/* Ticks and adoptions are sent by agents alone. */
bool send_type_is_for_people(const struct schema_entry *entry);
/* For people: "number", "one or a list". */
const char *send_kind_name(enum codec_kind kind);

/* Told about a parameter that the schema does not know; nearest may be NULL. */
typedef void (*send_unknown_fn)(const struct schema_entry *entry, const char *name,
                                const char *nearest);

/* Appends the JSON object. entry NULL: every name is unknown, and unknown is not told.
 * ERROR_USAGE: a word without '='. */
int send_data_append(struct buf *out, const struct schema_entry *entry, int count,
                     char *const *words, send_unknown_fn unknown, struct error *err);

#endif
