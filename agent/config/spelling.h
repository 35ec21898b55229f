/* spelling.h - "did you mean": the candidate nearest to a word.
 *
 *     struct spelling spelling = {.word = "staus"};
 *     for (...) spelling_try(&spelling, names[i]);
 *     spelling_best(&spelling)                        "status", or NULL if nothing is near
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CONFIG_SPELLING_H
#define AGENT_CONFIG_SPELLING_H

#include <stddef.h>

struct spelling {
    const char *word;
    const char *best; /* borrowed from the candidates */
    size_t distance;  /* of best */
};

/* Case does not matter. Of equally near ones the first stays. */
void spelling_try(struct spelling *spelling, const char *candidate);
const char *spelling_best(const struct spelling *spelling);

#endif
