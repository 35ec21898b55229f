/* json_scan.c - the strict scanner: syntax, UTF-8, limits, twins.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "schemas/json_scan.h"

#include <stdlib.h>
#include <string.h>

/* Up to this many members every pair is compared; above, the names are sorted. */
#define PAIRWISE_MAX 16
/* U+FFFD, for half a surrogate pair, where the grammar alone was asked for. */
#define REPLACEMENT 0xfffd

bool json_fail(struct json_scan *scan, enum codec_fault fault, const uint8_t *at,
               const char *text)
{
    if (scan->fault == CODEC_OK) {
        scan->fault = fault;
        scan->offset = (size_t)(at - scan->start);
        scan->text = text;
    }
    return false;
}

static bool syntax(struct json_scan *scan, const uint8_t *at, const char *text)
{
    return json_fail(scan, CODEC_SYNTAX, at, text);
}

void json_scan_init(struct json_scan *scan, struct bytes json)
{
    /* Not the names: 4096 of them need not be cleared for a command with three. */
    scan->start = json.data;
    scan->at = json.data;
    scan->end = json.data == NULL ? NULL : json.data + json.size;
    scan->depth = 0;
    scan->values = 0;
    scan->grammar_only = false;
    scan->values_max = JSON_VALUES_MAX;
    scan->fault = CODEC_OK;
    scan->offset = 0;
    scan->text = NULL;
    scan->name_count = 0;
    if (json.size > JSON_BYTES_MAX) {
        json_fail(scan, CODEC_LIMIT, scan->start,
                  "more than 256 KiB: send less in one message");
    } else if (json.size == 0) {
        json_fail(scan, CODEC_SYNTAX, scan->start,
                  "nothing there: send a JSON object, {} at least");
    }
}

static void skip_blanks(struct json_scan *scan)
{
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n' ||
                                    *scan->at == '\r' || *scan->at == '\t')) {
        scan->at++;
    }
}

static bool at_byte(const struct json_scan *scan, uint8_t byte)
{
    return scan->at < scan->end && *scan->at == byte;
}

static bool is_digit(const struct json_scan *scan)
{
    return scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9';
}

static enum json_kind kind_of_byte(uint8_t byte)
{
    switch (byte) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
    case 'f':
        return JSON_BOOLEAN;
    case 'n':
        return JSON_NULL;
    default:
        return byte == '-' || (byte >= '0' && byte <= '9') ? JSON_NUMBER : JSON_FAULT;
    }
}

enum json_kind json_scan_begin(struct json_scan *scan)
{
    if (scan->fault != CODEC_OK) {
        return JSON_FAULT;
    }
    skip_blanks(scan);
    if (scan->at == scan->end) {
        syntax(scan, scan->at, "the text ends where a value should be: it was cut off");
        return JSON_FAULT;
    }
    enum json_kind kind = kind_of_byte(*scan->at);
    if (kind == JSON_FAULT) {
        bool mark = scan->at == scan->start && *scan->at == 0xef;
        syntax(scan, scan->at,
               mark ? "it begins with a byte order mark, or is not JSON: send plain "
                      "UTF-8 JSON"
                    : "no JSON value begins like this: a value is an object, list, "
                      "string, number, true, "
                      "false or null");
        return JSON_FAULT;
    }
    if (++scan->values > scan->values_max) {
        json_fail(scan, CODEC_LIMIT, scan->at,
                  "more than 4096 values: send fewer in one message");
        return JSON_FAULT;
    }
    return kind;
}

/* ---- strings ----------------------------------------------------------------------- */

/* The length of the UTF-8 sequence at `at`, 0 if it is none (overlong, a surrogate, past
 * U+10FFFF, cut). */
static size_t utf8_length(const uint8_t *at, const uint8_t *end)
{
    static const uint8_t FIRST[] = {0xc2, 0xe0, 0xf0,
                                    0xf5}; /* lead bytes of 2, 3, 4, and none */
    size_t length = at[0] < FIRST[0]   ? 0
                    : at[0] < FIRST[1] ? 2
                    : at[0] < FIRST[2] ? 3
                    : at[0] < FIRST[3] ? 4
                                       : 0;
    if (length == 0 || (size_t)(end - at) < length) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool outside = (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf4 && at[1] > 0x8f);
    return overlong || outside ? 0 : length;
}

