/* make_man_pages.c - writes the man pages from the tables that `kinlog help` prints:
 * kinlog(1), one page for each subcommand, and kinlog.conf(5).
 *
 *     make_man_pages FOLDER VERSION DATE
 *
 * The pages are in the man(7) language, without anything that mandoc or groff alone knows.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "agent/cli/cli.h"
#include "agent/cli/send_value.h"
#include "agent/config/config_keys.h"

static const char *folder, *version, *date;

/* ---- text -------------------------------------------------------------------------- */

/* One character, so that it comes out as itself and can be copied from a terminal. */
static void put_character(FILE *out, char character)
{
    static const struct {
        char character;
        const char *name;
    } special[] = {{'\\', "\\e"},  {'\'', "\\(aq"}, {'"', "\\(dq"},
                   {'^', "\\(ha"}, {'~', "\\(ti"},  {'-', "\\-"}};

    for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
        if (special[i].character == character) {
            (void)fputs(special[i].name, out);
            return;
        }
    }
    (void)fputc(character, out);
}

struct line {
    const char *text;
    size_t size;
    bool indented; /* its blanks are left out */
};

/* Cuts the next line off; false = there is none left. */
static bool next_line(const char **rest, struct line *ret_line)
{
    size_t blanks = strspn(*rest, " ");

    if (**rest == '\0')
        return false;
    *ret_line = (struct line){*rest + blanks, strcspn(*rest + blanks, "\n"), blanks > 0};
    *rest = ret_line->text + ret_line->size;
    *rest += **rest == '\n';
    return true;
}

/* What is to be typed, a line each; not filled. */
static void put_code(FILE *out, const char *text)
{
    struct line line;

    (void)fputs(".RS 4\n.nf\n", out);
    while (next_line(&text, &line)) {
        (void)fputs("\\&", out); /* a line must not begin with a dot */
        for (size_t i = 0; i < line.size; i++)
            put_character(out, line.text[i]);
        (void)fputc('\n', out);
    }
    (void)fputs(".fi\n.RE\n", out);
}

/* A hyphen between letters is one; all others belong to what is to be typed. */
static bool is_hyphen(const char *text, const char *at)
{
    return at > text && isalpha((unsigned char)at[-1]) && isalpha((unsigned char)at[1]);
}

/* Prose, in which `...` is bold. Ends its line. */
static void put_prose(FILE *out, const char *text)
{
    bool bold = false;

    (void)fputs("\\&", out);
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '`') {
            bold = !bold;
            (void)fputs(bold ? "\\fB" : "\\fR", out);
        } else if (*at == '\n' && at[1] == '\0') {
            break;
        } else if (*at == '\n') {
            (void)fputs("\n\\&", out);
        } else if (*at == '-' && !bold && is_hyphen(text, at)) {
            (void)fputc('-', out);
        } else {
            put_character(out, *at);
        }
    }
    (void)fputc('\n', out);
}

/* Usage as people know it: what is typed as it stands is bold, what stands for something
 * else italic. */
static void put_usage(FILE *out, const char *text, size_t size)
{
    char last = ' ';

    for (size_t i = 0; i < size;) {
        size_t begin = i;

        while (i < size && (isalnum((unsigned char)text[i]) || strchr("-_", text[i])))
            i++;
        if (i == begin) {
            last = text[i];
            put_character(out, text[i++]);
            continue;
        }
        bool typed = last != '=' && !isupper((unsigned char)text[begin]);
        (void)fputs(typed ? "\\fB" : "\\fI", out);
        while (begin < i)
            put_character(out, text[begin++]);
        (void)fputs("\\fR", out);
    }
    (void)fputc('\n', out);
}

/* ---- pieces of pages --------------------------------------------------------------- */

/* NULL, after a word on stderr: the file cannot be made. */
static FILE *page_open(const char *name, int section, const char *summary)
{
    char path[1024];

    (void)snprintf(path, sizeof(path), "%s/%s.%d", folder, name, section);
    FILE *out = fopen(path, "w");
    if (out == NULL) {
        perror(path);
        return NULL;
    }
    (void)fputs(".\\\" Made by docs/make_man_pages.c.\n.TH ", out);
    for (const char *at = name; *at != '\0'; at++)
        put_character(out, (char)toupper((unsigned char)*at));
    (void)fprintf(out, " %d \"%s\" \"Kinlog %s\" \"Kinlog\"\n.nh\n.ad l\n.SH NAME\n",
                  section, date, version);
    for (const char *at = name; *at != '\0'; at++)
        put_character(out, *at);
    (void)fputs(" \\- ", out);
    put_prose(out, summary);
    return out;
}

static int page_close(FILE *out)
{
    bool failed = ferror(out) != 0;

    if (fclose(out) == 0 && !failed)
        return 0;
    perror(folder);
    return -1;
}

static void put_option(FILE *out, const char *dashes, const struct cli_option *option)
{
    char text[128];

    (void)snprintf(text, sizeof(text), "%s%s%s%s", dashes, option->name,
                   option->argument != NULL ? " " : "",
                   option->argument != NULL ? option->argument : "");
    (void)fputs(".TP\n", out);
    put_usage(out, text, strlen(text));
    put_prose(out, option->meaning);
}

static void put_common_options(FILE *out, const struct cli_command *command)
{
    for (size_t i = 0; cli_common_options[i].name != NULL; i++) {
        if (cli_takes_option(command, &cli_common_options[i]))
            put_option(out, "--", &cli_common_options[i]);
    }
    put_option(out, "-", &cli_override_option);
}

