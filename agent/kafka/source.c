/* source.c - reads one partition: a consumer without a group's protocol, assigned by
 * exact offsets.
 *
 * librdkafka 2.0.2 loses messages when a batch is read while another thread moves the
 * position. Here all calls on a source come from one thread, and positions move between
 * batches only; what is left of the old position is thrown away, and every offset that
 * arrives is compared with the one expected.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/kafka/kafka.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/kafka/handle.h"

/* Messages taken from the library at a time, whatever the caller asks for. */
#define BATCH_MAX 10000
/* Pause between two questions for the watermarks while the broker does not answer. */
#define RETRY_PAUSE_MS 50

struct source {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    char *topic;
    int32_t partition;
    bool assigned;
    int64_t next_offset; /* nothing before it is handed out */
    bool topic_trouble;  /* seen and not yet told */
    bool broke;          /* a connection, since the last start */
    bool end_reached;    /* the end of the partition was reported since the last start */
    struct error held;   /* found behind records that had to be handed out first */

    rd_kafka_message_t **messages; /* of the last poll */
    size_t message_count;
    size_t message_capacity;
    struct record *records;
    size_t record_capacity;
    struct header *headers;
    size_t header_capacity;
};

/* ---- what the library reports ------------------------------------------------------ */

static bool is_topic_trouble(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
           code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
           code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
}

/* Errors that end the source, or that no waiting mends. All else is the library's to
 * repeat. */
static bool is_worth_telling(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return true;
    default:
        return false;
    }
}

static void hold_error(struct source *source, rd_kafka_resp_err_t code, const char *text)
{
    char fatal_text[512];

    if (is_topic_trouble(code))
        source->topic_trouble = true;
    if (code == RD_KAFKA_RESP_ERR__TRANSPORT)
        source->broke = true;
    if (!is_worth_telling(code) || source->held.code)
        return;
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        (void)rd_kafka_fatal_error(source->rk, fatal_text, sizeof(fatal_text));
        text = fatal_text;
    }
    (void)handle_error(&source->held, code, source->topic, text);
    /* A record that the library cannot read stays unreadable; a new handle reports it
     * again. */
    if (code == RD_KAFKA_RESP_ERR__BAD_MSG ||
        code == RD_KAFKA_RESP_ERR__BAD_COMPRESSION ||
        code == RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED)
        source->held.fatal = true;
    if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        source->held.retriable = true;
}

static void on_error(rd_kafka_t *rk, int code, const char *text, void *opaque)
{
    (void)rk;
    hold_error(opaque, (rd_kafka_resp_err_t)code, text);
}

/* ---- life -------------------------------------------------------------------------- */

static void release_messages(struct source *source)
{
    for (size_t i = 0; i < source->message_count; i++)
        rd_kafka_message_destroy(source->messages[i]);
    source->message_count = 0;
}

static void free_memory(struct source *source)
{
    free(source->messages);
    free(source->records);
    free(source->headers);
    free(source->topic);
    free(source);
}

int source_open(const struct kafka_settings *settings, const char *topic,
                int32_t partition, int wake_fd, struct source **ret_source,
                struct error *err)
{
    struct source *source = calloc(1, sizeof(*source));
    rd_kafka_conf_t *conf;
    int r = ERROR_NO_MEMORY;

    if (source)
        source->topic = strdup(topic);
    if (!source || !source->topic) {
        (void)error_set(err, r, "out of memory");
        goto fail;
    }
    source->partition = partition;
    r = handle_conf_new(settings, HANDLE_SOURCE, 0, &conf, err);
    if (r < 0)
        goto fail;
    rd_kafka_conf_set_opaque(conf, source);
    rd_kafka_conf_set_error_cb(conf, on_error);
    r = handle_open(RD_KAFKA_CONSUMER, conf, &source->rk, err);
    if (r < 0)
        goto fail;
    source->queue = rd_kafka_queue_get_consumer(source->rk);
    assert(source->queue); /* group.id is always set */
    handle_wake(source->queue, wake_fd);
    *ret_source = source;
    return 0;

fail:
    if (source)
        free_memory(source);
    return r;
}

void source_close(struct source *source)
{
    if (!source)
        return;
    release_messages(source);
    rd_kafka_queue_io_event_enable(source->queue, -1, NULL, 0);
    rd_kafka_queue_destroy(source->queue);
    handle_destroy(source->rk, NULL, NULL);
    free_memory(source);
}

/* ---- position ---------------------------------------------------------------------- */

/* rd_kafka_query_watermark_offsets() answers _UNKNOWN_PARTITION both for what does not
 * exist and while the leader is not known yet; the topic's metadata tells these apart. */
static int check_partition(struct source *source, int64_t deadline_ms, struct error *err)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(source->rk, source->topic, NULL);
    int32_t count;
    int r;

    if (!topic)
        return handle_error(err, rd_kafka_last_error(), source->topic, NULL);
    r = handle_metadata(source->rk, topic, deadline_ms, &metadata, err);
    rd_kafka_topic_destroy(topic);
    if (r < 0)
        return r;
    count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    if (source->partition >= count)
        return error_set(err, ERROR_NOT_FOUND,
                         "topic %s has %d partitions, so none of number %d",
                         source->topic, count, source->partition);
    return 0;
}

