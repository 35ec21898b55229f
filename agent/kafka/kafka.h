/* kafka.h - the only face of librdkafka: sources (consume), sinks (produce), topics,
 * embedded broker.
 *
 * Every object here belongs to one thread; no callback runs in another. A source or sink
 * signals new work by writing to the wake descriptor given at its opening (an eventfd,
 * non-blocking), so that one poll() waits for all of them; a signal comes only when a
 * queue turns from empty to not empty (and once at the opening), so a woken thread drains
 * with timeout 0 until nothing comes.
 *
 * Errors: ERROR_KAFKA with the library's text and, where we know it, the cure;
 * retriable/fatal as the library says. Library logs go to kafka_log_set()'s function.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_KAFKA_KAFKA_H
#define AGENT_KAFKA_KAFKA_H

#include "events/base/bytes.h"
#include "events/base/error.h"

/* Properties as they stand in the configuration; later ones win. Borrowed for the life of
 * what is opened. */
struct kafka_property {
    const char *name;
    const char *value;
    const char *origin; /* for error texts: "kinlog.conf:12", "KINLOG_...", "-X" */
};
struct kafka_settings {
    const struct kafka_property *common; /* [kafka] */
    size_t common_count;
    const struct kafka_property *consumer; /* [kafka.consumer] */
    size_t consumer_count;
    const struct kafka_property *producer; /* [kafka.producer] */
    size_t producer_count;
    const char *client_id; /* e.g. "kinlog-hq" */
    const char *group_id;  /* "<prefix>.<site>", for lag displays only */
    bool embedded; /* the broker is ours (mock): no admin calls, fetch.wait.max.ms=10 */
};

/* Checks every property by handing it to the library; the error names property, origin
 * and the library's reason. Properties that are the agent's own (messages.md 6, and
 * group.id, enable.auto.commit, enable.auto.offset.store, enable.gapless.guarantee,
 * transactional.id, test.mock.*, callbacks) are refused. ERROR_CONFIG. */
int kafka_settings_check(const struct kafka_settings *settings, struct error *err);

/* level: syslog 0..7. facility, text: borrowed for the call. Called in the thread that
 * polls or opens. */
typedef void (*kafka_log_fn)(int level, const char *facility, const char *text);
void kafka_log_set(kafka_log_fn log);
const char *kafka_library_version(void);

struct header {
    struct bytes name;  /* UTF-8, may hold anything that a stranger sends */
    struct bytes value; /* may be absent (null) */
};

struct record {
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms; /* -1 if the broker has none */
    struct bytes key;     /* absent = null */
    struct bytes value;   /* absent = tombstone */
    const struct header *headers;
    size_t header_count;
};

/* ---- source: reads one partition from a given offset on ---------------------------- */

struct source;
int source_open(const struct kafka_settings *settings, const char *topic,
                int32_t partition, int wake_fd, struct source **ret_source,
                struct error *err);
/* NULL is fine. Returns within a second even when no broker answers. */
void source_close(struct source *source);
/* First and next-to-be-written offset. Retries inside timeout_ms; ERROR_TIMEOUT,
 * ERROR_NOT_FOUND (no such topic or partition). */
int source_watermarks(struct source *source, int timeout_ms, int64_t *ret_low,
                      int64_t *ret_high, struct error *err);
/* Reads from this offset on (an exact number). */
int source_start(struct source *source, int64_t offset, struct error *err);
/* Up to max records without waiting longer than timeout_ms for the first; *ret_count may
 * be 0. Records and all they point to are borrowed until the next call on the source.
 * ERROR_NOT_FOUND: the offset is no longer (or not yet) there; ask for the watermarks.
 * ERROR_KAFKA fatal: open anew. Transient trouble (broker away) is no error, only
 * silence. Also *ret_topic_trouble (may be NULL) becomes true when the library reported
 * the topic or partition unknown meanwhile: check the anchor. */
int source_poll(struct source *source, int timeout_ms, size_t max,
                const struct record **ret_records, size_t *ret_count,
                bool *ret_topic_trouble, struct error *err);
/* Has a connection to a broker broken since the last start? A broker may have lost its
 * newest records meanwhile, and have others at their offsets: what the last poll gave may
 * not follow what the one before it gave. */
bool source_broke(const struct source *source);
/* Reads one record by offset; 0, 1 = not there (any more, or not yet), or negative. Moves
 * the reading position: call source_start() afterwards. */
int source_read_one(struct source *source, int64_t offset, int timeout_ms,
                    const struct record **ret_record, struct error *err);
/* Commits the position to the group, asynchronously and without caring for the
 * outcome. */
void source_commit(struct source *source, int64_t next_offset);

/* ---- sink: an idempotent producer -------------------------------------------------- */

enum sink_role {
    SINK_LOG,   /* events, claims: gapless; the first delivery error ends it */
    SINK_OUTBOX /* answers, forwards, dead letters: each delivery reported by itself */
};

/* One delivery report, in the order of the broker's acknowledgements per partition. code
 * 0 = acknowledged at offset (-1 = unknown). */
