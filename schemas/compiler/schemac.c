/* schemac.c - compiles the JSON Schemas of schemas/ to C structs and constant tables.
 *
 *   schemac OUTDIR FILE...
 *       FILE is {commands,events,answers}/<Name>.v<N>.json; writes registry.c and
 *       {commands,events,answers}.{h,c} into OUTDIR/schemas
 *   schemac --validators OUT.c FILE...
 *       tables without structs, for schemas of any shape (tests)
 *
 * It knows few keywords, and refuses a file with any other, or with a construct that it
 * cannot carry out, naming file, place (JSON pointer) and reason: a rule that would
 * silently not be checked is worse than none. What becomes what in C stands in
 * schemas/codec.h, the tables in schemas/codec_tables.h.
 *
 * Four stages: collect (a node per place where a schema may stand, keywords checked),
 * resolve ($ref), type (how each node lies in C), emit.
 *
 * A host tool: it lives for one build, so it frees nothing and ends at the first fault.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define COLUMNS 90

/* ---- what is known of a file ------------------------------------------------------- */

/* SCHEMA_... of codec_tables.h, in bit order; `integer` before `number`. */
static const char *const TYPE_NAMES[] = {"null",   "boolean", "integer", "number",
                                         "string", "array",   "object"};
enum type_bit {
    TYPE_NULL = 1,
    TYPE_BOOLEAN = 2,
    TYPE_INTEGER = 4,
    TYPE_NUMBER = 8,
    TYPE_STRING = 16,
    TYPE_ARRAY = 32,
    TYPE_OBJECT = 64,
    TYPE_ANY = 127
};

#define STORES(X)                                                                        \
    X(NOTHING, "void")                                                                   \
    X(U32, "uint32_t")                                                                   \
    X(U64, "uint64_t")                                                                   \
    X(I64, "int64_t")                                                                    \
    X(DOUBLE, "double")                                                                  \
    X(BOOL, "bool")                                                                      \
    X(STRING, "struct bytes")                                                            \
    X(JSON, "struct bytes")                                                              \
    X(LIST, "struct codec_list")                                                         \
    X(STRUCT, "struct")
enum store {
#define X(name, c_type) STORE_##name,
    STORES(X)
#undef X
};
static const char *const STORE_NAMES[] = {
#define X(name, c_type) "STORE_" #name,
    STORES(X)
#undef X
};
static const char *const STORE_C_TYPES[] = {
#define X(name, c_type) c_type,
    STORES(X)
#undef X
};

struct node {
    json_t *schema;
    const char *pointer; /* "" is the root */
    struct node *target; /* of a $ref, after resolve; NULL otherwise */
    int index;           /* in the emitted array; aliases have none */
    unsigned types;
    bool typing; /* the type stage is inside */
    bool typed;  /* ... and was here */
    enum store store;
    const char *struct_name; /* of STORE_STRUCT: "answer_v1_extended_status" */
    bool declared;           /* its struct has been written */
};

enum kind { COMMANDS, EVENTS, ANSWERS, KINDS };
static const char *const KIND_NAMES[] = {"commands", "events", "answers"};

struct file {
    const char *path;
    const char *stem;  /* "CreateRelationship.v1" */
    const char *name;  /* "CreateRelationship" */
    const char *ident; /* "create_relationship_v1" */
    enum kind kind;
    json_t *root;
    struct node **nodes;
    size_t node_count;
};

/* ---- small tools ------------------------------------------------------------------- */

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("schemac: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

/* Ends with "file: #pointer: reason". */
static void refuse(const struct file *file, const char *pointer, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));
static void refuse(const struct file *file, const char *pointer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: #%s: ", file->path, pointer);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void *grow(void *memory, size_t count, size_t size)
{
    void *grown = realloc(memory, count * size);
    if (grown == NULL)
        die("out of memory");
    return grown;
}

static char *text_of(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *text_of(const char *format, ...)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL)
        die("out of memory");
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stream, format, arguments);
    va_end(arguments);
    if (fclose(stream) != 0)
        die("out of memory");
    return text;
}

static const char *string_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* One token of a JSON pointer: `~` and `/` escaped. */
static char *pointer_down(const char *pointer, const char *token)
{
    char *text = text_of("%s/", pointer);
    for (const char *at = token; *at != '\0'; at++)
        text = *at == '~'   ? text_of("%s~0", text)
               : *at == '/' ? text_of("%s~1", text)
                            : text_of("%s%c", text, *at);
    return text;
}

/* CreateRelationship -> create_relationship, MACAddresses -> mac_addresses. */
static char *snake_case(const char *name)
{
    char *text = text_of("%s", "");
    for (size_t i = 0; name[i] != '\0'; i++) {
        bool upper = isupper((unsigned char)name[i]) != 0;
        bool after_upper = i > 0 && isupper((unsigned char)name[i - 1]);
        bool before_lower = islower((unsigned char)name[i + 1]) != 0;
        bool starts_word =
            upper && i > 0 && name[i - 1] != '_' && (!after_upper || before_lower);
        text = text_of("%s%s%c", text, starts_word ? "_" : "",
                       tolower((unsigned char)name[i]));
    }
    return text;
}

static bool is_identifier(const char *name)
{
    if (!isalpha((unsigned char)name[0]))
        return false;
    for (const char *at = name; *at != '\0'; at++)
        if (!isalnum((unsigned char)*at) && *at != '_')
            return false;
    return true;
}

