/* sink.c - an idempotent producer that says when its connection broke.
 *
 * librdkafka mends a broken connection by itself and sends again what was in flight. That
 * is right for the outbox and wrong for the log: an epoch's claim to be alone rests on
 * delivery reports that came over an unbroken connection, since a broker that lost its
 * newest records would take the rest of them as if nothing had happened. The library's
 * error callback does not tell enough (connections idle for a minute break in silence,
 * equal errors are suppressed for 30 s), so the sink watches the states of the broker
 * connections:
 *
 *   1. the library's broker thread sees the connection end and sets the broker's state to
 *      DOWN;
 *   2. on_broker_state(), called there and then, marks a SINK_LOG as failed and wakes its
 *      owner;
 *   3. the library connects again and sends again; reports of that are only queued after
 *      2;
 *   4. the owner polls; on_report() sees the mark and reports nothing any more.
 *
 * A connection that never was up does not count: a broker that is not there yet is waited
 * for. Nor does one that nothing of ours went through, like that of a bootstrap address.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/kafka/kafka.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/kafka/handle.h"

/* Topics a sink writes to: five of ours, and those of the configured reply_allow. */
#define TOPICS_MAX 256
/* Brokers of which the state is remembered. Beyond it, a broker counts as up and as
 * used. */
#define CONNECTIONS_MAX 256
/* sink_flush() looks this often whether the sink has failed. */
#define FLUSH_STEP_MS 100
/* The fields of a message: topic, partition, key, value, opaque, flags, headers, time. */
#define FIELDS_MAX 8

static_assert(sizeof(void *) >= sizeof(uint64_t),
              "a tag travels as a message's opaque pointer");

/* What the library's threads touch. Lives until the library has destroyed the handle. */
struct watch {
    pthread_mutex_t
        mutex;   /* guards all below but the atomics; taken inside the library's locks */
    int wake_fd; /* -1 = none, or closing */
    bool fails_on_break; /* SINK_LOG */
    /* hashes of "host:port" of the connections that are up */
    uint64_t up[CONNECTIONS_MAX];
    size_t up_count;
    int32_t used[CONNECTIONS_MAX]; /* ids of brokers that acknowledged something */
    size_t used_count;
    struct error failure;
    atomic_bool failed;
    atomic_size_t pending;
};

struct sink {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    enum sink_role role;
    delivery_fn on_delivery;
    void *context;
    bool closing;
    int served; /* reports since the poll began */
    int32_t last_broker_id;
    /* what offset_of() expects next of a batch without an offset; -1 = no such batch */
    int64_t invented_next;
    const rd_kafka_topic_t *invented_topic;
    int32_t invented_partition;
    rd_kafka_topic_t *topics[TOPICS_MAX];
    size_t topic_count;
    struct watch *watch;
};

/* ---- failing ----------------------------------------------------------------------- */

/* The mutex is held. The first failure wins. */
static void set_failed(struct watch *watch, int code, bool retriable, const char *text)
{
    const uint64_t one = 1;

    if (watch->failure.code)
        return;
    (void)error_set(&watch->failure, code, "%s", text);
    watch->failure.retriable = retriable;
    watch->failure.fatal = true;
    atomic_store(&watch->failed, true);
    if (watch->wake_fd >= 0 && write(watch->wake_fd, &one, sizeof(one)) < 0)
        return; /* full: then it is readable, which is all that was wanted */
}

static void fail(struct sink *sink, int code, const char *text)
{
    (void)pthread_mutex_lock(&sink->watch->mutex);
    set_failed(sink->watch, code, /* retriable= */ false, text);
    (void)pthread_mutex_unlock(&sink->watch->mutex);
}

static int copy_failure(const struct sink *sink, struct error *err)
{
    struct watch *watch = sink->watch;
    int code;

    (void)pthread_mutex_lock(&watch->mutex);
    code = watch->failure.code;
    if (err && !err->code)
        *err = watch->failure;
    (void)pthread_mutex_unlock(&watch->mutex);
    return code;
}

/* ---- the states of the connections ------------------------------------------------- */

