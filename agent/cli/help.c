/* help.c - help and completion, printed from the table of subcommands.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/cli.h"

#include <string.h>

#include "agent/cli/json_out.h"
#include "agent/cli/send_value.h"
#include "agent/config/config_keys.h"
#include "agent/config/spelling.h"
#include "agent/kafka/kafka.h"
#include "agent/shard/store.h"
#include "events/base/kv.h"

#define WIDTH 80
#define OVERRIDE "-X SECTION.KEY=VALUE"
#define MEANING_COLUMN 25   /* of options */
#define PARAMETER_COLUMN 21 /* of types */

static const char *const exit_meanings[EXIT_CODES] = {
    [EXIT_DONE] = "done",
    [EXIT_FAILED] = "failed",
    [EXIT_WRONG] = "wrong usage or configuration",
    [EXIT_REFUSED] = "refused, or in conflict with an earlier command of the same id",
    [EXIT_NO_ANSWER] = "no answer in time",
    [EXIT_DAMAGE] = "damage was found",
};

/* Breaks text at blanks. The cursor stands at column indent, where further lines begin,
 * too. */
static void print_wrapped(FILE *out, size_t indent, const char *text)
{
    size_t width = WIDTH - indent;

    while (true) {
        size_t size = strlen(text);

        if (size > width) {
            size = width;
            while (size > 0 && text[size] != ' ')
                size--;
            if (size == 0)
                size = strcspn(text, " ");
        }
        (void)fprintf(out, "%.*s\n", (int)size, text);
        text += size;
        text += strspn(text, " ");
        if (*text == '\0')
            return;
        (void)fprintf(out, "%*s", (int)indent, "");
    }
}

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

static void print_option(FILE *out, const char *option, const char *meaning)
{
    (void)fprintf(out, "  %-*s ", MEANING_COLUMN - 3, option);
    print_wrapped(out, MEANING_COLUMN, meaning);
}

static void print_options(FILE *out, const struct cli_option *options)
{
    for (size_t i = 0; options[i].name != NULL; i++) {
        char left[64];

        (void)snprintf(left, sizeof(left), "--%s%s%s", options[i].name,
                       options[i].argument != NULL ? " " : "",
                       options[i].argument != NULL ? options[i].argument : "");
        print_option(out, left, options[i].meaning);
    }
}

static void print_commands(FILE *out)
{
    for (size_t i = 0; cli_commands[i].name != NULL; i++)
        (void)fprintf(out, "  %-11s %s\n", cli_commands[i].name, cli_commands[i].summary);
}

void help_print_short(FILE *out)
{
    print_wrapped(out, 0,
                  "Kinlog keeps the record of who belongs to what in a fleet: commands "
                  "come from Kafka, are decided, and become events, views and answers.");
    (void)fputs(
        "\n"
        "  kinlog demo                              watch it work; needs no Kafka\n"
        "  kinlog init --config kinlog.conf         make the data folder, once\n"
        "  kinlog run --config kinlog.conf          run the agent\n"
        "  kinlog send RegisterDevice ResourceID=7 Name=PC7\n"
        "  kinlog list relationships --user ann     who uses what\n"
        "  kinlog log --since -15m --follow         what happens\n"
        "\n"
        "Commands:\n",
        out);
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
    print_option(out, OVERRIDE,
                 "set a key of the configuration; may be given several times");
    (void)fputc('\n', out);
    print_wrapped(out, 0,
                  "Configuration: -X wins over the environment (KINLOG_<SECTION>_<KEY>), "
                  "that over the file. `kinlog help config` lists the keys.");
    (void)fputs("\nExit codes:\n", out);
    for (int code = 0; code < EXIT_CODES; code++)
        (void)fprintf(out, "  %d  %s\n", code, exit_meanings[code]);
}

/* ---- the types of command that send takes ------------------------------------------ */

/* Ticks and adoptions are sent by agents alone. */
static bool is_for_people(const struct schema_entry *entry)
{
    return strcmp(entry->name, "Tick") != 0 && strcmp(entry->name, "AdoptPolicy") != 0;
}

