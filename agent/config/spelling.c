/* spelling.c - see spelling.h. Distances count insertions, deletions, replacements, and
 * swapped neighbours (optimal string alignment).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/config/spelling.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define WORD_MAX 64 /* longer words have no suggestion */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int lower(char c)
{
    return tolower((unsigned char)c);
}

static size_t distance_of(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t rows[3][WORD_MAX + 1];
    size_t *before = rows[0], *previous = rows[1], *current = rows[2];

    for (size_t k = 0; k <= b_size; k++)
        previous[k] = k;
    for (size_t i = 1; i <= a_size; i++) {
        current[0] = i;
        for (size_t k = 1; k <= b_size; k++) {
            size_t cost = lower(a[i - 1]) != lower(b[k - 1]);
            size_t best = least(previous[k] + 1, current[k - 1] + 1);

            best = least(best, previous[k - 1] + cost);
            if (i > 1 && k > 1 && lower(a[i - 1]) == lower(b[k - 2]) &&
                lower(a[i - 2]) == lower(b[k - 1]))
                best = least(best, before[k - 2] + 1);
            current[k] = best;
        }
        size_t *oldest = before;
        before = previous;
        previous = current;
        current = oldest;
    }
    return previous[b_size];
}

void spelling_try(struct spelling *spelling, const char *candidate)
{
    size_t word_size = strlen(spelling->word), candidate_size = strlen(candidate);

    if (word_size > WORD_MAX || candidate_size > WORD_MAX)
        return;
    size_t distance = distance_of(spelling->word, word_size, candidate, candidate_size);
    /* What was only begun ("rel" for "relationships") is near, too. */
    if (word_size >= 3 && strncasecmp(candidate, spelling->word, word_size) == 0)
        distance = least(distance, 1);
    if (distance > word_size / 3 + (word_size > 1))
        return;
    if (spelling->best == NULL || distance < spelling->distance) {
        spelling->best = candidate;
        spelling->distance = distance;
    }
}

const char *spelling_best(const struct spelling *spelling)
{
    return spelling->best;
}
