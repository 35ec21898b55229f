/* flat_json.c - see flat_json.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/shard/flat_json.h"

#include <string.h>

#include "schemas/json_number.h"
#include "schemas/json_scan.h"

/* The content of a string, cut where the room ends; false if it had to be. */
static bool copy_content(const struct json_string *string, char *text, size_t size)
{
    const uint8_t *at = string->raw.data + 1;
    size_t used = 0;
    int32_t code_point;

    while ((code_point = json_next_code_point(&at)) >= 0) {
        uint8_t piece[4];
        size_t length = json_utf8(code_point, piece);
        if (used + length >= size)
            break;
        memcpy(text + used, piece, length);
        used += length;
    }
    text[used] = '\0';
    return code_point < 0;
}

static bool take_text(struct json_scan *scan, const struct flat_member *member)
{
    struct json_string string;

    return json_take_string(scan, &string) &&
           (copy_content(&string, member->text, member->text_size) || member->may_be_cut);
}

static bool take_number(struct json_scan *scan, const struct flat_member *member)
{
    struct bytes raw;

    if (!json_take_number(scan, &raw))
        return false;
    struct json_decimal decimal = json_decimal_of(raw);
    return json_decimal_u64(&decimal, member->number);
}

static bool take_value(struct json_scan *scan, const struct flat_member *member)
{
    enum json_kind kind = json_scan_begin(scan);

    if (kind == JSON_FAULT)
        return false;
    if (member == NULL)
        return json_skip(scan);
    if (member->text != NULL)
        return kind == JSON_STRING && take_text(scan, member);
    return kind == JSON_NUMBER && take_number(scan, member);
}

static const struct flat_member *find_member(const struct json_string *name,
                                             const struct flat_member *members,
                                             size_t count)
{
    char text[64];

    if (!copy_content(name, text, sizeof text))
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(members[i].name, text) == 0)
            return &members[i];
    }
    return NULL;
}

bool flat_json_read(struct bytes json, const struct flat_member *members, size_t count)
{
    struct json_scan scan;
    struct json_frame frame;
    struct json_string name;
    size_t found = 0; /* no member comes twice */
    bool more;

    json_scan_init(&scan, json);
    if (json_scan_begin(&scan) != JSON_OBJECT || !json_open(&scan, &frame))
        return false;
    while (json_next_member(&scan, &frame, &name, &more) && more) {
        const struct flat_member *member = find_member(&name, members, count);
        if (!take_value(&scan, member))
            return false;
        found += member != NULL;
    }
    return scan.fault == CODEC_OK && json_scan_end(&scan) && found == count;
}
