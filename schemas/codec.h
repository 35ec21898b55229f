/* codec.h - from JSON bytes to a typed struct and back, by tables compiled from schemas/.
 *
 * `schemas/compiler` turns every <Name>.v1.json under schemas/ into a C struct and a
 * constant struct schema that describes it (in build/gen/schemas). One pass over the
 * bytes checks UTF-8, syntax, limits, duplicate members and every keyword of the schema,
 * and fills the struct: no tree is built.
 *
 * Generated for <Name>.v1.json: struct <name>_v1 and extern const struct schema
 * <name>_v1_schema; with <name> in snake_case (CreateRelationship ->
 * create_relationship). A member's field is its name in snake_case (MACAddresses ->
 * mac_addresses, RelationshipResourceID -> relationship_resource_id):
 *
 *   integer 0..2^32-1       uint32_t            other integer     int64_t (uint64_t if minimum >= 0)
 *   string                  struct bytes        boolean           bool
 *   array of T              struct { T *items; size_t count; }
 *   scalar or array of T    as array; a scalar becomes a list of one ("type": ["integer", "array"])
 *   object with properties  the struct, embedded
 *   no type                 struct bytes: the value's JSON in canonical form (RFC 8785)
 *
 * A member that is not required, or may be null, is preceded by `bool has_<field>`: false
 * when absent or null. Commands treat null as absent everywhere (messages.md 2).
 *
 * Strings and lists live in the arena or in the input, which must both outlive the
 * struct.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SCHEMAS_CODEC_H
#define SCHEMAS_CODEC_H

#include "events/base/bytes.h"

struct schema; /* compiled; see codec_tables.h */

/* Limits of rules 1, checked before anything else is done with the bytes. */
#define JSON_BYTES_MAX (256 * 1024)
#define JSON_DEPTH_MAX 32
#define JSON_VALUES_MAX 4096

enum codec_names {
    CODEC_EXACT,      /* member names as in the schema (events, answers) */
    CODEC_IGNORE_CASE /* ASCII case does not matter, null = absent (commands) */
};

enum codec_fault {
    CODEC_OK,
    CODEC_SYNTAX,   /* not JSON, not UTF-8, NUL, a lone surrogate, a duplicate member */
    CODEC_LIMIT,    /* size, depth, number of values */
    CODEC_MISMATCH, /* JSON, but not what the schema says */
    CODEC_NO_MEMORY
};

struct codec_error {
    enum codec_fault fault;
    size_t offset; /* of the byte where it was seen */
    /* top-level member as the schema spells it; "" = the document itself */
    char member[64];
    char pointer[128]; /* RFC 6901, cut to fit */
    char text[256];    /* names fault and cure; never holds a value of the document */
};

/* Of several faults the first in the order of the schema's declared members is reported
 * (missing ones included; unknown members last). ret_struct is zeroed first. Returns the
 * fault. */
enum codec_fault codec_decode(const struct schema *schema, enum codec_names names,
                              struct bytes json, struct arena *arena, void *ret_struct,
                              struct codec_error *ret_error);

/* Appends the canonical member order of the schema's declaration, compact, absent members
 * as null unless the schema says they are left out (not required). 0 or ERROR_NO_MEMORY.
 * */
int codec_encode(const struct schema *schema, const void *value, struct buf *out);

/* What the content hash of a command covers after `type NUL` (messages.md 3): per member,
 * sorted by the schema's spelling, absent ones left out: name NUL canonical JSON NUL. 0
 * or ERROR_NO_MEMORY. */
int codec_hash_input(const struct schema *schema, const void *value, struct buf *out);

/* Checks any JSON text against limits and syntax alone. */
enum codec_fault codec_check_json(struct bytes json, struct codec_error *ret_error);
/* Likewise, but lets through what is doubtful and still can be told apart: U+0000, half
 * surrogates, a member twice. Enough to find a message's id beside damaged data. */
enum codec_fault codec_check_grammar(struct bytes json, struct codec_error *ret_error);

/* Steps through the members of a JSON object of checked grammar (codec_check_grammar):
 * name (decoded, in the arena) and the raw bytes of the value. Start with *position = 0.
 * 0, 1 = no more, ERROR_INVALID if json is no object, ERROR_NO_MEMORY. */
int codec_next_member(struct bytes json, size_t *position, struct arena *arena,
                      struct bytes *ret_name, struct bytes *ret_raw);
/* Decodes a raw JSON string literal. absent if raw is not a string. */
struct bytes codec_string(struct bytes raw, struct arena *arena);
/* Appends the canonical form (RFC 8785) of a checked JSON text. 0, ERROR_NO_MEMORY, or
 * ERROR_INVALID: it holds a number beyond what a double holds, for which there is no such
 * form. */
int codec_canonical(struct bytes json, struct buf *out);

/* What a schema says of its top-level members, for `send`, documentation and completion.
 * */
enum codec_kind {
    CODEC_INTEGER,
    CODEC_STRING,
    CODEC_BOOLEAN,
    CODEC_NUMBER,
    CODEC_ARRAY,
    CODEC_SCALAR_OR_ARRAY,
    CODEC_OBJECT,
    CODEC_ANY
};
struct codec_member {
    const char *name; /* the schema's spelling */
    const char *description;
    enum codec_kind kind;
    enum codec_kind item_kind; /* of arrays */
    bool required;
    bool personal; /* x-personal */
    bool key;      /* x-key */
};
/* "CreateRelationship.v1" */
const char *codec_schema_title(const struct schema *schema);
const char *codec_schema_description(const struct schema *schema);
/* NULL when index is past the end; in declared order. */
const struct codec_member *codec_schema_member(const struct schema *schema, size_t index);

/* One row per schema file, generated (build/gen/schemas/registry.c). */
struct schema_entry {
    const char *type; /* "kinlog.CreateRelationship.v1" */
    const char *name; /* "CreateRelationship" */
    const struct schema *schema;
    size_t struct_size;
};
/* ends with type == NULL; sorted by type */
extern const struct schema_entry schema_commands[];
extern const struct schema_entry schema_events[];
extern const struct schema_entry schema_answers[];

#endif
