/* demo_feed.h - what the broker says, in an order that tells a story: of each shard first
 * the events, then the answers that rest on them.
 *
 * Reads all partitions of events, replies and dead letters from their first record on, as
 * any client could. An answer is held back until the events up to its sequence have been
 * handed out. Claims and answer cursors (keys that begin with "kinlog:") are left out.
 * One thread.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_DEMO_FEED_H
#define AGENT_CLI_DEMO_FEED_H

#include <jansson.h>

#include "agent/kafka/kafka.h"

enum demo_topic { DEMO_EVENTS, DEMO_DEAD_LETTERS, DEMO_REPLIES, DEMO_TOPICS };

struct demo_message {
    enum demo_topic topic;
    const struct record *record; /* borrowed until the next call */
    json_t *data; /* its value, if that is a JSON object; else NULL. Borrowed likewise */
};

struct demo_feed;
/* settings: borrowed for the life of the feed. */
int demo_feed_open(const struct kafka_settings *settings, const struct topic_names *names,
                   int32_t shards, struct demo_feed **ret_feed, struct error *err);
void demo_feed_close(struct demo_feed *feed); /* NULL is fine */
/* The next message: 0; 1 = none within that time, or a signal came; or negative. */
int demo_feed_next(struct demo_feed *feed, int timeout_ms,
                   struct demo_message *ret_message, struct error *err);

#endif
