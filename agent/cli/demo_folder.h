/* demo_folder.h - the demo's folder: temporary, or a new or empty one that the user named
 * and keeps.
 *
 *   <folder>/kinlog.conf   for the demo itself and for commands in other terminals
 *   <folder>/agent.log     what the agent would write to stderr
 *   <folder>/data/         the agent's data folder
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_DEMO_FOLDER_H
#define AGENT_CLI_DEMO_FOLDER_H

#include <limits.h>

#include "agent/config/config.h"
#include "events/base/error.h"

struct demo_folder {
    char path[PATH_MAX]; /* absolute; "" = not made */
    char config[PATH_MAX], log[PATH_MAX], data[PATH_MAX];
    bool temporary;
    int stderr_fd; /* where stderr went before; -1 = not turned to the log */
};

/* wanted: the folder, NULL = a temporary one. ERROR_CONFLICT: there is something in it.
 * */
int demo_folder_make(struct demo_folder *folder, const char *wanted, struct error *err);
/* Writes kinlog.conf for a broker on that port of 127.0.0.1, and loads it. */
int demo_folder_configure(struct demo_folder *folder, unsigned port,
                          struct config **ret_config, struct error *err);
/* Turns stderr to agent.log, and back. */
int demo_folder_log_begin(struct demo_folder *folder, struct error *err);
void demo_folder_log_end(struct demo_folder *folder);
/* Removes a temporary folder with all that is in it; leaves another one alone. */
void demo_folder_remove(struct demo_folder *folder);

#endif
