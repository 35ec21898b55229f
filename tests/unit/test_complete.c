/* test_complete.c - what the words of a command line may become.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* strsep */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/cli/cli.h"
#include "agent/cli/complete.h"

/* The answer to a line, of which what stands behind the last blank is completed. To be
 * freed. */
static char *answer_to(const char *line)
{
    char copy[512], *words[32], *text = NULL;
    size_t size;
    int count = 0;
    FILE *out = open_memstream(&text, &size);

    (void)snprintf(copy, sizeof(copy), "%s", line);
    for (char *rest = copy, *word; (word = strsep(&rest, " ")) != NULL;)
        words[count++] = word;
    complete_print(out, count, words);
    (void)fclose(out);
    return text;
}

/* "words: a b", without the meanings. */
static void summary_of(const char *line, char *ret_text, size_t size)
{
    char *answer = answer_to(line);
    size_t used = 0;

    ret_text[0] = '\0';
    for (char *rest = answer, *row; (row = strsep(&rest, "\n")) != NULL && *row != '\0';)
        used += (size_t)snprintf(ret_text + used, size - used, "%s%.*s%s",
                                 used > 0 ? " " : "", (int)strcspn(row, "\t"), row,
                                 used > 0 ? "" : ":");
    free(answer);
}

/* Each line has one right answer. */
static void test_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *answer;
    } cases[] = {
        {"st", "words: status"},
        {"--co", "words: --config"},
        {"--config x st", "words: status"},
        {"-X log.level=debug st", "words: status"},
        {"-Xlog.level=debug st", "words: status"},
        {"bogus ", ""}, /* not even "words" */
        {"status ", "words:"},
        /* what arguments may be, by their place */
        {"get ", "words: relationship device association policy"},
        {"get --json --config x dev", "words: device"},
        {"get policy ", "words: core.rules devices.unknown requests.timeout"},
        {"get device ", "words:"},
        {"get policy devices.unknown ", "words:"},
        {"list r", "words: relationships"},
        {"help con", "words: config"},
        {"help Remove", "words: RemoveDevice RemoveSource RemoveType"},
        {"policy ", "words: set"},
        {"policy set d", "words: devices.unknown="},
        {"completion ", "words: bash zsh fish"},
        /* types, and of their parameters those that are not there yet */
        {"send RemoveD", "words: RemoveDevice"},
        {"send T", "words:"}, /* Tick is not for people */
        {"send SetPolicy ", "words: Name= Value="},
        {"send SetPolicy Name=x ", "words: Value="},
        {"send --id 7 SetPolicy Value=x --actor Name=x N", "words: Name="},
        {"send kinlog.SetPolicy.v1 V", "words: Value="},
        {"send SetPolicy Name=", "words:"},
        {"send Unheard ", "words:"},
        /* options: the command's, and the common ones that fit */
        {"verify --", "words: --shard --config --json --ndjson --help"},
        {"version --", "words: --config --json --ndjson --help"},
        {"run -", "words: --config --help -X"},
        {"--v", "words: --version"},
        {"verify -- --", "words:"},
        /* their values */
        {"--config ", "files:"},
        {"run --config=./k", "files:"},
        {"send --data ", "files:"},
        {"init --join ", "files:"},
        {"demo --data-dir ", "folders:"},
        {"list --limit ", "words:"},
        {"log --since -", "words:"},
        {"rebuild --commands-from ", "words: earliest latest"},
        {"rebuild --commands-from=l", "words: --commands-from=latest"},
        {"list devices --sort C", "words: ClientType"},
        {"list policy --sort -R", "words: -Revision"},
        {"list devices --sort=-N", "words: --sort=-Name"},
        {"list --sort N", "words:"},
        {"run -X log.", "words: log.format= log.level="},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[1024];

        summary_of(cases[i].line, text, sizeof(text));
        if (strcmp(text, cases[i].answer) != 0)
            fail_msg("kinlog %s|\n  gives  %s\n  wanted %s", cases[i].line, text,
                     cases[i].answer);
    }
}

/* Every subcommand is offered, and each of its options. */
static void test_all_of_the_table(void **state)
{
    (void)state;
    char *commands = answer_to("");

    for (const struct cli_command *command = cli_commands; command->name != NULL;
         command++) {
        char wanted[128], line[64], *options;

        (void)snprintf(wanted, sizeof(wanted), "\n%s\t%s\n", command->name,
                       command->summary);
        assert_non_null(strstr(commands, wanted));
        (void)snprintf(line, sizeof(line), "%s --", command->name);
        options = answer_to(line);
        for (size_t i = 0; command->options[i].name != NULL; i++) {
            (void)snprintf(wanted, sizeof(wanted), "\n--%s\t", command->options[i].name);
            assert_non_null(strstr(options, wanted));
        }
        free(options);
    }
    free(commands);
}

/* A meaning is one sentence. */
static void test_meanings(void **state)
{
    (void)state;
    char *answer = answer_to("send RemoveDev");

    assert_string_equal(answer, "words\nRemoveDevice\tRemoves a device\n");
    free(answer);
    answer = answer_to("");
    assert_null(strstr(answer, ".\n"));
    free(answer);
}

/* More words than anybody types are no harm. */
static void test_many_words(void **state)
{
    (void)state;
    char *words[200], *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    for (size_t i = 0; i < 200; i++)
        words[i] = "Name=x";
    words[0] = "send";
    words[1] = "SetPolicy";
    words[199] = "";
    complete_print(out, 200, words);
    complete_print(out, 0, words);
    (void)fclose(out);
    assert_ptr_equal(strstr(text, "words\nValue=\t"), text);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_all_of_the_table),
        cmocka_unit_test(test_meanings),
        cmocka_unit_test(test_many_words),
    };

    return cmocka_run_group_tests_name("complete", tests, NULL, NULL);
}