static void put_exits(FILE *out, unsigned exits)
{
    (void)fputs(".SH EXIT STATUS\n", out);
    for (int code = 0; code < EXIT_CODES; code++) {
        if (exits >> code & 1)
            (void)fprintf(out, ".TP\n%d\n%s\n", code, cli_exit_meanings[code]);
    }
}

/* Each type that `send` takes, with its parameters. */
static void put_types(FILE *out)
{
    const struct codec_member *member;

    (void)fputs(".SH TYPES\n", out);
    for (const struct schema_entry *entry = schema_commands; entry->type != NULL;
         entry++) {
        if (!send_type_is_for_people(entry))
            continue;
        (void)fprintf(out, ".SS %s\n", entry->name);
        put_prose(out, codec_schema_description(entry->schema));
        for (size_t i = 0; (member = codec_schema_member(entry->schema, i)) != NULL;
             i++) {
            (void)fprintf(out, ".TP\n\\fB%s\\fR (%s%s)\n", member->name,
                          send_kind_name(member->kind),
                          member->required ? "" : ", optional");
            put_prose(out, member->description);
        }
    }
}

/* ---- pages ------------------------------------------------------------------------- */

/* A line that is indented goes on with the one before it. */
static void put_synopsis(FILE *out, const char *text)
{
    struct line line;
    const char *between = "";

    (void)fputs(".SH SYNOPSIS\n", out);
    while (next_line(&text, &line)) {
        if (!line.indented)
            (void)fprintf(out, "%s\\fBkinlog\\fR ", between);
        put_usage(out, line.text, line.size);
        between = ".br\n";
    }
}

static int write_command(const struct cli_command *command)
{
    char name[64];

    (void)snprintf(name, sizeof(name), "kinlog-%s", command->name);
    FILE *out = page_open(name, 1, command->summary);
    if (out == NULL)
        return -1;
    put_synopsis(out, command->usage);
    (void)fputs(".SH DESCRIPTION\n", out);
    put_prose(out, command->description);
    if (command->details != NULL)
        put_code(out, command->details);
    (void)fputs(".SH OPTIONS\n", out);
    for (size_t i = 0; command->options[i].name != NULL; i++)
        put_option(out, "--", &command->options[i]);
    put_common_options(out, command);
    if (command->run == cmd_send)
        put_types(out);
    put_exits(out, command->exits);
    (void)fputs(".SH EXAMPLES\n", out);
    put_code(out, command->examples);
    (void)fputs(".SH SEE ALSO\n.BR kinlog (1),\n.BR kinlog.conf (5)\n", out);
    return page_close(out);
}

static int write_program(void)
{
    FILE *out = page_open("kinlog", 1, "keep the record of which user uses which device");

    if (out == NULL)
        return -1;
    put_synopsis(out, "COMMAND [OPTION ...] [ARGUMENT ...]");
    (void)fputs(".SH DESCRIPTION\n", out);
    put_prose(out, cli_about);
    (void)fputs(".SH COMMANDS\n", out);
    for (size_t i = 0; cli_commands[i].name != NULL; i++) {
        (void)fprintf(out, ".TP\n.BR kinlog\\-%s (1)\n", cli_commands[i].name);
        put_prose(out, cli_commands[i].summary);
    }
    (void)fputs(
        ".SH OPTIONS\nAll commands take these, before or after their own words:\n", out);
    put_common_options(out, NULL);
    (void)fputs(".SH CONFIGURATION\n", out);
    put_prose(out, cli_configuration);
    put_exits(out, ~0U);
    (void)fputs(".SH EXAMPLES\n", out);
    put_code(out, cli_first_steps);
    (void)fputs(".SH SEE ALSO\n.BR kinlog.conf (5)\n", out);
    return page_close(out);
}

static void put_section(FILE *out, const char *section)
{
    (void)fprintf(out, ".SH [%s]\n", section);
    for (const struct config_key *key = config_keys; key->section != NULL; key++) {
        if (strcmp(key->section, section) != 0)
            continue;
        (void)fprintf(out, ".TP\n\\fB%s\\fR", key->name);
        if (key->default_value == NULL)
            (void)fputs(" (no default)\n", out);
        else
            (void)fprintf(out, " =%s%s\n", *key->default_value != '\0' ? " " : "",
                          key->default_value);
        put_prose(out, key->meaning);
    }
}

static int write_configuration(void)
{
    FILE *out = page_open("kinlog.conf", 5, "configuration of a Kinlog agent");
    const char *section = "";

    if (out == NULL)
        return -1;
    (void)fputs(".SH DESCRIPTION\n", out);
    (void)fputs("Sections, keys and values; shown are the defaults.\n", out);
    put_prose(out, cli_configuration);
    for (const struct config_key *key = config_keys; key->section != NULL; key++) {
        if (strcmp(section, key->section) != 0)
            put_section(out, key->section);
        section = key->section;
    }
    (void)fputs(".SH", out);
    for (size_t i = 0; config_kafka_sections[i] != NULL; i++)
        (void)fprintf(out, "%s [%s]", i > 0 ? "," : "", config_kafka_sections[i]);
    (void)fputc('\n', out);
    put_prose(out, config_kafka_meaning);
    (void)fputs(".SH SEE ALSO\n.BR kinlog (1),\n.BR kinlog\\-run (1)\n", out);
    return page_close(out);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        (void)fprintf(stderr, "usage: %s FOLDER VERSION DATE\n", argv[0]);
        return 2;
    }
    folder = argv[1];
    version = argv[2];
    date = argv[3];
    if (write_program() < 0 || write_configuration() < 0)
        return 1;
    for (const struct cli_command *command = cli_commands; command->name != NULL;
         command++) {
        if (write_command(command) < 0)
            return 1;
    }
    return 0;
}
