/* publisher.c - see publisher.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/shard/publisher.h"

#include <stdlib.h>
#include <string.h>

#include "agent/planted.h"

#define TOPIC_TIMEOUT_MS 2000

/* Handed over and not yet known to be dense in the topic; reports come in this order. */
struct in_flight {
    uint64_t sequence; /* 0: a record without one */
    bool ends_command;
    bool reported;
    int64_t offset;
    int64_t sent_ms;
    uint8_t chain[SHA256_SIZE];
};

struct publisher {
    struct publisher_settings settings;
    struct sink *sink;
    struct epoch epoch;
    char epoch_header[EPOCH_TEXT_SIZE];
    int64_t claim_offset; /* -1: not reported yet */
    int64_t dense;        /* up to this offset the owner knows that it is alone */
    int64_t newest;       /* of all reports */
    bool hole;
    struct mark mark;
    struct error failure;
    struct in_flight *ring;
    size_t capacity; /* a power of two */
    size_t first;
    size_t count;
    uint64_t first_tag; /* of ring[first] */
};

static struct in_flight *at(const struct publisher *publisher, size_t index)
{
    return &publisher->ring[(publisher->first + index) & (publisher->capacity - 1)];
}

static void pop_oldest(struct publisher *publisher)
{
    const struct in_flight *oldest = at(publisher, 0);

    publisher->dense = oldest->offset;
    if (oldest->ends_command) {
        publisher->mark.sequence = oldest->sequence;
        memcpy(publisher->mark.chain, oldest->chain, SHA256_SIZE);
        publisher->mark.offset = oldest->offset;
        publisher->mark.epoch = publisher->epoch;
    }
    publisher->first = (publisher->first + 1) & (publisher->capacity - 1);
    publisher->first_tag++;
    publisher->count--;
}

/* Takes what is dense now off the ring; stops at a hole. */
static void advance(struct publisher *publisher)
{
    while (!publisher->hole && publisher->count > 0 && at(publisher, 0)->reported) {
        if (at(publisher, 0)->offset == publisher->dense + 1 ||
            PLANTED(maximum_instead_of_dense_prefix))
            pop_oldest(publisher);
        else
            publisher->hole = true;
    }
}

static void on_delivery(void *context, const struct delivery *delivery)
{
    struct publisher *publisher = context;

    if (publisher->failure.code != 0)
        return;
    if (delivery->code != 0 || delivery->offset < 0) {
        error_set(&publisher->failure, ERROR_KAFKA,
                  "a record was not delivered to %s, or its offset "
                  "is unknown",
                  publisher->settings.topic);
        return;
    }
    if (publisher->claim_offset >= 0 && delivery->offset <= publisher->newest) {
        error_set(&publisher->failure, ERROR_KAFKA,
                  "the offsets of %s went back: it was made anew or cut",
                  publisher->settings.topic);
        return;
    }
    publisher->newest = delivery->offset;
    if (delivery->tag == 0) {
        publisher->claim_offset = delivery->offset;
        publisher->dense = delivery->offset;
        return;
    }
    size_t index = (size_t)(delivery->tag - publisher->first_tag);
    if (index >= publisher->count)
        return;
    at(publisher, index)->reported = true;
    at(publisher, index)->offset = delivery->offset;
    advance(publisher);
}

int publisher_open(const struct publisher_settings *settings,
                   struct publisher **ret_publisher, struct error *err)
{
    struct publisher *publisher = calloc(1, sizeof *publisher);

    if (publisher == NULL)
        return error_set(err, ERROR_NO_MEMORY,
                         "out of memory while opening the publisher");
    publisher->settings = *settings;
    publisher->claim_offset = -1;
    publisher->first_tag = 1;
    publisher->capacity = 1024;
    publisher->ring = calloc(publisher->capacity, sizeof *publisher->ring);
    int code =
        publisher->ring == NULL
            ? error_set(err, ERROR_NO_MEMORY, "out of memory while opening the publisher")
            : sink_open(settings->kafka, SINK_LOG, settings->max_message_bytes,
                        settings->wake_fd, on_delivery, publisher, &publisher->sink, err);
    if (code != 0) {
        publisher_close(publisher);
        return code;
    }
    /* Saves the first record up to a second; without brokers the claim waits, not this.
     * */
    int32_t partitions;
    (void)sink_topic(publisher->sink, settings->topic, TOPIC_TIMEOUT_MS, &partitions,
                     NULL);
    *ret_publisher = publisher;
    return 0;
}

void publisher_close(struct publisher *publisher)
{
    if (publisher == NULL)
        return;
    sink_close(publisher->sink);
    free(publisher->ring);
    free(publisher);
}

static int send_record(struct publisher *publisher, struct bytes key, struct bytes value,
                       const struct header *headers, size_t header_count, uint64_t tag,
                       struct error *err)
{
    return sink_send(publisher->sink, publisher->settings.topic,
                     (int32_t)publisher->settings.shard, key, value, headers,
                     header_count, -1, tag, err);
}

int publisher_claim(struct publisher *publisher, const struct claim *claim,
                    struct error *err)
{
    struct buf value = BUF_INIT;
    int code = claim_write(claim, KINLOG_VERSION, &value);

