/* complete.c - see complete.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/complete.h"

#include <ctype.h>
#include <string.h>

#include "agent/cli/cli.h"
#include "agent/cli/object.h"
#include "agent/cli/send_value.h"
#include "agent/config/config_keys.h"
#include "projections/views.h"

#define ARGUMENTS_MAX 64 /* the rest is not looked at */

struct request {
    FILE *out;
    const struct cli_command *command; /* NULL: none was given yet */
    const struct cli_option *option;   /* the one whose value is wanted, or NULL */
    const char *arguments[ARGUMENTS_MAX];
    size_t argument_count;
    bool options_ended; /* by "--" */
    const char *word;   /* what is there of the wanted one */
    struct bytes front; /* "--sort=" before it */
};

/* ---- what a word may be ------------------------------------------------------------ */

/* Of meanings the first sentence is shown, without its full stop. */
static void offer(const struct request *request, const char *word, const char *end,
                  const char *meaning)
{
    const char *stop = strstr(meaning, ". ");
    size_t size = stop != NULL ? (size_t)(stop - meaning) : strlen(meaning);

    if (strncmp(word, request->word, strlen(request->word)) != 0)
        return;
    size -= size > 0 && meaning[size - 1] == '.';
    (void)fprintf(request->out, "%.*s%s%s\t%.*s\n", (int)request->front.size,
                  (const char *)request->front.data, word, end, (int)size, meaning);
}

static void offer_commands(const struct request *request)
{
    for (size_t i = 0; cli_commands[i].name != NULL; i++)
        offer(request, cli_commands[i].name, "", cli_commands[i].summary);
}

static void offer_types(const struct request *request)
{
    for (const struct schema_entry *entry = schema_commands; entry->type != NULL;
         entry++) {
        if (send_type_is_for_people(entry))
            offer(request, entry->name, "", codec_schema_description(entry->schema));
    }
}

static bool is_given(const struct request *request, const char *parameter)
{
    size_t size = strlen(parameter);

    for (size_t i = 0; i < request->argument_count; i++) {
        if (strncmp(request->arguments[i], parameter, size) == 0 &&
            request->arguments[i][size] == '=')
            return true;
    }
    return false;
}

/* Of the type that was given; each once. */
static void offer_parameters(const struct request *request)
{
    const struct schema_entry *entry = send_type_find(request->arguments[0]);
    const struct codec_member *member;

    if (entry == NULL)
        return;
    for (size_t i = 0; (member = codec_schema_member(entry->schema, i)) != NULL; i++) {
        if (!is_given(request, member->name))
            offer(request, member->name, "=", member->description);
    }
}

static void offer_policies(const struct request *request, const char *end)
{
    const struct policy_name *policy;

    for (size_t i = 0; (policy = policy_name_at(i)) != NULL; i++)
        offer(request, policy->name, end, policy->allowed);
}

/* Of what is got, only policies have names that are known beforehand. */
static void offer_keys_of_objects(const struct request *request)
{
    if (strcmp(request->arguments[0], object_class_names[CLASS_POLICY].singular) == 0)
        offer_policies(request, "");
}

static void offer_policy_settings(const struct request *request)
{
    offer_policies(request, "=");
}

/* Of what is listed; with the '-' of descending order if there is one. */
static void offer_properties(const struct request *request)
{
    const char *listed = request->argument_count > 0 ? request->arguments[0] : "";
    const char *sign = *request->word == '-' ? "-" : "";

    for (enum object_class i = 0; i < OBJECT_CLASSES; i++) {
        const char *name;

        if (strcmp(listed, object_class_names[i].plural) != 0)
            continue;
        for (size_t j = 0; (name = object_property_name_at(i, j)) != NULL; j++) {
            char word[64];

            (void)snprintf(word, sizeof(word), "%s%s", sign, name);
            offer(request, word, "", "");
        }
    }
}

static void offer_config_keys(const struct request *request)
{
    for (const struct config_key *key = config_keys; key->section != NULL; key++) {
        char word[128];

        (void)snprintf(word, sizeof(word), "%s.%s", key->section, key->name);
        offer(request, word, "=", key->meaning);
    }
}

static void offer_options(const struct request *request, const struct cli_option *options)
{
    for (size_t i = 0; options[i].name != NULL; i++) {
        char word[64];

        (void)snprintf(word, sizeof(word), "--%s", options[i].name);
        if (cli_takes_option(request->command, &options[i]))
            offer(request, word, "", options[i].meaning);
    }
}

static void offer_all_options(const struct request *request)
{
    if (request->command != NULL)
        offer_options(request, request->command->options);
    offer_options(request, cli_common_options);
    offer(request, "-X", "", cli_override_option.meaning);
}

/* ---- what the tables say of values and arguments ----------------------------------- */

static const struct {
    const char *name;
    void (*offer)(const struct request *request);
} placeholders[] = {
    {"COMMAND", offer_commands},
    {"TYPE", offer_types},
    {"PARAMETER=VALUE", offer_parameters},
    {"KEY", offer_keys_of_objects},
    {"NAME=VALUE", offer_policy_settings},
    {"PROPERTY", offer_properties},
    {"SECTION.KEY=VALUE", offer_config_keys},
};

