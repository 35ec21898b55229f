/* progress.h - a bar on stderr for what takes longer than a second, on a terminal only;
 * a count where nobody knows how much there is.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_PROGRESS_H
#define AGENT_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *label; /* borrowed */
    const char *unit;  /* of count: its rate is shown; NULL = it is not */
    uint64_t count;
    bool terminal;
    bool drawn;
    int64_t start_ms; /* of the monotonic clock */
    int64_t drawn_ms;
};

void progress_begin(struct progress *progress, const char *label);
/* total 0: not known. Fits replay_progress_fn; context is the struct progress. */
void progress_step(void *context, uint64_t done, uint64_t total);
/* Removes the bar, until the next step. */
void progress_end(struct progress *progress);

#endif
