/* help.c - help, printed from the table of subcommands.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/cli.h"

#include <string.h>

#include "agent/cli/json_out.h"
#include "agent/cli/send_value.h"
#include "agent/cli/table.h"
#include "agent/config/config_keys.h"
#include "agent/config/spelling.h"
#include "agent/kafka/kafka.h"
#include "agent/shard/store.h"
#include "events/base/kv.h"

#define MEANING_COLUMN 25   /* of options */
#define PARAMETER_COLUMN 21 /* of types */

static void print_indented(FILE *out, size_t indent, const char *text)
{
    (void)fprintf(out, "%*s", (int)indent, "");
    print_wrapped(out, indent, text);
}

/* Each way of calling behind the program's name; a line that begins with a blank goes on
 * with the one before it. */
static void print_usage(FILE *out, const char *text)
{
    while (*text != '\0') {
        size_t size = strcspn(text, "\n");

        (void)fprintf(out, "  %s%.*s\n", *text == ' ' ? "       " : "kinlog ", (int)size,
                      text);
        text += size;
        text += *text == '\n';
    }
}

static void print_option(FILE *out, const char *dashes, const struct cli_option *option)
{
    char left[64];

    (void)snprintf(left, sizeof(left), "%s%s%s%s", dashes, option->name,
                   option->argument != NULL ? " " : "",
                   option->argument != NULL ? option->argument : "");
    (void)fprintf(out, "  %-*s ", MEANING_COLUMN - 3, left);
    if (strlen(left) > MEANING_COLUMN - 3) /* the meaning takes a line of its own */
        (void)fprintf(out, "\n%*s", MEANING_COLUMN, "");
    print_wrapped(out, MEANING_COLUMN, option->meaning);
}

static void print_options(FILE *out, const struct cli_option *options)
{
    for (size_t i = 0; options[i].name != NULL; i++)
        print_option(out, "--", &options[i]);
}

static void print_commands(FILE *out)
{
    for (size_t i = 0; cli_commands[i].name != NULL; i++)
        (void)fprintf(out, "  %-11s %s\n", cli_commands[i].name, cli_commands[i].summary);
}

void help_print_short(FILE *out)
{
    print_wrapped(out, 0, cli_about);
    (void)fprintf(out, "\n%s\nCommands:\n", cli_first_steps);
    print_commands(out);
    (void)fputs("\n`kinlog help COMMAND` explains one of them.\n", out);
}

void help_print_all(FILE *out)
{
    help_print_short(out);
    (void)fputs(
        "\nOptions that all commands take, before or after the command's own words:\n",
        out);
    print_options(out, cli_common_options);
    print_option(out, "-", &cli_override_option);
    (void)fputs("\nConfiguration:\n", out);
    print_indented(out, 2, cli_configuration);
    (void)fputs("\nExit codes:\n", out);
    for (int code = 0; code < EXIT_CODES; code++)
        (void)fprintf(out, "  %d  %s\n", code, cli_exit_meanings[code]);
}

/* ---- the types of command that send takes ------------------------------------------ */

static void print_types(FILE *out)
{
    const struct codec_member *member;

    (void)fputs("\nTypes and their parameters:\n", out);
    for (const struct schema_entry *entry = schema_commands; entry->type != NULL;
         entry++) {
        size_t column = 0;

        if (!send_type_is_for_people(entry))
            continue;
        (void)fprintf(out, "  %-*s", PARAMETER_COLUMN - 2, entry->name);
        for (size_t i = 0; (member = codec_schema_member(entry->schema, i)) != NULL;
             i++) {
            size_t size = strlen(member->name) + 3;

            if (PARAMETER_COLUMN + column + size > TEXT_WIDTH) {
                (void)fprintf(out, "\n%*s", PARAMETER_COLUMN, "");
                column = 0;
            }
            column += size;
            (void)fprintf(out, member->required ? " %s" : " [%s]", member->name);
        }
        (void)fputc('\n', out);
    }
}

static void print_sending(FILE *out, const struct schema_entry *entry)
{
    const struct codec_member *member;
    int column;

    (void)fputs("\nSent by:\n", out);
    column = fprintf(out, "  kinlog send %s", entry->name);
    for (size_t i = 0; (member = codec_schema_member(entry->schema, i)) != NULL; i++) {
        if (!member->required)
            continue;
        if (column + (int)strlen(member->name) + (int)strlen(" =... \\") > TEXT_WIDTH) {
            (void)fputs(" \\\n     ", out);
            column = 5;
        }
        column += fprintf(out, " %s=...", member->name);
    }
    (void)fputc('\n', out);
}

