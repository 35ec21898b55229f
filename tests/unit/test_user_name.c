/* test_user_name.c - user names: what is refused, and which names are the same.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/base/user_name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_fold(const char *name, const char *expected)
{
    struct buf folded = BUF_INIT;

    if (user_name_fault(bytes_str(name))) {
        fail_msg("refused: %s", name);
    }
    assert_int_equal(user_name_fold(bytes_str(name), &folded), 0);
    assert_string_equal(buf_cstr(&folded), expected);
    buf_release(&folded);
}

/* Fails unless the name is refused with a text that holds the words. */
static void assert_fault(const char *name, const char *words)
{
    const char *fault = user_name_fault(bytes_str(name));

    if (!fault || !strstr(fault, words)) {
        fail_msg("%s: %s, not %s", name, fault ? fault : "accepted", words);
    }
}

/* Rules 1 hold only with the Unicode tables that they pin. */
static void test_library(void **state)
{
    (void)state;
    assert_true(user_name_library_fits());
}

/* ASCII names differ by nothing but case; everything else stays. */
static void test_ascii(void **state)
{
    (void)state;
    assert_fold("HQ\\Alice", "hq\\alice");
    assert_fold("a\\b", "a\\b");
    assert_fold("Corp.Example-1\\J. R. O'Neil @[`{~",
                "corp.example-1\\j. r. o'neil @[`{~");
}

/* Equal by NFC(fold(NFC())): full folding, composed and decomposed accents, compatible
 * letters. */
static void test_fold(void **state)
{
    (void)state;
    assert_fold("hq\\stra\u00dfe", "hq\\strasse");
    assert_fold("hq\\STRA\u1e9eE", "hq\\strasse");
    assert_fold("hq\\STRASSE", "hq\\strasse");
    assert_fold("hq\\ren\u00e9", "hq\\ren\u00e9");
    assert_fold("hq\\rene\u0301", "hq\\ren\u00e9");
    assert_fold("hq\\RENE\u0301", "hq\\ren\u00e9");
    assert_fold("hq\\\u212aelvin", "hq\\kelvin");
    assert_fold("hq\\\u212bngstrom", "hq\\\u00e5ngstrom");
    assert_fold("hq\\\u039f\u0394\u039f\u03a3", "hq\\\u03bf\u03b4\u03bf\u03c3");
    assert_fold("hq\\\u03bf\u03b4\u03bf\u03c2", "hq\\\u03bf\u03b4\u03bf\u03c3");
    assert_fold("hq\\\u0130stanbul", "hq\\i\u0307stanbul");
    assert_fold("hq\\\u0131", "hq\\\u0131");
    assert_fold("hq\\\ufb03n", "hq\\ffin");
    assert_fold("hq\\\u0149a", "hq\\\u02bcna");
    assert_fold("hq\\\u13a0\uab70", "hq\\\u13a0\u13a0");
    assert_fold("\u0414\u041e\u041c\\\u0418\u0306", "\u0434\u043e\u043c\\\u0439");
    assert_fold("hq\\\uac00\u11a8", "hq\\\uac01");
    assert_fold("hq\\\U00010400\U0001f600", "hq\\\U00010428\U0001f600");
    assert_fold("hq\\\uff21", "hq\\\uff41");
}

/* Three steps, in this order: marks are reordered before and after folding, excluded
 * compositions stay apart, and an iota under a letter becomes one beside it. */
static void test_fold_order(void **state)
{
    (void)state;
    assert_fold("hq\\a\u0323\u0302", "hq\\\u1ead");
    assert_fold("hq\\a\u0302\u0323", "hq\\\u1ead");
    assert_fold("hq\\\u0958", "hq\\\u0915\u093c");
    assert_fold("hq\\\u1fb3", "hq\\\u03b1\u03b9");
    assert_fold("hq\\\u1f80", "hq\\\u1f00\u03b9");
    assert_fold("hq\\\u0390", "hq\\\u0390");
    assert_fold("hq\\\u1fd3", "hq\\\u0390");
    assert_fold("hq\\\u0345\u0301x", "hq\\\u0301\u03b9x");
    assert_fold("hq\\\u01f0", "hq\\\u01f0");
}

/* Folding once more changes nothing, also for the names that grow most. */
static void test_fold_twice(void **state)
{
    static const char *const letters[] = {"\u0390", "\u1fb7", "\u0130",     "\u1f82",
                                          "\ufb03", "\u00df", "\U0001d160", "\u0344"};

    (void)state;
    for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
        struct buf name = BUF_INIT;
        struct buf once = BUF_INIT;
        struct buf twice = BUF_INIT;

        assert_int_equal(buf_append_str(&name, "d\\"), 0);
        while (name.size + strlen(letters[i]) <= USER_NAME_BYTES_MAX) {
            assert_int_equal(buf_append_str(&name, letters[i]), 0);
        }
        assert_null(user_name_fault(buf_bytes(&name)));
        assert_int_equal(user_name_fold(buf_bytes(&name), &once), 0);
        if (once.size <= USER_NAME_BYTES_MAX) {
            assert_int_equal(user_name_fold(buf_bytes(&once), &twice), 0);
            assert_true(bytes_equal(buf_bytes(&once), buf_bytes(&twice)));
        }
        buf_release(&name);
        buf_release(&once);
        buf_release(&twice);
    }
}

