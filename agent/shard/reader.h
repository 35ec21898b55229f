/* reader.h - the strict reader: which records of a shard's events partition are its log.
 *
 * What is valid is a function of the records alone, from the first on (or from a mark
 * whose record is still the same): an event counts only under the epoch of the last claim
 * before it; it must follow the event before it in sequence, chain and place in its
 * command; and a command's events count together, at the last one. Everything else is void, a repeat (compared and
 * dropped), or a fault that stops the reader.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_READER_H
#define AGENT_SHARD_READER_H

#include "agent/kafka/kafka.h"
#include "agent/shard/claim.h"
#include "agent/shard/store.h"

struct reader;

/* start NULL: from the first record on. Otherwise after the record of that mark. */
int reader_new(const struct log_identity *identity, const struct mark *start,
               struct reader **ret_reader, struct error *err);
void reader_free(struct reader *reader);

/* One valid event of a command that is now complete; borrowed for the call. */
typedef int (*reader_event_fn)(void *context, const struct event *event,
                               const struct event_record *record, struct error *err);
/* A valid event at or below the reader's end, seen again: must be the one that is held.
 * */
typedef int (*reader_repeat_fn)(void *context, const struct event *event,
                                struct error *err);

struct reader_sink {
    reader_event_fn on_event;
    reader_repeat_fn on_repeat;
    void *context;
};

/* Takes the next record, in offset order. Errors: ERROR_VERSION (an event of a newer
 * version), ERROR_CORRUPT (a gap, a chain that does not fit, a forgery under a valid
 * epoch), or a callback's. */
int reader_take(struct reader *reader, const struct record *record,
                const struct reader_sink *sink, struct error *err);

/* Where the valid log ends: the last event of the last complete command, with its
 * record's offset and epoch. */
const struct mark *reader_end(const struct reader *reader);
/* of the last claim; number 0 = none */
const struct epoch *reader_epoch(const struct reader *reader);
/* the last claim; id "" = none */
const struct claim *reader_claim(const struct reader *reader);
uint64_t reader_highest_epoch(const struct reader *reader);
/* the last valid answer cursor */
uint64_t reader_answered(const struct reader *reader);

#endif
