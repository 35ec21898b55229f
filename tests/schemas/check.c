/* check.c - answers, for the Python tests beside it, what the compiled schemas say of
 * documents.
 *
 * Reads requests from standard input: "<schema> <size>\n" and so many bytes. Writes one
 * line each:
 *
 *   <fault> TAB <member> TAB <text> TAB <the struct encoded again, if there is no fault>
 *
 * <schema> is "CreateRelationship.v1" (decoded as the agent does it) or the name of a
 * schema of the public suite (validated only).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/codec_tables.h"

static const struct schema_entry *find(const struct schema_entry *entries,
                                       const char *title)
{
    for (; entries->type != NULL; entries++) {
        if (strcmp(codec_schema_title(entries->schema), title) == 0) {
            return entries;
        }
    }
    return NULL;
}

static void answer(const struct codec_error *error, const struct buf *encoded)
{
    printf("%d\t%s\t%s\t%.*s\n", error->fault, error->member, error->text,
           (int)encoded->size, encoded->size > 0 ? (const char *)encoded->data : "");
}

static void check_message(const struct schema_entry *entry, enum codec_names names,
                          struct bytes json)
{
    struct arena arena = ARENA_INIT;
    struct buf encoded = BUF_INIT;
    struct codec_error error, again;
    void *value = malloc(entry->struct_size);

    if (value == NULL) {
        exit(2);
    }
    codec_decode(entry->schema, names, json, &arena, value, &error);
    /* Checking without a struct must come to the same, but for numbers that C cannot
     * hold. */
    codec_validate(entry->schema, names, json, &again);
    if (error.fault != again.fault &&
        !(error.fault == CODEC_MISMATCH && again.fault == CODEC_OK)) {
        (void)snprintf(error.text, sizeof(error.text), "codec_validate(): %.100s",
                       again.text);
        error.fault = 99;
    }
    if (error.fault == CODEC_OK && codec_encode(entry->schema, value, &encoded) != 0) {
        exit(2);
    }
    answer(&error, &encoded);
    free(value);
    buf_release(&encoded);
    arena_release(&arena);
}

static void check(const char *name, struct bytes json)
{
    const struct schema_entry *entry = find(schema_commands, name);

    if (entry != NULL) {
        check_message(entry, CODEC_IGNORE_CASE, json);
        return;
    }
    entry = find(schema_events, name);
    entry = entry != NULL ? entry : find(schema_answers, name);
    if (entry != NULL) {
        check_message(entry, CODEC_EXACT, json);
        return;
    }
    for (const struct schema_validator *at = schema_validators; at->name != NULL; at++) {
        if (strcmp(at->name, name) == 0) {
            struct codec_error error;
            struct buf nothing = BUF_INIT;
            codec_validate(at->schema, CODEC_EXACT, json, &error);
            answer(&error, &nothing);
            return;
        }
    }
    fprintf(stderr, "check: no schema %s\n", name);
    exit(2);
}

int main(void)
{
    char name[128];
    size_t size;

    while (scanf("%127s %zu", name, &size) == 2) {
        /* A block of exactly this size, so that the sanitizer sees a read behind it. */
        uint8_t *data = malloc(size > 0 ? size : 1);
        if (data == NULL || getchar() != '\n' || fread(data, 1, size, stdin) != size) {
            return 2;
        }
        check(name, (struct bytes){data, size});
        free(data);
    }
    return 0;
}