/* The field of a member; C's words get a `_` behind. */
static char *field_name(const char *member)
{
    static const char *const WORDS[] = {
        "auto",     "bool",     "break",  "case",    "char",   "const",  "continue",
        "default",  "do",       "double", "else",    "enum",   "extern", "false",
        "float",    "for",      "goto",   "if",      "inline", "int",    "long",
        "register", "restrict", "return", "short",   "signed", "sizeof", "static",
        "struct",   "switch",   "true",   "typedef", "union",  "void",   "unsigned",
        "while",    "volatile",
    };
    char *name = snake_case(member);
    for (size_t i = 0; i < ARRAY_SIZE(WORDS); i++)
        if (strcmp(name, WORDS[i]) == 0)
            return text_of("%s_", name);
    return name;
}

/* The shortest decimal form of a number that reads back as the same. */
static char *number_text(const json_t *number)
{
    if (json_is_integer(number))
        return text_of("%" JSON_INTEGER_FORMAT, json_integer_value(number));
    for (int digits = 1; digits < 17; digits++) {
        char *text = text_of("%.*g", digits, json_real_value(number));
        if (strtod(text, NULL) == json_real_value(number))
            return text;
    }
    return text_of("%.17g", json_real_value(number));
}

static void write_json(FILE *out, const json_t *value);

static void write_json_object(FILE *out, const json_t *object)
{
    const char *key;
    json_t *member;
    const char *between = "";
    fputc('{', out);
    json_object_foreach ((json_t *)object, key, member) {
        fputs(between, out);
        json_t *name = json_string(key);
        write_json(out, name);
        json_decref(name);
        fputc(':', out);
        write_json(out, member);
        between = ",";
    }
    fputc('}', out);
}

/* Compact JSON; unlike Jansson's own with the shortest form of each number. */
static void write_json(FILE *out, const json_t *value)
{
    if (json_is_object(value)) {
        write_json_object(out, value);
    } else if (json_is_array(value)) {
        fputc('[', out);
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i > 0)
                fputc(',', out);
            write_json(out, json_array_get(value, i));
        }
        fputc(']', out);
    } else if (json_is_number(value)) {
        fputs(number_text(value), out);
    } else if (json_dumpf(value, out, JSON_ENCODE_ANY | JSON_COMPACT) != 0) {
        die("cannot write a value of a schema");
    }
}

static char *json_text(const json_t *value)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL)
        die("out of memory");
    write_json(stream, value);
    if (fclose(stream) != 0)
        die("out of memory");
    return text;
}

/* ---- stage 1: collect -------------------------------------------------------------- */

static struct node *collect(struct file *file, json_t *schema, const char *pointer);

typedef void keyword_check(struct file *file, const json_t *value, const char *pointer);

static void check_string(struct file *file, const json_t *value, const char *pointer)
{
    if (!json_is_string(value))
        refuse(file, pointer, "must be a string");
}

static void check_boolean(struct file *file, const json_t *value, const char *pointer)
{
    if (!json_is_boolean(value))
        refuse(file, pointer, "must be true or false");
}

static void check_number(struct file *file, const json_t *value, const char *pointer)
{
    if (!json_is_number(value))
        refuse(file, pointer, "must be a number");
}

static void check_count(struct file *file, const json_t *value, const char *pointer)
{
    json_int_t count = json_integer_value(value);
    if (!json_is_integer(value) || count < 0 || count >= (json_int_t)UINT32_MAX)
        refuse(file, pointer, "must be an integer from 0 to 4294967294");
}

static void check_anything(struct file *file, const json_t *value, const char *pointer)
{
    (void)file;
    (void)value;
    (void)pointer;
}

static void check_enum(struct file *file, const json_t *value, const char *pointer)
{
    if (!json_is_array(value) || json_array_size(value) == 0)
        refuse(file, pointer, "must be a list of at least one value");
}

static void check_required(struct file *file, const json_t *value, const char *pointer)
{
    if (!json_is_array(value))
        refuse(file, pointer, "must be a list of names");
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *name = json_string_value(json_array_get(value, i));
        if (name == NULL)
            refuse(file, pointer, "must be a list of names");
        for (size_t k = 0; k < i; k++)
            if (strcmp(name, json_string_value(json_array_get(value, k))) == 0)
                refuse(file, pointer, "\"%s\" is there twice", name);
    }
}

static unsigned type_bit(struct file *file, const json_t *name, const char *pointer)
{
    for (unsigned i = 0; i < ARRAY_SIZE(TYPE_NAMES); i++)
        if (json_is_string(name) && strcmp(json_string_value(name), TYPE_NAMES[i]) == 0)
            return 1U << i;
    refuse(file, pointer, "must name types of JSON Schema");
}

static unsigned types_of(struct file *file, const json_t *value, const char *pointer)
{
    if (!json_is_array(value))
        return type_bit(file, value, pointer);
    unsigned types = 0;
    for (size_t i = 0; i < json_array_size(value); i++) {
        unsigned bit = type_bit(file, json_array_get(value, i), pointer);
        if ((types & bit) != 0)
            refuse(file, pointer, "a type is there twice");
        types |= bit;
    }
    if (types == 0)
        refuse(file, pointer, "must name at least one type");
    return types;
}

static void check_type(struct file *file, const json_t *value, const char *pointer)
{
    (void)types_of(file, value, pointer);
}

static void check_id(struct file *file, const json_t *value, const char *pointer)
{
    check_string(file, value, pointer);
    if (strcmp(pointer, "/$id") != 0)
        refuse(file, pointer, "below the root $id changes what $ref means: leave it out");
}

