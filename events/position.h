/* position.h - (shard, sequence) as text, "2-1841": which event of a log, a request, or
 * what was made by that event (MigrationID).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef EVENTS_POSITION_H
#define EVENTS_POSITION_H

#include "events/base/bytes.h"

#define POSITION_SEQUENCE_MAX ((1ULL << 53) - 1) /* a number that JSON can hold */
#define POSITION_TEXT_SIZE 28                    /* with NUL */

struct position {
    uint32_t shard;
    uint64_t sequence; /* from 1 */
};

void position_format(const struct position *position, char ret_text[POSITION_TEXT_SIZE]);
/* False if the text is not what position_format() writes. */
bool position_parse(struct bytes text, struct position *ret_position);

#endif