static void print_types(FILE *out)
{
    const struct codec_member *member;

    (void)fputs("\nTypes and their parameters:\n", out);
    for (const struct schema_entry *entry = schema_commands; entry->type != NULL;
         entry++) {
        size_t column = 0;

        if (!is_for_people(entry))
            continue;
        (void)fprintf(out, "  %-*s", PARAMETER_COLUMN - 2, entry->name);
        for (size_t i = 0; (member = codec_schema_member(entry->schema, i)) != NULL;
             i++) {
            size_t size = strlen(member->name) + 3;

            if (PARAMETER_COLUMN + column + size > WIDTH) {
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
        if (column + (int)strlen(member->name) + (int)strlen(" =... \\") > WIDTH) {
            (void)fputs(" \\\n     ", out);
            column = 5;
        }
        column += fprintf(out, " %s=...", member->name);
    }
    (void)fputc('\n', out);
}

void help_print_type(FILE *out, const struct schema_entry *entry)
{
    static const char *const kinds[] = {
        [CODEC_INTEGER] = "number",  [CODEC_STRING] = "text",
        [CODEC_BOOLEAN] = "boolean", [CODEC_NUMBER] = "number",
        [CODEC_ARRAY] = "list",      [CODEC_SCALAR_OR_ARRAY] = "one or a list",
        [CODEC_OBJECT] = "JSON",     [CODEC_ANY] = "JSON"};
    const struct codec_member *member;

    (void)fprintf(out, "%s\n\n", entry->type);
    print_wrapped(out, 0, codec_schema_description(entry->schema));
    (void)fputs("\nParameters:\n", out);
    for (size_t i = 0; (member = codec_schema_member(entry->schema, i)) != NULL; i++) {
        (void)fprintf(out, "  %s (%s%s)\n", member->name, kinds[member->kind],
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
    (void)fputs("\n[kafka], [kafka.consumer], [kafka.producer]\n", out);
    print_indented(out, 6,
                   "Passed to librdkafka unchanged, under its own names: "
                   "bootstrap.servers = host:9092. isolation.level, check.crcs, "
                   "auto.offset.reset, enable.idempotence and acks are the agent's own; "
                   "setting them is an error.");
}

void help_print_command(FILE *out, const struct cli_command *command)
{
    (void)fprintf(out, "kinlog %s - %s\n\nUsage:\n", command->name, command->summary);
    print_usage(out, command->usage);
    (void)fputc('\n', out);
    print_wrapped(out, 0, command->description);
    if (command->run == cmd_send)
        print_types(out);
    (void)fputs("\nOptions:\n", out);
    print_options(out, command->options);
    for (size_t i = 0; cli_common_options[i].name != NULL; i++) {
        const struct cli_option pair[] = {cli_common_options[i], {NULL, NULL, NULL}};

        bool is_json =
            strcmp(pair[0].name, "json") == 0 || strcmp(pair[0].name, "ndjson") == 0;

        if ((is_json && !command->has_json) || strcmp(pair[0].name, "version") == 0)
            continue;
        print_options(out, pair);
    }
    print_option(out, OVERRIDE, "set a key of the configuration");
    (void)fprintf(out, "\nExamples:\n%s\nExit codes:\n", command->examples);
    for (int code = 0; code < EXIT_CODES; code++) {
        if (command->exits >> code & 1)
            (void)fprintf(out, "  %d  %s\n", code, exit_meanings[code]);
    }
}

/* ---- completion -------------------------------------------------------------------- */

static void print_option_words(FILE *out, const struct cli_option *options)
{
    for (size_t i = 0; options[i].name != NULL; i++)
        (void)fprintf(out, " --%s", options[i].name);
}

static void print_command_words(FILE *out, const struct cli_command *command)
{
    (void)fprintf(out, "        %s) words=\"", command->name);
    if (command->words != NULL)
        (void)fputs(command->words, out);
    if (command->run == cmd_send) {
        for (size_t i = 0; schema_commands[i].type != NULL; i++) {
            if (is_for_people(&schema_commands[i]))
                (void)fprintf(out, "%s ", schema_commands[i].name);
        }
    }
    if (command->run == cmd_help) {
        (void)fputs("config", out);
        for (size_t i = 0; cli_commands[i].name != NULL; i++)
            (void)fprintf(out, " %s", cli_commands[i].name);
    }
    print_option_words(out, command->options);
    (void)fputs("\" ;;\n", out);
}

void help_print_completion(FILE *out)
{
    (void)fputs("# bash completion for kinlog\n"
                "_kinlog()\n"
                "{\n"
                "    local current=${COMP_WORDS[COMP_CWORD]} "
                "previous=${COMP_WORDS[COMP_CWORD-1]}\n"
                "    local command= word words i\n"
                "    COMPREPLY=()\n"
                "    case $previous in\n"
                "        --config|--data|--data-dir|--join) COMPREPLY=($(compgen -f -- "
                "\"$current\")); "
                "return ;;\n"
                "        --commands-from) COMPREPLY=($(compgen -W 'earliest latest' -- "
                "\"$current\")); "
                "return ;;\n"
                "    esac\n"
                "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                "        word=${COMP_WORDS[i]}\n"
                "        case $word in\n"
                "            --config|-X) ((i++)) ;;\n"
                "            -*) ;;\n"
                "            *) command=$word; break ;;\n"
                "        esac\n"
                "    done\n"
                "    case $command in\n"
                "        '') words=\"",
                out);
    for (size_t i = 0; cli_commands[i].name != NULL; i++)
        (void)fprintf(out, "%s%s", i > 0 ? " " : "", cli_commands[i].name);
    (void)fputs("\" ;;\n", out);
    for (size_t i = 0; cli_commands[i].name != NULL; i++)
        print_command_words(out, &cli_commands[i]);
    (void)fputs("    esac\n    [[ $current == -* ]] && words+=\" -X", out);
    print_option_words(out, cli_common_options);
    (void)fputs("\"\n"
                "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
                "}\n"
                "complete -F _kinlog kinlog\n",
                out);
}

/* ---- help, version, completion ----------------------------------------------------- */

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

int cmd_completion(struct cli *cli, int argc, char **argv)
{
    (void)argv;
    if (argc > 0)
        return cli_wrong(cli, "completion takes no arguments");
    help_print_completion(stdout);
    return EXIT_DONE;
}
