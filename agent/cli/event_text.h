/* event_text.h - an event as one CloudEvents JSON object, or as a row for people.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_EVENT_TEXT_H
#define AGENT_CLI_EVENT_TEXT_H

#include "agent/cli/json_out.h"
#include "agent/cli/table.h"
#include "events/event.h"

/* The attributes without "ce_", then data. 0 or ERROR_NO_MEMORY. */
int event_print_json(struct json_out *json, const struct log_identity *identity,
                     const struct event *event, struct error *err);

/* Its columns COMMAND and FROM are what `kinlog show FROM COMMAND` takes. */
struct table *event_table_new(FILE *out);
void event_print_row(struct table *table, uint32_t shard, const struct event *event);

/* "RelationshipCreated" of "kinlog.RelationshipCreated.v1"; other versions and prefixes
 * stay. */
struct bytes short_type(struct bytes type);

#endif
