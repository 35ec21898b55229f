/* codec_encode.c - from a struct to JSON, and to the bytes that a content hash covers.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "events/base/error.h"
#include "schemas/codec_tables.h"
#include "schemas/json_number.h"

/* Integers up to here are exact in a double, so RFC 8785 prints them as they are. */
#define DOUBLE_INTEGER_MAX (INT64_C(1) << 53)

enum form { PLAIN, CANONICAL };

static void encode(const struct schema_node *node, const void *value, enum form form,
                   struct buf *out);

/* Through a double, as RFC 8785 demands: the digits of a large integer may change. */
static void encode_large(struct buf *out, bool negative, uint64_t magnitude)
{
    double value = (double)magnitude;

    (void)json_double_append(negative ? -value : value, out);
}

static void encode_u64(uint64_t value, enum form form, struct buf *out)
{
    if (form == CANONICAL && value > (uint64_t)DOUBLE_INTEGER_MAX) {
        encode_large(out, false, value);
    } else {
        (void)buf_append_u64dec(out, value);
    }
}

static void encode_i64(int64_t value, enum form form, struct buf *out)
{
    if (form == CANONICAL &&
        (value > DOUBLE_INTEGER_MAX || value < -DOUBLE_INTEGER_MAX)) {
        uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
        encode_large(out, value < 0, magnitude);
    } else {
        (void)buf_append_i64dec(out, value);
    }
}

static void encode_string(const struct bytes *value, struct buf *out)
{
    if (value->data == NULL) {
        (void)buf_append_str(out, "null");
    } else {
        (void)buf_append_json_string(out, *value);
    }
}

static void encode_json(const struct bytes *value, enum form form, struct buf *out)
{
    if (value->data == NULL) {
        (void)buf_append_str(out, "null");
    } else if (form == CANONICAL) {
        if (codec_canonical(*value, out) != 0) {
            out->failed = true;
        }
    } else {
        (void)buf_append_bytes(out, *value);
    }
}

static void encode_list(const struct schema_node *items, const void *value,
                        enum form form, struct buf *out)
{
    struct codec_list list;

    memcpy(&list, value, sizeof(list));
    (void)buf_append_byte(out, '[');
    for (size_t i = 0; i < list.count; i++) {
        (void)buf_append_str(out, i > 0 ? "," : "");
        encode(items, (const uint8_t *)list.items + i * items->size, form, out);
    }
    (void)buf_append_byte(out, ']');
}

static bool is_present(const struct schema_member *member, const uint8_t *value)
{
    return member->has_offset == SCHEMA_NO_FLAG ||
           *(const bool *)(value + member->has_offset);
}

static void encode_struct(const struct schema_node *node, const uint8_t *value,
                          enum form form, struct buf *out)
{
    const char *between = "";

    (void)buf_append_byte(out, '{');
    for (size_t i = 0; i < node->member_count; i++) {
        const struct schema_member *member =
            &node->members[form == CANONICAL ? node->sorted[i] : i];
        bool present = is_present(member, value);
        if (!present && !member->info.required) {
            continue;
        }
        (void)buf_append_str(out, between);
        (void)buf_append_json_string(out, bytes_str(member->info.name));
        (void)buf_append_byte(out, ':');
        if (present) {
            encode(member->node, value + member->offset, form, out);
        } else {
            (void)buf_append_str(out, "null");
        }
        between = ",";
    }
    (void)buf_append_byte(out, '}');
}

static void encode(const struct schema_node *node, const void *value, enum form form,
                   struct buf *out)
{
    switch (node->store) {
    case STORE_U32:
        encode_u64(*(const uint32_t *)value, form, out);
        break;
    case STORE_U64:
        encode_u64(*(const uint64_t *)value, form, out);
        break;
    case STORE_I64:
        encode_i64(*(const int64_t *)value, form, out);
        break;
    case STORE_DOUBLE:
        (void)json_double_append(*(const double *)value, out);
        break;
    case STORE_BOOL:
        (void)buf_append_str(out, *(const bool *)value ? "true" : "false");
        break;
    case STORE_STRING:
        encode_string(value, out);
        break;
    case STORE_JSON:
        encode_json(value, form, out);
        break;
    case STORE_LIST:
        encode_list(node->items, value, form, out);
        break;
    case STORE_STRUCT:
        encode_struct(node, value, form, out);
        break;
    case STORE_NOTHING:
        break;
    }
}

int codec_encode(const struct schema *schema, const void *value, struct buf *out)
{
    encode(schema->root, value, PLAIN, out);
    return out->failed ? ERROR_NO_MEMORY : 0;
}

int codec_hash_input(const struct schema *schema, const void *value, struct buf *out)
{
    const struct schema_node *root = schema->root;

    for (size_t i = 0; i < root->member_count; i++) {
        const struct schema_member *member = &root->members[root->sorted[i]];
        if (!is_present(member, value)) {
            continue;
        }
        /* Both with the NUL that parts them. */
        (void)buf_append(out, member->info.name, strlen(member->info.name) + 1);
        encode(member->node, (const uint8_t *)value + member->offset, CANONICAL, out);
        (void)buf_append_byte(out, 0);
    }
    return out->failed ? ERROR_NO_MEMORY : 0;
}
