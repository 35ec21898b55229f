/* cli.h - the command line: one table of subcommands, and what each of them is given.
 *
 * commands.c holds the table; options, help, suggestions, completion and man pages are all
 * made from it. The arguments are taken apart before a subcommand's function is called:
 *
 *     int cmd_show(struct cli *cli, int argc, char **argv)      argv: what is no option, without "show"
 *     {
 *         const char *shard = cli_value(cli, "shard");          NULL: --shard was not given
 *         ...
 *         return EXIT_DONE;                                     the process's exit code
 *     }
 *
 * What was asked for goes to stdout, everything else to stderr.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_CLI_H
#define AGENT_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "agent/config/config.h"
#include "events/base/error.h"
#include "schemas/codec.h"

enum exit_code {
    EXIT_DONE = 0, /* for send: accepted or unchanged */
    EXIT_FAILED = 1,
    EXIT_WRONG = 2,     /* usage or configuration */
    EXIT_REFUSED = 3,   /* refused or conflict */
    EXIT_NO_ANSWER = 4, /* none in time */
    EXIT_DAMAGE = 5,    /* verify found some */
    EXIT_CODES
};

enum output_form { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_NDJSON };

#define CLI_OPTIONS_MAX 64 /* that one call may give */

struct cli_option {
    const char *name;     /* without "--"; NULL ends a list */
    const char *argument; /* "N"; NULL = it has none */
    const char *meaning;
};

struct cli;
typedef int (*cli_run_fn)(struct cli *cli, int argc, char **argv);

struct cli_command {
    const char *name;
    const char *summary;     /* one line of `kinlog help` */
    const char *usage;       /* what stands after "kinlog "; one way per line */
    const char *description; /* what it does, in two sentences */
    const char *details;     /* lines behind it, as they are; NULL = none */
    const struct cli_option *options;
    const char *examples;  /* lines */
    const char *arguments; /* for completion, see complete.h; NULL = none are known */
    bool has_json;         /* --json and --ndjson */
    unsigned exits;        /* 1 << exit code, of those that it ends with */
    cli_run_fn run;
};
extern const struct cli_command cli_commands[]; /* ends with name == NULL */
/* Of the program as a whole, in lines: what it is, examples, where the configuration
 * comes from. */
extern const char cli_about[], cli_first_steps[], cli_configuration[];
extern const char *const cli_exit_meanings[EXIT_CODES];
extern const struct cli_option cli_common_options[];
extern const struct cli_option cli_override_option; /* -X, the only short one */

struct cli {
    const struct cli_command *command; /* NULL: none was given */
    const char *
        /* --config, else KINLOG_CONFIG, else /etc/kinlog/kinlog.conf if there is one */
        config_file;
    enum output_form form;
    struct config *config;                  /* NULL until cli_config() */
    const char *overrides[CLI_OPTIONS_MAX]; /* of each -X */
    size_t override_count;
    struct {
        const struct cli_option *option;
        const char *value;
    } given[CLI_OPTIONS_MAX];
    size_t given_count;
};

/* All of main(). */
int cli_main(int argc, char **argv);
/* Takes argv apart: 0, or negative with err. Arguments are moved so that
 * ret_argv[0..ret_argc-1] are what is no option. help and version are set where they were
 * asked for. */
struct cli_arguments {
    int argc;
    char **argv;
    bool help, version;
};
int cli_parse(struct cli *cli, int argc, char **argv, struct cli_arguments *ret_arguments,
              struct error *err);

/* The last value given; NULL if the option was not given. A flag's value is "". */
const char *cli_value(const struct cli *cli, const char *option);
bool cli_has(const struct cli *cli, const char *option);

/* Loads the configuration (once): 0 and cli->config, or negative. */
int cli_config(struct cli *cli, struct error *err);

/* Says on stderr what is wrong; returns the exit code that fits: EXIT_WRONG for usage and
 * configuration, else EXIT_FAILED. */
int cli_fail(const struct cli *cli, const struct error *err);
int cli_wrong(const struct cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Are colours wanted there? A terminal, and no NO_COLOR. */
bool cli_colour(FILE *file);
/* How wide the terminal is; 0: it is none, or does not say. */
size_t cli_columns(FILE *file);
/* Writing to stdout failed (no space, say)? Then EXIT_FAILED and a word on stderr, else
 * code. */
int cli_finish(int code);

const struct cli_command *cli_command_find(const char *name);
/* Does the option make sense with the command (NULL: with none)? One of the command's own
 * does. */
bool cli_takes_option(const struct cli_command *command, const struct cli_option *option);
/* Help is at most 80 columns wide. */
void help_print_short(FILE *out);
void help_print_all(FILE *out);
void help_print_command(FILE *out, const struct cli_command *command);
void help_print_type(FILE *out, const struct schema_entry *entry); /* of command */
void help_print_config(FILE *out); /* each own key, its default and meaning */

int cmd_run(struct cli *cli, int argc, char **argv);
int cmd_init(struct cli *cli, int argc, char **argv);
int cmd_demo(struct cli *cli, int argc, char **argv);
int cmd_send(struct cli *cli, int argc, char **argv);
int cmd_import(struct cli *cli, int argc, char **argv);
int cmd_export(struct cli *cli, int argc, char **argv);
int cmd_get(struct cli *cli, int argc, char **argv);
int cmd_list(struct cli *cli, int argc, char **argv);
int cmd_log(struct cli *cli, int argc, char **argv);
int cmd_show(struct cli *cli, int argc, char **argv);
int cmd_policy(struct cli *cli, int argc, char **argv);
int cmd_status(struct cli *cli, int argc, char **argv);
int cmd_verify(struct cli *cli, int argc, char **argv);
int cmd_repair(struct cli *cli, int argc, char **argv);
int cmd_rebuild(struct cli *cli, int argc, char **argv);
int cmd_help(struct cli *cli, int argc, char **argv);
int cmd_version(struct cli *cli, int argc, char **argv);
int cmd_completion(struct cli *cli, int argc, char **argv);

#endif