static uint64_t hash_address(const char *name, int port)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */

    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 1099511628211u;
    return (hash ^ (unsigned)port) * 1099511628211u;
}

static void connection_is_up(struct watch *watch, uint64_t address)
{
    for (size_t i = 0; i < watch->up_count; i++)
        if (watch->up[i] == address)
            return;
    if (watch->up_count < CONNECTIONS_MAX)
        watch->up[watch->up_count++] = address;
}

/* Returns whether the connection had been up. */
static bool connection_is_down(struct watch *watch, uint64_t address)
{
    for (size_t i = 0; i < watch->up_count; i++) {
        if (watch->up[i] == address) {
            watch->up[i] = watch->up[--watch->up_count];
            return true;
        }
    }
    return watch->up_count == CONNECTIONS_MAX;
}

/* Whether records of ours went through the broker's connection, or may be on their way
 * through it. */
static bool carries_ours(const struct watch *watch, int32_t broker_id)
{
    if (broker_id < 0) /* a bootstrap address or a coordinator: no record goes there */
        return false;
    if (atomic_load(&watch->pending) > 0 || watch->used_count == CONNECTIONS_MAX)
        return true;
    for (size_t i = 0; i < watch->used_count; i++)
        if (watch->used[i] == broker_id)
            return true;
    return false;
}

/* Called by the library's broker threads, with locks of theirs held. */
static rd_kafka_resp_err_t on_broker_state(rd_kafka_t *rk, int32_t broker_id,
                                           const char *protocol, const char *name,
                                           int port, const char *state, void *opaque)
{
    struct watch *watch = opaque;
    uint64_t address = hash_address(name ? name : "", port);
    char text[512];

    (void)rk;
    (void)protocol;
    (void)pthread_mutex_lock(&watch->mutex);
    if (strcmp(state, "UP") == 0 || strcmp(state, "UPDATE") == 0) {
        connection_is_up(watch, address);
    } else if (strcmp(state, "DOWN") == 0 && connection_is_down(watch, address) &&
               watch->fails_on_break && carries_ours(watch, broker_id)) {
        (void)snprintf(text, sizeof(text),
                       "the connection to broker %" PRId32 " (%s:%d) broke", broker_id,
                       name ? name : "", port);
        set_failed(watch, ERROR_KAFKA, /* retriable= */ true, text);
    }
    (void)pthread_mutex_unlock(&watch->mutex);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf,
                                  void *opaque, char *text, size_t text_size)
{
    (void)conf;
    (void)text;
    (void)text_size;
    return rd_kafka_interceptor_add_on_broker_state_change(rk, "kinlog", on_broker_state,
                                                           opaque);
}

/* ---- what the library reports to the owner's thread -------------------------------- */

static void note_broker(struct sink *sink, int32_t broker_id)
{
    struct watch *watch = sink->watch;

    if (broker_id < 0 || broker_id == sink->last_broker_id)
        return;
    sink->last_broker_id = broker_id;
    (void)pthread_mutex_lock(&watch->mutex);
    for (size_t i = 0; i < watch->used_count; i++)
        if (watch->used[i] == broker_id)
            goto done;
    if (watch->used_count < CONNECTIONS_MAX)
        watch->used[watch->used_count++] = broker_id;
done:
    (void)pthread_mutex_unlock(&watch->mutex);
}

static int delivery_code(rd_kafka_resp_err_t code)
{
    if (!code)
        return 0;
    return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
                   code == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE
               ? ERROR_TOO_LARGE
               : ERROR_KAFKA;
}

/* The offset at which the broker has the record; -1 = unknown. A broker that has a batch
 * already acknowledges it without an offset, -1, and the library counts on from there:
 * -1, 0, 1, ... A true offset behind such a batch is larger than what comes next. */
static int64_t offset_of(struct sink *sink, const rd_kafka_message_t *message)
{
    bool invented = message->offset >= 0 && message->offset == sink->invented_next &&
                    message->rkt == sink->invented_topic &&
                    message->partition == sink->invented_partition;

    if (message->err || (message->offset >= 0 && !invented)) {
        sink->invented_next = -1;
        return message->err ? -1 : message->offset;
    }
    sink->invented_next = message->offset < 0 ? 0 : message->offset + 1;
    sink->invented_topic = message->rkt;
    sink->invented_partition = message->partition;
    return -1;
}

