/* envelope.h - from a Kafka record to a command's attributes and data (CloudEvents 1.0,
 * Kafka binding).
 *
 * Binary mode, structured mode, and structured mode without any header are read. What
 * arrives is hostile until checked: size limits come before parsing, every attribute is
 * valid UTF-8 without control characters, of limited length, and there once.
 *
 * Faults come in three degrees. An id or source that is not known makes the record a dead
 * letter. Any other bad attribute makes it a refused command; the attribute itself then
 * counts as absent. What is wrong with the data is found later (core.c), when it is
 * decoded.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_ENVELOPE_H
#define AGENT_SHARD_ENVELOPE_H

#include "agent/kafka/kafka.h"
#include "events/base/bytes.h"
#include "schemas/codec.h"

#define COMMAND_ID_BYTES_MAX 255 /* id and source each; messages.md 2 */
#define ATTRIBUTE_BYTES_MAX 255
#define TRACESTATE_BYTES_MAX 512
#define RECORD_REST_BYTES_MAX 65536 /* key and headers together; rules 1 */

#define COMMAND_TYPE_UNKNOWN "-"

struct envelope {
    bool id_known;
    const char *dead_reason; /* why not, and the cure; static */

    struct bytes id, source;
    /* "kinlog.X.v1", as sent if unknown, "-" if unusable */
    struct bytes type;
    const struct schema_entry *command; /* NULL = unknown type */
    /* may be absent */
    struct bytes correlation_id, traceparent, tracestate, actor, reply_to;
    bool has_expiry;
    int64_t expiry_ms;
    bool has_expected_version;
    uint64_t expected_version;
    struct bytes data; /* the raw JSON; absent = none was sent */
    /* structured mode held two: this is the first, and not to be used */
    bool data_twice;

    /* The first bad attribute: its name (static) and what to do about it; NULL = none. */
    const char *bad_attribute; /* "" = the record as a whole */
    const char *bad_text;

    bool was_forwarded;     /* kinlog_forwarded is there */
    struct bytes forwarded; /* its value if it is fit to be passed on */
    struct bytes epoch;     /* kinlog_epoch, as it stands; absent if there is none */
};

/* Text is borrowed from record or lives in arena. 0 or ERROR_NO_MEMORY. */
int envelope_read(const struct record *record, struct arena *arena,
                  struct envelope *ret_envelope);

/* The mistakes that senders make with the data: double-encoded JSON, a Connect schema
 * envelope, a registry frame. A static text that names mistake and cure, or NULL. */
const char *envelope_sender_mistake(struct bytes data);

#endif
