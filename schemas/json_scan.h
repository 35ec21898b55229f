/* json_scan.h - a strict scanner over the bytes of one JSON text, for the codec's own
 * files and for small texts without a schema.
 *
 * It allocates nothing and builds nothing: the caller walks down the text and says what
 * to take next. It refuses what RFC 8259 refuses and, beyond that: bytes that are not
 * UTF-8, U+0000 in a string, lone surrogates, a member twice in one object (however it is
 * escaped), and anything over the limits.
 *
 *   struct json_scan scan;
 *   json_scan_init(&scan, text);
 *   kind = json_scan_begin(&scan);            which value comes next; counts it
 *   json_take_string(), _number(), _word(), _skip(), or json_open() and json_next_...()
 *   json_scan_end(&scan);                nothing may follow
 *
 * Every function returns false (or JSON_FAULT) once something is wrong; fault, offset and
 * text then say what. Nothing may be called after that.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SCHEMAS_JSON_SCAN_H
#define SCHEMAS_JSON_SCAN_H

#include "schemas/codec.h"

enum json_kind {
    JSON_FAULT,
    JSON_NULL,
    JSON_BOOLEAN,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

/* A string literal where it stands. */
struct json_string {
    struct bytes raw; /* with its quotes */
    size_t length;    /* in code points */
    bool escaped;     /* holds a backslash, so raw is not its content */
};

struct json_scan {
    const uint8_t *start;
    const uint8_t *at;
    const uint8_t *end;
    size_t depth;
    size_t values;
    bool grammar_only; /* U+0000, half surrogates and twin members are let through */
    size_t values_max; /* JSON_VALUES_MAX; SIZE_MAX when text is scanned a second time */
    enum codec_fault fault;
    size_t offset;     /* of the fault */
    const char *text;  /* static */
    size_t name_count; /* names of the objects that are open now, for finding twins */
    struct json_string names[JSON_VALUES_MAX];
};

/* An object or array that is open. */
struct json_frame {
    size_t names; /* where its names begin */
    size_t count; /* of members or items so far */
};

void json_scan_init(struct json_scan *scan, struct bytes json);
enum json_kind json_scan_begin(struct json_scan *scan);

/* Each takes the value that json_scan_begin() has announced. */
bool json_take_string(struct json_scan *scan, struct json_string *ret_string);
bool json_take_number(struct json_scan *scan, struct bytes *ret_raw);
bool json_take_word(struct json_scan *scan); /* null, true, false */
bool json_skip(struct json_scan *scan);      /* whatever it is, with all that is in it */

/* An object: json_open, then json_next_member until *ret_more is false; after each name
 * the value is to be taken, from json_scan_begin on. An array likewise with
 * json_next_item. */
bool json_open(struct json_scan *scan, struct json_frame *ret_frame);
bool json_next_member(struct json_scan *scan, struct json_frame *frame,
                      struct json_string *ret_name, bool *ret_more);
bool json_next_item(struct json_scan *scan, struct json_frame *frame, bool *ret_more);

bool json_scan_end(struct json_scan *scan);
/* Records the first fault; always false. */
bool json_fail(struct json_scan *scan, enum codec_fault fault, const uint8_t *at,
               const char *text);

/* Steps through the content of a checked string: the next code point, or -1 at the end.
 * Start *at behind the opening quote. */
int32_t json_next_code_point(const uint8_t **at);
/* By content; compare is the order of UTF-16 code units, as RFC 8785 sorts. */
bool json_strings_equal(const struct json_string *a, const struct json_string *b);
int json_strings_compare(const struct json_string *a, const struct json_string *b);
/* The content: borrowed from raw if nothing is escaped, else in the arena. Absent: out of
 * memory. */
struct bytes json_string_content(const struct json_string *string, struct arena *arena);
/* Writes one code point as UTF-8, at most 4 bytes; returns how many. */
size_t json_utf8(int32_t code_point, uint8_t ret_bytes[4]);

#endif
