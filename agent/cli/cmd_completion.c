/* cmd_completion.c - `kinlog completion`: the scripts for the shells, and the answer to
 * them.
 *
 * The scripts are the files in agent/cli/completion, made into string literals by make.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/cli.h"

#include <string.h>

#include "agent/cli/complete.h"

static const struct {
    const char *shell;
    const char *script;
} scripts[] = {
    {
        "bash",
#include "completion/kinlog.bash.inc"
    },
    {
        "zsh",
#include "completion/kinlog.zsh.inc"
    },
    {
        "fish",
#include "completion/kinlog.fish.inc"
    },
};

int cmd_completion(struct cli *cli, int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "words") == 0) {
        complete_print(stdout, argc - 1, argv + 1);
        return EXIT_DONE;
    }
    for (size_t i = 0; argc == 1 && i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        if (strcmp(argv[0], scripts[i].shell) == 0) {
            (void)fputs(scripts[i].script, stdout);
            return EXIT_DONE;
        }
    }
    return cli_wrong(cli, "for which shell? bash, zsh or fish is wanted");
}