static void fail_on_report(struct sink *sink, const rd_kafka_message_t *message)
{
    struct error err = {0};
    char text[512];

    (void)handle_error(&err, message->err, rd_kafka_topic_name(message->rkt), NULL);
    (void)snprintf(text, sizeof(text), "record not delivered to %.400s", err.text);
    fail(sink, delivery_code(message->err), text);
}

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct sink *sink = opaque;
    struct delivery delivery = {
        .tag = (uint64_t)(uintptr_t)message->_private,
        .partition = message->partition,
        .offset = offset_of(sink, message),
        .code = delivery_code(message->err),
    };

    (void)rk;
    if (!message->err) /* before pending falls: in between, a break must count */
        note_broker(sink, rd_kafka_message_broker_id(message));
    atomic_fetch_sub(&sink->watch->pending, 1);
    if (sink->closing)
        return;
    if (sink->role == SINK_LOG) {
        if (message->err && !atomic_load(&sink->watch->failed))
            fail_on_report(sink, message);
        if (atomic_load(&sink->watch->failed))
            return;
    }
    sink->served++;
    sink->on_delivery(sink->context, &delivery);
}

static void on_error(rd_kafka_t *rk, int code, const char *text, void *opaque)
{
    struct sink *sink = opaque;
    char fatal_text[512], whole[600];
    rd_kafka_resp_err_t fatal;

    (void)text;
    if (code != RD_KAFKA_RESP_ERR__FATAL)
        return; /* informational; the log has it, and on_broker_state() sees breaks */
    fatal = rd_kafka_fatal_error(rk, fatal_text, sizeof(fatal_text));
    (void)snprintf(whole, sizeof(whole), "producer at its end: %s (%s)", fatal_text,
                   rd_kafka_err2name(fatal));
    fail(sink, ERROR_KAFKA, whole);
}

/* ---- life -------------------------------------------------------------------------- */

static void watch_release(void *context)
{
    struct watch *watch = context;

    (void)pthread_mutex_destroy(&watch->mutex);
    free(watch);
}

static struct watch *watch_new(int wake_fd, enum sink_role role)
{
    struct watch *watch = calloc(1, sizeof(*watch));

    if (!watch)
        return NULL;
    (void)pthread_mutex_init(&watch->mutex, NULL);
    watch->wake_fd = wake_fd;
    watch->fails_on_break = role == SINK_LOG;
    atomic_init(&watch->failed, false);
    atomic_init(&watch->pending, 0);
    return watch;
}

static int open_handle(struct sink *sink, const struct kafka_settings *settings,
                       size_t max_message_bytes, struct error *err)
{
    rd_kafka_conf_t *conf;
    int r;

    r = handle_conf_new(settings,
                        sink->role == SINK_LOG ? HANDLE_LOG_SINK : HANDLE_OUTBOX_SINK,
                        max_message_bytes, &conf, err);
    if (r < 0)
        return r;
    rd_kafka_conf_set_opaque(conf, sink);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    (void)rd_kafka_conf_interceptor_add_on_new(conf, "kinlog", on_new, sink->watch);
    return handle_open(RD_KAFKA_PRODUCER, conf, &sink->rk, err);
}

int sink_open(const struct kafka_settings *settings, enum sink_role role,
              size_t max_message_bytes, int wake_fd, delivery_fn on_delivery,
              void *context, struct sink **ret_sink, struct error *err)
{
    struct sink *sink = calloc(1, sizeof(*sink));
    int r = ERROR_NO_MEMORY;

    if (sink)
        sink->watch = watch_new(wake_fd, role);
    if (!sink || !sink->watch) {
        free(sink);
        return error_set(err, r, "out of memory");
    }
    sink->role = role;
    sink->on_delivery = on_delivery;
    sink->context = context;
    sink->last_broker_id = -1;
    sink->invented_next = -1;
    r = open_handle(sink, settings, max_message_bytes, err);
    if (r < 0) {
        watch_release(sink->watch);
        free(sink);
        return r;
    }
    sink->queue = rd_kafka_queue_get_main(sink->rk);
    handle_wake(sink->queue, wake_fd);
    *ret_sink = sink;
    return 0;
}

