/* interrupt.c - see interrupt.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t seen;

static void note(int number)
{
    (void)number;
    seen = 1;
}

void interrupt_catch(void)
{
    /* Once is enough: who asks twice does not want to wait for the loop. */
    struct sigaction action = {.sa_handler = note, .sa_flags = (int)SA_RESETHAND};

    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

bool interrupt_seen(void)
{
    return seen != 0;
}