static void check_schemas(struct file *file, const json_t *value, const char *pointer)
{
    if (!json_is_object(value))
        refuse(file, pointer, "must be an object of schemas");
    const char *key;
    json_t *schema;
    json_object_foreach ((json_t *)value, key, schema) {
        (void)collect(file, schema, pointer_down(pointer, key));
    }
}

static void check_schema(struct file *file, const json_t *value, const char *pointer)
{
    (void)collect(file, (json_t *)value, pointer);
}

static void check_items(struct file *file, const json_t *value, const char *pointer)
{
    if (!json_is_array(value)) {
        check_schema(file, value, pointer);
        return;
    }
    for (size_t i = 0; i < json_array_size(value); i++)
        check_schema(file, json_array_get(value, i), text_of("%s/%zu", pointer, i));
}

static const struct keyword {
    const char *name;
    keyword_check *check;
} KEYWORDS[] = {
    {"$id", check_id},
    {"$ref", check_string},
    {"$schema", check_string},
    {"additionalProperties", check_schema},
    {"const", check_anything},
    {"definitions", check_schemas},
    {"description", check_string},
    {"enum", check_enum},
    {"items", check_items},
    {"maxItems", check_count},
    {"maxLength", check_count},
    {"maximum", check_number},
    {"minItems", check_count},
    {"minLength", check_count},
    {"minimum", check_number},
    {"properties", check_schemas},
    {"required", check_required},
    {"title", check_string},
    {"type", check_type},
    {"uniqueItems", check_boolean},
    {"x-key", check_boolean},
    {"x-personal", check_boolean},
};

static void check_keyword(struct file *file, const char *name, const json_t *value,
                          const char *pointer)
{
    for (size_t i = 0; i < ARRAY_SIZE(KEYWORDS); i++)
        if (strcmp(name, KEYWORDS[i].name) == 0) {
            KEYWORDS[i].check(file, value, pointer);
            return;
        }
    refuse(file, pointer, "keyword \"%s\" is not one that this compiler knows", name);
}

static struct node *collect(struct file *file, json_t *schema, const char *pointer)
{
    if (!json_is_object(schema) && !json_is_boolean(schema))
        refuse(file, pointer, "a schema must be an object, true or false");
    struct node *node = grow(NULL, 1, sizeof(*node));
    *node = (struct node){.schema = schema, .pointer = pointer, .types = TYPE_ANY};
    file->nodes = grow(file->nodes, file->node_count + 1, sizeof(file->nodes[0]));
    file->nodes[file->node_count++] = node;
    if (json_is_false(schema))
        node->types = 0;
    const char *key;
    json_t *value;
    /* As draft-07 says, nothing beside $ref counts, except as annotation or as a place to
     * refer to. */
    json_object_foreach (schema, key, value) {
        check_keyword(file, key, value, pointer_down(pointer, key));
    }
    const json_t *type = json_object_get(schema, "type");
    if (type != NULL && json_object_get(schema, "$ref") == NULL)
        node->types = types_of(file, type, pointer);
    if ((node->types & TYPE_NUMBER) != 0)
        node->types |= TYPE_INTEGER;
    return node;
}

/* ---- stage 2: resolve -------------------------------------------------------------- */

static struct node *node_at(const struct file *file, const char *pointer)
{
    for (size_t i = 0; i < file->node_count; i++)
        if (strcmp(file->nodes[i]->pointer, pointer) == 0)
            return file->nodes[i];
    return NULL;
}

/* Undoes %XX of a URI fragment. */
static char *percent_decoded(const char *fragment)
{
    char *text = text_of("%s", fragment);
    char *to = text;
    for (const char *at = fragment; *at != '\0'; at++) {
        char hex[3] = {0};
        if (*at == '%' && isxdigit((unsigned char)at[1]) &&
            isxdigit((unsigned char)at[2])) {
            hex[0] = at[1];
            hex[1] = at[2];
            *to++ = (char)strtol(hex, NULL, 16);
            at += 2;
        } else {
            *to++ = *at;
        }
    }
    *to = '\0';
    return text;
}

static struct node *resolved(const struct file *file, struct node *node)
{
    const struct node *start = node;
    for (size_t steps = 0; node->target != NULL; steps++) {
        if (steps > file->node_count)
            refuse(file, start->pointer, "$ref leads round in a circle");
        node = node->target;
    }
    return node;
}

static void resolve(struct file *file)
{
    for (size_t i = 0; i < file->node_count; i++) {
        struct node *node = file->nodes[i];
        const char *ref = string_of(node->schema, "$ref");
        if (ref == NULL)
            continue;
        if (ref[0] != '#')
            refuse(file, node->pointer,
                   "$ref may only point into its own file: #/definitions/...");
        node->target = node_at(file, percent_decoded(ref + 1));
        if (node->target == NULL)
            refuse(file, node->pointer, "$ref \"%s\": no schema stands there", ref);
    }
    int index = 0;
    for (size_t i = 0; i < file->node_count; i++) {
        struct node *node = file->nodes[i];
        node->index = resolved(file, node) == node ? index++ : -1;
    }
}

static struct node *child_at(const struct file *file, const struct node *node,
                             const char *below)
{
    struct node *child = node_at(file, text_of("%s%s", node->pointer, below));
    return child == NULL ? NULL : resolved(file, child);
}

static struct node *property(const struct file *file, const struct node *node,
                             const char *member)
{
    struct node *child = child_at(file, node, pointer_down("/properties", member));
    return child != NULL ? child : child_at(file, node, "/additionalProperties");
}

