/* cli.c - see cli.h. Options may stand before and after the subcommand and its arguments;
 * getopt_long does the work, its list is made from the table.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* getopt_long, TIOCGWINSZ */
#include "agent/cli/cli.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/config/spelling.h"
#include "agent/log.h"

#define CONFIG_DEFAULT "/etc/kinlog/kinlog.conf"
#define LONG_OPTIONS_MAX 48

extern char **environ;

/* What getopt_long returns for options of cli_common_options; a subcommand's own are
 * OWN_FIRST + index. */
enum option_value {
    VALUE_HELP = 'h',
    VALUE_OVERRIDE = 'X',
    COMMON_FIRST = 1000,
    OWN_FIRST = 2000
};

const struct cli_option cli_common_options[] = {
    {"config", "FILE", "configuration; else $KINLOG_CONFIG, else " CONFIG_DEFAULT},
    {"json", NULL, "print one JSON document"},
    {"ndjson", NULL, "print one JSON object a line"},
    {"help", NULL, "explain, and do nothing"},
    {"version", NULL, "print the versions, and do nothing"},
    {NULL, NULL, NULL},
};

const struct cli_option cli_override_option = {
    "X", "SECTION.KEY=VALUE",
    "set a key of the configuration; may be given several times"};

/* ---- taking arguments apart -------------------------------------------------------- */

struct option_list {
    struct option options[LONG_OPTIONS_MAX + 1];
    size_t count;
};

static void add_options(struct option_list *list, const struct cli_option *options,
                        int first)
{
    for (int i = 0; options[i].name != NULL && list->count < LONG_OPTIONS_MAX; i++)
        list->options[list->count++] =
            (struct option){options[i].name,
                            options[i].argument != NULL ? required_argument : no_argument,
                            NULL, first + i};
}

static int unknown_option(const struct cli *cli, const struct option_list *list,
                          const char *word, struct error *err)
{
    char name[64];
    size_t size = strcspn(word, "=");
    struct spelling spelling = {.word = name + 2};

    if (strncmp(word, "--", 2) != 0)
        return error_set(err, ERROR_USAGE, "there is no option -%c", optopt);
    if (size >= sizeof(name))
        size = sizeof(name) - 1;
    memcpy(name, word, size);
    name[size] = '\0';
    for (size_t i = 0; i < list->count; i++) {
        char candidate[64];

        (void)snprintf(candidate, sizeof(candidate), "--%s", list->options[i].name);
        if (strncmp(candidate, name, size) == 0 && size > 2)
            return error_set(err, ERROR_USAGE,
                             "%s may mean several options; write it out", name);
    }
    for (size_t i = 0; i < list->count; i++)
        spelling_try(&spelling, list->options[i].name);
    if (spelling_best(&spelling) != NULL)
        return error_set(err, ERROR_USAGE, "there is no option %s; did you mean --%s?",
                         name, spelling_best(&spelling));
    return error_set(err, ERROR_USAGE, "%s has no option %s",
                     cli->command != NULL ? cli->command->name : "kinlog", name);
}

static int keep_value(struct cli *cli, const struct cli_option *option, const char *value,
                      struct error *err)
{
    if (cli->given_count == CLI_OPTIONS_MAX)
        return error_set(err, ERROR_USAGE, "more than %d options", CLI_OPTIONS_MAX);
    cli->given[cli->given_count].option = option;
    cli->given[cli->given_count++].value = value != NULL ? value : "";
    return 0;
}

static int take_option(struct cli *cli, int value, struct cli_arguments *arguments,
                       struct error *err)
{
    const struct cli_option *option;
    size_t index;

    if (value == VALUE_HELP) {
        arguments->help = true;
        return 0;
    }
    if (value == VALUE_OVERRIDE) {
        if (cli->override_count == CLI_OPTIONS_MAX)
            return error_set(err, ERROR_USAGE, "more than %d times -X", CLI_OPTIONS_MAX);
        cli->overrides[cli->override_count++] = optarg;
        return 0;
    }
    if (value >= OWN_FIRST && cli->command != NULL)
        return keep_value(cli, &cli->command->options[value - OWN_FIRST], optarg, err);
    index = (size_t)value - COMMON_FIRST;
    assert(index < sizeof(cli_common_options) / sizeof(cli_common_options[0]));
    option = &cli_common_options[index];
    if (strcmp(option->name, "config") == 0)
        cli->config_file = optarg;
    else if (strcmp(option->name, "json") == 0)
        cli->form = OUTPUT_JSON;
    else if (strcmp(option->name, "ndjson") == 0)
        cli->form = OUTPUT_NDJSON;
    else if (strcmp(option->name, "help") == 0)
        arguments->help = true;
    else
        arguments->version = true;
    return 0;
}

/* Takes options off argv until its end, or (command unknown yet) until the first word
 * that is none. */
static int take_options(struct cli *cli, int argc, char **argv,
                        struct cli_arguments *arguments, struct error *err)
{
    struct option_list list = {.count = 0};
    int value;

    add_options(&list, cli_common_options, COMMON_FIRST);
    if (cli->command != NULL)
        add_options(&list, cli->command->options, OWN_FIRST);
    optind = 0; /* glibc: begin anew */
    opterr = 0;
    while ((value = getopt_long(argc, argv, cli->command != NULL ? ":hX:" : "+:hX:",
                                list.options, NULL)) != -1) {
        int r = 0;

        if (value == ':')
            r = error_set(err, ERROR_USAGE, "%s wants a value", argv[optind - 1]);
        else if (value == '?' && optopt >= COMMON_FIRST)
            r = error_set(err, ERROR_USAGE, "%.*s takes no value",
                          (int)strcspn(argv[optind - 1], "="), argv[optind - 1]);
        else if (value == '?')
            r = unknown_option(cli, &list, argv[optind - 1], err);
        else
            r = take_option(cli, value, arguments, err);
        if (r < 0)
            return r;
    }
    arguments->argc = argc - optind;
    arguments->argv = argv + optind;
    return 0;
}

