/* position.c - see position.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/position.h"

#include <stdio.h>

void position_format(const struct position *position, char ret_text[POSITION_TEXT_SIZE])
{
    snprintf(ret_text, POSITION_TEXT_SIZE, "%u-%llu", position->shard,
             (unsigned long long)position->sequence);
}

/* A decimal number without leading zeros. Returns where it ends; 0 = there is none, or it
 * is above max. */
static size_t take_number(struct bytes text, size_t from, uint64_t max,
                          uint64_t *ret_number)
{
    uint64_t number = 0;
    size_t i = from;

    while (i < text.size && text.data[i] >= '0' && text.data[i] <= '9') {
        uint64_t digit = (uint64_t)(text.data[i] - '0');
        if (number > (max - digit) / 10)
            return 0;
        number = number * 10 + digit;
        i++;
    }
    if (i == from || (text.data[from] == '0' && i > from + 1))
        return 0;
    *ret_number = number;
    return i;
}

bool position_parse(struct bytes text, struct position *ret_position)
{
    uint64_t shard, sequence;
    size_t dash = take_number(text, 0, UINT32_MAX, &shard);

    if (dash == 0 || dash >= text.size || text.data[dash] != '-' ||
        take_number(text, dash + 1, POSITION_SEQUENCE_MAX, &sequence) != text.size ||
        sequence == 0)
        return false;
    ret_position->shard = (uint32_t)shard;
    ret_position->sequence = sequence;
    return true;
}
