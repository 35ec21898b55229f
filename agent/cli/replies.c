/* replies.c - see replies.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/replies.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/cli/progress.h"
#include "agent/clock.h"

#define POLL_MS 200 /* in case a wake-up is missed */
#define RECORDS_MAX 64
#define SENT 0 /* the tag of what exchange_send() waits for */

struct exchange {
    const struct config *config;
    int64_t deadline_ms;
    struct progress waiting;
    int wake_fd;
    struct sink *sink;
    struct delivery delivery; /* of the command that was sent */
    bool delivered;
    exchange_failed_fn failed; /* of those that were posted; may be NULL */
    void *failed_context;
    uint32_t command_partitions, reply_partitions;
    struct source **sources;
    size_t source_count;
    /* what the source read last still holds */
    size_t current;
    const struct record *records;
    size_t record_count, record_next;
};

static char
    library_text[512]; /* what the library said last; the command line has one thread */

static void keep_log(int level, const char *facility, const char *text)
{
    (void)facility;
    if (level > 4)
        return;
    size_t size = strnlen(text, sizeof(library_text) - 1);
    memcpy(library_text, text, size);
    library_text[size] = '\0';
}

static int left_ms(const struct exchange *exchange)
{
    int64_t left = exchange->deadline_ms - clock_monotonic_ms();

    return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

static int delivery_error(const struct exchange *exchange,
                          const struct delivery *delivery, struct error *err)
{
    if (delivery->code == ERROR_TOO_LARGE)
        return error_set(err, ERROR_TOO_LARGE,
                         "the command is larger than topic %s takes",
                         exchange->config->topic_commands);
    if (delivery->code != 0)
        return error_set(err, delivery->code, "the broker did not take the command%s%s",
                         library_text[0] != '\0' ? ": " : "", library_text);
    return 0;
}

static void on_delivery(void *context, const struct delivery *delivery)
{
    struct exchange *exchange = context;
    struct error err = {0};

    if (delivery->tag == SENT) {
        exchange->delivery = *delivery;
        exchange->delivered = true;
    } else if (delivery_error(exchange, delivery, &err) < 0 && exchange->failed != NULL) {
        exchange->failed(exchange->failed_context, delivery->tag, &err);
    }
}

static int find_topics(struct exchange *exchange, struct error *err)
{
    const struct config *config = exchange->config;
    int32_t commands = 0, replies = 0;
    int r = sink_topic(exchange->sink, config->topic_commands, left_ms(exchange),
                       &commands, err);

    if (r == 0)
        r = sink_topic(exchange->sink, config->topic_replies, left_ms(exchange), &replies,
                       err);
    if (r == ERROR_TIMEOUT && library_text[0] != '\0')
        error_prefix(err, "no broker was reached, nothing was sent (%s)", library_text);
    else if (r == ERROR_TIMEOUT)
        error_prefix(err, "no broker was reached, nothing was sent");
    exchange->command_partitions = (uint32_t)commands;
    exchange->reply_partitions = (uint32_t)replies;
    return r;
}

int exchange_open(const struct config *config, int64_t deadline_ms,
                  struct exchange **ret_exchange, struct error *err)
{
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    int r = 0;

    if (exchange == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    kafka_log_set(keep_log);
    exchange->config = config;
    exchange->deadline_ms = deadline_ms;
    progress_begin(&exchange->waiting, "waiting for the answer");
    exchange->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (exchange->wake_fd < 0)
        r = error_set(err, ERROR_IO, "cannot make an event descriptor");
    if (r == 0)
        r = sink_open(&config->kafka, SINK_OUTBOX, /* max_message_bytes= */ 0,
                      exchange->wake_fd, on_delivery, exchange, &exchange->sink, err);
    if (r == 0)
        r = find_topics(exchange, err);
    if (r < 0) {
        exchange_close(exchange);
        return r;
    }
    *ret_exchange = exchange;
    return 0;
}

void exchange_close(struct exchange *exchange)
{
    if (exchange == NULL)
        return;
    progress_end(&exchange->waiting);
    for (size_t i = 0; i < exchange->source_count; i++)
        source_close(exchange->sources[i]);
    free(exchange->sources);
    sink_close(exchange->sink);
    if (exchange->wake_fd >= 0)
        (void)close(exchange->wake_fd);
    free(exchange);
}

uint32_t exchange_shards(const struct exchange *exchange)
{
    return exchange->command_partitions;
}

void exchange_set_deadline(struct exchange *exchange, int64_t deadline_ms)
{
    exchange->deadline_ms = deadline_ms;
}

void exchange_on_failure(struct exchange *exchange, exchange_failed_fn failed,
                         void *context)
{
    exchange->failed = failed;
    exchange->failed_context = context;
}

/* ---- listening --------------------------------------------------------------------- */

static int listen_partition(struct exchange *exchange, uint32_t partition,
                            struct error *err)
{
    struct source **sources = realloc(exchange->sources, (exchange->source_count + 1) *
                                                             sizeof(struct source *));
    struct source *source = NULL;
    int64_t low, high;

    if (sources == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    exchange->sources = sources;
    int r = source_open(&exchange->config->kafka, exchange->config->topic_replies,
                        (int32_t)partition, exchange->wake_fd, &source, err);
    if (r == 0)
        r = source_watermarks(source, left_ms(exchange), &low, &high, err);
    if (r == 0)
        r = source_start(source, high, err);
    if (r < 0) {
        source_close(source);
        return r;
    }
    exchange->sources[exchange->source_count++] = source;
    return 0;
}

int exchange_listen(struct exchange *exchange, uint32_t shard, struct error *err)
{
    return listen_partition(exchange, shard % exchange->reply_partitions, err);
}

int exchange_listen_all(struct exchange *exchange, struct error *err)
{
    uint32_t count = exchange->command_partitions < exchange->reply_partitions
                         ? exchange->command_partitions
                         : exchange->reply_partitions;
    int r = 0;

    for (uint32_t partition = 0; r == 0 && partition < count; partition++)
        r = listen_partition(exchange, partition, err);
    return r;
}

/* ---- sending and receiving --------------------------------------------------------- */

int exchange_post(struct exchange *exchange, uint32_t shard, struct bytes key,
                  struct bytes value, const struct header *headers, size_t header_count,
                  uint64_t tag, struct error *err)
{
    return sink_send(exchange->sink, exchange->config->topic_commands,
                     (int32_t)(shard % exchange->command_partitions), key, value, headers,
                     header_count, /* timestamp_ms= */ -1, tag, err);
}

int exchange_send(struct exchange *exchange, uint32_t shard, struct bytes key,
                  struct bytes value, const struct header *headers, size_t header_count,
                  struct error *err)
{
    exchange->delivered = false;
    int r = exchange_post(exchange, shard, key, value, headers, header_count, SENT, err);
    if (r == 0)
        r = sink_flush(exchange->sink, left_ms(exchange), err);
    if (r < 0)
        return r;
    if (!exchange->delivered)
        return error_set(err, ERROR_TIMEOUT, "the broker has not confirmed the command");
    return delivery_error(exchange, &exchange->delivery, err);
}

static void show_waiting(struct exchange *exchange)
{
    int64_t all_ms = exchange->deadline_ms - exchange->waiting.start_ms;

    progress_step(&exchange->waiting, (uint64_t)(all_ms - left_ms(exchange)),
                  (uint64_t)all_ms);
}

static void take_headers(const struct record *record, struct answer_record *ret_answer)
{
    *ret_answer = (struct answer_record){.value = record->value};
    for (size_t i = 0; i < record->header_count; i++) {
        const struct header *header = &record->headers[i];

        if (bytes_equal_str(header->name, "ce_causationid"))
            ret_answer->causation_id = header->value;
        else if (bytes_equal_str(header->name, "ce_causationsource"))
            ret_answer->causation_source = header->value;
        else if (bytes_equal_str(header->name, "ce_repeated"))
            ret_answer->repeated = bytes_equal_str(header->value, "true");
    }
}

/* Fills the records from the next source that has some; false if none has. */
static int refill(struct exchange *exchange, bool *ret_some, struct error *err)
{
    *ret_some = false;
    for (size_t i = 0; i < exchange->source_count; i++) {
        exchange->current = (exchange->current + 1) % exchange->source_count;
        exchange->record_next = exchange->record_count = 0;
        int r = source_poll(exchange->sources[exchange->current], /* timeout_ms= */ 0,
                            RECORDS_MAX, &exchange->records, &exchange->record_count,
                            /* ret_topic_trouble= */ NULL, err);
        if (r < 0)
            return r;
        if (exchange->record_count > 0) {
            *ret_some = true;
            return 0;
        }
    }
    return 0;
}

int exchange_next(struct exchange *exchange, struct answer_record *ret_answer,
                  struct error *err)
{
    struct pollfd wake = {.fd = exchange->wake_fd, .events = POLLIN};
    uint64_t count;

    for (;;) {
        bool some;

        if (exchange->record_next < exchange->record_count) {
            take_headers(&exchange->records[exchange->record_next++], ret_answer);
            progress_end(&exchange->waiting);
            return 0;
        }
        (void)!read(exchange->wake_fd, &count,
                    sizeof(count)); /* before looking, so none is lost */
        (void)sink_poll(exchange->sink, /* timeout_ms= */ 0);
        int r = refill(exchange, &some, err);
        if (r < 0)
            return r;
        int wait_ms = left_ms(exchange);
        if (some)
            continue;
        if (wait_ms == 0) {
            progress_end(&exchange->waiting);
            return 1;
        }
        show_waiting(exchange);
        (void)poll(&wake, 1, wait_ms < POLL_MS ? wait_ms : POLL_MS);
    }
}