int source_watermarks(struct source *source, int timeout_ms, int64_t *ret_low,
                      int64_t *ret_high, struct error *err)
{
    const struct timespec pause = {0, RETRY_PAUSE_MS * 1000000L};
    int64_t deadline_ms = handle_now_ms() + timeout_ms;
    rd_kafka_resp_err_t code;

    do {
        int remaining_ms = handle_remaining_ms(deadline_ms);

        code = rd_kafka_query_watermark_offsets(source->rk, source->topic,
                                                source->partition, ret_low, ret_high,
                                                remaining_ms > 0 ? remaining_ms : 1);
        if (!code)
            return 0;
        if (is_topic_trouble(code)) {
            int r = check_partition(source, deadline_ms, err);

            if (r < 0)
                return r;
        } else if (!handle_error_is_transient(code)) {
            return handle_error(err, code, source->topic, NULL);
        }
        if (handle_remaining_ms(deadline_ms) > RETRY_PAUSE_MS)
            (void)nanosleep(&pause, NULL);
    } while (handle_remaining_ms(deadline_ms) > RETRY_PAUSE_MS);
    (void)error_set(err, ERROR_TIMEOUT, "no offsets of %s [%d] in time: %s",
                    source->topic, source->partition, rd_kafka_err2str(code));
    if (err)
        err->retriable = true;
    return ERROR_TIMEOUT;
}

/* Takes what is left of an earlier position out of the queue. */
static void discard_queue(struct source *source)
{
    rd_kafka_message_t *message;

    while ((message = rd_kafka_consume_queue(source->queue, 0)))
        rd_kafka_message_destroy(message);
}

int source_start(struct source *source, int64_t offset, struct error *err)
{
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_resp_err_t code;

    assert(offset >= 0);
    release_messages(source);
    if (source->assigned) {
        (void)rd_kafka_assign(source->rk,
                              NULL); /* its failure shows in the assign() below */
        discard_queue(source);
        source->assigned = false;
    }
    list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, source->topic, source->partition)->offset =
        offset;
    code = rd_kafka_assign(source->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        return handle_error(err, code, source->topic, NULL);
    source->assigned = true;
    source->next_offset = offset;
    source->broke = false;
    source->end_reached = false;
    error_clear(&source->held);
    return 0;
}

void source_commit(struct source *source, int64_t next_offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

    rd_kafka_topic_partition_list_add(list, source->topic, source->partition)->offset =
        next_offset;
    (void)rd_kafka_commit(source->rk, list, /* async= */ 1); /* for lag displays only */
    rd_kafka_topic_partition_list_destroy(list);
}

/* ---- reading ----------------------------------------------------------------------- */

static int reserve_messages(struct source *source, size_t count, struct error *err)
{
    rd_kafka_message_t **messages;
    struct record *records;

    if (count <= source->message_capacity && count <= source->record_capacity)
        return 0;
    messages = realloc(source->messages, count * sizeof(*messages));
    if (!messages)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    source->messages = messages;
    source->message_capacity = count;
    records = realloc(source->records, count * sizeof(*records));
    if (!records)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    source->records = records;
    source->record_capacity = count;
    return 0;
}

/* One wait for the first message, then whatever is there: waiting for a full batch would
 * cost the whole timeout. */
static size_t take_messages(struct source *source, int timeout_ms, size_t max)
{
    rd_kafka_message_t *first = rd_kafka_consume_queue(source->queue, timeout_ms);
    ssize_t more = 0;

    if (!first)
        return 0;
    source->messages[0] = first;
    if (max > 1)
        more =
            rd_kafka_consume_batch_queue(source->queue, 0, source->messages + 1, max - 1);
    return 1 + (more > 0 ? (size_t)more : 0);
}

/* Drops error events and strays from the messages taken; keeps what is a record of
 * ours. */
static void sort_out(struct source *source, size_t taken)
{
    size_t kept = 0;

    for (size_t i = 0; i < taken; i++) {
        rd_kafka_message_t *message = source->messages[i];
        bool keep = false;

        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            source->end_reached = true;
        else if (message->err)
            hold_error(source, message->err, rd_kafka_message_errstr(message));
        else if (source->assigned && message->partition == source->partition &&
                 message->offset >= source->next_offset)
            keep = true;
        if (!keep) {
            rd_kafka_message_destroy(message);
            continue;
        }
        source->next_offset = message->offset + 1;
        source->messages[kept++] = message;
    }
    source->message_count = kept;
}

static size_t count_headers(const struct source *source)
{
    size_t count = 0;

    for (size_t i = 0; i < source->message_count; i++) {
        rd_kafka_headers_t *headers;

        if (!rd_kafka_message_headers(source->messages[i], &headers))
            count += rd_kafka_header_cnt(headers);
    }
    return count;
}

