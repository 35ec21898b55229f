/* shard_graph.h - the shards of one site as a graph: states, and what each record makes of
 * them.
 *
 * A shard is deterministic, so all that it can ever do is a graph: its states, told apart
 * by the chain of their log, and steps from one to the next, each made once by the real
 * core over a store in memory and then remembered. Runs of several shards are walks over
 * it, and millions of them cost little.
 *
 * In each step the core is opened from the store, so a restart stands between any two
 * records; the record is taken twice, and what the first time left is given up, as by a
 * crash before the commit. A new state's views are compared with a replay of its log.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_LIB_SHARD_GRAPH_H
#define TESTS_LIB_SHARD_GRAPH_H

#include "events/position.h"
#include "projections/association_view.h"
#include "tests/lib/intern.h"

#define GRAPH_SHARDS 2              /* so that "all others" is one */
#define GRAPH_USERS GRAPH_SHARDS    /* the sender of what no shard sent */
#define GRAPH_TIME_MS 1767225600000 /* of all records that name no other time */
#define GRAPH_TIMERS_MAX 8

/* A record of the commands topic. */
struct graph_message {
    uint32_t from; /* a shard, or GRAPH_USERS */
    uint32_t to;
    uint32_t command; /* GRAPH_USERS: its number, which is its id */
    int64_t time_ms;
    struct bytes type; /* "kinlog.AddAssociation.v1" */
    struct bytes key;  /* may be absent */
    struct bytes id;
    struct bytes data;
};

struct graph_answer {
    uint32_t command; /* of the users */
    uint32_t value;   /* equal for equal bytes */
};

struct graph_step {
    uint32_t state;    /* after it */
    const char *fault; /* what must never be; NULL = nothing */
    uint32_t *sent;    /* messages to other shards */
    size_t sent_count;
    struct graph_answer *answers;
    size_t answer_count;
};

struct graph_association {
    uint32_t source;
    uint32_t restore;
    uint64_t number;
    uint32_t behavior;
    bool pending;
};

struct graph_reference {
    uint32_t device;
    struct position request;
    bool adopting; /* it is for a replacement */
};

struct graph_relationship {
    uint32_t device;
    uint8_t user;         /* the last character of the name */
    uint32_t source_bits; /* 1 << source */
    bool pending;
};

struct graph_state {
    uint32_t shard;
    struct kv *kv;
    struct graph_association *associations;
    size_t association_count;
    struct graph_reference *references; /* that are held */
    size_t reference_count;
    struct graph_relationship *relationships;
    size_t relationship_count;
    uint64_t *open_requests; /* their numbers */
    size_t open_request_count;
    int64_t due_ms[GRAPH_TIMERS_MAX]; /* of its timers, earliest first */
    size_t due_count;
};

struct graph;
struct graph *graph_new(void);
void graph_free(struct graph *graph);

/* The state with an empty log. */
uint32_t graph_empty(struct graph *graph, uint32_t shard);
/* Good until the next step is made. */
const struct graph_state *graph_state_at(const struct graph *graph, uint32_t state);

/* The number of a message, the same for an equal one. */
uint32_t graph_message_number(struct graph *graph, const struct graph_message *message);
const struct graph_message *graph_message_at(const struct graph *graph, uint32_t number);

/* Hands a message to the shard that it is for. */
const struct graph_step *graph_deliver(struct graph *graph, uint32_t state,
                                       uint32_t message);
/* A new owner: it sends again what its answer cursor stands before (all, or nothing), and
 * what it asked for and is not told yet. */
const struct graph_step *graph_restart(struct graph *graph, uint32_t state,
                                       bool cursor_at_end);

/* Did an event of this type ("ReferenceUnwanted") occur in any step? */
bool graph_saw(const struct graph *graph, const char *event);
size_t graph_states(const struct graph *graph);

#endif
