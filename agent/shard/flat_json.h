/* flat_json.h - reads the small JSON objects that are no messages: claims, answer cursors,
 * kinlog.json.
 *
 * Nothing is allocated, so what fails is the text: a claim that is not understood is no
 * claim, and that must never be for want of memory.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_FLAT_JSON_H
#define AGENT_SHARD_FLAT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "events/base/bytes.h"

/* A member that must be there: a number (text NULL), or a text. */
struct flat_member {
    const char *name;
    uint64_t *number;
    char *text; /* NUL-terminated */
    size_t text_size;
    bool may_be_cut; /* a longer text loses its end, else it does not fit */
};

/* True if the text is an object with all these members; others are passed over. */
bool flat_json_read(struct bytes json, const struct flat_member *members, size_t count);

#endif
