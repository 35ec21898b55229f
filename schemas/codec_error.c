/* codec_error.c - faults in words: what is wrong, where, and what to send instead.
 *
 * No text holds a string of the document: it may be a person's name. Members are named as
 * the schema spells them, and an unknown one is not named at all.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "schemas/codec_decode.h"

/* Text in a fixed buffer; what does not fit is cut. */
struct text {
    char *data;
    size_t size;
    size_t length;
};

static void add(struct text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void add(struct text *text, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(text->data + text->length, text->size - text->length, format,
                           arguments);
    va_end(arguments);
    if (length > 0) {
        text->length += (size_t)length;
    }
    if (text->length >= text->size) {
        text->length = text->size - 1;
    }
}

static void write_pointer(struct text *out, const struct path *path)
{
    for (size_t i = 0; i < path->count; i++) {
        const struct path_step *step = &path->steps[i];
        if (step->order == PATH_UNKNOWN) {
            return;
        }
        if (step->name == NULL) {
            add(out, "/%" PRIu32, step->order);
            continue;
        }
        add(out, "/");
        for (const char *at = step->name; *at != '\0'; at++) {
            add(out, *at == '~' ? "~0" : *at == '/' ? "~1" : "%c", *at);
        }
    }
}

/* "SourceId", "Events, item 2, Type", or "the data". */
static void write_subject(struct text *out, const struct path *path)
{
    size_t start = out->length;

    for (size_t i = 0; i < path->count && path->steps[i].order != PATH_UNKNOWN; i++) {
        const struct path_step *step = &path->steps[i];
        add(out, "%s", out->length > start ? ", " : "");
        if (step->name != NULL) {
            add(out, "%s", step->name);
        } else {
            add(out, "item %" PRIu32, step->order + 1);
        }
    }
    if (out->length == start) {
        add(out, "the data");
    }
}

void codec_error_mismatch(struct codec_error *error, const struct path *path,
                          size_t offset, const char *format, ...)
{
    *error = (struct codec_error){.fault = CODEC_MISMATCH, .offset = offset};
    if (path->count > 0 && path->steps[0].name != NULL) {
        (void)snprintf(error->member, sizeof(error->member), "%s", path->steps[0].name);
    }
    struct text pointer = {error->pointer, sizeof(error->pointer), 0};
    write_pointer(&pointer, path);
    struct text text = {error->text, sizeof(error->text), 0};
    write_subject(&text, path);
    add(&text, " ");
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text.data + text.length, text.size - text.length, format, arguments);
    va_end(arguments);
}

void codec_error_scan(struct codec_error *error, const struct json_scan *scan)
{
    *error = (struct codec_error){.fault = scan->fault, .offset = scan->offset};
    const char *what = scan->fault == CODEC_LIMIT ? "too large" : "not valid JSON";
    (void)snprintf(error->text, sizeof(error->text), "the data is %s at byte %zu: %s",
                   what, scan->offset, scan->text);
}

const char *codec_kind_text(enum json_kind kind)
{
    static const char *const TEXTS[] = {"nothing",  "null",   "true or false", "a number",
                                        "a string", "a list", "an object"};
    return TEXTS[kind];
}

static void add_range(struct text *text, uint32_t low, uint32_t high, const char *unit)
{
    if (high == SCHEMA_NO_LIMIT && low > 0) {
        add(text, " of at least %" PRIu32 " %s%s", low, unit, low == 1 ? "" : "s");
    } else if (high != SCHEMA_NO_LIMIT && low == high) {
        add(text, " of %" PRIu32 " %s%s", low, unit, low == 1 ? "" : "s");
    } else if (high != SCHEMA_NO_LIMIT) {
        add(text, " of %" PRIu32 " to %" PRIu32 " %ss", low, high, unit);
    }
}

static void add_number(struct text *text, const struct schema_node *node)
{
    if (node->minimum != NULL && node->maximum != NULL &&
        strcmp(node->minimum, node->maximum) == 0) {
        add(text, "the number %s", node->minimum);
        return;
    }
    add(text, (node->types & SCHEMA_NUMBER) != 0 ? "a number" : "an integer");
    if (node->minimum != NULL && node->maximum != NULL) {
        add(text, " from %s to %s", node->minimum, node->maximum);
    } else if (node->minimum != NULL) {
        add(text, " of at least %s", node->minimum);
    } else if (node->maximum != NULL) {
        add(text, " of at most %s", node->maximum);
    }
}

static void add_values(struct text *text, const struct schema_node *node)
{
    for (size_t i = 0; node->values != NULL && i < node->value_count; i++) {
        const char *between = i == 0 ? "" : i + 1 < node->value_count ? ", " : " or ";
        add(text, "%s%s", between, node->values[i]);
    }
    if (node->constant != NULL) {
        add(text, "%s", node->constant);
    }
}

static void add_type(struct text *text, const struct schema_node *node, unsigned type)
{
    switch (type) {
    case SCHEMA_NULL:
        add(text, "null");
        break;
    case SCHEMA_BOOLEAN:
        add(text, "true or false");
        break;
    case SCHEMA_STRING:
        add(text, "a string");
        add_range(text, node->length_min, node->length_max, "character");
        break;
    case SCHEMA_ARRAY:
        add(text, "a list");
        add_range(text, node->items_min, node->items_max, "item");
        break;
    case SCHEMA_OBJECT:
        add(text, "an object");
        break;
    default:
        add_number(text, node);
    }
}

const char *codec_expectation(const struct schema_node *node,
                              char ret_text[EXPECTATION_SIZE])
{
    struct text text = {ret_text, EXPECTATION_SIZE, 0};
    unsigned types = node->types;

    ret_text[0] = '\0';
    if (node->values != NULL || node->constant != NULL) {
        add_values(&text, node);
        return ret_text;
    }
    if ((types & SCHEMA_NUMBER) != 0) {
        types &= ~(unsigned)SCHEMA_INTEGER;
    }
    if (types == 0) {
        add(&text, "nothing");
    }
    /* null comes last. */
    for (unsigned bit = SCHEMA_BOOLEAN; bit <= SCHEMA_OBJECT; bit <<= 1) {
        if ((types & bit) != 0) {
            add(&text, "%s", text.length > 0 ? " or " : "");
            add_type(&text, node, bit);
        }
    }
    if ((types & SCHEMA_NULL) != 0) {
        add(&text, "%snull", text.length > 0 ? " or " : "");
    }
    return ret_text;
}
