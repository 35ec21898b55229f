/* handle.c - opening, asking and destroying librdkafka handles, and the translation of
 * their errors.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/kafka/handle.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How long handle_destroy() waits for the library. kafka.h promises a second. */
#define DESTROY_TIMEOUT_MS 900
/* How long to wait before the metadata of a topic without leaders is asked for again. */
#define METADATA_PAUSE_MS 50

static kafka_log_fn log_function;

void kafka_log_set(kafka_log_fn log)
{
    log_function = log;
}

const char *kafka_library_version(void)
{
    return rd_kafka_version_str();
}

int64_t handle_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int handle_remaining_ms(int64_t deadline_ms)
{
    int64_t remaining_ms = deadline_ms - handle_now_ms();

    if (remaining_ms <= 0)
        return 0;
    return remaining_ms > INT32_MAX ? INT32_MAX : (int)remaining_ms;
}

/* ---- logs -------------------------------------------------------------------------- */

void handle_log(int level, const char *facility, const char *text)
{
    if (log_function)
        log_function(level, facility, text);
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility,
                   const char *text)
{
    (void)rk;
    /* "... is experimental", at every opening of a log's sink: known, and of no use to
     * anybody. */
    if (strcmp(facility, "CONFWARN") == 0 && strstr(text, "enable.gapless.guarantee"))
        return;
    handle_log(level, facility, text);
}

/* ---- errors ------------------------------------------------------------------------ */

bool handle_error_is_transient(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__WAIT_CACHE:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_NOT_CONTROLLER:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
        return true;
    default:
        return false;
    }
}

/* What the operator can do about it, or NULL. */
static const char *cure(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return "grant the agent's user its rights on the topic with kafka-acls.sh";
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        return "grant the agent's user Write on the topics (or IdempotentWrite on the "
               "cluster) "
               "with kafka-acls.sh";
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
        return "check the sasl.* settings of [kafka]";
    case RD_KAFKA_RESP_ERR__SSL:
        return "check the ssl.* settings of [kafka]";
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
        return "look for brokers that are down or out of sync";
    default:
        return NULL;
    }
}

static int class_of(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        return ERROR_NOT_FOUND;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
        return ERROR_TOO_LARGE;
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
        return ERROR_TIMEOUT;
    default:
        return ERROR_KAFKA;
    }
}

int handle_error(struct error *err, rd_kafka_resp_err_t code, const char *what,
                 const char *text)
{
    bool first = err && !err->code;
    int result = class_of(code);
    const char *advice = cure(code);

    (void)error_set(err, result, "%s: %s (%s)%s%s", what,
                    text ? text : rd_kafka_err2str(code), rd_kafka_err2name(code),
                    advice ? "; " : "", advice ? advice : "");
    if (first) {
        err->retriable =
            handle_error_is_transient(code) || code == RD_KAFKA_RESP_ERR__QUEUE_FULL;
        err->fatal =
            code == RD_KAFKA_RESP_ERR__FATAL || code == RD_KAFKA_RESP_ERR__FENCED;
    }
    return result;
}

/* ---- life -------------------------------------------------------------------------- */

int handle_open(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **ret_rk,
                struct error *err)
{
    char text[512];
    rd_kafka_t *rk;

    rd_kafka_conf_set_log_cb(conf, on_log);
    rk = rd_kafka_new(type, conf, text, sizeof(text));
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        return error_set(err, ERROR_CONFIG, "Kafka: %s", text);
    }
    /* The log's queue ends in the one that the owner polls, so that on_log() runs in its
     * thread. */
    if (type == RD_KAFKA_CONSUMER)
        (void)rd_kafka_poll_set_consumer(
            rk); /* fails without a group: then the main queue is polled */
    (void)rd_kafka_set_log_queue(rk,
                                 NULL); /* fails only without log.queue, which is ours */
    *ret_rk = rk;
    return 0;
}

void handle_wake(rd_kafka_queue_t *queue, int wake_fd)
{
    const uint64_t one = 1;

    if (wake_fd < 0)
        return;
    rd_kafka_queue_io_event_enable(queue, wake_fd, &one, sizeof(one));
    if (write(wake_fd, &one, sizeof(one)) < 0)
        return; /* full: then it is readable, which is all that was wanted */
}

struct destroyer {
    rd_kafka_t *rk;
    void (*release)(void *context);
    void *context;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool done;
    bool abandoned; /* nobody waits any more: the thread frees this */
};

