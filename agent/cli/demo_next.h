/* demo_next.h - what to try next, as commands that work when pasted into another
 * terminal.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_DEMO_NEXT_H
#define AGENT_CLI_DEMO_NEXT_H

#include <limits.h>

#include "agent/cli/demo_page.h"

/* How this program may be typed where we are: "kinlog" if PATH leads to it, else its
 * path, a relative one if it lies below the present folder. */
void demo_next_program(char ret_program[PATH_MAX]);
/* Commands stand on lines that begin with six blanks; one that is longer goes on after a
 * backslash. */
void demo_next_print(struct demo_page *page, const char *program, const char *config,
                     unsigned port);

#endif
