/* clock.h - the two clocks of the machine, in milliseconds.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLOCK_H
#define AGENT_CLOCK_H

#include <stdint.h>

int64_t clock_monotonic_ms(void); /* for waiting and for ages; never set back */
int64_t clock_wall_ms(void);      /* since 1970-01-01 UTC, as the system believes */

#endif