/* The members of an object: the listed ones, then those that are only required. */
static const char **members_of(const struct node *node, size_t *ret_count)
{
    const char **members = NULL;
    size_t count = 0;
    const char *key;
    json_t *value;
    json_t *properties = json_object_get(node->schema, "properties");
    json_object_foreach (properties, key, value) {
        members = grow(members, count + 1, sizeof(members[0]));
        members[count++] = key;
    }
    const json_t *required = json_object_get(node->schema, "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (json_object_get(properties, name) != NULL)
            continue;
        members = grow(members, count + 1, sizeof(members[0]));
        members[count++] = name;
    }
    *ret_count = count;
    return members;
}

static bool is_required(const struct node *node, const char *member)
{
    const json_t *required = json_object_get(node->schema, "required");
    for (size_t i = 0; i < json_array_size(required); i++)
        if (strcmp(json_string_value(json_array_get(required, i)), member) == 0)
            return true;
    return false;
}

/* ---- stage 3: type ----------------------------------------------------------------- */

static void type_node(struct file *file, struct node *node, const char *owner);

static enum store integer_store(const struct file *file, const struct node *node)
{
    const json_t *minimum = json_object_get(node->schema, "minimum");
    const json_t *maximum = json_object_get(node->schema, "maximum");
    if (json_is_real(minimum) || json_is_real(maximum))
        refuse(file, node->pointer, "an integer's minimum and maximum must be integers");
    if (minimum == NULL || json_integer_value(minimum) < 0)
        return STORE_I64;
    if (maximum == NULL || json_integer_value(maximum) > (json_int_t)UINT32_MAX)
        return STORE_U64;
    return STORE_U32;
}

/* STORE_NOTHING if these types are no scalar that C can hold. */
static enum store scalar_store(const struct file *file, const struct node *node,
                               unsigned types)
{
    switch (types) {
    case TYPE_BOOLEAN:
        return STORE_BOOL;
    case TYPE_INTEGER:
        return integer_store(file, node);
    case TYPE_INTEGER | TYPE_NUMBER:
        return STORE_DOUBLE;
    case TYPE_STRING:
        return STORE_STRING;
    default:
        return STORE_NOTHING;
    }
}

static enum store list_store(struct file *file, struct node *node, const char *owner,
                             unsigned types)
{
    struct node *items = child_at(file, node, "/items");
    if (items == NULL || json_is_array(json_object_get(node->schema, "items")))
        refuse(file, node->pointer, "a list needs one schema for all its items");
    type_node(file, items, text_of("%s_item", owner));
    if ((items->types & TYPE_NULL) != 0 || items->store == STORE_LIST ||
        items->store == STORE_JSON)
        refuse(file, items->pointer,
               "an item must be a number, string, boolean or object, not null");
    unsigned scalar = types & ~(unsigned)TYPE_ARRAY;
    if (scalar != 0 && scalar_store(file, node, scalar) != items->store)
        refuse(file, node->pointer,
               "the single value must have the same type in C as the items");
    return STORE_LIST;
}

static void type_struct(struct file *file, struct node *node, const char *owner)
{
    if (!json_is_false(json_object_get(node->schema, "additionalProperties")))
        refuse(file, node->pointer,
               "an object with members needs additionalProperties false");
    node->struct_name = owner;
    size_t count;
    const char **members = members_of(node, &count);
    for (size_t i = 0; i < count; i++) {
        if (!is_identifier(members[i]))
            refuse(file, node->pointer, "member \"%s\" is no identifier", members[i]);
        if (json_object_get(json_object_get(node->schema, "properties"), members[i]) ==
            NULL)
            refuse(file, node->pointer, "\"%s\" is required but not listed", members[i]);
        for (size_t k = 0; k < i; k++) {
            const char *a = field_name(members[i]), *b = field_name(members[k]);
            if (strcmp(a, b) == 0 || strcmp(a, text_of("has_%s", b)) == 0 ||
                strcmp(b, text_of("has_%s", a)) == 0)
                refuse(file, node->pointer, "\"%s\" and \"%s\" are too alike", members[i],
                       members[k]);
        }
        type_node(file, property(file, node, members[i]),
                  text_of("%s_%s", owner, snake_case(members[i])));
    }
}

/* owner: the name of the struct that an object would become. */
static void type_node(struct file *file, struct node *node, const char *owner)
{
    if (node->typing)
        refuse(file, node->pointer, "a struct cannot hold itself");
    if (node->typed)
        return;
    node->typing = true;
    unsigned types = node->types & ~(unsigned)TYPE_NULL;
    if (node->types == TYPE_ANY) {
        node->store = STORE_JSON;
    } else if (types == TYPE_OBJECT) {
        bool open = json_object_get(node->schema, "properties") == NULL;
        node->store = open ? STORE_JSON : STORE_STRUCT;
        const char *place =
            strncmp(node->pointer, "/definitions/", 13) == 0 ? node->pointer + 13 : NULL;
        if (place != NULL && is_identifier(place))
            owner = text_of("%s_%s", file->ident, snake_case(place));
        if (!open)
            type_struct(file, node, owner);
    } else if ((types & TYPE_ARRAY) != 0) {
        node->store = list_store(file, node, owner, types);
    } else {
        node->store = scalar_store(file, node, types);
        if (node->store == STORE_NOTHING)
            refuse(file, node->pointer, "no type in C for these types");
    }
    node->typing = false;
    node->typed = true;
}

/* ---- stage 4: emit ----------------------------------------------------------------- */

static void write_c_string(FILE *out, const char *text)
{
    if (text == NULL) {
        fputs("NULL", out);
        return;
    }
    fputc('"', out);
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else if ((unsigned char)*at < ' ' || *at == '?' || *at == 0x7f)
            fprintf(out, "\\%03o", (unsigned)(unsigned char)*at);
        else
            fputc(*at, out);
    }
    fputc('"', out);
}