void sink_close(struct sink *sink)
{
    if (!sink)
        return;
    sink->closing = true;
    (void)pthread_mutex_lock(&sink->watch->mutex);
    sink->watch->wake_fd = -1;
    (void)pthread_mutex_unlock(&sink->watch->mutex);
    rd_kafka_queue_io_event_enable(sink->queue, -1, NULL, 0);
    (void)rd_kafka_purge(sink->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                       RD_KAFKA_PURGE_F_NON_BLOCKING);
    (void)rd_kafka_poll(sink->rk,
                        0); /* takes the reports of what was purged, and drops them */
    for (size_t i = 0; i < sink->topic_count; i++)
        rd_kafka_topic_destroy(sink->topics[i]);
    rd_kafka_queue_destroy(sink->queue);
    handle_destroy(sink->rk, watch_release, sink->watch);
    free(sink);
}

/* ---- topics ------------------------------------------------------------------------ */

static int get_topic(struct sink *sink, const char *name, rd_kafka_topic_t **ret_topic,
                     struct error *err)
{
    rd_kafka_topic_t *topic;

    for (size_t i = 0; i < sink->topic_count; i++) {
        if (strcmp(rd_kafka_topic_name(sink->topics[i]), name) == 0) {
            *ret_topic = sink->topics[i];
            return 0;
        }
    }
    if (sink->topic_count == TOPICS_MAX)
        return error_set(err, ERROR_INVALID, "more than %d topics written to",
                         TOPICS_MAX);
    topic = rd_kafka_topic_new(sink->rk, name, NULL);
    if (!topic)
        return handle_error(err, rd_kafka_last_error(), name, NULL);
    sink->topics[sink->topic_count++] = topic;
    *ret_topic = topic;
    return 0;
}

int sink_topic(struct sink *sink, const char *topic, int timeout_ms,
               int32_t *ret_partitions, struct error *err)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *handle = NULL;
    int r;

    r = get_topic(sink, topic, &handle, err);
    if (r < 0)
        return r;
    r = handle_metadata(sink->rk, handle, handle_now_ms() + timeout_ms, &metadata, err);
    if (r < 0)
        return r;
    *ret_partitions = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    return 0;
}

/* ---- sending ----------------------------------------------------------------------- */

static void add_memory(rd_kafka_vu_t *field, rd_kafka_vtype_t type, struct bytes bytes)
{
    field->vtype = type;
    field->u.mem.ptr = (void *)bytes.data; /* copied, never written to */
    field->u.mem.size = bytes.size;
}

/* The list has its size from the start: the library's own begins with eight and grows. */
static int make_headers(const struct header *headers, size_t count,
                        rd_kafka_headers_t **ret_list, struct error *err)
{
    rd_kafka_headers_t *list = rd_kafka_headers_new(count);

    for (size_t i = 0; i < count; i++) {
        struct bytes name = headers[i].name, value = headers[i].value;

        if (rd_kafka_header_add(list, (const char *)name.data, (ssize_t)name.size,
                                value.data, value.data ? (ssize_t)value.size : 0)) {
            rd_kafka_headers_destroy(list);
            return error_set(err, ERROR_NO_MEMORY, "out of memory");
        }
    }
    *ret_list = list;
    return 0;
}

