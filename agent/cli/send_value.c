/* send_value.c - see send_value.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/send_value.h"

#include <string.h>
#include <strings.h>

#include "agent/config/spelling.h"

const struct schema_entry *send_type_find(const char *type)
{
    for (const struct schema_entry *entry = schema_commands; entry->type != NULL;
         entry++) {
        if (strcmp(entry->type, type) == 0 || strcmp(entry->name, type) == 0)
            return entry;
    }
    return NULL;
}

bool send_type_is_for_people(const struct schema_entry *entry)
{
    return strcmp(entry->name, "Tick") != 0 && strcmp(entry->name, "AdoptPolicy") != 0;
}

const char *send_kind_name(enum codec_kind kind)
{
    static const char *const names[] = {
        [CODEC_INTEGER] = "number",  [CODEC_STRING] = "text",
        [CODEC_BOOLEAN] = "boolean", [CODEC_NUMBER] = "number",
        [CODEC_ARRAY] = "list",      [CODEC_SCALAR_OR_ARRAY] = "one or a list",
        [CODEC_OBJECT] = "JSON",     [CODEC_ANY] = "JSON"};

    return names[kind];
}

static bool is_json(struct bytes text)
{
    struct codec_error fault;

    return text.size > 0 && codec_check_json(text, &fault) == CODEC_OK;
}

static bool is_number(struct bytes text)
{
    return text.size > 0 &&
           (text.data[0] == '-' || (text.data[0] >= '0' && text.data[0] <= '9')) &&
           is_json(text);
}

static bool is_boolean(struct bytes text)
{
    return bytes_equal_str(text, "true") || bytes_equal_str(text, "false");
}

static bool is_container(struct bytes text, char opening)
{
    return text.size > 0 && text.data[0] == (uint8_t)opening && is_json(text);
}

/* As JSON what looks like JSON, but no string literal: quotes are a person's own. */
static void append_guess(struct buf *out, struct bytes text)
{
    if (is_number(text) || is_boolean(text) || bytes_equal_str(text, "null") ||
        is_container(text, '[') || is_container(text, '{'))
        (void)buf_append_bytes(out, text);
    else
        (void)buf_append_json_string(out, text);
}

static void append_scalar(struct buf *out, enum codec_kind kind, struct bytes text)
{
    bool raw = false;

    if (kind == CODEC_INTEGER || kind == CODEC_NUMBER)
        raw = is_number(text);
    else if (kind == CODEC_BOOLEAN)
        raw = is_boolean(text);
    if (kind == CODEC_OBJECT || kind == CODEC_ANY)
        append_guess(out, text);
    else if (raw)
        (void)buf_append_bytes(out, text);
    else
        (void)buf_append_json_string(out, text);
}

static void append_list(struct buf *out, enum codec_kind item_kind, struct bytes text)
{
    (void)buf_append_byte(out, '[');
    for (bool first = true; text.size > 0; first = false) {
        const uint8_t *comma = memchr(text.data, ',', text.size);
        size_t size = comma == NULL ? text.size : (size_t)(comma - text.data);

        if (!first)
            (void)buf_append_byte(out, ',');
        append_scalar(out, item_kind, bytes_of(text.data, size));
        size += comma != NULL;
        text = bytes_of(text.data + size, text.size - size);
        if (comma != NULL && text.size == 0) { /* "2," ends in an empty item */
            (void)buf_append_byte(out, ',');
            append_scalar(out, item_kind, bytes_str(""));
        }
    }
    (void)buf_append_byte(out, ']');
}

static void append_value(struct buf *out, const struct codec_member *member,
                         struct bytes text)
{
    bool list =
        member != NULL && (member->kind == CODEC_ARRAY ||
                           (member->kind == CODEC_SCALAR_OR_ARRAY && text.size > 0 &&
                            memchr(text.data, ',', text.size) != NULL));

    if (member == NULL)
        append_guess(out, text);
    else if ((list || member->kind == CODEC_SCALAR_OR_ARRAY) && is_container(text, '['))
        (void)buf_append_bytes(out, text);
    else if (list)
        append_list(out, member->item_kind, text);
    else if (member->kind == CODEC_SCALAR_OR_ARRAY)
        append_scalar(out, member->item_kind, text);
    else
        append_scalar(out, member->kind, text);
}

/* Without regard to case, as the agent does it. */
static const struct codec_member *find_member(const struct schema_entry *entry,
                                              struct bytes name)
{
    const struct codec_member *member;

    for (size_t i = 0; (member = codec_schema_member(entry->schema, i)) != NULL; i++) {
        if (strlen(member->name) == name.size &&
            strncasecmp(member->name, (const char *)name.data, name.size) == 0)
            return member;
    }
    return NULL;
}

static void tell_unknown(const struct schema_entry *entry, struct bytes name,
                         send_unknown_fn unknown)
{
    const struct codec_member *member;
    char word[64];
    struct spelling spelling = {.word = word};

    if (unknown == NULL || name.size >= sizeof(word))
        return;
    memcpy(word, name.data, name.size);
    word[name.size] = '\0';
    for (size_t i = 0; (member = codec_schema_member(entry->schema, i)) != NULL; i++)
        spelling_try(&spelling, member->name);
    unknown(entry, word, spelling_best(&spelling));
}

int send_data_append(struct buf *out, const struct schema_entry *entry, int count,
                     char *const *words, send_unknown_fn unknown, struct error *err)
{
    (void)buf_append_byte(out, '{');
    for (int i = 0; i < count; i++) {
        const char *equals = strchr(words[i], '=');

        if (equals == NULL || equals == words[i])
            return error_set(err, ERROR_USAGE, "parameter %d: Name=value is wanted",
                             i + 1);
        struct bytes name = bytes_of(words[i], (size_t)(equals - words[i]));
        const struct codec_member *member =
            entry != NULL ? find_member(entry, name) : NULL;
        if (entry != NULL && member == NULL)
            tell_unknown(entry, name, unknown);
        if (i > 0)
            (void)buf_append_byte(out, ',');
        (void)buf_append_json_string(out,
                                     member != NULL ? bytes_str(member->name) : name);
        (void)buf_append_byte(out, ':');
        append_value(out, member, bytes_str(equals + 1));
    }
    if (buf_append_byte(out, '}') < 0)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    return 0;
}