struct delivery {
    uint64_t tag; /* as given to sink_send */
    int32_t partition;
    int64_t offset;
    int code; /* 0, ERROR_TOO_LARGE, or ERROR_KAFKA */
};
typedef void (*delivery_fn)(void *context, const struct delivery *delivery);

struct sink;
/* max_message_bytes: the least max.message.bytes of the topics written to (sets
 * message.max.bytes and batch.size); 0 = the library's default. */
int sink_open(const struct kafka_settings *settings, enum sink_role role,
              size_t max_message_bytes, int wake_fd, delivery_fn on_delivery,
              void *context, struct sink **ret_sink, struct error *err);
/* Purges what is queued and in flight without waiting for it; no callback comes any more.
 * NULL is fine. */
void sink_close(struct sink *sink);
/* Makes the topic known before the first message (2.0.2 waits up to 1 s otherwise) and
 * tells the number of its partitions. ERROR_NOT_FOUND, ERROR_TIMEOUT. */
int sink_topic(struct sink *sink, const char *topic, int timeout_ms,
               int32_t *ret_partitions, struct error *err);
/* Copies everything. timestamp_ms < 0: now. Partition must be explicit. ERROR_TOO_LARGE;
 * ERROR_TIMEOUT = queue full, poll and try again; ERROR_KAFKA fatal. */
int sink_send(struct sink *sink, const char *topic, int32_t partition, struct bytes key,
              struct bytes value, const struct header *headers, size_t header_count,
              int64_t timestamp_ms, uint64_t tag, struct error *err);
/* Serves delivery reports (calls on_delivery) without waiting longer than timeout_ms;
 * returns how many reports it served. */
int sink_poll(struct sink *sink, int timeout_ms);
size_t sink_pending(const struct sink *sink); /* sent and not reported */
/* SINK_LOG: true after a delivery error, a fatal error of the handle, or a broken
 * connection to a broker (design section 5, claims R3); *ret_err (may be NULL) says
 * which. Never false again. No delivery is reported any more. SINK_OUTBOX: true after a
 * fatal error of the handle only; deliveries go on being reported. A failed sink wants
 * closing and opening anew. */
bool sink_failed(const struct sink *sink, struct error *ret_err);
/* Waits until nothing is pending, at most timeout_ms; ERROR_TIMEOUT. */
int sink_flush(struct sink *sink, int timeout_ms, struct error *err);

/* ---- topics ------------------------------------------------------------------------ */

struct topic_names {
    const char *commands, *events, *replies, *dead_letters, *storage;
};

enum topic_finding_level { TOPIC_OK, TOPIC_WARNING, TOPIC_REFUSED };
/* One line of the check: what is wrong, and the kafka-configs/kafka-topics command that
 * mends it. */
struct topic_finding {
    enum topic_finding_level level;
    char text[768];
};
struct topics_report {
    char cluster_id[64];
    int32_t partitions; /* of commands */
    size_t max_message_bytes
        [5]; /* in the order of struct topic_names; 0 = could not be read */
    struct topic_finding *findings;
    size_t finding_count;
    bool refused; /* any finding is TOPIC_REFUSED */
};
/* messages.md 1: asks the broker for metadata and settings of all five topics and judges
 * them: commands and events partition counts equal and dividing 240 (and equal to shards,
 * if shards > 0), events/storage retention -1 and cleanup.policy delete, unclean election
 * off, commands LogAppendTime, dead-letters size, ... What loses the log is REFUSED
 * (missing topic, too few partitions, retention or unclean leaders of events, compaction,
 * commands with CreateTime), the rest a warning. ERROR_TIMEOUT (broker not reached) is
 * retriable. */
int topics_check(const struct kafka_settings *settings, const struct topic_names *names,
                 int32_t shards, int timeout_ms, struct topics_report *ret_report,
                 struct error *err);
void topics_report_release(struct topics_report *report);
/* Creates what is missing with the right settings (replication 3 / min ISR 2 where there
 * are three brokers, else 1); existing topics are left alone. *ret_created: how many. */
int topics_create(const struct kafka_settings *settings, const struct topic_names *names,
                  int32_t partitions, int timeout_ms, int *ret_created,
                  struct error *err);

/* ---- the embedded broker: librdkafka's mock cluster; memory only, not durable ------ */

struct embedded_broker;
/* Listens on 127.0.0.1:port (0 = any free one); makes the five topics with that many
 * partitions. ERROR_LOCKED: the port is taken. */
int embedded_broker_open(int port, const struct topic_names *names, int32_t partitions,
                         struct embedded_broker **ret_broker, struct error *err);
const char *embedded_broker_bootstrap(
    const struct embedded_broker *broker); /* "127.0.0.1:19092" */
/* The mock cluster itself (rd_kafka_mock_cluster_t), for tests that inject faults. Leave
 * 2 ms between two calls to it: the second of two that follow at once takes a second. */
void *embedded_broker_mock(struct embedded_broker *broker);
void embedded_broker_close(struct embedded_broker *broker);

#endif
