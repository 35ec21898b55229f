/* codec.c - decodes JSON by a compiled schema, in one pass.
 *
 * Two kinds of fault are kept apart. What the scanner finds (syntax, limits) ends the
 * pass at once. A mismatch is remembered and the pass goes on, for the rest may be no
 * JSON at all, or hold a mismatch of a member that the schema declares earlier: that one
 * is reported. Each value knows its path as the schema orders it, so "earlier" is a
 * comparison of paths.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "schemas/codec.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "events/base/error.h"
#include "schemas/canonical.h"
#include "schemas/codec_decode.h"
#include "schemas/codec_tables.h"
#include "schemas/json_number.h"
#include "schemas/json_scan.h"

#define LIST_CAPACITY_MIN 4

struct decoder {
    struct json_scan scan;
    enum codec_names names;
    struct arena *arena; /* NULL when nothing is stored */
    struct path path;
    struct path worst; /* of the mismatch in error */
    struct codec_error *error;
};

static bool check_value(struct decoder *decoder, const struct schema_node *node,
                        void *out);
static bool check_begun(struct decoder *decoder, const struct schema_node *node,
                        enum json_kind kind, void *out);

/* ---- faults ------------------------------------------------------------------------ */

static int compare_paths(const struct path *a, const struct path *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        if (a->steps[i].order != b->steps[i].order) {
            return a->steps[i].order < b->steps[i].order ? -1 : 1;
        }
    }
    return (a->count > b->count) - (a->count < b->count);
}

/* Is a mismatch here the first one so far? Then it is to be told. */
static bool comes_first(struct decoder *decoder)
{
    if (decoder->error->fault != CODEC_OK &&
        compare_paths(&decoder->path, &decoder->worst) >= 0) {
        return false;
    }
    decoder->worst = decoder->path;
    return true;
}

#define MISMATCH(decoder, at, ...)                                                       \
    do {                                                                                 \
        if (comes_first(decoder)) {                                                      \
            codec_error_mismatch((decoder)->error, &(decoder)->path,                     \
                                 (size_t)((at) - (decoder)->scan.start), __VA_ARGS__);   \
        }                                                                                \
    } while (0)

static bool no_memory(struct decoder *decoder)
{
    return json_fail(&decoder->scan, CODEC_NO_MEMORY, decoder->scan.at, "out of memory");
}

static void go_down(struct decoder *decoder, uint32_t order, const char *name)
{
    decoder->path.steps[decoder->path.count++] = (struct path_step){order, name};
}

static void go_up(struct decoder *decoder)
{
    decoder->path.count--;
}

/* ---- scalars ----------------------------------------------------------------------- */

static bool in_range(const struct schema_node *node, const struct json_decimal *value)
{
    if (node->minimum != NULL) {
        struct json_decimal minimum = json_decimal_of(bytes_str(node->minimum));
        if (json_decimal_compare(value, &minimum) < 0) {
            return false;
        }
    }
    if (node->maximum != NULL) {
        struct json_decimal maximum = json_decimal_of(bytes_str(node->maximum));
        if (json_decimal_compare(value, &maximum) > 0) {
            return false;
        }
    }
    return true;
}

/* False: the number does not fit its type in C. */
static bool store_number(enum schema_store store, const struct json_decimal *value,
                         void *out)
{
    uint64_t unsigned_value = 0;

    switch (store) {
    case STORE_U32:
        if (!json_decimal_u64(value, &unsigned_value) || unsigned_value > UINT32_MAX) {
            return false;
        }
        *(uint32_t *)out = (uint32_t)unsigned_value;
        return true;
    case STORE_U64:
        return json_decimal_u64(value, out);
    case STORE_I64:
        return json_decimal_i64(value, out);
    case STORE_DOUBLE:
        return json_decimal_double(value, out) == 0;
    default:
        return true;
    }
}

static bool check_number(struct decoder *decoder, const struct schema_node *node,
                         enum schema_store store, void *out)
{
    const uint8_t *start = decoder->scan.at;
    struct bytes raw;
    char expected[EXPECTATION_SIZE];

