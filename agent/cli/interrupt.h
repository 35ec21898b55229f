/* interrupt.h - SIGINT and SIGTERM as a question that a loop asks.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_INTERRUPT_H
#define AGENT_CLI_INTERRUPT_H

#include <stdbool.h>

/* From now on the two signals no longer end the process; the second one does. */
void interrupt_catch(void);
bool interrupt_seen(void);

#endif
