/* user_name.c - `domain\user` names: what is a name, and when two are the same.
 *
 * utf8proc folds and normalises in one call, too, but its order of steps is its own; what
 * two names are compared by must be NFC(fold(NFC(name))) to the letter, so the steps are
 * made one by one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/base/user_name.h"

#include <string.h>

#include <utf8proc.h>

/* Of the three steps, NFC makes of a name at most 3 times its bytes, folding 3 times
 * that; a code point takes at least one byte, and reencoding needs one place more. */
#define CODE_POINTS_MAX (USER_NAME_BYTES_MAX * 9 + 1)

#define RULES_1_UNICODE "15.0.0"

static bool is_blank(utf8proc_int32_t code_point)
{
    return code_point == ' ' || code_point == 0xa0 || code_point == 0x1680 ||
           (code_point >= 0x2000 && code_point <= 0x200a) || code_point == 0x202f ||
           code_point == 0x205f || code_point == 0x3000; /* the others are Cc, Zl, Zp */
}

static const char *code_point_fault(utf8proc_int32_t code_point)
{
    switch (utf8proc_category(code_point)) {
    case UTF8PROC_CATEGORY_CC:
        return "the name contains a control character; remove it";
    case UTF8PROC_CATEGORY_CF:
        return "the name contains an invisible formatting character; remove it";
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return "the name contains a line or paragraph separator; remove it";
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CN:
        return "the name contains a code point that Unicode 15.0 does not assign; "
               "remove it";
    default:
        return NULL;
    }
}

/* What is known of a name's two halves while it is read from left to right. */
struct halves {
    int backslashes;
    bool half_is_empty; /* the present half has no code point so far */
    bool last_is_blank; /* the code point before this one */
    bool empty;         /* either half */
    bool blank_at_end;  /* at either end of either half */
};

static void end_half(struct halves *halves)
{
    halves->empty = halves->empty || halves->half_is_empty;
    halves->blank_at_end = halves->blank_at_end || halves->last_is_blank;
    halves->half_is_empty = true;
    halves->last_is_blank = false;
}

static void add_code_point(struct halves *halves, utf8proc_int32_t code_point)
{
    if (code_point == '\\') {
        halves->backslashes++;
        end_half(halves);
        return;
    }
    bool blank = is_blank(code_point);

    if (blank && halves->half_is_empty) {
        halves->blank_at_end = true;
    }
    halves->half_is_empty = false;
    halves->last_is_blank = blank;
}

static const char *halves_fault(const struct halves *halves)
{
    if (halves->backslashes == 0) {
        return "the name has no backslash; write it as domain\\user";
    }
    if (halves->backslashes > 1) {
        return "the name has more than one backslash; write it as domain\\user";
    }
    if (halves->empty) {
        return "the name has nothing on one side of its backslash; write it as "
               "domain\\user";
    }
    if (halves->blank_at_end) {
        return "the name has a blank at the beginning or end of its domain or user; "
               "remove it";
    }
    return NULL;
}

const char *user_name_fault(struct bytes name)
{
    struct halves halves = {.half_is_empty = true};

    if (name.size > USER_NAME_BYTES_MAX) {
        return "the name is longer than 256 bytes; shorten it";
    }
    for (size_t i = 0; i < name.size;) {
        utf8proc_int32_t code_point = name.data[i];
        size_t size = 1;

        if (code_point < 0x20 || code_point > 0x7e) {
            utf8proc_ssize_t read = utf8proc_iterate(
                name.data + i, (utf8proc_ssize_t)(name.size - i), &code_point);

            if (read <= 0) {
                return "the name is not UTF-8; encode it so";
            }
            const char *fault = code_point_fault(code_point);

            if (fault) {
                return fault;
            }
            size = (size_t)read;
        }
        add_code_point(&halves, code_point);
        i += size;
    }
    end_half(&halves);
    return halves_fault(&halves);
}

static bool is_ascii(struct bytes name)
{
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

/* For ASCII all three steps together come to this. */
static int fold_ascii(struct bytes name, struct buf *out)
{
    int r = buf_reserve(out, name.size);

    for (size_t i = 0; i < name.size && r == 0; i++) {
        uint8_t c = name.data[i];

        out->data[out->size++] = c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
    }
    return r;
}

/* One step: text becomes what utf8proc makes of it under the options. The result lies in
 * room, which must not hold text. Absent if text is not UTF-8. */
static struct bytes transform(struct bytes text, int options,
                              utf8proc_int32_t room[CODE_POINTS_MAX])
{
    utf8proc_ssize_t count =
        utf8proc_decompose(text.data, (utf8proc_ssize_t)text.size, room,
                           CODE_POINTS_MAX - 1, (utf8proc_option_t)options);

    if (count < 0 || count > CODE_POINTS_MAX - 1) {
        return BYTES_ABSENT;
    }
    utf8proc_ssize_t size = utf8proc_reencode(room, count, (utf8proc_option_t)options);

    return size < 0 ? BYTES_ABSENT : bytes_of(room, (size_t)size);
}

int user_name_fold(struct bytes name, struct buf *out)
{
    static const int nfc = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    utf8proc_int32_t room[2][CODE_POINTS_MAX];

    if (is_ascii(name)) {
        return fold_ascii(name, out);
    }
    if (name.size > USER_NAME_BYTES_MAX) {
        return ERROR_INVALID;
    }
    struct bytes composed = transform(name, nfc, room[0]);
    struct bytes folded =
        composed.data ? transform(composed, UTF8PROC_CASEFOLD, room[1]) : BYTES_ABSENT;
    struct bytes result = folded.data ? transform(folded, nfc, room[0]) : BYTES_ABSENT;

    return result.data ? buf_append_bytes(out, result) : ERROR_INVALID;
}

bool user_name_library_fits(void)
{
    return strcmp(utf8proc_unicode_version(), RULES_1_UNICODE) == 0;
}
