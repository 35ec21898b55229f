/* main.c - the program: picks the subcommand, nothing else.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/cli.h"

/* Read by jemalloc: the libraries' threads, some twenty, share two heaps, and what is free
 * goes back to the system within a second. */
extern const char *malloc_conf;
const char *malloc_conf = "narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0";

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}