static size_t fill_fields(rd_kafka_vu_t *fields, rd_kafka_topic_t *topic,
                          int32_t partition, struct bytes key, struct bytes value,
                          rd_kafka_headers_t *headers, int64_t timestamp_ms, uint64_t tag)
{
    size_t count = 0;

    fields[count].vtype = RD_KAFKA_VTYPE_RKT;
    fields[count++].u.rkt = topic;
    fields[count].vtype = RD_KAFKA_VTYPE_PARTITION;
    fields[count++].u.i32 = partition;
    fields[count].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    fields[count++].u.i = RD_KAFKA_MSG_F_COPY;
    fields[count].vtype = RD_KAFKA_VTYPE_OPAQUE;
    fields[count++].u.ptr = (void *)(uintptr_t)tag;
    add_memory(&fields[count++], RD_KAFKA_VTYPE_VALUE, value);
    add_memory(&fields[count++], RD_KAFKA_VTYPE_KEY, key);
    fields[count].vtype = RD_KAFKA_VTYPE_HEADERS;
    fields[count++].u.headers = headers;
    if (timestamp_ms >= 0) {
        fields[count].vtype = RD_KAFKA_VTYPE_TIMESTAMP;
        fields[count++].u.i64 = timestamp_ms;
    }
    return count;
}

static int produce_error(struct sink *sink, rd_kafka_error_t *error, const char *topic,
                         struct error *err)
{
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    int r;

    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        r = error_set(err, ERROR_TIMEOUT, "the queue to the broker is full");
        if (err)
            err->retriable = true;
    } else {
        r = handle_error(err, code, topic, rd_kafka_error_string(error));
        if (r == ERROR_KAFKA && err && !err->retriable)
            err->fatal = true;
    }
    if (code == RD_KAFKA_RESP_ERR__FATAL)
        on_error(sink->rk, code, NULL, sink);
    rd_kafka_error_destroy(error);
    return r;
}

int sink_send(struct sink *sink, const char *topic, int32_t partition, struct bytes key,
              struct bytes value, const struct header *headers, size_t header_count,
              int64_t timestamp_ms, uint64_t tag, struct error *err)
{
    rd_kafka_topic_t *handle = NULL;
    rd_kafka_headers_t *list = NULL;
    rd_kafka_vu_t fields[FIELDS_MAX];
    rd_kafka_error_t *error;
    size_t count;
    int r;

    assert(partition >= 0);
    if (atomic_load(&sink->watch->failed))
        return copy_failure(sink, err);
    r = get_topic(sink, topic, &handle, err);
    if (r == 0)
        r = make_headers(headers, header_count, &list, err);
    if (r < 0)
        return r;
    count = fill_fields(fields, handle, partition, key, value, list, timestamp_ms, tag);
    /* Counted before it can be sent, so that a break of the connection finds it
     * pending. */
    atomic_fetch_add(&sink->watch->pending, 1);
    error = rd_kafka_produceva(sink->rk, fields, count);
    if (!error)
        return 0;
    atomic_fetch_sub(&sink->watch->pending, 1);
    rd_kafka_headers_destroy(list); /* the library takes it with success only */
    return produce_error(sink, error, topic, err);
}

int sink_poll(struct sink *sink, int timeout_ms)
{
    sink->served = 0;
    (void)rd_kafka_poll(sink->rk, timeout_ms);
    return sink->served;
}

size_t sink_pending(const struct sink *sink)
{
    return atomic_load(&sink->watch->pending);
}

bool sink_failed(const struct sink *sink, struct error *ret_err)
{
    if (!atomic_load(&sink->watch->failed))
        return false;
    (void)copy_failure(sink, ret_err);
    return true;
}

int sink_flush(struct sink *sink, int timeout_ms, struct error *err)
{
    int64_t deadline_ms = handle_now_ms() + timeout_ms;

    for (;;) {
        int remaining_ms = handle_remaining_ms(deadline_ms);

        (void)rd_kafka_flush(sink->rk,
                             remaining_ms < FLUSH_STEP_MS ? remaining_ms : FLUSH_STEP_MS);
        if (sink->role == SINK_LOG && atomic_load(&sink->watch->failed))
            return copy_failure(sink, err);
        if (sink_pending(sink) == 0)
            return 0;
        if (remaining_ms == 0)
            break;
    }
    (void)error_set(err, ERROR_TIMEOUT, "%zu records not acknowledged in time",
                    sink_pending(sink));
    if (err)
        err->retriable = true;
    return ERROR_TIMEOUT;
}