const struct cli_command *cli_command_find(const char *name)
{
    for (size_t i = 0; cli_commands[i].name != NULL; i++) {
        if (strcmp(cli_commands[i].name, name) == 0)
            return &cli_commands[i];
    }
    return NULL;
}

bool cli_takes_option(const struct cli_command *command, const struct cli_option *option)
{
    if (command == NULL)
        return true;
    if (strcmp(option->name, "json") == 0 || strcmp(option->name, "ndjson") == 0)
        return command->has_json;
    return strcmp(option->name, "version") != 0;
}

static int unknown_command(const char *name, struct error *err)
{
    struct spelling spelling = {.word = name};

    for (size_t i = 0; cli_commands[i].name != NULL; i++)
        spelling_try(&spelling, cli_commands[i].name);
    if (spelling_best(&spelling) != NULL)
        return error_set(err, ERROR_USAGE, "there is no command %s; did you mean %s?",
                         name, spelling_best(&spelling));
    return error_set(err, ERROR_USAGE, "there is no command %s; `kinlog help` lists them",
                     name);
}

int cli_parse(struct cli *cli, int argc, char **argv, struct cli_arguments *ret_arguments,
              struct error *err)
{
    int r;

    *cli = (struct cli){.config_file = getenv("KINLOG_CONFIG")};
    *ret_arguments = (struct cli_arguments){0};
    r = take_options(cli, argc, argv, ret_arguments, err);
    if (r < 0 || ret_arguments->argc == 0)
        return r;
    cli->command = cli_command_find(ret_arguments->argv[0]);
    if (cli->command == NULL)
        return unknown_command(ret_arguments->argv[0], err);
    /* The subcommand's name stands where getopt_long wants the program's. */
    r = take_options(cli, ret_arguments->argc, ret_arguments->argv, ret_arguments, err);
    if (r < 0 || ret_arguments->help)
        return r;
    if (cli->form == OUTPUT_JSON && !cli->command->has_json)
        return error_set(err, ERROR_USAGE, "%s has no --json", cli->command->name);
    if (cli->form == OUTPUT_NDJSON && !cli->command->has_json)
        return error_set(err, ERROR_USAGE, "%s has no --ndjson", cli->command->name);
    return 0;
}

const char *cli_value(const struct cli *cli, const char *option)
{
    for (size_t i = cli->given_count; i > 0; i--) {
        if (strcmp(cli->given[i - 1].option->name, option) == 0)
            return cli->given[i - 1].value;
    }
    return NULL;
}

bool cli_has(const struct cli *cli, const char *option)
{
    return cli_value(cli, option) != NULL;
}

/* ---- what subcommands use ---------------------------------------------------------- */

int cli_config(struct cli *cli, struct error *err)
{
    struct config_source source = {.file = cli->config_file,
                                   .overrides = cli->overrides,
                                   .override_count = cli->override_count,
                                   .environment = environ};

    if (cli->config != NULL)
        return 0;
    if (source.file != NULL && *source.file == '\0')
        source.file = NULL; /* KINLOG_CONFIG= */
    if (source.file == NULL && access(CONFIG_DEFAULT, F_OK) == 0)
        source.file = CONFIG_DEFAULT;
    int r = config_load(&source, &cli->config, err);
    if (r == 0)
        log_setup(cli->config->log_format, cli->config->log_level);
    return r;
}

int cli_fail(const struct cli *cli, const struct error *err)
{
    bool wrong = err->code == ERROR_USAGE || err->code == ERROR_CONFIG;

    (void)fprintf(stderr, "kinlog: %s\n", err->text);
    if (err->code == ERROR_USAGE && cli->command != NULL)
        (void)fprintf(stderr, "See `kinlog help %s`.\n", cli->command->name);
    return wrong ? EXIT_WRONG : EXIT_FAILED;
}

int cli_wrong(const struct cli *cli, const char *format, ...)
{
    struct error err = {.code = ERROR_USAGE};
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(err.text, sizeof(err.text), format, arguments);
    va_end(arguments);
    return cli_fail(cli, &err);
}

bool cli_colour(FILE *file)
{
    const char *no_color = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");

    return (no_color == NULL || *no_color == '\0') && isatty(fileno(file)) &&
           (terminal == NULL || strcmp(terminal, "dumb") != 0);
}

size_t cli_columns(FILE *file)
{
    struct winsize size;

    return ioctl(fileno(file), TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

int cli_finish(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    (void)fprintf(stderr, "kinlog: cannot write the output: %s\n", strerror(errno));
    return code == EXIT_DONE ? EXIT_FAILED : code;
}

int cli_main(int argc, char **argv)
{
    struct cli cli;
    struct cli_arguments arguments;
    struct error err = {0};
    int code;

    if (cli_parse(&cli, argc, argv, &arguments, &err) < 0)
        return cli_fail(&cli, &err);
    if (arguments.help && cli.command != NULL) {
        help_print_command(stdout, cli.command);
        return cli_finish(EXIT_DONE);
    }
    if (arguments.version)
        return cli_finish(cmd_version(&cli, 0, NULL));
    if (cli.command == NULL) {
        if (arguments.help)
            help_print_all(stdout);
        else
            help_print_short(stdout);
        return cli_finish(EXIT_DONE);
    }
    code = cli.command->run(&cli, arguments.argc, arguments.argv);
    config_free(cli.config);
    return cli_finish(code);
}
