/* test_bytes.c - byte strings, growing buffers, the arena.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/base/bytes.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "events/base/error.h"

/* Absent differs from empty, and order is memcmp's with the shorter first. */
static void test_bytes(void **state)
{
    struct bytes empty = bytes_str("");

    (void)state;
    assert_null(bytes_str(NULL).data);
    assert_false(bytes_equal(BYTES_ABSENT, empty));
    assert_true(bytes_equal(BYTES_ABSENT, BYTES_ABSENT));
    assert_true(bytes_equal(empty, bytes_of("x", 0)));
    assert_true(bytes_equal_str(bytes_of("ab", 2), "ab"));
    assert_false(bytes_equal_str(bytes_of("ab", 2), "abc"));
    assert_true(bytes_compare(bytes_str("ab"), bytes_str("abc")) < 0);
    assert_true(bytes_compare(bytes_str("b"), bytes_str("abc")) > 0);
    assert_true(bytes_compare(bytes_of("\xff", 1), bytes_of("\x01", 1)) > 0);
    assert_int_equal(bytes_compare(empty, BYTES_ABSENT), 0);
    assert_true(bytes_has_prefix(bytes_str("abc"), bytes_str("ab")));
    assert_true(bytes_has_prefix(bytes_str("abc"), empty));
    assert_false(bytes_has_prefix(bytes_str("a"), bytes_str("ab")));
}

/* Everything that appends numbers, at the ends of their ranges. */
static void test_buf_numbers(void **state)
{
    struct buf buf = BUF_INIT;

    (void)state;
    assert_int_equal(buf_append_u64dec(&buf, 0), 0);
    assert_int_equal(buf_append_byte(&buf, ' '), 0);
    assert_int_equal(buf_append_u64dec(&buf, UINT64_MAX), 0);
    assert_int_equal(buf_append_byte(&buf, ' '), 0);
    assert_int_equal(buf_append_i64dec(&buf, INT64_MIN), 0);
    assert_int_equal(buf_append_byte(&buf, ' '), 0);
    assert_int_equal(buf_append_i64dec(&buf, INT64_MAX), 0);
    assert_string_equal(buf_cstr(&buf), "0 18446744073709551615 -9223372036854775808 "
                                        "9223372036854775807");
    buf_clear(&buf);
    assert_int_equal(buf_append_u32be(&buf, 0x01020304), 0);
    assert_int_equal(buf_append_u64be(&buf, 0xfffefdfcfbfaf9f8), 0);
    assert_memory_equal(buf.data, "\x01\x02\x03\x04\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", 12);
    assert_int_equal(read_u32be(buf.data), 0x01020304);
    assert_true(read_u64be(buf.data + 4) == 0xfffefdfcfbfaf9f8);
    buf_release(&buf);
}

/* A buffer grows byte by byte and by large pieces, and prints texts longer than its
 * scratch space. */
static void test_buf_grows(void **state)
{
    struct buf buf = BUF_INIT;
    char large[5000];

    (void)state;
    assert_string_equal(buf_cstr(&buf), "");
    assert_non_null(buf_bytes(&buf).data);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(buf_append_byte(&buf, (uint8_t)('a' + i % 26)), 0);
    }
    assert_int_equal(buf.size, 1000);
    assert_int_equal(buf_cstr(&buf)[999], 'a' + 999 % 26);
    assert_int_equal(strlen(buf_cstr(&buf)), 1000);
    memset(large, 'z', sizeof(large));
    large[sizeof(large) - 1] = '\0';
    buf_clear(&buf);
    assert_int_equal(buf_printf(&buf, "<%s|%d>", large, 5), 0);
    assert_int_equal(buf.size, sizeof(large) - 1 + 4);
    assert_string_equal(buf_cstr(&buf) + buf.size - 3, "|5>");
    assert_int_equal(buf_append_bytes(&buf, BYTES_ABSENT), 0);
    assert_int_equal(buf_append_str(&buf, "end"), 0);
    assert_string_equal(buf_cstr(&buf) + buf.size - 4, ">end");
    buf_release(&buf);
    assert_int_equal(buf.size, 0);
}