void help_print_type(FILE *out, const struct schema_entry *entry)
{
    const struct codec_member *member;

    (void)fprintf(out, "%s\n\n", entry->type);
    print_wrapped(out, 0, codec_schema_description(entry->schema));
    (void)fputs("\nParameters:\n", out);
    for (size_t i = 0; (member = codec_schema_member(entry->schema, i)) != NULL; i++) {
        (void)fprintf(out, "  %s (%s%s)\n", member->name, send_kind_name(member->kind),
                      member->required ? "" : ", optional");
        print_indented(out, 6, member->description);
    }
    print_sending(out, entry);
}

void help_print_config(FILE *out)
{
    const char *section = "";

    for (const struct config_key *key = config_keys; key->section != NULL; key++) {
        if (strcmp(section, key->section) != 0)
            (void)fprintf(out, "%s[%s]\n", *section == '\0' ? "" : "\n", key->section);
        section = key->section;
        if (key->default_value == NULL)
            (void)fprintf(out, "  %s  (no default)\n", key->name);
        else
            (void)fprintf(out, "  %s = %s\n", key->name, key->default_value);
        print_indented(out, 6, key->meaning);
    }
    for (size_t i = 0; config_kafka_sections[i] != NULL; i++)
        (void)fprintf(out, "%s[%s]", i == 0 ? "\n" : ", ", config_kafka_sections[i]);
    (void)fputc('\n', out);
    print_indented(out, 6, config_kafka_meaning);
}

void help_print_command(FILE *out, const struct cli_command *command)
{
    (void)fprintf(out, "kinlog %s - %s\n\nUsage:\n", command->name, command->summary);
    print_usage(out, command->usage);
    (void)fputc('\n', out);
    print_wrapped(out, 0, command->description);
    if (command->details != NULL)
        (void)fputs(command->details, out);
    if (command->run == cmd_send)
        print_types(out);
    (void)fputs("\nOptions:\n", out);
    print_options(out, command->options);
    for (size_t i = 0; cli_common_options[i].name != NULL; i++) {
        if (cli_takes_option(command, &cli_common_options[i]))
            print_option(out, "--", &cli_common_options[i]);
    }
    print_option(out, "-", &cli_override_option);
    (void)fprintf(out, "\nExamples:\n%s\nExit codes:\n", command->examples);
    for (int code = 0; code < EXIT_CODES; code++) {
        if (command->exits >> code & 1)
            (void)fprintf(out, "  %d  %s\n", code, cli_exit_meanings[code]);
    }
}

/* ---- help, version ----------------------------------------------------------------- */

int cmd_help(struct cli *cli, int argc, char **argv)
{
    struct spelling spelling = {.word = argc > 0 ? argv[0] : ""};

    if (argc == 0) {
        help_print_all(stdout);
        return EXIT_DONE;
    }
    if (argc > 1)
        return cli_wrong(cli, "one command at a time");
    if (strcmp(argv[0], "config") == 0) {
        help_print_config(stdout);
        return EXIT_DONE;
    }
    const struct cli_command *command = cli_command_find(argv[0]);
    if (command != NULL) {
        help_print_command(stdout, command);
        return EXIT_DONE;
    }
    const struct schema_entry *entry = send_type_find(argv[0]);
    if (entry != NULL) {
        help_print_type(stdout, entry);
        return EXIT_DONE;
    }
    for (size_t i = 0; cli_commands[i].name != NULL; i++)
        spelling_try(&spelling, cli_commands[i].name);
    for (entry = schema_commands; entry->type != NULL; entry++)
        spelling_try(&spelling, entry->name);
    if (spelling_best(&spelling) != NULL)
        return cli_wrong(cli, "there is no command %s; did you mean %s?", argv[0],
                         spelling_best(&spelling));
    return cli_wrong(cli, "there is no command %s", argv[0]);
}

int cmd_version(struct cli *cli, int argc, char **argv)
{
    struct json_out json;

    (void)argv;
    if (argc > 0)
        return cli_wrong(cli, "version takes no arguments");
    if (cli->form == OUTPUT_TABLE) {
        (void)printf("kinlog %s\nrules %d, store format %d\nlibrdkafka %s\n",
                     KINLOG_VERSION, RULES_MAX, STORE_FORMAT, kafka_library_version());
        return EXIT_DONE;
    }
    json_out_begin(&json, stdout, /* pretty= */ cli->form == OUTPUT_JSON);
    json_out_object(&json, NULL);
    json_out_string(&json, "Version", KINLOG_VERSION);
    json_out_integer(&json, "Rules", RULES_MAX);
    json_out_integer(&json, "StoreFormat", STORE_FORMAT);
    json_out_string(&json, "Librdkafka", kafka_library_version());
    json_out_close(&json);
    json_out_end(&json);
    return EXIT_DONE;
}
