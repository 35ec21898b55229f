/* fuzz_codec.c - any bytes as the data of every command, event and answer.
 *
 * Beyond "no crash": what is taken comes out, encoded, as something that is taken and
 * comes out the same; the canonical form of a canonical form is itself; and what one
 * schema calls no JSON, all do.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "events/base/error.h"
#include "schemas/codec.h"
#include "tests/fuzz/pieces.h"

struct run {
    struct arena arena;
    struct buf first;
    struct buf second;
};

static enum codec_fault decode(const struct schema_entry *entry, enum codec_names names,
                               struct bytes json, struct run *run, void **ret_value)
{
    struct codec_error error;

    *ret_value = arena_alloc(&run->arena, entry->struct_size);
    expect(*ret_value != NULL);
    enum codec_fault fault =
        codec_decode(entry->schema, names, json, &run->arena, *ret_value, &error);
    expect(fault == error.fault && fault != CODEC_NO_MEMORY);
    expect(memchr(error.text, 0, sizeof(error.text)) != NULL);
    expect(memchr(error.pointer, 0, sizeof(error.pointer)) != NULL);
    expect(error.offset <= json.size);
    expect((fault == CODEC_OK) == (error.text[0] == '\0'));
    return fault;
}

static void try_schema(const struct schema_entry *entry, enum codec_names names,
                       struct bytes json, enum codec_fault syntax, struct run *run)
{
    void *value;
    enum codec_fault fault = decode(entry, names, json, run, &value);

    /* Without syntax, all agree; with it, only the schema may object. */
    expect(syntax == CODEC_OK ? fault == CODEC_OK || fault == CODEC_MISMATCH
                              : fault == syntax);
    if (fault != CODEC_OK) {
        return;
    }
    buf_clear(&run->first);
    expect(codec_encode(entry->schema, value, &run->first) == 0);
    /* A copy, for the struct borrows from it. */
    struct bytes encoded = arena_copy(&run->arena, buf_bytes(&run->first));
    void *again;
    expect(decode(entry, names, encoded, run, &again) == CODEC_OK);
    buf_clear(&run->second);
    expect(codec_encode(entry->schema, again, &run->second) == 0);
    expect(bytes_equal(buf_bytes(&run->first), buf_bytes(&run->second)));
    buf_clear(&run->first);
    buf_clear(&run->second);
    expect(codec_hash_input(entry->schema, value, &run->first) == 0);
    expect(codec_hash_input(entry->schema, again, &run->second) == 0);
    expect(bytes_equal(buf_bytes(&run->first), buf_bytes(&run->second)));
}

static void try_canonical(struct bytes json, enum codec_fault syntax, struct run *run)
{
    buf_clear(&run->first);
    int r = codec_canonical(json, &run->first);

    if (syntax != CODEC_OK) {
        return;
    }
    expect(r == 0 || r == ERROR_INVALID); /* a number beyond a double */
    /* Numbers may grow, and pass the limit of size. */
    if (r == 0 && run->first.size <= JSON_BYTES_MAX) {
        buf_clear(&run->second);
        expect(codec_canonical(buf_bytes(&run->first), &run->second) == 0);
        expect(bytes_equal(buf_bytes(&run->first), buf_bytes(&run->second)));
    }
}

static void try_members(struct bytes json, enum codec_fault syntax, struct run *run)
{
    struct bytes name, raw;
    size_t position = 0;
    int r;

    while ((r = codec_next_member(json, &position, &run->arena, &name, &raw)) == 0) {
        expect(raw.data >= json.data && raw.data + raw.size <= json.data + json.size);
        (void)codec_string(raw, &run->arena);
    }
    expect(r == 1 || r == ERROR_INVALID);
    enum codec_fault grammar = codec_check_grammar(json, NULL);
    expect(syntax != CODEC_OK || grammar == CODEC_OK);
    expect(grammar != CODEC_OK || r == 1 ||
           memchr(json.data, '{', json.size) != json.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run run = {ARENA_INIT, BUF_INIT, BUF_INIT};
    struct bytes json = {data, size};
    enum codec_fault syntax = codec_check_json(json, NULL);

    for (const struct schema_entry *at = schema_commands; at->type != NULL; at++) {
        try_schema(at, CODEC_IGNORE_CASE, json, syntax, &run);
    }
    for (const struct schema_entry *at = schema_events; at->type != NULL; at++) {
        try_schema(at, CODEC_EXACT, json, syntax, &run);
    }
    for (const struct schema_entry *at = schema_answers; at->type != NULL; at++) {
        try_schema(at, CODEC_EXACT, json, syntax, &run);
    }
    try_canonical(json, syntax, &run);
    try_members(json, syntax, &run);
    arena_release(&run.arena);
    buf_release(&run.first);
    buf_release(&run.second);
    return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    words_add_schemas();
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    return mutate_text(data, size, size_max, seed);
}