/* Text inside a comment: nothing in it may begin or end one. */
static void write_comment_text(FILE *out, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bool mark = i > 0 && ((text[i - 1] == '*' && text[i] == '/') ||
                              (text[i - 1] == '/' && text[i] == '*'));
        fprintf(out, "%s%c", mark ? " " : "", text[i]);
    }
}

/* A comment of whole words, wrapped. */
static void write_comment(FILE *out, const char *indent, const char *text)
{
    size_t column = strlen(indent) + 2;
    fprintf(out, "%s/*", indent);
    while (*text != '\0') {
        size_t word = strcspn(text, " \n");
        if (column + 1 + word > COLUMNS - 3) {
            fprintf(out, "\n%s *", indent);
            column = strlen(indent) + 2;
        }
        fputc(' ', out);
        write_comment_text(out, text, word);
        column += 1 + word;
        text += word;
        text += strspn(text, " \n");
    }
    fputs(" */\n", out);
}

static const char *annotation(const struct file *file, const struct node *node,
                              const char *member, const char *keyword)
{
    const json_t *place =
        json_object_get(json_object_get(node->schema, "properties"), member);
    const char *text = string_of(place, keyword);
    return text != NULL ? text : string_of(property(file, node, member)->schema, keyword);
}

static bool has_mark(const struct node *node, const char *member, const char *keyword)
{
    const json_t *place =
        json_object_get(json_object_get(node->schema, "properties"), member);
    return json_is_true(json_object_get(place, keyword));
}

static const char *c_type(const struct node *node)
{
    if (node->store == STORE_STRUCT)
        return text_of("struct %s", node->struct_name);
    return STORE_C_TYPES[node->store];
}

static bool has_flag(const struct file *file, const struct node *node, const char *member)
{
    return !is_required(node, member) ||
           (property(file, node, member)->types & TYPE_NULL) != 0;
}

static void write_struct(FILE *out, const struct file *file, struct node *node,
                         const char *title);

static void write_field(FILE *out, const struct file *file, const struct node *node,
                        const char *member)
{
    const struct node *child = property(file, node, member);
    const char *description = annotation(file, node, member, "description");
    const char *personal = has_mark(node, member, "x-personal") ? " Personal." : "";
    if (description != NULL)
        write_comment(out, "    ", text_of("%s%s", description, personal));
    const char *field = field_name(member);
    if (has_flag(file, node, member))
        fprintf(out, "    bool has_%s;\n", field);
    if (child->store == STORE_LIST)
        fprintf(out,
                "    struct {\n        %s *items;\n        size_t count;\n    } %s;\n",
                c_type(child_at(file, child, "/items")), field);
    else
        fprintf(out, "    %s %s;\n", c_type(child), field);
}

/* The structs that a struct is made of come before it. */
static void write_inner_structs(FILE *out, const struct file *file,
                                const struct node *node)
{
    size_t count;
    const char **members = members_of(node, &count);
    for (size_t i = 0; i < count; i++) {
        struct node *child = property(file, node, members[i]);
        if (child->store == STORE_LIST)
            child = child_at(file, child, "/items");
        if (child->store == STORE_STRUCT)
            write_struct(out, file, child, text_of("%s of %s", members[i], file->stem));
    }
}

static void write_struct(FILE *out, const struct file *file, struct node *node,
                         const char *title)
{
    if (node->declared)
        return;
    node->declared = true;
    write_inner_structs(out, file, node);
    const char *description = string_of(node->schema, "description");
    write_comment(out, "",
                  description == NULL ? title : text_of("%s - %s", title, description));
    fprintf(out, "struct %s {\n", node->struct_name);
    size_t count;
    const char **members = members_of(node, &count);
    for (size_t i = 0; i < count; i++)
        write_field(out, file, node, members[i]);
    if (count == 0)
        fputs("    char unused; /* it has no members, and C wants one */\n", out);
    fputs("};\n\n", out);
}

static const char *codec_kind(unsigned types)
{
    if (types == TYPE_ANY)
        return "CODEC_ANY";
    switch (types & ~(unsigned)TYPE_NULL) {
    case TYPE_BOOLEAN:
        return "CODEC_BOOLEAN";
    case TYPE_INTEGER:
        return "CODEC_INTEGER";
    case TYPE_INTEGER | TYPE_NUMBER:
        return "CODEC_NUMBER";
    case TYPE_STRING:
        return "CODEC_STRING";
    case TYPE_ARRAY:
        return "CODEC_ARRAY";
    case TYPE_OBJECT:
        return "CODEC_OBJECT";
    default:
        return (types & TYPE_ARRAY) != 0 ? "CODEC_SCALAR_OR_ARRAY" : "CODEC_ANY";
    }
}