/* Cuts the first of the pieces off; absent = there is none left. */
static struct bytes next_piece(struct bytes *rest, char separator)
{
    const uint8_t *end;
    struct bytes piece = *rest;

    if (rest->size == 0)
        return BYTES_ABSENT;
    end = memchr(rest->data, separator, rest->size);
    if (end == NULL) {
        *rest = bytes_of(NULL, 0);
        return piece;
    }
    piece.size = (size_t)(end - rest->data);
    *rest = bytes_of(end + 1, rest->size - piece.size - 1);
    return piece;
}

static const char *wanted_kind(struct bytes alternatives)
{
    struct bytes piece;

    while ((piece = next_piece(&alternatives, '|')).data != NULL) {
        if (bytes_equal_str(piece, "FILE") || bytes_equal_str(piece, "KEYFILE"))
            return "files";
        if (bytes_equal_str(piece, "DIR"))
            return "folders";
    }
    return "words";
}

static void offer_alternative(const struct request *request, struct bytes piece)
{
    char word[64];

    for (size_t i = 0; i < sizeof(placeholders) / sizeof(placeholders[0]); i++) {
        if (bytes_equal_str(piece, placeholders[i].name))
            placeholders[i].offer(request);
    }
    if (islower(piece.data[0]) && piece.size < sizeof(word)) {
        (void)snprintf(word, sizeof(word), "%.*s", (int)piece.size,
                       (const char *)piece.data);
        offer(request, word, "", "");
    }
}

static void answer(const struct request *request, struct bytes alternatives)
{
    const char *kind = wanted_kind(alternatives);
    struct bytes piece;

    (void)fprintf(request->out, "%s\n", kind);
    if (strcmp(kind, "words") != 0)
        return;
    while ((piece = next_piece(&alternatives, '|')).data != NULL)
        offer_alternative(request, piece);
}

/* What the next argument may be; absent = nothing is known of it. */
static struct bytes wanted_argument(const struct request *request)
{
    struct bytes rest = bytes_str(request->command->arguments), piece = BYTES_ABSENT;

    for (size_t i = 0; i <= request->argument_count; i++) {
        piece = next_piece(&rest, ' ');
        if (piece.size > 3 && memcmp(piece.data + piece.size - 3, "...", 3) == 0)
            return bytes_of(piece.data, piece.size - 3);
    }
    return piece;
}

/* ---- the words before -------------------------------------------------------------- */

static const struct cli_option *find_option(const struct cli_option *options,
                                            struct bytes name)
{
    for (size_t i = 0; options[i].name != NULL; i++) {
        if (bytes_equal_str(name, options[i].name))
            return &options[i];
    }
    return NULL;
}

/* The option, if it is one that has a value: name is "--config" or "-X". */
static const struct cli_option *valued_option(const struct request *request,
                                              struct bytes name)
{
    const struct cli_option *option = NULL;

    if (bytes_equal_str(name, "-X"))
        return &cli_override_option;
    if (name.size < 3 || memcmp(name.data, "--", 2) != 0)
        return NULL;
    name = bytes_of(name.data + 2, name.size - 2);
    if (request->command != NULL)
        option = find_option(request->command->options, name);
    if (option == NULL)
        option = find_option(cli_common_options, name);
    return option != NULL && option->argument != NULL ? option : NULL;
}

/* false: an unknown subcommand, of which nothing can be said. */
static bool take_word(struct request *request, const char *word)
{
    if (request->option != NULL) {
        request->option = NULL; /* this is its value */
    } else if (!request->options_ended && strcmp(word, "--") == 0) {
        request->options_ended = true;
    } else if (!request->options_ended && word[0] == '-' && word[1] != '\0') {
        request->option = valued_option(request, bytes_str(word));
    } else if (request->command == NULL) {
        request->command = cli_command_find(word);
        return request->command != NULL;
    } else if (request->argument_count < ARGUMENTS_MAX) {
        request->arguments[request->argument_count++] = word;
    }
    return true;
}

/* "--sort=Na" wants a value as well. */
static void take_last_word(struct request *request, const char *word)
{
    size_t size = strcspn(word, "=");

    request->word = word;
    if (request->option != NULL || request->options_ended || word[size] != '=')
        return;
    request->option = valued_option(request, bytes_of(word, size));
    if (request->option != NULL) {
        request->front = bytes_of(word, size + 1);
        request->word = word + size + 1;
    }
}

void complete_print(FILE *out, int count, char *const *words)
{
    struct request request = {.out = out, .front = bytes_str("")};

    for (int i = 0; i < count - 1; i++) {
        if (!take_word(&request, words[i]))
            return;
    }
    take_last_word(&request, count > 0 ? words[count - 1] : "");
    if (request.option != NULL) {
        answer(&request, bytes_str(request.option->argument));
    } else if (!request.options_ended && *request.word == '-') {
        (void)fputs("words\n", out);
        offer_all_options(&request);
    } else if (request.command == NULL) {
        answer(&request, bytes_str("COMMAND"));
    } else {
        answer(&request, wanted_argument(&request));
    }
}