static void destroyer_free(struct destroyer *destroyer)
{
    (void)pthread_cond_destroy(&destroyer->changed);
    (void)pthread_mutex_destroy(&destroyer->mutex);
    free(destroyer);
}

static void destroy_now(rd_kafka_t *rk, void (*release)(void *context), void *context)
{
    rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    if (release)
        release(context);
}

static void *destroyer_main(void *argument)
{
    struct destroyer *destroyer = argument;
    bool abandoned;

    destroy_now(destroyer->rk, destroyer->release, destroyer->context);
    (void)pthread_mutex_lock(&destroyer->mutex);
    destroyer->done = true;
    abandoned = destroyer->abandoned;
    (void)pthread_cond_signal(&destroyer->changed);
    (void)pthread_mutex_unlock(&destroyer->mutex);
    if (abandoned)
        destroyer_free(destroyer);
    return NULL;
}

static struct destroyer *destroyer_new(rd_kafka_t *rk, void (*release)(void *context),
                                       void *context)
{
    struct destroyer *destroyer = calloc(1, sizeof(*destroyer));
    pthread_condattr_t attributes;

    if (!destroyer)
        return NULL;
    destroyer->rk = rk;
    destroyer->release = release;
    destroyer->context = context;
    (void)pthread_mutex_init(&destroyer->mutex, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&destroyer->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return destroyer;
}

/* Starts the thread with all signals blocked: they are for the program's own threads. */
static int start_destroyer(struct destroyer *destroyer, pthread_t *ret_thread)
{
    sigset_t all, before;
    int result;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    result = pthread_create(ret_thread, NULL, destroyer_main, destroyer);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

void handle_destroy(rd_kafka_t *rk, void (*release)(void *context), void *context)
{
    struct destroyer *destroyer = destroyer_new(rk, release, context);
    struct timespec deadline;
    pthread_t thread;
    bool done;

    /* With its queues gone, the library would log from whichever thread it is in. */
    rd_kafka_set_log_level(rk, 0);
    if (!destroyer || start_destroyer(destroyer, &thread) != 0) {
        if (destroyer)
            destroyer_free(destroyer);
        destroy_now(rk, release, context);
        return;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_nsec += (long)DESTROY_TIMEOUT_MS * 1000000;
    deadline.tv_sec += deadline.tv_nsec / 1000000000;
    deadline.tv_nsec %= 1000000000;

    (void)pthread_mutex_lock(&destroyer->mutex);
    while (!destroyer->done &&
           pthread_cond_timedwait(&destroyer->changed, &destroyer->mutex, &deadline) !=
               ETIMEDOUT)
        continue;
    done = destroyer->done;
    destroyer->abandoned = !done;
    (void)pthread_mutex_unlock(&destroyer->mutex);
    if (done) {
        (void)pthread_join(thread, NULL);
        destroyer_free(destroyer);
    } else {
        (void)pthread_detach(thread);
    }
}

/* ---- metadata ---------------------------------------------------------------------- */

static rd_kafka_resp_err_t topic_code(const struct rd_kafka_metadata *metadata)
{
    if (metadata->topic_cnt != 1)
        return RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if (metadata->topics[0].err)
        return metadata->topics[0].err;
    if (metadata->topics[0].partition_cnt == 0)
        return RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

int handle_metadata(rd_kafka_t *rk, rd_kafka_topic_t *topic, int64_t deadline_ms,
                    const struct rd_kafka_metadata **ret_metadata, struct error *err)
{
    const struct timespec pause = {0, METADATA_PAUSE_MS * 1000000L};
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code;

    for (;;) {
        int remaining_ms = handle_remaining_ms(deadline_ms);

        code = rd_kafka_metadata(rk, 0, topic, &metadata,
                                 remaining_ms > 0 ? remaining_ms : 1);
        if (!code) {
            code = topic_code(metadata);
            if (!code) {
                *ret_metadata = metadata;
                return 0;
            }
            rd_kafka_metadata_destroy(metadata);
        }
        if (!handle_error_is_transient(code))
            return handle_error(err, code, rd_kafka_topic_name(topic), NULL);
        if (handle_remaining_ms(deadline_ms) <= METADATA_PAUSE_MS)
            break;
        (void)nanosleep(&pause, NULL);
    }
    (void)error_set(err, ERROR_TIMEOUT, "no answer about topic %s in time: %s",
                    rd_kafka_topic_name(topic), rd_kafka_err2str(code));
    if (err)
        err->retriable = true;
    return ERROR_TIMEOUT;
}