    if (!json_take_number(&decoder->scan, &raw)) {
        return false;
    }
    struct json_decimal value = json_decimal_of(raw);
    if ((node->types & SCHEMA_NUMBER) == 0 && !json_decimal_is_integer(&value)) {
        MISMATCH(decoder, start, "is not a whole number: send %s",
                 codec_expectation(node, expected));
    } else if (!in_range(node, &value)) {
        MISMATCH(decoder, start, "is out of range: send %s",
                 codec_expectation(node, expected));
    } else if (out != NULL && !store_number(store, &value, out)) {
        MISMATCH(decoder, start, "is too large a number: send %s",
                 codec_expectation(node, expected));
    }
    return true;
}

static bool check_string(struct decoder *decoder, const struct schema_node *node,
                         enum schema_store store, void *out)
{
    const uint8_t *start = decoder->scan.at;
    struct json_string string;
    char expected[EXPECTATION_SIZE];

    if (!json_take_string(&decoder->scan, &string)) {
        return false;
    }
    if (string.length < node->length_min || string.length > node->length_max) {
        MISMATCH(decoder, start, "is %zu characters long: send %s", string.length,
                 codec_expectation(node, expected));
    } else if (out != NULL && store == STORE_STRING) {
        struct bytes content = json_string_content(&string, decoder->arena);
        if (content.data == NULL) {
            return no_memory(decoder);
        }
        *(struct bytes *)out = content;
    }
    return true;
}

static bool check_word(struct decoder *decoder, enum json_kind kind,
                       enum schema_store store, void *out)
{
    bool value = *decoder->scan.at == 't';

    if (!json_take_word(&decoder->scan)) {
        return false;
    }
    if (out != NULL && kind == JSON_BOOLEAN && store == STORE_BOOL) {
        *(bool *)out = value;
    }
    return true;
}

/* ---- lists ------------------------------------------------------------------------- */

struct list {
    uint8_t *items;
    size_t count;
    size_t capacity;
    size_t item_size;
};

/* Room for one more item, zeroed. NULL: out of memory. */
static void *list_add(struct list *list, struct arena *arena)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? LIST_CAPACITY_MIN : list->capacity * 2;
        uint8_t *items = arena_alloc(arena, capacity * list->item_size);
        if (items == NULL) {
            return NULL;
        }
        if (list->count > 0) {
            memcpy(items, list->items, list->count * list->item_size);
        }
        list->items = items;
        list->capacity = capacity;
    }
    return list->items + list->item_size * list->count++;
}

/* The struct's `items` is a T *: written as the bytes that it is. */
static void list_store(const struct list *list, void *out)
{
    struct codec_list value = {list->items, list->count};

    memcpy(out, &value, sizeof(value));
}

static const struct schema_node *item_node(const struct schema_node *node, size_t index)
{
    return index < node->tuple_count ? node->tuple[index] : node->items;
}

static bool check_item(struct decoder *decoder, const struct schema_node *node,
                       size_t index, struct list *list)
{
    const struct schema_node *item = item_node(node, index);
    void *out = NULL;

    if (list != NULL) {
        out = list_add(list, decoder->arena);
        if (out == NULL) {
            return no_memory(decoder);
        }
    }
    go_down(decoder, (uint32_t)index, NULL);
    bool fine = check_value(decoder, item, out);
    go_up(decoder);
    return fine;
}

