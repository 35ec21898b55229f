/* json_out.c - see json_out.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/json_out.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

void json_out_begin(struct json_out *json, FILE *file, bool pretty)
{
    *json = (struct json_out){.file = file, .pretty = pretty};
}

static void put_string(struct json_out *json, struct bytes value)
{
    (void)fputc('"', json->file);
    for (size_t i = 0; i < value.size; i++) {
        uint8_t byte = value.data[i];

        if (byte == '"' || byte == '\\')
            (void)fprintf(json->file, "\\%c", byte);
        else if (byte == '\n')
            (void)fputs("\\n", json->file);
        else if (byte < 0x20 || byte == 0x7f)
            (void)fprintf(json->file, "\\u%04x", byte);
        else
            (void)fputc(byte, json->file);
    }
    (void)fputc('"', json->file);
}

static void new_line(struct json_out *json)
{
    if (!json->pretty)
        return;
    (void)fputc('\n', json->file);
    for (size_t i = 0; i < json->depth; i++)
        (void)fputs("  ", json->file);
}

/* Comma, line and key before a value. */
static void lead(struct json_out *json, const char *key)
{
    if (json->depth > 0) {
        if (json->levels[json->depth - 1].used)
            (void)fputc(',', json->file);
        json->levels[json->depth - 1].used = true;
        new_line(json);
    }
    if (key != NULL) {
        put_string(json, bytes_str(key));
        (void)fputs(json->pretty ? ": " : ":", json->file);
    }
}

static void open_level(struct json_out *json, const char *key, char opening, char closing)
{
    lead(json, key);
    assert(json->depth < JSON_OUT_DEPTH_MAX);
    (void)fputc(opening, json->file);
    json->levels[json->depth].closing = closing;
    json->levels[json->depth++].used = false;
}

void json_out_object(struct json_out *json, const char *key)
{
    open_level(json, key, '{', '}');
}

void json_out_array(struct json_out *json, const char *key)
{
    open_level(json, key, '[', ']');
}

void json_out_close(struct json_out *json)
{
    assert(json->depth > 0);
    json->depth--;
    if (json->levels[json->depth].used)
        new_line(json);
    (void)fputc(json->levels[json->depth].closing, json->file);
}

void json_out_end(struct json_out *json)
{
    assert(json->depth == 0);
    (void)fputc('\n', json->file);
}

void json_out_text(struct json_out *json, const char *key, struct bytes value)
{
    lead(json, key);
    if (value.data == NULL)
        (void)fputs("null", json->file);
    else
        put_string(json, value);
}

void json_out_string(struct json_out *json, const char *key, const char *value)
{
    json_out_text(json, key, bytes_str(value));
}

void json_out_integer(struct json_out *json, const char *key, int64_t value)
{
    lead(json, key);
    (void)fprintf(json->file, "%" PRId64, value);
}

void json_out_unsigned(struct json_out *json, const char *key, uint64_t value)
{
    lead(json, key);
    (void)fprintf(json->file, "%" PRIu64, value);
}

void json_out_bool(struct json_out *json, const char *key, bool value)
{
    lead(json, key);
    (void)fputs(value ? "true" : "false", json->file);
}

void json_out_null(struct json_out *json, const char *key)
{
    lead(json, key);
    (void)fputs("null", json->file);
}

void json_out_numbers(struct json_out *json, const char *key, const uint32_t *values,
                      size_t count)
{
    lead(json, key);
    if (count == 0) {
        (void)fputs("null", json->file);
        return;
    }
    for (size_t i = 0; i < count; i++)
        (void)fprintf(json->file, "%c%" PRIu32, i == 0 ? '[' : ',', values[i]);
    (void)fputc(']', json->file);
}

void json_out_raw(struct json_out *json, const char *key, struct bytes value)
{
    lead(json, key);
    (void)fwrite(value.data, 1, value.size, json->file);
}
