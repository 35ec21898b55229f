/* demo_feed.c - see demo_feed.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* eventfd */
#include "agent/cli/demo_feed.h"
#include "agent/clock.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/shard/claim.h"

#define RECORDS_MAX 16
#define ROUND_MS 100
/* The mock broker does not end a long poll when data arrives: a compromise between delay
 * and idle load. */
#define FETCH_WAIT_MS "30"

/* One partition of one topic, and what was read of it and not yet handed out. */
struct inlet {
    enum demo_topic topic;
    struct source *source;
    const struct record *records;
    size_t count;
    json_t *data; /* of records[0], once parsed */
};

struct demo_feed {
    struct kafka_settings settings;
    struct kafka_property property;
    int wake_fd;
    int32_t shards;
    struct inlet *inlets;
    size_t inlet_count;
    struct inlet *current; /* whose first record was handed out */
    uint64_t *seen;        /* per shard: sequence of the last event handed out */
};

/* ---- opening ----------------------------------------------------------------------- */

static int open_inlet(struct demo_feed *feed, enum demo_topic topic, const char *name,
                      int32_t partition, struct error *err)
{
    struct inlet *inlet = &feed->inlets[feed->inlet_count];
    int code =
        source_open(&feed->settings, name, partition, feed->wake_fd, &inlet->source, err);

    if (code < 0)
        return code;
    inlet->topic = topic;
    feed->inlet_count++;
    return source_start(inlet->source, 0, err);
}

int demo_feed_open(const struct kafka_settings *settings, const struct topic_names *names,
                   int32_t shards, struct demo_feed **ret_feed, struct error *err)
{
    const char *const topics[DEMO_TOPICS] = {[DEMO_EVENTS] = names->events,
                                             [DEMO_DEAD_LETTERS] = names->dead_letters,
                                             [DEMO_REPLIES] = names->replies};
    struct demo_feed *feed = calloc(1, sizeof(*feed));
    int code = 0;

    if (feed == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    feed->property = (struct kafka_property){"fetch.wait.max.ms", FETCH_WAIT_MS, "demo"};
    feed->settings = *settings;
    feed->settings.consumer = &feed->property;
    feed->settings.consumer_count = 1;
    feed->shards = shards;
    feed->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    feed->inlets = calloc((size_t)shards * DEMO_TOPICS, sizeof(*feed->inlets));
    feed->seen = calloc((size_t)shards, sizeof(*feed->seen));
    if (feed->wake_fd < 0 || feed->inlets == NULL || feed->seen == NULL)
        code = error_set(err, ERROR_NO_MEMORY, "out of memory or of descriptors");
    assert(code < 0 || feed->inlets != NULL);
    for (int topic = 0; topic < DEMO_TOPICS; topic++)
        for (int32_t i = 0; code == 0 && i < shards; i++)
            code = open_inlet(feed, (enum demo_topic)topic, topics[topic], i, err);
    if (code < 0) {
        demo_feed_close(feed);
        return code;
    }
    *ret_feed = feed;
    return 0;
}

void demo_feed_close(struct demo_feed *feed)
{
    if (feed == NULL)
        return;
    for (size_t i = 0; i < feed->inlet_count; i++) {
        json_decref(feed->inlets[i].data);
        source_close(feed->inlets[i].source);
    }
    if (feed->wake_fd >= 0)
        (void)close(feed->wake_fd);
    free(feed->inlets);
    free(feed->seen);
    free(feed);
}

/* ---- reading ----------------------------------------------------------------------- */

static void drop_first(struct inlet *inlet)
{
    json_decref(inlet->data);
    inlet->data = NULL;
    inlet->records++;
    inlet->count--;
}

static bool is_internal(const struct record *record)
{
    return record->key.data != NULL &&
           bytes_has_prefix(record->key, bytes_str("kinlog:"));
}

/* An answer waits for the events that it names. */
static bool may_go(const struct demo_feed *feed, const struct inlet *inlet)
{
    json_int_t shard, sequence;

    if (inlet->topic != DEMO_REPLIES || inlet->data == NULL)
        return true;
    shard = json_integer_value(json_object_get(inlet->data, "Shard"));
    sequence = json_integer_value(json_object_get(inlet->data, "Sequence"));
    return shard < 0 || shard >= feed->shards || sequence < 0 ||
           feed->seen[shard] >= (uint64_t)sequence;
}

static void note_event(struct demo_feed *feed, const struct record *record)
{
    struct bytes id = record_header(record, "ce_id"); /* <shard>-<sequence> */
    char text[64] = "";
    const char *dash;

    if (id.data == NULL || id.size >= sizeof(text))
        return;
    memcpy(text, id.data, id.size);
    dash = strchr(text, '-');
    if (dash != NULL)
        feed->seen[record->partition] = strtoull(dash + 1, NULL, 10);
}

/* 0 = the inlet's first record may be handed out, 1 = not now. */
static int look(const struct demo_feed *feed, struct inlet *inlet, struct error *err)
{
    while (inlet->count > 0 && is_internal(inlet->records))
        drop_first(inlet);
    while (inlet->count == 0) {
        int code = source_poll(inlet->source, 0, RECORDS_MAX, &inlet->records,
                               &inlet->count, NULL, err);

        if (code < 0)
            return code;
        if (inlet->count == 0)
            return 1;
        while (inlet->count > 0 && is_internal(inlet->records))
            drop_first(inlet);
    }
    if (inlet->data == NULL && inlet->records->value.data != NULL)
        inlet->data = json_loadb((const char *)inlet->records->value.data,
                                 inlet->records->value.size, 0, NULL);
    return may_go(feed, inlet) ? 0 : 1;
}

int demo_feed_next(struct demo_feed *feed, int timeout_ms,
                   struct demo_message *ret_message, struct error *err)
{
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;

    if (feed->current != NULL)
        drop_first(feed->current);
    feed->current = NULL;
    for (;;) {
        struct pollfd wake = {.fd = feed->wake_fd, .events = POLLIN};
        int64_t left_ms;
        uint64_t count;

        for (size_t i = 0; i < feed->inlet_count; i++) {
            struct inlet *inlet = &feed->inlets[i];
            int code = look(feed, inlet, err);

            if (code < 0)
                return code;
            if (code > 0)
                continue;
            feed->current = inlet;
            if (inlet->topic == DEMO_EVENTS)
                note_event(feed, inlet->records);
            *ret_message =
                (struct demo_message){inlet->topic, inlet->records, inlet->data};
            return 0;
        }
        left_ms = deadline_ms - clock_monotonic_ms();
        if (left_ms <= 0 ||
            poll(&wake, 1, (int)(left_ms < ROUND_MS ? left_ms : ROUND_MS)) < 0)
            return 1;
        (void)!read(feed->wake_fd, &count, sizeof(count));
    }
}
