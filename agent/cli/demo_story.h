/* demo_story.h - the short story that the demo tells: a small fleet, its users, and the
 * mistakes that senders make. Each step is sent to the commands topic like anybody's
 * command, and what comes of it is read from the other topics, shown, and compared with
 * what the step promises.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_DEMO_STORY_H
#define AGENT_CLI_DEMO_STORY_H

#include <signal.h>

#include "agent/cli/demo_feed.h"
#include "agent/cli/demo_page.h"
#include "agent/config/config.h"

/* For the commands to try next: one of the story that has a receipt. */
#define DEMO_STORY_SOURCE "/hr"
#define DEMO_STORY_ID "hr-1"

struct demo_stage {
    const struct config *config;
    int32_t shards;
    struct demo_page *page;
    struct demo_feed *feed;
    const volatile sig_atomic_t *stop; /* true: end early, with ERROR_STOPPED */
    int pause_ms;                      /* between two steps */
};

/* ERROR_INVALID: a step did not come out as told; the page says which. */
int demo_story_play(const struct demo_stage *stage, struct error *err);

#endif
