/* site.h - makes a data folder: for a new log, or for one that the events topic already
 * holds.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_SITE_H
#define AGENT_SHARD_SITE_H

#include "agent/config/config.h"
#include "agent/shard/store.h"

/* Told about each finding of the topics check (level as in kafka.h) and each step. */
typedef void (*site_notice_fn)(void *context, int level, const char *text);

/* Draws log id and site key, makes data folder and stores, writes LogStarted into each.
 * Topics are created if the configuration allows it. ERROR_CONFLICT: folder or topic
 * holds a log already. */
int site_init(const struct config *config, site_notice_fn notice, void *context,
              struct log_identity *ret_identity, struct error *err);

/* Makes a data folder for the log that the events topic holds; key_file is the site's
 * site.key. */
int site_join(const struct config *config, const char *key_file, site_notice_fn notice,
              void *context, struct log_identity *ret_identity, struct error *err);

/* Makes kinlog.json anew from the events topic, in a data folder that has its site.key. */
int site_restore(const struct config *config, struct log_identity *ret_identity,
                 struct error *err);

#endif
