/* event.h - one event: as a struct, as the bytes in the log, as the record in the topic.
 *
 * The topic form (key, headers, JSON data; messages.md 3) is a pure function of the
 * struct and of the log's identity, and the struct can be read back from it. The chain is
 * computed over the topic form.
 *
 * Stored value, format 1; integers big-endian, text = varint(length + 1) and bytes, 0 =
 * absent:
 *
 *     u8 format = 1 | 32 chain | u64 time_ms | u64 command offset + 1 (0 = no command)
 *     | u32 index | u32 count | text type, key, subject, causation id, causation source, content hash,
 *     command type, actor, correlation id, reply to, traceparent, tracestate | data to the end
 *
 * Its key is the sequence as u64 big-endian. Bytes in the log are never rewritten.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef EVENTS_EVENT_H
#define EVENTS_EVENT_H

#include "events/base/bytes.h"
#include "events/base/error.h"
#include "events/base/hash.h"
#include "schemas/codec.h"

/* The rules that this program knows (design section 4). */
#define RULES_MAX 1

#define LOG_ID_SIZE 33   /* 32 hex digits and NUL */
#define SITE_SIZE 64     /* with NUL: [A-Za-z0-9][A-Za-z0-9._-]* */
#define SITE_KEY_SIZE 32 /* bytes */

/* What makes a shard's log this log: part of chain(0) and of every ce_source. */
struct log_identity {
    char log[LOG_ID_SIZE];
    char site[SITE_SIZE];
    uint32_t shard;
    uint32_t shards;
};

/* "/kinlog/<site>/<log id>": ce_source of all that the log's agents send. */
#define LOG_SOURCE_SIZE (sizeof "/kinlog//" + SITE_SIZE + LOG_ID_SIZE)
void log_source(const struct log_identity *identity, char ret_text[LOG_SOURCE_SIZE]);

/* All text is borrowed: from the arena or buffer that the maker of the struct names. */
struct event {
    uint64_t sequence;
    const struct schema_entry *type; /* of schema_events */
    int64_t time_ms;                 /* core time */
    struct bytes key;                /* record key, e.g. device:1; may be absent */
    struct bytes subject;            /* may be absent */
    struct bytes causation_id;       /* the command's; absent where there is none */
    struct bytes causation_source;
    bool has_command;       /* false for LogStarted only */
    int64_t command_offset; /* of the command in its partition */
    /* this is event `index` (from 1) of `count`; 0 without a command */
    uint32_t index;
    uint32_t count;
    struct bytes content_hash; /* 22 characters, or "-" */
    struct bytes command_type; /* "kinlog.CreateRelationship.v1", or "-" */
    /* these five are absent where they equal their default */
    struct bytes actor;
    struct bytes correlation_id;
    struct bytes reply_to;
    struct bytes traceparent;
    struct bytes tracestate;
    struct bytes data; /* JSON, as published */
    uint8_t chain[SHA256_SIZE];
};

/* In the order of messages.md 3. */
enum event_header_index {
    EVENT_SPECVERSION,
    EVENT_CONTENT_TYPE,
    EVENT_ID,
    EVENT_SOURCE,
    EVENT_TYPE,
    EVENT_TIME,
    EVENT_SUBJECT,
    EVENT_CAUSATION_ID,
    EVENT_CAUSATION_SOURCE,
    EVENT_COMMAND,
    EVENT_CHAIN,
    EVENT_ACTOR,
    EVENT_CORRELATION_ID,
    EVENT_REPLY_TO,
    EVENT_TRACEPARENT,
    EVENT_TRACESTATE,
    EVENT_HEADERS
};
extern const char *const event_header_names[EVENT_HEADERS];

/* The topic form, without kinlog_epoch: an absent value is a header that is left out. */
struct event_record {
    struct bytes key;
    struct bytes headers[EVENT_HEADERS];
    struct bytes data;
};

/* Renders event; text goes into arena or is borrowed from event. EVENT_CHAIN is rendered
 * from event->chain. 0 or ERROR_NO_MEMORY. */
int event_render(const struct log_identity *identity, const struct event *event,
                 struct arena *arena, struct event_record *ret_record);
/* Reads a topic form; text is borrowed from record. ERROR_INVALID: no event of this log
 * and shard, or a header that event_render would not have written. */
int event_parse(const struct log_identity *identity, const struct event_record *record,
                struct event *ret_event, struct error *err);

/* chain(0) and chain(n), design section 6. */
void chain_start(struct sha256 *hasher, const struct log_identity *identity,
                 uint8_t ret_chain[SHA256_SIZE]);
void chain_next(struct sha256 *hasher, const uint8_t previous[SHA256_SIZE],
                uint64_t sequence, const struct event_record *record,
                uint8_t ret_chain[SHA256_SIZE]);

/* Renders a new event, chains it to previous and sets event->chain and the record's
 * ce_chain. 0 or ERROR_NO_MEMORY. */
int event_seal(const struct log_identity *identity, struct sha256 *hasher,
               const uint8_t previous[SHA256_SIZE], struct event *event,
               struct arena *arena, struct event_record *ret_record);

/* A command's events stand together, 1/k to k/k. */
struct command_order {
    uint32_t index; /* of the last event; 0 = a command was complete */
    uint32_t count;
    int64_t offset;
};
/* Is the event the one that comes next? ERROR_CORRUPT if not. */
int command_order_take(struct command_order *order, const struct event *event,
                       struct error *err);

/* The stored form. event_decode borrows from value. ERROR_CORRUPT names what does not
 * fit. */
int event_encode(const struct event *event, struct buf *out);
int event_decode(uint64_t sequence, struct bytes value, struct event *ret_event,
                 struct error *err);

/* NULL if there is no such type. type is the full one ("kinlog.RelationshipCreated.v1").
 * */
const struct schema_entry *event_type_find(struct bytes type);

#endif
