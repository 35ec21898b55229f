/* decide.h - what a command does: pure functions of the shard's views and the command.
 *
 * No clock, no randomness, no network, no configuration, no disk beyond the views. The
 * same views and the same command give the same events on every machine (design section
 * 4). One file per aggregate: device.c with replacement.c, relationship.c with approval.c,
 * usage.c, association.c with migration.c, policy.c; conversation.c is what shards say to
 * each other, timer.c the Tick; decide.c holds the table command -> functions.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_DECIDE_DECIDE_H
#define AGENT_DECIDE_DECIDE_H

#include "events/base/bytes.h"
#include "events/base/error.h"
#include "events/event.h"
#include "projections/views.h"

/* domain.md 0.2, and 40003 of messages.md 2. */
enum return_value {
    RETURN_DONE = 0,
    RETURN_OTHER_FAILURE = -2147217407,
    RETURN_NOT_FOUND = -2147217406,
    RETURN_ACCESS_DENIED = -2147217405,
    RETURN_INVALID_PARAMETER = -2147217400,
    RETURN_NOT_SUPPORTED = -2147217396,
    RETURN_ALREADY_EXISTS = -2147217383,
    RETURN_STALE_VERSION = 40003
};

/* domain.md 1.1, "User": deprecated, accepted all the same, and said so in the answer
 * (decision D2). */
#define SOURCE_DEPRECATED 3
#define SOURCE_DEPRECATED_TEXT                                                           \
    "SourceId 3 (User) is deprecated: use the source that really vouches"

/* A command whose data fits its schema. */
struct command {
    const struct schema_entry *type; /* of schema_commands */
    const void *params;              /* the struct of its schema */
    int64_t time_ms;                 /* core time */
    /* the record's own timestamp, which expirytime is held against */
    int64_t record_time_ms;
    uint32_t shard; /* the shard that decides */
    uint32_t shards;
    uint64_t sequence;   /* that the first of the decision's events will have */
    struct bytes source; /* ce_source; borrowed */
    bool from_agents;    /* sent by an agent of this log: own ce_source, and an epoch */
    bool from_owner;     /* likewise, and the epoch is this shard's present one */
    bool has_expiry;
    int64_t expiry_ms;
    bool has_expected_version;
    uint64_t expected_version; /* 0 = must not exist */
};

/* A fault of the parameters that no schema keyword can say (D6, who is meant). */
struct param_fault {
    const char *parameter; /* the schema's spelling, static */
    /* fault and cure, static, without the value; NULL = no fault */
    const char *text;
    bool no_memory; /* it could not be judged */
};

/* Judges what the schema cannot; of several faults the first in the schema's order.
 * faulty: the member (the schema's spelling) at which decoding found a fault, NULL =
 * none: it counts as given, and only a fault of a member declared before it is named. */
struct param_fault command_check(const struct schema_entry *type, const void *params,
                                 const char *faulty);

/* The shard of a record key. */
uint32_t shard_of_key(struct bytes key, uint32_t shards);
/* The device of an object's record key, "device:7"; 0 = it is none. */
uint32_t device_of_object(struct bytes object);

/* The shard that the command belongs to, from its parameters alone; commands that belong
 * where they lie (AdoptPolicy, Tick) give `here`. */
uint32_t command_shard(const struct schema_entry *type, const void *params,
                       uint32_t shards, uint32_t here);

/* Appends the record key that a sender of this command should use ("device:1", "policy");
 * nothing where there is none. */
int command_key(const struct schema_entry *type, const void *params, struct buf *out);

/* One event to be: data is the struct of its schema. Text lives in the decision's arena
 * or the command. */
struct decided_event {
    const struct schema_entry *type;
    struct bytes key;     /* may be absent */
    struct bytes subject; /* may be absent */
    const void *data;
};

struct decision {
    struct arena *arena; /* borrowed */
    struct decided_event *events;
    size_t count;
    size_t capacity;
};

void decision_init(struct decision *decision, struct arena *arena);

/* The events of one command, at least one, except for a Tick with nothing due: none.
 * Judged in this order: expiry, permission, things referred to, expectedversion, state.
 * Negative only when the views cannot be read or memory is out. */
int decide(struct views *views, const struct command *command, struct decision *decision,
           struct error *err);

/* Appends the one CommandRejected of a command that was not decided: a bad attribute, an
 * unknown type, data that does not fit, a conflict, a misplaced forward. Text is borrowed
 * until the decision is used up. */
struct rejection {
    struct bytes command_type; /* as in ce_command */
    const char *outcome;       /* "refused" or "conflict" */
    int32_t return_value;
    const char *parameter; /* NULL = none */
    const char *description;
    struct bytes key; /* may be absent */
    struct bytes subject;
    bool has_version;
    uint64_t version;
};
int decide_rejection(struct decision *decision, const struct rejection *rejection,
                     struct error *err);

/* The version of the aggregate that a command means (0 and false if there is none), its
 * key and its subject, for rejections that are found before deciding (conflicts): of the
 * command only type, params, shard and shards count. Text goes into the arena. */
int command_aggregate(struct views *views, const struct command *command,
                      struct arena *arena, struct rejection *ret_rejection,
                      struct error *err);

#endif
