/* publisher.h - publishes a shard's events under one epoch, and knows how far the topic
 * has them.
 *
 * An owner learns that it is alone from its delivery reports: their offsets are dense
 * from its claim on. A hole deposes nobody by itself: the shard reads what stands there
 * (publisher_hole); void strangers are stepped over, a claim ends the ownership. A
 * publisher that has failed is given up with its epoch.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_PUBLISHER_H
#define AGENT_SHARD_PUBLISHER_H

#include "agent/kafka/kafka.h"
#include "agent/shard/claim.h"
#include "agent/shard/store.h"
#include "events/event.h"

/* Design section 5: no new batch while so many events, or so old ones, are unpublished.
 * */
#define UNPUBLISHED_EVENTS_MAX 10000
#define UNPUBLISHED_AGE_MAX_MS 5000

struct publisher_settings {
    const struct kafka_settings *kafka; /* borrowed */
    const char *topic;                  /* borrowed */
    uint32_t shard;
    size_t max_message_bytes;
    int wake_fd;
};

struct publisher;
int publisher_open(const struct publisher_settings *settings,
                   struct publisher **ret_publisher, struct error *err);
void publisher_close(struct publisher *publisher);

/* Hands a claim over; publisher_claimed tells when the broker has it, and at which
 * offset. */
int publisher_claim(struct publisher *publisher, const struct claim *claim,
                    struct error *err);
bool publisher_claimed(const struct publisher *publisher, int64_t *ret_offset);

/* From now on events go out under epoch; the topic holds the log up to topic_end. */
void publisher_begin(struct publisher *publisher, const struct epoch *epoch,
                     const struct mark *topic_end);
int publisher_send(struct publisher *publisher, const struct event *event,
                   const struct event_record *record, int64_t now_ms, struct error *err);
/* The answer cursor, a record without sequence. */
int publisher_send_answered(struct publisher *publisher, uint64_t sequence,
                            int64_t now_ms, struct error *err);

/* Serves delivery reports; returns how many came. */
int publisher_poll(struct publisher *publisher, int timeout_ms);
/* Up to which whole command the topic is known to hold the log. */
const struct mark *publisher_mark(const struct publisher *publisher);
/* May the shard decide more? false: too much is unpublished. */
bool publisher_has_room(const struct publisher *publisher, int64_t now_ms);
size_t publisher_unacknowledged(const struct publisher *publisher);
/* age; 0 = none */
int64_t publisher_oldest_ms(const struct publisher *publisher, int64_t now_ms);

/* Are there offsets between reports that are not ours? Then *ret_from..*ret_to is to be
 * read. */
bool publisher_hole(const struct publisher *publisher, int64_t *ret_from,
                    int64_t *ret_to);
/* No claim stands in what publisher_hole named: go on, dense from its end. */
void publisher_hole_is_void(struct publisher *publisher);

/* A delivery error, an unknown offset or a broken connection: the epoch is over. */
bool publisher_failed(const struct publisher *publisher, struct error *ret_err);

#endif