static int compare_bytes(const void *a, const void *b)
{
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

/* Exact forms, each after its size, sorted: twins stand side by side. 1 = unique, 0 =
 * not. */
static int forms_unique(const struct buf *forms, size_t count)
{
    struct bytes *sorted = calloc(count + 1, sizeof(*sorted));
    const uint8_t *at = forms->data;
    bool unique = true;

    if (sorted == NULL) {
        return ERROR_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        sorted[i] = bytes_of(at + 4, read_u32be(at));
        at += 4 + sorted[i].size;
    }
    qsort(sorted, count, sizeof(*sorted), compare_bytes);
    for (size_t i = 1; i < count; i++) {
        unique = unique && !bytes_equal(sorted[i - 1], sorted[i]);
    }
    free(sorted);
    return unique;
}

/* Appends an item's form behind its size. */
static bool add_form(struct buf *forms, const uint8_t *start, const uint8_t *end)
{
    size_t place = forms->size;

    if (buf_append_u32be(forms, 0) != 0 ||
        canonical_append(bytes_of(start, (size_t)(end - start)), CANONICAL_EXACT,
                         forms) != 0) {
        return false;
    }
    write_u32be(forms->data + place, (uint32_t)(forms->size - place - 4));
    return true;
}

static bool check_items(struct decoder *decoder, const struct schema_node *node,
                        struct list *list, struct buf *forms, size_t *ret_count)
{
    struct json_scan *scan = &decoder->scan;
    struct json_frame frame;
    bool more = true;

    if (!json_open(scan, &frame)) {
        return false;
    }
    while (more) {
        if (!json_next_item(scan, &frame, &more)) {
            return false;
        }
        const uint8_t *start = scan->at;
        if (more && !check_item(decoder, node, frame.count - 1, list)) {
            return false;
        }
        if (more && node->unique_items && !add_form(forms, start, scan->at)) {
            return no_memory(decoder);
        }
    }
    *ret_count = frame.count;
    return true;
}

static bool check_array(struct decoder *decoder, const struct schema_node *node,
                        void *out)
{
    const uint8_t *start = decoder->scan.at;
    struct list list = {NULL, 0, 0, out == NULL ? 0 : node->items->size};
    struct buf forms = BUF_INIT;
    size_t count = 0;
    int unique = 1;
    char expected[EXPECTATION_SIZE];

    bool fine = check_items(decoder, node, out == NULL ? NULL : &list, &forms, &count);
    if (fine && node->unique_items) {
        unique = forms_unique(&forms, count);
    }
    buf_release(&forms);
    if (!fine || unique < 0) {
        return fine ? no_memory(decoder) : false;
    }
    if (count < node->items_min || count > node->items_max) {
        MISMATCH(decoder, start, "has %zu item%s: send %s", count, count == 1 ? "" : "s",
                 codec_expectation(node, expected));
    } else if (unique == 0) {
        MISMATCH(decoder, start, "holds the same item twice: send each once");
    }
    if (out != NULL) {
        list_store(&list, out);
    }
    return true;
}

/* ---- objects ----------------------------------------------------------------------- */

/* What is known of the members of an object while it is read, one bit each. */
struct members {
    uint64_t seen;    /* named */
    uint64_t present; /* ... and not counted as absent */
};

static int32_t fold_ascii(int32_t code_point)
{
    return code_point >= 'A' && code_point <= 'Z' ? code_point + 'a' - 'A' : code_point;
}

static bool name_matches(const struct json_string *name, const char *member,
                         bool ignore_case)
{
    struct bytes wanted = bytes_str(member);

    if (!name->escaped && !ignore_case) {
        return bytes_equal(bytes_of(name->raw.data + 1, name->raw.size - 2), wanted);
    }
    /* Member names in schemas may be any UTF-8; a quote ends the walk over them as over
     * the literal. */
    const uint8_t *at = name->raw.data + 1;
    for (size_t i = 0; i < wanted.size;) {
        int32_t code_point = json_next_code_point(&at);
        uint8_t encoded[4];
        if (code_point < 0) {
            return false;
        }
        size_t size = json_utf8(code_point, encoded);
        if (size == 1 && ignore_case) {
            if (fold_ascii(code_point) != fold_ascii(wanted.data[i])) {
                return false;
            }
        } else if (wanted.size - i < size ||
                   memcmp(wanted.data + i, encoded, size) != 0) {
            return false;
        }
        i += size;
    }
    return json_next_code_point(&at) < 0;
}

/* The index of a declared member, or member_count. */
static size_t find_member(const struct schema_node *node, const struct json_string *name,
                          enum codec_names names)
{
    size_t i = 0;

    while (i < node->member_count &&
           !name_matches(name, node->members[i].info.name, names == CODEC_IGNORE_CASE)) {
        i++;
    }
    return i;
}

static void unknown_member(struct decoder *decoder, const struct schema_node *node,
                           const uint8_t *at)
{
    char known[160] = "";
    size_t length = 0;

    for (size_t i = 0; i < node->member_count; i++) {
        const char *name = node->members[i].info.name;
        if (length + strlen(name) + 3 > sizeof(known)) {
            break;
        }
        memcpy(known + length, i > 0 ? ", " : "", i > 0 ? 2 : 0);
        length += i > 0 ? 2 : 0;
        memcpy(known + length, name, strlen(name) + 1);
        length += strlen(name);
    }
    go_down(decoder, PATH_UNKNOWN, NULL);
    if (length == 0) {
        MISMATCH(decoder, at, "must hold no members: leave out the one at byte %zu",
                 (size_t)(at - decoder->scan.start));
    } else {
        MISMATCH(decoder, at, "holds an unknown member at byte %zu: known are %s",
                 (size_t)(at - decoder->scan.start), known);
    }
    go_up(decoder);
}

static bool check_additional(struct decoder *decoder, const struct schema_node *node,
                             const struct json_string *name)
{
    if (node->additional != NULL && node->additional->types == 0) {
        unknown_member(decoder, node, name->raw.data);
        return json_scan_begin(&decoder->scan) != JSON_FAULT && json_skip(&decoder->scan);
    }
    go_down(decoder, PATH_UNKNOWN, NULL);
    bool fine = check_value(decoder, node->additional, NULL);
    go_up(decoder);
    return fine;
}

static bool check_declared(struct decoder *decoder, const struct schema_member *member,
                           uint64_t bit, struct members *members, uint8_t *out)
{
    struct json_scan *scan = &decoder->scan;
    enum json_kind kind = json_scan_begin(scan);

    if (kind == JSON_FAULT) {
        return false;
    }
    if (kind == JSON_NULL && decoder->names == CODEC_IGNORE_CASE) {
        return json_take_word(scan);
    }
    members->present |= bit;
    if (!check_begun(decoder, member->node, kind,
                     out == NULL ? NULL : out + member->offset)) {
        return false;
    }
    if (out != NULL && member->has_offset != SCHEMA_NO_FLAG) {
        *(bool *)(out + member->has_offset) = kind != JSON_NULL;
    }
    return true;
}

static bool check_member(struct decoder *decoder, const struct schema_node *node,
                         const struct json_string *name, struct members *members,
                         uint8_t *out)
{
    size_t index = find_member(node, name, decoder->names);

    if (index == node->member_count) {
        return check_additional(decoder, node, name);
    }
    const struct schema_member *member = &node->members[index];
    uint64_t bit = UINT64_C(1) << index;
    bool twin = (members->seen & bit) != 0;
    go_down(decoder, (uint32_t)index, member->info.name);
    bool fine;
    if (twin) {
        /* The very same name twice is found by the scanner, at the object's end. */
        MISMATCH(decoder, name->raw.data,
                 "is given twice, in two spellings: send it once");
        fine = json_scan_begin(&decoder->scan) != JSON_FAULT && json_skip(&decoder->scan);
    } else {
        fine = check_declared(decoder, member, bit, members, out);
    }
    go_up(decoder);
    members->seen |= bit;
    return fine;
}

static void check_missing(struct decoder *decoder, const struct schema_node *node,
                          const struct members *members, const uint8_t *at)
{
    char expected[EXPECTATION_SIZE];

    for (size_t i = 0; i < node->member_count; i++) {
        const struct schema_member *member = &node->members[i];
        if (!member->info.required || (members->present & (UINT64_C(1) << i)) != 0) {
            continue;
        }
        go_down(decoder, (uint32_t)i, member->info.name);
        if (member->node == NULL) {
            MISMATCH(decoder, at, "is missing: send it");
        } else {
            MISMATCH(decoder, at, "is missing: send %s",
                     codec_expectation(member->node, expected));
        }
        go_up(decoder);
        return;
    }
}

static bool check_object(struct decoder *decoder, const struct schema_node *node,
                         void *out)
{
    struct json_scan *scan = &decoder->scan;
    const uint8_t *start = scan->at;
    struct members members = {0, 0};
    struct json_frame frame;
    struct json_string name;
    bool more = true;

    if (!json_open(scan, &frame)) {
        return false;
    }
    while (more) {
        if (!json_next_member(scan, &frame, &name, &more)) {
            return false;
        }
        if (more && !check_member(decoder, node, &name, &members, out)) {
            return false;
        }
    }
    check_missing(decoder, node, &members, start);
    return true;
}

/* ---- values ------------------------------------------------------------------------ */

static bool type_allows(const struct schema_node *node, enum json_kind kind)
{
    static const uint8_t BITS[] = {
        [JSON_NULL] = SCHEMA_NULL,     [JSON_BOOLEAN] = SCHEMA_BOOLEAN,
        [JSON_STRING] = SCHEMA_STRING, [JSON_NUMBER] = SCHEMA_NUMBER | SCHEMA_INTEGER,
        [JSON_ARRAY] = SCHEMA_ARRAY,   [JSON_OBJECT] = SCHEMA_OBJECT,
    };
    return (node->types & BITS[kind]) != 0;
}

/* 1 = the same value, 0 = not. */
static int same_value(struct bytes value, struct bytes constant)
{
    struct buf one = BUF_INIT, other = BUF_INIT;
    int r = ERROR_NO_MEMORY;

    if (bytes_equal(value, constant)) {
        return 1;
    }
    if (canonical_append(value, CANONICAL_EXACT, &one) == 0 &&
        canonical_append(constant, CANONICAL_EXACT, &other) == 0) {
        r = bytes_equal(buf_bytes(&one), buf_bytes(&other));
    }
    buf_release(&one);
    buf_release(&other);
    return r;
}

/* enum and const, once the value has been read. */
static bool check_constants(struct decoder *decoder, const struct schema_node *node,
                            const uint8_t *start)
{
    struct bytes value = bytes_of(start, (size_t)(decoder->scan.at - start));
    int found = node->values == NULL;
    char expected[EXPECTATION_SIZE];

    for (size_t i = 0; i < node->value_count && found == 0; i++) {
        found = same_value(value, bytes_str(node->values[i]));
    }
    if (found == 1 && node->constant != NULL) {
        found = same_value(value, bytes_str(node->constant));
    }
    if (found < 0) {
        return no_memory(decoder);
    }
    if (found == 0) {
        MISMATCH(decoder, start, "is not an allowed value: send %s",
                 codec_expectation(node, expected));
    }
    return true;
}

static bool store_json(struct decoder *decoder, const uint8_t *start, void *out)
{
    struct buf canonical = BUF_INIT;
    struct bytes json = bytes_of(start, (size_t)(decoder->scan.at - start));
    int r = canonical_append(json, CANONICAL_RFC_8785, &canonical);

    if (r == 0) {
        struct bytes copy = arena_copy(decoder->arena, buf_bytes(&canonical));
        *(struct bytes *)out = copy;
        r = copy.data == NULL ? ERROR_NO_MEMORY : 0;
    }
    buf_release(&canonical);
    if (r == ERROR_INVALID) {
        MISMATCH(decoder, start,
                 "holds a number that is too large: send one that a double holds");
        return true;
    }
    return r == 0 || no_memory(decoder);
}

/* A single value where a list is stored becomes a list of one: where to put it. */
static void *list_of_one(struct decoder *decoder, const struct schema_node *node,
                         void *out)
{
    struct list list = {NULL, 0, 0, node->items->size};
    void *item = list_add(&list, decoder->arena);

    if (item != NULL) {
        list_store(&list, out);
    }
    return item;
}

static bool check_content(struct decoder *decoder, const struct schema_node *node,
                          enum json_kind kind, void *out)
{
    enum schema_store store = node->store;

    if (store == STORE_JSON) {
        out = NULL; /* stored as a whole, afterwards */
    } else if (out != NULL && store == STORE_LIST && kind != JSON_ARRAY &&
               kind != JSON_NULL) {
        store = node->items->store;
        out = list_of_one(decoder, node, out);
        if (out == NULL) {
            return no_memory(decoder);
        }
    }
    switch (kind) {
    case JSON_NUMBER:
        return check_number(decoder, node, store, out);
    case JSON_STRING:
        return check_string(decoder, node, store, out);
    case JSON_ARRAY:
        return check_array(decoder, node, out);
    case JSON_OBJECT:
        return check_object(decoder, node, out);
    default:
        return check_word(decoder, kind, store, out);
    }
}

/* Takes the value that json_scan_begin() has announced. node NULL: anything. out NULL:
 * check only. False once the pass is over. */
static bool check_begun(struct decoder *decoder, const struct schema_node *node,
                        enum json_kind kind, void *out)
{
    struct json_scan *scan = &decoder->scan;
    const uint8_t *start = scan->at;
    char expected[EXPECTATION_SIZE];

    if (node == NULL) {
        return json_skip(scan);
    }
    if (!type_allows(node, kind)) {
        bool quoted =
            kind == JSON_STRING && (node->types & (SCHEMA_INTEGER | SCHEMA_NUMBER)) != 0;
        MISMATCH(decoder, start, "is %s: send %s%s", codec_kind_text(kind),
                 codec_expectation(node, expected), quoted ? ", without quotes" : "");
        return json_skip(scan);
    }
    if (!check_content(decoder, node, kind, out)) {
        return false;
    }
    if ((node->values != NULL || node->constant != NULL) &&
        !check_constants(decoder, node, start)) {
        return false;
    }
    return out == NULL || node->store != STORE_JSON || store_json(decoder, start, out);
}

static bool check_value(struct decoder *decoder, const struct schema_node *node,
                        void *out)
{
    enum json_kind kind = json_scan_begin(&decoder->scan);

    return kind != JSON_FAULT && check_begun(decoder, node, kind, out);
}

/* ---- the interface ----------------------------------------------------------------- */

static enum codec_fault run(const struct schema_node *root, enum codec_names names,
                            bool grammar_only, struct bytes json, struct arena *arena,
                            void *out, struct codec_error *ret_error)
{
    struct codec_error error = {.fault = CODEC_OK};
    struct decoder decoder; /* no initialiser: it would clear the scanner's 4096 names */

    json_scan_init(&decoder.scan, json);
    decoder.scan.grammar_only = grammar_only;
    decoder.names = names;
    decoder.arena = arena;
    decoder.path.count = 0;
    decoder.error = &error;
    if (!check_value(&decoder, root, out) || !json_scan_end(&decoder.scan)) {
        codec_error_scan(&error, &decoder.scan);
    }
    if (ret_error != NULL) {
        *ret_error = error;
    }
    return error.fault;
}

enum codec_fault codec_decode(const struct schema *schema, enum codec_names names,
                              struct bytes json, struct arena *arena, void *ret_struct,
                              struct codec_error *ret_error)
{
    memset(ret_struct, 0, schema->size);
    return run(schema->root, names, /* grammar_only= */ false, json, arena, ret_struct,
               ret_error);
}

enum codec_fault codec_validate(const struct schema *schema, enum codec_names names,
                                struct bytes json, struct codec_error *ret_error)
{
    return run(schema->root, names, /* grammar_only= */ false, json, /* arena= */ NULL,
               /* out= */ NULL, ret_error);
}

enum codec_fault codec_check_json(struct bytes json, struct codec_error *ret_error)
{
    return run(/* root= */ NULL, CODEC_EXACT, /* grammar_only= */ false, json,
               /* arena= */ NULL, /* out= */ NULL, ret_error);
}

enum codec_fault codec_check_grammar(struct bytes json, struct codec_error *ret_error)
{
    return run(/* root= */ NULL, CODEC_EXACT, /* grammar_only= */ true, json,
               /* arena= */ NULL, /* out= */ NULL, ret_error);
}

int codec_canonical(struct bytes json, struct buf *out)
{
    return canonical_append(json, CANONICAL_RFC_8785, out);
}

struct bytes codec_string(struct bytes raw, struct arena *arena)
{
    struct json_scan scan;
    struct json_string string;

    json_scan_init(&scan, raw);
    if (json_scan_begin(&scan) != JSON_STRING || !json_take_string(&scan, &string) ||
        !json_scan_end(&scan)) {
        return BYTES_ABSENT;
    }
    return json_string_content(&string, arena);
}

int codec_next_member(struct bytes json, size_t *position, struct arena *arena,
                      struct bytes *ret_name, struct bytes *ret_raw)
{
    struct json_scan scan;
    struct json_frame frame = {0, 0};
    struct json_string name;
    bool more = true;

    json_scan_init(&scan, json);
    scan.grammar_only = true;
    if (*position == 0) {
        if (json_scan_begin(&scan) != JSON_OBJECT || !json_open(&scan, &frame)) {
            return ERROR_INVALID;
        }
    } else {
        scan.at += *position < json.size ? *position : json.size;
        scan.depth = 1;
        frame.count = 1;
    }
    if (!json_next_member(&scan, &frame, &name, &more)) {
        return ERROR_INVALID;
    }
    if (!more) {
        return 1;
    }
    if (json_scan_begin(&scan) == JSON_FAULT) {
        return ERROR_INVALID;
    }
    const uint8_t *start = scan.at;
    if (!json_skip(&scan)) {
        return ERROR_INVALID;
    }
    struct bytes content = json_string_content(&name, arena);
    if (content.data == NULL) {
        return ERROR_NO_MEMORY;
    }
    *ret_name = content;
    *ret_raw = bytes_of(start, (size_t)(scan.at - start));
    *position = (size_t)(scan.at - scan.start);
    return 0;
}

const char *codec_schema_title(const struct schema *schema)
{
    return schema->title;
}

const char *codec_schema_description(const struct schema *schema)
{
    return schema->description;
}

const struct codec_member *codec_schema_member(const struct schema *schema, size_t index)
{
    return index < schema->root->member_count ? &schema->root->members[index].info : NULL;
}