/* Exactly one backslash, with something on both sides. */
static void test_backslash(void **state)
{
    (void)state;
    assert_fault("", "no backslash");
    assert_fault("alice", "no backslash");
    assert_fault("hq/alice", "no backslash");
    assert_fault("hq\\alice\\x", "more than one");
    assert_fault("hq\\\\alice", "more than one");
    assert_fault("hq\\", "nothing on one side");
    assert_fault("\\alice", "nothing on one side");
    assert_fault("\\", "nothing on one side");
    assert_non_null(user_name_fault(BYTES_ABSENT));
}

/* No blanks at the ends of a half, whichever blank of Unicode it is; inside they are
 * welcome. */
static void test_blanks(void **state)
{
    static const char *const blanks[] = {" ",      "\u00a0", "\u1680", "\u2000", "\u2001",
                                         "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",
                                         "\u2007", "\u2008", "\u2009", "\u200a", "\u202f",
                                         "\u205f", "\u3000"};

    (void)state;
    for (size_t i = 0; i < sizeof(blanks) / sizeof(blanks[0]); i++) {
        static const char *const forms[] = {"%shq\\alice", "hq%s\\alice", "hq\\%salice",
                                            "hq\\alice%s", "%s\\alice",   "hq\\%s"};
        struct buf name = BUF_INIT;

        for (size_t j = 0; j < sizeof(forms) / sizeof(forms[0]); j++) {
            const char *gap = strstr(forms[j], "%s");

            buf_clear(&name);
            (void)buf_append(&name, forms[j], (size_t)(gap - forms[j]));
            (void)buf_append_str(&name, blanks[i]);
            (void)buf_append_str(&name, gap + 2);
            assert_fault(buf_cstr(&name), "blank");
        }
        buf_clear(&name);
        (void)buf_printf(&name, "h%sq\\a%sb", blanks[i], blanks[i]);
        assert_null(user_name_fault(buf_bytes(&name)));
        buf_release(&name);
    }
}

/* Control, format, separator, unassigned and non-characters are refused, wherever they
 * stand. */
static void test_code_points(void **state)
{
    (void)state;
    assert_fault("hq\\al\tice", "control");
    assert_fault("hq\\alice\n", "control");
    assert_fault("hq\\al\x7fice", "control");
    assert_fault("hq\\al\xc2\x85ice", "control");
    assert_fault("hq\\al\u200bice", "formatting");
    assert_fault("hq\\al\u00adice", "formatting");
    assert_fault("hq\\al\u202eice", "formatting");
    assert_fault("\ufeffhq\\alice", "formatting");
    assert_fault("hq\\al\u2028ice", "separator");
    assert_fault("hq\\al\u2029ice", "separator");
    assert_fault("hq\\al\u0378ice", "not assign");
    assert_fault("hq\\al\U000e0fffice", "not assign");
    assert_fault("hq\\al\uffffice", "not assign");
    assert_fault("hq\\al\U0010ffffice", "not assign");
    assert_non_null(user_name_fault(bytes_of("hq\\al\0ice", 9)));
    assert_null(user_name_fault(bytes_str("hq\\\ue000")));
    assert_null(user_name_fault(bytes_str("hq\\\U00011f00"))); /* new in Unicode 15.0 */
    assert_fault("hq\\\U0002ebf0", "not assign");              /* new in 15.1 */
}

/* What is not UTF-8 is neither a name nor folded. */
static void test_not_utf8(void **state)
{
    static const char *const tails[] = {
        "\x80",
        "\xc3",
        "\xc3(",
        "\xc0\xaf",
        "\xe0\x80\xaf",
        "\xed\xa0\x80",
        "\xf4\x90\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xff",
        "\xe2\x82",
        "\xf0\x9f\x98",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        struct buf name = BUF_INIT;
        struct buf folded = BUF_INIT;

        (void)buf_printf(&name, "hq\\a%s", tails[i]);
        assert_fault(buf_cstr(&name), "UTF-8");
        assert_int_equal(user_name_fold(buf_bytes(&name), &folded), ERROR_INVALID);
        assert_int_equal(folded.size, 0);
        buf_release(&name);
        buf_release(&folded);
    }
}

/* 256 bytes are a name, 257 are none; bytes count, not letters. */
static void test_length(void **state)
{
    char name[258];
    struct buf folded = BUF_INIT;

    (void)state;
    memset(name, 'A', sizeof(name));
    name[1] = '\\';
    assert_null(user_name_fault(bytes_of(name, 256)));
    assert_int_equal(user_name_fold(bytes_of(name, 256), &folded), 0);
    assert_int_equal(folded.size, 256);
    assert_non_null(strstr(user_name_fault(bytes_of(name, 257)), "longer"));
    for (size_t i = 2; i < 258; i += 2) {
        memcpy(name + i, "\u00e9", 2);
    }
    assert_null(user_name_fault(bytes_of(name, 256)));
    assert_non_null(strstr(user_name_fault(bytes_of(name, 258)), "longer"));
    assert_int_equal(user_name_fold(bytes_of(name, 258), &folded), ERROR_INVALID);
    buf_release(&folded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_library),    cmocka_unit_test(test_ascii),
        cmocka_unit_test(test_fold),       cmocka_unit_test(test_fold_order),
        cmocka_unit_test(test_fold_twice), cmocka_unit_test(test_backslash),
        cmocka_unit_test(test_blanks),     cmocka_unit_test(test_code_points),
        cmocka_unit_test(test_not_utf8),   cmocka_unit_test(test_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
