/* demo_show.h - one line for each event, answer and dead letter that the demo meets.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_DEMO_SHOW_H
#define AGENT_CLI_DEMO_SHOW_H

#include "agent/cli/demo_feed.h"
#include "agent/cli/demo_page.h"

void demo_show(struct demo_page *page, const struct demo_message *message);

/* For what others send once the story is told: a heading where another command begins.
 * Keep the struct between the calls, zeroed at first. */
struct demo_watch {
    struct buf command; /* source and id of the heading that stands above */
};
void demo_watch_show(struct demo_watch *watch, struct demo_page *page,
                     const struct demo_message *message);
void demo_watch_release(struct demo_watch *watch);

#endif