/* Texts of every length around the sizes that a buffer grows to: the NUL has its place.
 * */
static void test_buf_printf_lengths(void **state)
{
    (void)state;
    for (int length = 0; length < 600; length++) {
        struct buf buf = BUF_INIT;

        assert_int_equal(buf_printf(&buf, "%*s", length, ""), 0);
        assert_int_equal(buf.size, length);
        assert_true(length == 0 || buf.capacity > buf.size);
        assert_int_equal(strlen(buf_cstr(&buf)), length);
        buf_release(&buf);
    }
}

/* A buffer that failed once stays failed until it is cleared. */
static void test_buf_failure_sticks(void **state)
{
    struct buf buf = BUF_INIT;

    (void)state;
    assert_int_equal(buf_append_str(&buf, "kept"), 0);
    assert_int_equal(buf_reserve(&buf, SIZE_MAX - 2), ERROR_NO_MEMORY);
    assert_true(buf.failed);
    assert_int_equal(buf_append_str(&buf, "x"), ERROR_NO_MEMORY);
    assert_int_equal(buf_printf(&buf, "x"), ERROR_NO_MEMORY);
    assert_string_equal(buf_cstr(&buf), "");
    buf_clear(&buf);
    assert_int_equal(buf_append_str(&buf, "x"), 0);
    assert_string_equal(buf_cstr(&buf), "x");
    buf_release(&buf);
}

/* JSON strings escape what RFC 8785 says and nothing else. */
static void test_json_string(void **state)
{
    struct buf buf = BUF_INIT;
    const char input[] = "a\"\\/\b\t\n\f\r\x01\x1f\x7f\xc3\xa9\0z";

    (void)state;
    assert_int_equal(buf_append_json_string(&buf, bytes_of(input, sizeof(input) - 1)), 0);
    assert_string_equal(
        buf_cstr(&buf),
        "\"a\\\"\\\\/\\b\\t\\n\\f\\r\\u0001\\u001f\x7f\xc3\xa9\\u0000z\"");
    buf_clear(&buf);
    assert_int_equal(buf_append_json_string(&buf, bytes_str("")), 0);
    assert_string_equal(buf_cstr(&buf), "\"\"");
    buf_release(&buf);
}

/* Pieces of an arena are aligned, zeroed and apart from each other, before and after a
 * reset. */
static void test_arena(void **state)
{
    struct arena arena = ARENA_INIT;
    uint8_t *pieces[400];
    size_t sizes[400];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 400; i++) {
            sizes[i] = i % 40 == 7 ? 3000000 : i * 7 % 2000;
            pieces[i] = arena_alloc(&arena, sizes[i]);
            assert_non_null(pieces[i]);
            assert_int_equal((uintptr_t)pieces[i] % 16, 0);
            for (size_t j = 0; j < sizes[i]; j += 500) {
                assert_int_equal(pieces[i][j], 0);
            }
            memset(pieces[i], (int)(i & 0xff) | 1, sizes[i]);
        }
        for (size_t i = 0; i < 400; i++) {
            for (size_t j = 0; j < sizes[i]; j += 500) {
                assert_int_equal(pieces[i][j], (i & 0xff) | 1);
            }
        }
        arena_reset(&arena);
    }
    assert_null(arena_alloc(&arena, SIZE_MAX));
    arena_release(&arena);
    assert_null(arena.blocks);
    arena_reset(&arena);
}

/* Copies keep the difference between absent and empty. */
static void test_arena_copy(void **state)
{
    struct arena arena = ARENA_INIT;
    char text[] = "text";

    (void)state;
    struct bytes copy = arena_copy(&arena, bytes_str(text));

    text[0] = 'n';
    assert_true(bytes_equal_str(copy, "text"));
    assert_null(arena_copy(&arena, BYTES_ABSENT).data);
    copy = arena_copy(&arena, bytes_of(text, 0));
    assert_non_null(copy.data);
    assert_int_equal(copy.size, 0);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_buf_numbers),
        cmocka_unit_test(test_buf_grows),
        cmocka_unit_test(test_buf_failure_sticks),
        cmocka_unit_test(test_buf_printf_lengths),
        cmocka_unit_test(test_json_string),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_arena_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
