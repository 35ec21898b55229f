/* answer_text.h - an answer for people.
 *
 *     Refused: CreateRelationship, -2147217406 (not found)
 *       MachineResourceId: there is no such device; register it first
 *       event 0-7 CommandRejected
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_ANSWER_TEXT_H
#define AGENT_CLI_ANSWER_TEXT_H

#include <stdio.h>

#include "events/base/bytes.h"
#include "events/base/error.h"

/* What every user of an answer wants to know first. */
struct answer_summary {
    char outcome[16]; /* "accepted", "unchanged", "refused" or "conflict" */
    bool success;     /* accepted or unchanged */
    bool accepted;
    uint32_t shard;
    uint64_t sequence;
    int64_t revision; /* Out.Revision, -1 if there is none */
};

/* value: JSON, schemas/answers/Answer.v1.json. ERROR_INVALID if it is something else. */
int answer_read(struct bytes value, struct answer_summary *ret_summary,
                struct error *err);
/* Why it was refused: parameter and description of its ExtendedStatus; appends nothing if
 * there is none. */
int answer_reason(struct bytes value, struct buf *out, struct error *err);
/* "PARAMETER: DESCRIPTION"; many descriptions name the parameter themselves. */
void reason_append(struct buf *out, const char *parameter, const char *description);
void answer_print(FILE *out, struct bytes value);

#endif