static void write_member(FILE *out, const struct file *file, const struct node *node,
                         const char *member)
{
    const struct node *child = property(file, node, member);
    const struct node *items = child == NULL ? NULL : child_at(file, child, "/items");
    fputs("    {{.name = ", out);
    write_c_string(out, member);
    fprintf(out, ",\n      .kind = %s",
            codec_kind(child == NULL ? TYPE_ANY : child->types));
    fprintf(out, ", .item_kind = %s",
            codec_kind(items == NULL ? TYPE_ANY : items->types));
    if (is_required(node, member))
        fputs(", .required = true", out);
    if (has_mark(node, member, "x-personal"))
        fputs(", .personal = true", out);
    if (has_mark(node, member, "x-key"))
        fputs(", .key = true", out);
    if (child != NULL && annotation(file, node, member, "description") != NULL) {
        fputs(",\n      .description = ", out);
        write_c_string(out, annotation(file, node, member, "description"));
    }
    fputs("},\n", out);
    if (child != NULL)
        fprintf(out, "     .node = &%s_nodes[%d],\n", file->ident, child->index);
    if (node->store == STORE_STRUCT) {
        const char *field = field_name(member);
        fprintf(out, "     .offset = offsetof(struct %s, %s),\n", node->struct_name,
                field);
        if (has_flag(file, node, member))
            fprintf(out, "     .has_offset = offsetof(struct %s, has_%s)},\n",
                    node->struct_name, field);
        else
            fputs("     .has_offset = SCHEMA_NO_FLAG},\n", out);
    } else {
        fputs("     .has_offset = SCHEMA_NO_FLAG},\n", out);
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void write_sorted(FILE *out, const struct file *file, const struct node *node,
                         const char **members, size_t count)
{
    const char **sorted = grow(NULL, count, sizeof(sorted[0]));
    memcpy(sorted, members, count * sizeof(sorted[0]));
    qsort(sorted, count, sizeof(sorted[0]), compare_names);
    fprintf(out, "static const uint8_t %s_%d_sorted[] = {", file->ident, node->index);
    for (size_t i = 0; i < count; i++) {
        size_t k = 0;
        while (members[k] != sorted[i])
            k++;
        fprintf(out, "%s%zu", i > 0 ? ", " : "", k);
    }
    fputs("};\n", out);
}

static void write_members(FILE *out, const struct file *file, const struct node *node)
{
    size_t count;
    const char **members = members_of(node, &count);
    if (count == 0)
        return;
    if (count > 64)
        refuse(file, node->pointer, "an object may list at most 64 members");
    fprintf(out, "static const struct schema_member %s_%d_members[] = {\n", file->ident,
            node->index);
    for (size_t i = 0; i < count; i++)
        write_member(out, file, node, members[i]);
    fputs("};\n", out);
    if (node->store == STORE_STRUCT)
        write_sorted(out, file, node, members, count);
}

static void write_values(FILE *out, const struct file *file, const struct node *node)
{
    const json_t *values = json_object_get(node->schema, "enum");
    if (values == NULL)
        return;
    fprintf(out, "static const char *const %s_%d_values[] = {", file->ident, node->index);
    for (size_t i = 0; i < json_array_size(values); i++) {
        fputs(i > 0 ? ", " : "", out);
        write_c_string(out, json_text(json_array_get(values, i)));
    }
    fputs("};\n", out);
}

static void write_tuple(FILE *out, const struct file *file, const struct node *node)
{
    const json_t *items = json_object_get(node->schema, "items");
    if (!json_is_array(items) || json_array_size(items) == 0)
        return;
    fprintf(out, "static const struct schema_node *const %s_%d_tuple[] = {\n",
            file->ident, node->index);
    for (size_t i = 0; i < json_array_size(items); i++)
        fprintf(out, "    &%s_nodes[%d],\n", file->ident,
                child_at(file, node, text_of("/items/%zu", i))->index);
    fputs("};\n", out);
}

static void write_types(FILE *out, unsigned types)
{
    static const char *const NAMES[] = {"NULL",   "BOOLEAN", "INTEGER", "NUMBER",
                                        "STRING", "ARRAY",   "OBJECT"};
    fputs("\n     .types = ", out);
    const char *between = "";
    if (types == TYPE_ANY || types == 0) {
        fputs(types == 0 ? "0" : "SCHEMA_ANY", out);
    } else {
        for (unsigned i = 0; i < ARRAY_SIZE(NAMES); i++)
            if ((types & (1U << i)) != 0) {
                fprintf(out, "%sSCHEMA_%s", between, NAMES[i]);
                between = " | ";
            }
    }
    fputc(',', out);
}

static void write_range(FILE *out, const struct node *node, const char *low,
                        const char *high, const char *field)
{
    const json_t *least = json_object_get(node->schema, low);
    const json_t *most = json_object_get(node->schema, high);
    if (least != NULL)
        fprintf(out, "\n     .%s_min = %s,", field, number_text(least));
    fprintf(out, "\n     .%s_max = %s,", field,
            most == NULL ? "SCHEMA_NO_LIMIT" : number_text(most));
}

static void write_bound(FILE *out, const struct node *node, const char *keyword)
{
    const json_t *bound = json_object_get(node->schema, keyword);
    if (bound != NULL)
        fprintf(out, "\n     .%s = \"%s\",", keyword, number_text(bound));
}

static void write_node(FILE *out, const struct file *file, const struct node *node)
{
    const char *ident = file->ident;
    fprintf(out, "    {/* %d: #", node->index);
    write_comment_text(out, node->pointer, strlen(node->pointer));
    fputs(" */", out);
    if (node->store != STORE_NOTHING)
        fprintf(out, "\n     .store = %s,\n     .size = sizeof(%s),",
                STORE_NAMES[node->store], c_type(node));
    write_types(out, node->types);
    write_bound(out, node, "minimum");
    write_bound(out, node, "maximum");
    write_range(out, node, "minLength", "maxLength", "length");
    write_range(out, node, "minItems", "maxItems", "items");
    if (json_is_true(json_object_get(node->schema, "uniqueItems")))
        fputs("\n     .unique_items = true,", out);
    const json_t *values = json_object_get(node->schema, "enum");
    if (values != NULL)
        fprintf(out, "\n     .values = %s_%d_values,\n     .value_count = %zu,", ident,
                node->index, json_array_size(values));
    if (json_object_get(node->schema, "const") != NULL) {
        fputs("\n     .constant = ", out);
        write_c_string(out, json_text(json_object_get(node->schema, "const")));
        fputc(',', out);
    }
    const json_t *items = json_object_get(node->schema, "items");
    if (json_is_array(items) && json_array_size(items) > 0)
        fprintf(out, "\n     .tuple = %s_%d_tuple,\n     .tuple_count = %zu,", ident,
                node->index, json_array_size(items));
    else if (items != NULL && !json_is_array(items))
        fprintf(out, "\n     .items = &%s_nodes[%d],", ident,
                child_at(file, node, "/items")->index);
    size_t count;
    (void)members_of(node, &count);
    if (count > 0)
        fprintf(out, "\n     .members = %s_%d_members,\n     .member_count = %zu,", ident,
                node->index, count);
    if (count > 0 && node->store == STORE_STRUCT)
        fprintf(out, "\n     .sorted = %s_%d_sorted,", ident, node->index);
    const struct node *additional = child_at(file, node, "/additionalProperties");
    if (additional != NULL)
        fprintf(out, "\n     .additional = &%s_nodes[%d],", ident, additional->index);
    fputs("},\n", out);
}

static void write_tables(FILE *out, const struct file *file)
{
    int count = 0;
    for (size_t i = 0; i < file->node_count; i++)
        count += file->nodes[i]->index >= 0;
    fputs("/* ---- ", out);
    write_comment_text(out, file->stem, strlen(file->stem));
    fputs(" */\n\n", out);
    fprintf(out, "static const struct schema_node %s_nodes[%d];\n", file->ident, count);
    for (size_t i = 0; i < file->node_count; i++) {
        const struct node *node = file->nodes[i];
        if (node->index < 0 || !json_is_object(node->schema))
            continue;
        write_values(out, file, node);
        write_tuple(out, file, node);
        write_members(out, file, node);
    }
    fprintf(out, "static const struct schema_node %s_nodes[%d] = {\n", file->ident,
            count);
    for (size_t i = 0; i < file->node_count; i++)
        if (file->nodes[i]->index >= 0)
            write_node(out, file, file->nodes[i]);
    fputs("};\n", out);
    const struct node *root = resolved(file, file->nodes[0]);
    fprintf(out, "const struct schema %s_schema = {\n    .title = ", file->ident);
    write_c_string(out, file->stem);
    fputs(",\n    .description = ", out);
    write_c_string(out, string_of(file->root, "description"));
    fprintf(out, ",\n    .root = &%s_nodes[%d],\n", file->ident, root->index);
    if (root->store == STORE_STRUCT)
        fprintf(out, "    .size = sizeof(struct %s),\n", root->struct_name);
    fputs("};\n\n", out);
}

/* ---- the files that are written ---------------------------------------------------- */

static FILE *open_output(const char *path)
{
    FILE *out = fopen(path, "w");
    if (out == NULL)
        die("%s: %s", path, strerror(errno));
    return out;
}

static void close_output(FILE *out, const char *path)
{
    if (ferror(out) || fclose(out) != 0)
        die("%s: cannot be written", path);
}

static void write_head(FILE *out, const char *file_name, const char *what)
{
    fprintf(
        out,
        "/* %s - %s\n *\n * Made by schemas/compiler from schemas/; do not edit.\n *\n"
        " * SPDX-License-Identifier: Apache-2.0 */\n",
        file_name, what);
}

static void write_header(const char *folder, enum kind kind, struct file **files,
                         size_t count)
{
    const char *name = KIND_NAMES[kind];
    const char *path = text_of("%s/schemas/%s.h", folder, name);
    char upper[16] = {0};
    for (size_t i = 0; name[i] != '\0'; i++)
        upper[i] = (char)toupper((unsigned char)name[i]);
    FILE *out = open_output(path);
    write_head(out, text_of("%s.h", name), text_of("the structs of schemas/%s/.", name));
    fprintf(
        out,
        "#ifndef SCHEMAS_%s_H\n#define SCHEMAS_%s_H\n\n#include \"schemas/codec.h\"\n\n",
        upper, upper);
    fprintf(out, "/* X(name, struct, type) for each: the schema is called "
                 "`<struct>_schema`. */\n");
    fprintf(out, "#define SCHEMA_%s(X)", upper);
    for (size_t i = 0; i < count; i++)
        if (files[i]->kind == kind)
            fprintf(out, " \\\n    X(%s, %s, \"kinlog.%s\")", files[i]->name,
                    files[i]->ident, files[i]->stem);
    fputs("\n\n", out);
    for (size_t i = 0; i < count; i++) {
        if (files[i]->kind != kind)
            continue;
        write_struct(out, files[i], resolved(files[i], files[i]->nodes[0]),
                     files[i]->stem);
        fprintf(out, "extern const struct schema %s_schema;\n\n", files[i]->ident);
    }
    fputs("#endif\n", out);
    close_output(out, path);
}

static void write_source(const char *folder, enum kind kind, struct file **files,
                         size_t count)
{
    const char *name = KIND_NAMES[kind];
    const char *path = text_of("%s/schemas/%s.c", folder, name);
    FILE *out = open_output(path);
    write_head(out, text_of("%s.c", name), text_of("the tables of schemas/%s/.", name));
    fprintf(out, "#include \"schemas/%s.h\"\n\n#include <stddef.h>\n\n", name);
    fputs("#include \"schemas/codec_tables.h\"\n\n", out);
    for (size_t i = 0; i < count; i++)
        if (files[i]->kind == kind)
            write_tables(out, files[i]);
    close_output(out, path);
}

static void write_registry(const char *folder, struct file **files, size_t count)
{
    const char *path = text_of("%s/schemas/registry.c", folder);
    FILE *out = open_output(path);
    write_head(out, "registry.c", "one row per schema, sorted by type.");
    fputs("#include <stddef.h>\n\n", out);
    for (int kind = 0; kind < KINDS; kind++)
        fprintf(out, "#include \"schemas/%s.h\"\n", KIND_NAMES[kind]);
    for (int kind = 0; kind < KINDS; kind++) {
        fprintf(out, "\nconst struct schema_entry schema_%s[] = {\n", KIND_NAMES[kind]);
        for (size_t i = 0; i < count; i++)
            if (files[i]->kind == (enum kind)kind)
                fprintf(
                    out,
                    "    {\"kinlog.%s\", \"%s\", &%s_schema,\n     sizeof(struct %s)},\n",
                    files[i]->stem, files[i]->name, files[i]->ident, files[i]->ident);
        fputs("    {NULL, NULL, NULL, 0},\n};\n", out);
    }
    close_output(out, path);
}

static void write_validators(const char *path, struct file **files, size_t count)
{
    FILE *out = open_output(path);
    write_head(out, "validators.c", "tables of schemas without structs.");
    fputs("#include <stddef.h>\n\n#include \"schemas/codec_tables.h\"\n\n", out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "extern const struct schema %s_schema;\n", files[i]->ident);
        write_tables(out, files[i]);
    }
    fputs("const struct schema_validator schema_validators[] = {\n", out);
    for (size_t i = 0; i < count; i++) {
        fputs("    {", out);
        write_c_string(out, files[i]->stem);
        fprintf(out, ", &%s_schema},\n", files[i]->ident);
    }
    fputs("    {NULL, NULL},\n};\n", out);
    close_output(out, path);
}

/* ---- the program ------------------------------------------------------------------- */

static struct file *load(const char *path)
{
    struct file *file = grow(NULL, 1, sizeof(*file));
    *file = (struct file){.path = path};
    json_error_t error;
    file->root = json_load_file(path, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (file->root == NULL)
        die("%s:%d:%d: %s", path, error.line, error.column, error.text);
    const char *slash = strrchr(path, '/');
    char *stem = text_of("%s", slash == NULL ? path : slash + 1);
    size_t length = strlen(stem);
    if (length > 5 && strcmp(stem + length - 5, ".json") == 0)
        stem[length - 5] = '\0';
    file->stem = stem;
    (void)collect(file, file->root, "");
    resolve(file);
    return file;
}

/* Takes name, version and kind from the path and makes the structs' types. */
static void load_message(struct file *file)
{
    const char *dot = strrchr(file->stem, '.');
    if (dot == NULL || dot[1] != 'v' || dot[2] < '1' || dot[2] > '9' ||
        strspn(dot + 2, "0123456789") != strlen(dot + 2))
        refuse(file, "", "the file must be called <Name>.v<number>.json");
    file->name = text_of("%.*s", (int)(dot - file->stem), file->stem);
    if (!is_identifier(file->name))
        refuse(file, "", "the name must be an identifier");
    file->ident = text_of("%s_%s", snake_case(file->name), dot + 1);
    int kind = 0;
    while (kind < KINDS &&
           strstr(text_of("/%s", file->path), text_of("/%s/", KIND_NAMES[kind])) == NULL)
        kind++;
    if (kind == KINDS)
        refuse(file, "", "the file must lie in commands/, events/ or answers/");
    file->kind = (enum kind)kind;
    const char *title = string_of(file->root, "title");
    if (title == NULL || strcmp(title, file->stem) != 0)
        refuse(file, "/title", "must be \"%s\", as the file is called", file->stem);
    if (string_of(file->root, "description") == NULL)
        refuse(file, "/description", "is missing");
    struct node *root = resolved(file, file->nodes[0]);
    if (root->types != TYPE_OBJECT || json_object_get(root->schema, "properties") == NULL)
        refuse(file, "", "a message must be an object with properties");
    type_node(file, root, file->ident);
}

static int compare_files(const void *a, const void *b)
{
    return strcmp((*(struct file *const *)a)->stem, (*(struct file *const *)b)->stem);
}

static void write_messages(const char *output, struct file **files, size_t count)
{
    qsort(files, count, sizeof(files[0]), compare_files);
    const char *folder = text_of("%s/schemas", output);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        die("%s: %s", folder, strerror(errno));
    for (int kind = 0; kind < KINDS; kind++) {
        write_header(output, (enum kind)kind, files, count);
        write_source(output, (enum kind)kind, files, count);
    }
    write_registry(output, files, count);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs(
            "usage: schemac OUTDIR FILE...\n       schemac --validators OUT.c FILE...\n",
            stderr);
        return 2;
    }
    bool validators = strcmp(argv[1], "--validators") == 0;
    int first = validators ? 3 : 2;
    size_t count = 0;
    struct file **files = grow(NULL, (size_t)argc, sizeof(files[0]));
    for (int i = first; i < argc; i++) {
        struct file *file = load(argv[i]);
        if (validators)
            file->ident = text_of("validator_%d", i - first);
        else
            load_message(file);
        files[count++] = file;
    }
    if (validators) {
        write_validators(argv[2], files, count);
    } else {
        write_messages(argv[1], files, count);
    }
    free(files);
    return 0;
}