/* Headers that the library cannot parse count as none: a record without an id is the
 * caller's to refuse. Returns how many were written to to[]. */
static size_t fill_headers(const rd_kafka_message_t *message, struct header *to)
{
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t size, count = 0;

    if (rd_kafka_message_headers(message, &headers))
        return 0;
    while (!rd_kafka_header_get_all(headers, count, &name, &value, &size)) {
        to[count].name = bytes_of(name, strlen(name));
        to[count].value = value ? bytes_of(value, size) : BYTES_ABSENT;
        count++;
    }
    return count;
}

static void fill_record(const rd_kafka_message_t *message, struct record *record)
{
    rd_kafka_timestamp_type_t type;
    int64_t timestamp_ms = rd_kafka_message_timestamp(message, &type);

    record->partition = message->partition;
    record->offset = message->offset;
    record->timestamp_ms = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : timestamp_ms;
    record->key = message->key ? bytes_of(message->key, message->key_len) : BYTES_ABSENT;
    record->value =
        message->payload ? bytes_of(message->payload, message->len) : BYTES_ABSENT;
}

static int fill_records(struct source *source, struct error *err)
{
    size_t needed = count_headers(source), used = 0;

    if (needed > source->header_capacity) {
        struct header *headers = realloc(source->headers, needed * sizeof(*headers));

        if (!headers)
            return error_set(err, ERROR_NO_MEMORY, "out of memory");
        source->headers = headers;
        source->header_capacity = needed;
    }
    for (size_t i = 0; i < source->message_count; i++) {
        struct record *record = &source->records[i];

        fill_record(source->messages[i], record);
        record->headers = needed > 0 ? source->headers + used : NULL;
        record->header_count =
            needed > 0 ? fill_headers(source->messages[i], source->headers + used) : 0;
        used += record->header_count;
    }
    return 0;
}

/* Hands a held error to the caller. Once the offset was out of range, the partition is
 * silent until it is started again, so that error stays. */
static int tell_held(struct source *source, struct error *err)
{
    int code = source->held.code;

    if (err && !err->code)
        *err = source->held;
    if (code != ERROR_NOT_FOUND && !source->held.fatal)
        error_clear(&source->held);
    return code;
}

int source_poll(struct source *source, int timeout_ms, size_t max,
                const struct record **ret_records, size_t *ret_count,
                bool *ret_topic_trouble, struct error *err)
{
    int64_t deadline_ms = handle_now_ms() + timeout_ms;
    int r;

    release_messages(source);
    if (max > BATCH_MAX)
        max = BATCH_MAX;
    if (max == 0)
        max = 1;
    r = reserve_messages(source, max, err);
    if (r < 0)
        return r;
    /* Events that are no records (the end was reached, an error) do not end the
     * waiting. */
    while (source->message_count == 0 && !source->held.code) {
        size_t taken = take_messages(source, handle_remaining_ms(deadline_ms), max);

        sort_out(source, taken);
        if (taken == 0 || source->topic_trouble)
            break;
    }
    if (ret_topic_trouble) {
        *ret_topic_trouble = source->topic_trouble;
        source->topic_trouble = false;
    }
    if (source->message_count == 0 && source->held.code)
        return tell_held(source, err);
    r = fill_records(source, err);
    if (r < 0)
        return r;
    *ret_records = source->records;
    *ret_count = source->message_count;
    return 0;
}

bool source_broke(const struct source *source)
{
    return source->broke;
}

int source_read_one(struct source *source, int64_t offset, int timeout_ms,
                    const struct record **ret_record, struct error *err)
{
    int64_t deadline_ms = handle_now_ms() + timeout_ms, low, high;
    const struct record *records;
    size_t count = 0;
    int r;

    if (offset < 0)
        return 1;
    r = source_watermarks(source, timeout_ms, &low, &high, err);
    if (r < 0)
        return r;
    if (offset < low || offset >= high)
        return 1;
    r = source_start(source, offset, err);
    if (r < 0)
        return r;
    /* A record of a higher offset, or the end: the one asked for was a mark of a
     * transaction, or is gone. */
    do {
        r = source_poll(source, handle_remaining_ms(deadline_ms), 1, &records, &count,
                        NULL, err);
        if (r == ERROR_NOT_FOUND) {
            error_clear(err);
            return 1;
        }
        if (r < 0)
            return r;
    } while (count == 0 && !source->end_reached && handle_remaining_ms(deadline_ms) > 0);
    if (count == 0 && !source->end_reached) {
        (void)error_set(err, ERROR_TIMEOUT, "record %lld of %s [%d] did not come in time",
                        (long long)offset, source->topic, source->partition);
        if (err)
            err->retriable = true;
        return ERROR_TIMEOUT;
    }
    if (count == 0 || records[0].offset != offset)
        return 1;
    *ret_record = &records[0];
    return 0;
}