/* The number of 4 hexadecimal digits, -1 if they are not there. */
static int32_t hex4(const uint8_t *at, const uint8_t *end)
{
    int32_t value = 0;

    if (end - at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        uint8_t byte = at[i];
        int32_t digit = byte >= '0' && byte <= '9'   ? byte - '0'
                        : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                        : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                                     : -1;
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

static bool is_high_surrogate(int32_t unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low_surrogate(int32_t unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* `at` stands behind \u; moves over the digits, and over the second half of a pair. */
static bool take_unicode_escape(struct json_scan *scan)
{
    int32_t unit = hex4(scan->at, scan->end);

    if (unit < 0) {
        return syntax(scan, scan->at, "\\u needs four hexadecimal digits");
    }
    if (scan->grammar_only) {
        scan->at += 4;
        return true;
    }
    if (unit == 0) {
        return syntax(scan, scan->at,
                      "a string holds the character U+0000: leave it out");
    }
    if (is_low_surrogate(unit)) {
        return syntax(scan, scan->at,
                      "a string holds half of a surrogate pair: send UTF-8 as it is");
    }
    scan->at += 4;
    if (!is_high_surrogate(unit)) {
        return true;
    }
    bool second = scan->end - scan->at >= 6 && scan->at[0] == '\\' && scan->at[1] == 'u';
    if (!second || !is_low_surrogate(hex4(scan->at + 2, scan->end))) {
        return syntax(scan, scan->at,
                      "a string holds half of a surrogate pair: send UTF-8 as it is");
    }
    scan->at += 6;
    return true;
}

/* `at` stands on a backslash. */
static bool take_escape(struct json_scan *scan)
{
    scan->at++;
    if (scan->at == scan->end) {
        return syntax(scan, scan->at, "the text ends within a string: it was cut off");
    }
    uint8_t byte = *scan->at;
    if (byte == 'u') {
        scan->at++;
        return take_unicode_escape(scan);
    }
    if (byte == 0 || strchr("\"\\/bfnrt", byte) == NULL) {
        return syntax(
            scan, scan->at,
            "a backslash in a string must be written twice (or begin a JSON escape)");
    }
    scan->at++;
    return true;
}

static bool take_character(struct json_scan *scan)
{
    uint8_t byte = *scan->at;

    if (byte < 0x20) {
        return syntax(scan, scan->at,
                      byte == 0 ? "a string holds a NUL byte: leave it out"
                                : "a control character in a string must be escaped");
    }
    if (byte < 0x80) {
        scan->at++;
        return true;
    }
    size_t length = utf8_length(scan->at, scan->end);
    if (length == 0) {
        return syntax(scan, scan->at, "not UTF-8: JSON is sent as UTF-8 only");
    }
    scan->at += length;
    return true;
}

bool json_take_string(struct json_scan *scan, struct json_string *ret_string)
{
    const uint8_t *start = scan->at;
    size_t length = 0;
    bool escaped = false;

    scan->at++;
    while (scan->at < scan->end && *scan->at != '"') {
        if (*scan->at == '\\') {
            escaped = true;
            if (!take_escape(scan)) {
                return false;
            }
        } else if (!take_character(scan)) {
            return false;
        }
        length++;
    }
    if (scan->at == scan->end) {
        return syntax(scan, scan->at, "the text ends within a string: it was cut off");
    }
    scan->at++;
    *ret_string =
        (struct json_string){{start, (size_t)(scan->at - start)}, length, escaped};
    return true;
}

/* ---- numbers and words ------------------------------------------------------------- */

static bool take_digits(struct json_scan *scan, const char *text)
{
    if (!is_digit(scan)) {
        return syntax(scan, scan->at, text);
    }
    while (is_digit(scan)) {
        scan->at++;
    }
    return true;
}

bool json_take_number(struct json_scan *scan, struct bytes *ret_raw)
{
    const uint8_t *start = scan->at;

    if (at_byte(scan, '-')) {
        scan->at++;
    }
    const uint8_t *digits = scan->at;
    if (!take_digits(scan, "a digit must follow the minus of a number")) {
        return false;
    }
    if (digits[0] == '0' && scan->at - digits > 1) {
        return syntax(scan, digits, "a number must not begin with a zero");
    }
    if (at_byte(scan, '.')) {
        scan->at++;
        if (!take_digits(scan, "a digit must follow the point of a number")) {
            return false;
        }
    }
    if (at_byte(scan, 'e') || at_byte(scan, 'E')) {
        scan->at++;
        if (at_byte(scan, '+') || at_byte(scan, '-')) {
            scan->at++;
        }
        if (!take_digits(scan, "a digit must follow the exponent's e of a number")) {
            return false;
        }
    }
    *ret_raw = bytes_of(start, (size_t)(scan->at - start));
    return true;
}

bool json_take_word(struct json_scan *scan)
{
    const char *word = *scan->at == 't' ? "true" : *scan->at == 'f' ? "false" : "null";
    size_t size = strlen(word);

    if ((size_t)(scan->end - scan->at) < size || memcmp(scan->at, word, size) != 0) {
        return syntax(scan, scan->at,
                      "an unknown word: only true, false and null stand without quotes");
    }
    scan->at += size;
    return true;
}

/* ---- objects and arrays ------------------------------------------------------------ */

bool json_open(struct json_scan *scan, struct json_frame *ret_frame)
{
    if (scan->depth == JSON_DEPTH_MAX) {
        return json_fail(scan, CODEC_LIMIT, scan->at,
                         "objects and lists more than 32 deep: send them flatter");
    }
    scan->depth++;
    scan->at++;
    *ret_frame = (struct json_frame){scan->name_count, 0};
    return true;
}

static int compare_names(const void *a, const void *b)
{
    const struct json_string *one = a, *other = b;
    int order = json_strings_compare(one, other);

    return order != 0
               ? order
               : (one->raw.data > other->raw.data) - (one->raw.data < other->raw.data);
}

/* Are two of an object's names the same? Where to look for the later one, or NULL. */
static const uint8_t *find_twin(struct json_string *names, size_t count)
{
    if (count > PAIRWISE_MAX) {
        qsort(names, count, sizeof(names[0]), compare_names);
    }
    for (size_t i = 1; i < count; i++) {
        for (size_t k = count > PAIRWISE_MAX ? i - 1 : 0; k < i; k++) {
            if (json_strings_equal(&names[k], &names[i])) {
                return names[i].raw.data;
            }
        }
    }
    return NULL;
}

static bool close_object(struct json_scan *scan, struct json_frame *frame)
{
    const uint8_t *twin = scan->grammar_only ? NULL
                                             : find_twin(scan->names + frame->names,
                                                         scan->name_count - frame->names);

    if (twin != NULL) {
        return syntax(scan, twin, "an object holds a member twice: send it once");
    }
    scan->name_count = frame->names;
    scan->depth--;
    scan->at++;
    return true;
}

bool json_next_member(struct json_scan *scan, struct json_frame *frame,
                      struct json_string *ret_name, bool *ret_more)
{
    skip_blanks(scan);
    *ret_more = !at_byte(scan, '}');
    if (!*ret_more) {
        return close_object(scan, frame);
    }
    if (frame->count++ > 0) {
        if (!at_byte(scan, ',')) {
            return syntax(scan, scan->at, "a comma or the end of the object is missing");
        }
        scan->at++;
        skip_blanks(scan);
    }
    if (!at_byte(scan, '"')) {
        return syntax(scan, scan->at, "a member's name in double quotes is missing");
    }
    if (!json_take_string(scan, ret_name)) {
        return false;
    }
    if (scan->name_count == JSON_VALUES_MAX) {
        return json_fail(scan, CODEC_LIMIT, scan->at,
                         "more than 4096 values: send fewer in one message");
    }
    scan->names[scan->name_count++] = *ret_name;
    skip_blanks(scan);
    if (!at_byte(scan, ':')) {
        return syntax(scan, scan->at, "a colon after a member's name is missing");
    }
    scan->at++;
    return true;
}

bool json_next_item(struct json_scan *scan, struct json_frame *frame, bool *ret_more)
{
    skip_blanks(scan);
    *ret_more = !at_byte(scan, ']');
    if (!*ret_more) {
        scan->depth--;
        scan->at++;
        return true;
    }
    if (frame->count++ > 0) {
        if (!at_byte(scan, ',')) {
            return syntax(scan, scan->at, "a comma or the end of the list is missing");
        }
        scan->at++;
    }
    return true;
}

static bool skip_container(struct json_scan *scan, enum json_kind kind)
{
    struct json_frame frame;
    struct json_string name;
    bool more = true;

    if (!json_open(scan, &frame)) {
        return false;
    }
    while (more) {
        if (!(kind == JSON_OBJECT ? json_next_member(scan, &frame, &name, &more)
                                  : json_next_item(scan, &frame, &more))) {
            return false;
        }
        if (more && (json_scan_begin(scan) == JSON_FAULT || !json_skip(scan))) {
            return false;
        }
    }
    return true;
}

bool json_skip(struct json_scan *scan)
{
    struct json_string string;
    struct bytes raw;

    switch (kind_of_byte(*scan->at)) {
    case JSON_STRING:
        return json_take_string(scan, &string);
    case JSON_NUMBER:
        return json_take_number(scan, &raw);
    case JSON_OBJECT:
        return skip_container(scan, JSON_OBJECT);
    case JSON_ARRAY:
        return skip_container(scan, JSON_ARRAY);
    default:
        return json_take_word(scan);
    }
}

bool json_scan_end(struct json_scan *scan)
{
    if (scan->fault != CODEC_OK) {
        return false;
    }
    skip_blanks(scan);
    return scan->at == scan->end ||
           syntax(scan, scan->at, "something follows the end of the value");
}

/* ---- the content of strings -------------------------------------------------------- */

static int32_t decoded_escape(const uint8_t **at)
{
    static const char FROM[] = "bfnrt", TO[] = "\b\f\n\r\t";
    uint8_t byte = *(*at)++;

    if (byte != 'u') {
        const char *found = strchr(FROM, byte);
        return found == NULL ? byte : TO[found - FROM];
    }
    int32_t unit = hex4(*at, *at + 4);
    *at += 4;
    if (!is_high_surrogate(unit)) {
        return is_low_surrogate(unit) ? REPLACEMENT : unit;
    }
    /* Only a checked pair may be stepped over: the literal may end here. */
    int32_t low = (*at)[0] == '\\' && (*at)[1] == 'u' ? hex4(*at + 2, *at + 6) : -1;
    if (!is_low_surrogate(low)) {
        return REPLACEMENT;
    }
    *at += 6;
    return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
}

int32_t json_next_code_point(const uint8_t **at)
{
    uint8_t byte = *(*at)++;

    if (byte == '"') {
        (*at)--;
        return -1;
    }
    if (byte == '\\') {
        return decoded_escape(at);
    }
    if (byte < 0x80) {
        return byte;
    }
    int more = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : 1;
    int32_t value = byte & (0x3f >> more);
    for (; more > 0; more--) {
        value = (value << 6) | (*(*at)++ & 0x3f);
    }
    return value;
}

bool json_strings_equal(const struct json_string *a, const struct json_string *b)
{
    if (!a->escaped && !b->escaped) {
        return bytes_equal(a->raw, b->raw);
    }
    return a->length == b->length && json_strings_compare(a, b) == 0;
}

/* Code points from U+E000 to U+FFFF come after those that UTF-16 writes as surrogates. */
static int32_t utf16_rank(int32_t code_point)
{
    return code_point >= 0xe000 && code_point <= 0xffff ? code_point + 0x110000
                                                        : code_point;
}

int json_strings_compare(const struct json_string *a, const struct json_string *b)
{
    const uint8_t *one = a->raw.data + 1, *other = b->raw.data + 1;

    for (;;) {
        int32_t x = utf16_rank(json_next_code_point(&one));
        int32_t y = utf16_rank(json_next_code_point(&other));
        if (x != y || x < 0) {
            return (x > y) - (x < y);
        }
    }
}

size_t json_utf8(int32_t code_point, uint8_t ret_bytes[4])
{
    static const uint8_t LEAD[] = {0x00, 0x00, 0xc0, 0xe0, 0xf0};
    size_t size = code_point < 0x80      ? 1
                  : code_point < 0x800   ? 2
                  : code_point < 0x10000 ? 3
                                         : 4;
    uint32_t rest = (uint32_t)code_point;

    for (size_t i = size - 1; i > 0; i--) {
        ret_bytes[i] = (uint8_t)(0x80 | (rest & 0x3f));
        rest >>= 6;
    }
    ret_bytes[0] = (uint8_t)(LEAD[size] | rest);
    return size;
}

struct bytes json_string_content(const struct json_string *string, struct arena *arena)
{
    if (!string->escaped) {
        return bytes_of(string->raw.data + 1, string->raw.size - 2);
    }
    /* An escape is longer than what it stands for, so the raw size is enough. */
    uint8_t *content = arena_alloc(arena, string->raw.size);
    if (content == NULL) {
        return BYTES_ABSENT;
    }
    size_t size = 0;
    const uint8_t *at = string->raw.data + 1;
    for (int32_t code_point; (code_point = json_next_code_point(&at)) >= 0;) {
        uint8_t encoded[4];
        size_t length = json_utf8(code_point, encoded);
        memcpy(content + size, encoded, length);
        size += length;
    }
    return bytes_of(content, size);
}