    if (code != 0)
        code = error_set(err, code, "out of memory while claiming");
    else
        code = send_record(publisher, bytes_str(CLAIM_KEY), buf_bytes(&value), NULL, 0,
                           /* tag= */ 0, err);
    buf_release(&value);
    return code;
}

bool publisher_claimed(const struct publisher *publisher, int64_t *ret_offset)
{
    if (publisher->claim_offset < 0)
        return false;
    *ret_offset = publisher->claim_offset;
    return true;
}

void publisher_begin(struct publisher *publisher, const struct epoch *epoch,
                     const struct mark *topic_end)
{
    publisher->epoch = *epoch;
    epoch_text(epoch, publisher->epoch_header);
    publisher->mark = *topic_end;
}

static int grow(struct publisher *publisher)
{
    size_t capacity = 2 * publisher->capacity;
    struct in_flight *ring = calloc(capacity, sizeof *ring);

    if (ring == NULL)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < publisher->count; i++)
        ring[i] = *at(publisher, i);
    free(publisher->ring);
    publisher->ring = ring;
    publisher->capacity = capacity;
    publisher->first = 0;
    return 0;
}

/* Room for one more, before it is sent: its report may come at once. */
static int hold(struct publisher *publisher, int64_t now_ms, struct in_flight **ret_held,
                struct error *err)
{
    if (publisher->count == publisher->capacity && grow(publisher) != 0)
        return error_set(err, ERROR_NO_MEMORY, "out of memory while publishing");
    struct in_flight *held = at(publisher, publisher->count);
    memset(held, 0, sizeof *held);
    held->sent_ms = now_ms;
    *ret_held = held;
    return 0;
}

int publisher_send(struct publisher *publisher, const struct event *event,
                   const struct event_record *record, int64_t now_ms, struct error *err)
{
    struct header headers[EVENT_HEADERS + 1];
    struct in_flight *held;
    size_t count = 0;
    int code = hold(publisher, now_ms, &held, err);

    if (code != 0)
        return code;
    for (size_t i = 0; i < EVENT_HEADERS; i++) {
        if (record->headers[i].data == NULL)
            continue;
        headers[count].name = bytes_str(event_header_names[i]);
        headers[count++].value = record->headers[i];
    }
    headers[count].name = bytes_str(EPOCH_HEADER);
    headers[count++].value = bytes_str(publisher->epoch_header);
    held->sequence = event->sequence;
    held->ends_command = !event->has_command || event->index == event->count;
    memcpy(held->chain, event->chain, SHA256_SIZE);
    publisher->count++;
    code = send_record(publisher, record->key, record->data, headers, count,
                       publisher->first_tag + publisher->count - 1, err);
    if (code != 0)
        publisher->count--;
    return code;
}

int publisher_send_answered(struct publisher *publisher, uint64_t sequence,
                            int64_t now_ms, struct error *err)
{
    struct header header = {bytes_str(EPOCH_HEADER), bytes_str(publisher->epoch_header)};
    struct buf value = BUF_INIT;
    struct in_flight *held;
    int code = hold(publisher, now_ms, &held, err);

    if (code != 0)
        return code;
    if (answered_write(sequence, &value) != 0)
        code = error_set(err, ERROR_NO_MEMORY, "out of memory while publishing");
    publisher->count++;
    if (code == 0)
        code = send_record(publisher, bytes_str(ANSWERED_KEY), buf_bytes(&value), &header,
                           1, publisher->first_tag + publisher->count - 1, err);
    buf_release(&value);
    if (code != 0)
        publisher->count--;
    return code;
}

int publisher_poll(struct publisher *publisher, int timeout_ms)
{
    return sink_poll(publisher->sink, timeout_ms);
}

const struct mark *publisher_mark(const struct publisher *publisher)
{
    return &publisher->mark;
}

size_t publisher_unacknowledged(const struct publisher *publisher)
{
    return publisher->count;
}

int64_t publisher_oldest_ms(const struct publisher *publisher, int64_t now_ms)
{
    return publisher->count == 0 ? 0 : now_ms - at(publisher, 0)->sent_ms;
}

bool publisher_has_room(const struct publisher *publisher, int64_t now_ms)
{
    return publisher->count < UNPUBLISHED_EVENTS_MAX &&
           publisher_oldest_ms(publisher, now_ms) < UNPUBLISHED_AGE_MAX_MS;
}

bool publisher_hole(const struct publisher *publisher, int64_t *ret_from, int64_t *ret_to)
{
    if (!publisher->hole)
        return false;
    *ret_from = publisher->dense + 1;
    *ret_to = publisher->newest;
    return true;
}

void publisher_hole_is_void(struct publisher *publisher)
{
    publisher->hole = false;
    while (publisher->count > 0 && at(publisher, 0)->reported)
        pop_oldest(publisher);
}

bool publisher_failed(const struct publisher *publisher, struct error *ret_err)
{
    if (publisher->failure.code != 0) {
        if (ret_err != NULL)
            *ret_err = publisher->failure;
        return true;
    }
    return sink_failed(publisher->sink, ret_err);
}
