/* test_error.c - struct error: the first error wins, prefixes, cutting.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The first error keeps its code and text; a later one only returns its own code. */
static void test_first_error_wins(void **state)
{
    struct error err = {0};

    (void)state;
    assert_int_equal(error_set(&err, ERROR_IO, "disk %d", 7), ERROR_IO);
    assert_int_equal(error_set(&err, ERROR_CORRUPT, "later"), ERROR_CORRUPT);
    assert_int_equal(err.code, ERROR_IO);
    assert_string_equal(err.text, "disk 7");
    error_clear(&err);
    assert_int_equal(err.code, 0);
    assert_string_equal(err.text, "");
    assert_int_equal(error_set(NULL, ERROR_IO, "nobody listens"), ERROR_IO);
}

/* A prefix stands before the text of an error, and nowhere without one. */
static void test_prefix(void **state)
{
    struct error err = {0};

    (void)state;
    error_prefix(&err, "unused");
    assert_string_equal(err.text, "");
    (void)error_set(&err, ERROR_IO, "no such file");
    error_prefix(&err, "shard %u", 3U);
    error_prefix(&err, "agent");
    assert_string_equal(err.text, "agent: shard 3: no such file");
    error_prefix(NULL, "unused");
}

/* Texts and prefixes that are too long are cut, and never lose their NUL. */
static void test_long_texts_are_cut(void **state)
{
    struct error err = {0};
    char text[2000];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    (void)error_set(&err, ERROR_INVALID, "%s", text);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    error_prefix(&err, "short");
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    assert_memory_equal(err.text, "short: xxx", 10);
    error_prefix(&err, "%s", text);
    assert_memory_equal(err.text, "short: xxx", 10);
    error_clear(&err);
    (void)error_set(&err, ERROR_INVALID, "own");
    text[sizeof(err.text) - 4] = '\0';
    error_prefix(&err, "%s", text);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    assert_string_equal(err.text + sizeof(err.text) - 5, "x: o");
}

/* Every code has a text of its own. */
static void test_code_texts(void **state)
{
    (void)state;
    assert_string_equal(error_code_text(0), "success");
    assert_string_equal(error_code_text(ERROR_NO_SPACE), "no space left");
    assert_string_equal(error_code_text(ERROR_STOPPED), "stopped");
    assert_string_equal(error_code_text(-12345), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_error_wins),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_long_texts_are_cut),
        cmocka_unit_test(test_code_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
