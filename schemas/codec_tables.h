/* codec_tables.h - the tables that schemas/compiler writes and the codec interprets.
 *
 * A schema file becomes an array of nodes, one per place in the file where a schema may
 * stand; `$ref` is resolved to the node it means. A node holds the keywords, and how a
 * value that it describes lies in the C struct (store, size); a member says where
 * (offset). Tables are constant data: nothing is allocated or initialised at run time.
 *
 * Only generated code and the codec's own files include this header.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SCHEMAS_CODEC_TABLES_H
#define SCHEMAS_CODEC_TABLES_H

#include "schemas/codec.h"

/* JSON's types as the keyword `type` knows them: a set of bits. */
#define SCHEMA_NULL 0x01
#define SCHEMA_BOOLEAN 0x02
#define SCHEMA_INTEGER 0x04
#define SCHEMA_NUMBER 0x08
#define SCHEMA_STRING 0x10
#define SCHEMA_ARRAY 0x20
#define SCHEMA_OBJECT 0x40
#define SCHEMA_ANY 0x7f

#define SCHEMA_NO_LIMIT UINT32_MAX /* of a length or a number of items */
#define SCHEMA_NO_FLAG SIZE_MAX    /* of has_offset */
#define SCHEMA_MEMBERS_MAX 64      /* per object: one bit each in a uint64_t */

/* How a value lies in the struct. */
enum schema_store {
    STORE_NOTHING, /* checked only */
    STORE_U32,
    STORE_U64,
    STORE_I64,
    STORE_DOUBLE,
    STORE_BOOL,
    STORE_STRING, /* struct bytes: the decoded string */
    STORE_JSON,   /* struct bytes: canonical JSON */
    STORE_LIST,   /* struct codec_list, items as the node `items` says */
    STORE_STRUCT  /* members as they say */
};

/* What every `struct { T *items; size_t count; }` looks like. */
struct codec_list {
    void *items;
    size_t count;
};

struct schema_node {
    enum schema_store store;
    size_t size;   /* of the stored value in bytes */
    uint8_t types; /* SCHEMA_... bits; 0 = the schema `false` */
    bool unique_items;
    const char *minimum; /* decimal numbers; NULL = none */
    const char *maximum;
    uint32_t length_min; /* of a string, in code points */
    uint32_t length_max;
    uint32_t items_min;
    uint32_t items_max;
    const char *const *values; /* `enum` as JSON texts; NULL = none */
    size_t value_count;
    const char *constant; /* `const` as JSON text; NULL = none */
    const struct schema_node
        *items; /* of every item, or of those behind the tuple; NULL = anything */
    const struct schema_node *const
        *tuple; /* of the first items, one each (draft-07's list form) */
    size_t tuple_count;
    const struct schema_member *members; /* in declared order */
    const uint8_t *sorted;               /* their indexes by name; NULL = not stored */
    size_t member_count;
    const struct schema_node *additional; /* of members not listed; NULL = anything */
};

struct schema_member {
    struct codec_member info;
    const struct schema_node *node;
    size_t offset;
    size_t has_offset; /* of `bool has_...`, or SCHEMA_NO_FLAG */
};

struct schema {
    const char *title;
    const char *description;
    const struct schema_node *root;
    size_t size; /* of the struct */
};

/* Checks without filling a struct, so for any schema that the compiler takes; the same
 * faults. */
enum codec_fault codec_validate(const struct schema *schema, enum codec_names names,
                                struct bytes json, struct codec_error *ret_error);

/* One row per schema of a file written by `schemac --validators`; ends with name ==
 * NULL. */
struct schema_validator {
    const char *name; /* the file's name without its folder */
    const struct schema *schema;
};
extern const struct schema_validator schema_validators[];

#endif
