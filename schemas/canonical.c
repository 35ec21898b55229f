/* canonical.c - RFC 8785: no blanks, sorted members, shortest strings and numbers.
 *
 * The text is scanned as it is written: a first look over an object finds where its
 * members' values stand, then they are visited in the order of their names. So an inner
 * value is looked over once per level above it, of which there are at most 32.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "schemas/canonical.h"

#include <stdlib.h>

#include "events/base/error.h"
#include "schemas/json_number.h"
#include "schemas/json_scan.h"

struct writer {
    struct json_scan scan;
    enum canonical_form form;
    struct buf *out;
    struct buf members; /* struct member, of all objects that are open */
};

struct member {
    struct json_string name;
    const uint8_t *value;
};

static int write_value(struct writer *writer);

static int write_string(struct buf *out, const struct json_string *string)
{
    if (!string->escaped) {
        return buf_append_bytes(out, string->raw);
    }
    struct arena arena = ARENA_INIT;
    struct bytes content = json_string_content(string, &arena);
    int r = content.data == NULL ? ERROR_NO_MEMORY : buf_append_json_string(out, content);
    arena_release(&arena);
    return r;
}

static int compare_members(const void *a, const void *b)
{
    const struct member *one = a, *other = b;

    return json_strings_compare(&one->name, &other->name);
}

/* Remembers where the members' values stand, and goes to the object's end. */
static int look_over(struct writer *writer)
{
    struct json_scan *scan = &writer->scan;
    struct json_frame frame;
    bool more = true;

    if (!json_open(scan, &frame)) {
        return ERROR_INVALID;
    }
    while (more) {
        struct member member;
        if (!json_next_member(scan, &frame, &member.name, &more)) {
            return ERROR_INVALID;
        }
        if (!more) {
            break;
        }
        if (json_scan_begin(scan) == JSON_FAULT) {
            return ERROR_INVALID;
        }
        member.value = scan->at;
        if (!json_skip(scan)) {
            return ERROR_INVALID;
        }
        if (buf_append(&writer->members, &member, sizeof(member)) != 0) {
            return ERROR_NO_MEMORY;
        }
    }
    return 0;
}

static int write_object(struct writer *writer)
{
    struct json_scan *scan = &writer->scan;
    size_t first = writer->members.size;
    int r = look_over(writer);

    if (r != 0) {
        return r;
    }
    const uint8_t *end = scan->at;
    size_t count = (writer->members.size - first) / sizeof(struct member);
    if (count > 1) {
        qsort(writer->members.data + first, count, sizeof(struct member),
              compare_members);
    }
    scan->depth++;
    (void)buf_append_byte(writer->out, '{');
    for (size_t i = 0; r == 0 && i < count; i++) {
        /* By value: the buffer moves when an inner object adds its members. */
        struct member member =
            ((const struct member *)(const void *)(writer->members.data + first))[i];
        (void)buf_append_str(writer->out, i > 0 ? "," : "");
        (void)write_string(writer->out, &member.name);
        (void)buf_append_byte(writer->out, ':');
        scan->at = member.value;
        r = write_value(writer);
    }
    scan->depth--;
    scan->at = end;
    writer->members.size = first;
    (void)buf_append_byte(writer->out, '}');
    return r;
}

static int write_array(struct writer *writer)
{
    struct json_frame frame;
    bool more = true;

    if (!json_open(&writer->scan, &frame)) {
        return ERROR_INVALID;
    }
    (void)buf_append_byte(writer->out, '[');
    while (more) {
        if (!json_next_item(&writer->scan, &frame, &more)) {
            return ERROR_INVALID;
        }
        if (!more) {
            break;
        }
        (void)buf_append_str(writer->out, frame.count > 1 ? "," : "");
        int r = write_value(writer);
        if (r != 0) {
            return r;
        }
    }
    return buf_append_byte(writer->out, ']');
}

static int write_number(struct writer *writer)
{
    struct bytes raw;

    if (!json_take_number(&writer->scan, &raw)) {
        return ERROR_INVALID;
    }
    struct json_decimal decimal = json_decimal_of(raw);
    return writer->form == CANONICAL_EXACT
               ? json_decimal_append_exact(&decimal, writer->out)
               : json_decimal_append_canonical(&decimal, writer->out);
}

static int write_value(struct writer *writer)
{
    struct json_scan *scan = &writer->scan;
    enum json_kind kind = json_scan_begin(scan);
    const uint8_t *start = scan->at;
    struct json_string string;

    switch (kind) {
    case JSON_FAULT:
        return ERROR_INVALID;
    case JSON_OBJECT:
        return write_object(writer);
    case JSON_ARRAY:
        return write_array(writer);
    case JSON_NUMBER:
        return write_number(writer);
    case JSON_STRING:
        return json_take_string(scan, &string) ? write_string(writer->out, &string)
                                               : ERROR_INVALID;
    default:
        if (!json_take_word(scan)) {
            return ERROR_INVALID;
        }
        return buf_append(writer->out, start, (size_t)(scan->at - start));
    }
}

int canonical_append(struct bytes json, enum canonical_form form, struct buf *out)
{
    struct writer writer; /* no initialiser: it would clear the scanner's 4096 names */

    writer.form = form;
    writer.out = out;
    writer.members = (struct buf)BUF_INIT;
    json_scan_init(&writer.scan, json);
    writer.scan.values_max = SIZE_MAX; /* inner values are looked over more than once */
    int r = write_value(&writer);
    if (r == 0 && !json_scan_end(&writer.scan)) {
        r = ERROR_INVALID;
    }
    buf_release(&writer.members);
    return r == 0 && out->failed ? ERROR_NO_MEMORY : r;
}
