/* handle.h - what source, sink and topics share: the library's settings, errors and
 * shutdown.
 *
 * Private to agent/kafka: the only header besides librdkafka's own that names an
 * rd_kafka_ type.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_KAFKA_HANDLE_H
#define AGENT_KAFKA_HANDLE_H

#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "agent/kafka/kafka.h"
#include "events/base/error.h"

enum handle_role {
    HANDLE_SOURCE,
    HANDLE_LOG_SINK,
    HANDLE_OUTBOX_SINK,
    HANDLE_ADMIN, /* metadata and admin calls; a consumer: a producer's create topics */
};

/* The configuration of a handle: the agent's defaults, then the user's properties, then
 * what is the agent's own. The caller owns *ret_conf until rd_kafka_new() has taken it.
 * ERROR_CONFIG. */
int handle_conf_new(const struct kafka_settings *settings, enum handle_role role,
                    size_t max_message_bytes, rd_kafka_conf_t **ret_conf,
                    struct error *err);

/* Makes the handle and leads its log lines to the queue that the owner polls. Takes conf
 * in any case. */
int handle_open(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **ret_rk,
                struct error *err);

/* Makes the queue write to wake_fd (an eventfd; -1 = none) when it turns from empty to
 * not empty, and writes once itself: what is in the queue already would hold back every
 * later signal. */
void handle_wake(rd_kafka_queue_t *queue, int wake_fd);

/* Destroys the handle and then calls release(context), which frees what callbacks of the
 * library's threads may use. Waits at most a second; if the library takes longer, a
 * thread of its own finishes the work. All queues, topics and messages of the handle are
 * gone before. */
void handle_destroy(rd_kafka_t *rk, void (*release)(void *context), void *context);

/* The one translation of the library's codes. Returns the enum error_code that was set;
 * text may be NULL for the library's own. */
int handle_error(struct error *err, rd_kafka_resp_err_t code, const char *what,
                 const char *text);

/* True for codes that mean "the broker is not there or not ready": asking again may
 * help. */
bool handle_error_is_transient(rd_kafka_resp_err_t code);

/* Hands one line to kafka_log_set()'s function. */
void handle_log(int level, const char *facility, const char *text);

/* The value of bootstrap.servers, or "" if there is none. */
const char *handle_bootstrap(const struct kafka_settings *settings);

/* Monotonic clock, for deadlines. */
int64_t handle_now_ms(void);
int handle_remaining_ms(int64_t deadline_ms); /* never negative */

/* Asks the broker for one topic's metadata until it answers or the deadline is over.
 * Given: destroy with rd_kafka_metadata_destroy(). ERROR_NOT_FOUND: no such topic;
 * ERROR_TIMEOUT. */
int handle_metadata(rd_kafka_t *rk, rd_kafka_topic_t *topic, int64_t deadline_ms,
                    const struct rd_kafka_metadata **ret_metadata, struct error *err);

#endif
