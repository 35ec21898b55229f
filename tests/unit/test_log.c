/* test_log.c - the pace of lines that repeat: each cause at once, then held back.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/log.h"

/* What the function writes to stderr; to be freed. */
static char *written_by(void (*function)(void))
{
    FILE *file = tmpfile();
    int before = dup(STDERR_FILENO);

    assert_non_null(file);
    assert_true(before >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    function();
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    close(before);
    char *text = calloc(1, 1 << 20);
    rewind(file);
    assert_true(fread(text, 1, (1 << 20) - 1, file) < (1 << 20) - 1);
    fclose(file);
    return text;
}

static size_t count_lines(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++)
        count += *text == '\n';
    return count;
}

static void repeat_causes(void)
{
    for (int i = 0; i < 500; i++) {
        log_paced(4, "shard 0", "the connection to broker %d broke", i);
        log_paced(4, "shard 1", "the connection to broker %d broke", i);
        log_paced(4, "shard 0", "no answer in %d s", i);
        log_paced(7, "shard 0", "of no interest");
    }
}

/* A line that differs from one said before in digits only is held back, per component;
 * another cause is said at once; levels count as ever. */
static void test_causes(void **state)
{
    (void)state;
    char *text = written_by(repeat_causes);

    assert_int_equal(count_lines(text), 3); /* one of them of "shard 1" */
    assert_non_null(strstr(text, "the connection to broker 0 broke"));
    assert_non_null(strstr(text, "no answer in 0 s"));
    assert_null(strstr(text, "of no interest"));
    free(text);
}

static void repeat_library(void)
{
    char text[200];

    for (int i = 0; i < 500; i++) {
        snprintf(text, sizeof text,
                 "[thrd:h:9092/%d]: h:9092/%d: Connect to ipv4#10.0.0.%d:9092 failed: "
                 "Connection refused (after %dms in state %s)",
                 i, i, i % 255, i, i % 2 ? "CONNECT" : "UP, 3 identical suppressed");
        log_kafka(3, "FAIL", text);
        log_kafka(6, "FAIL", "[thrd:h:9092/1]: Disconnected (after 9ms in state UP)");
    }
}

/* Of the library's lines, how long and how often it tried does not count, either. */
static void test_library(void **state)
{
    (void)state;
    char *text = written_by(repeat_library);

    assert_int_equal(count_lines(text), 2);
    assert_non_null(strstr(text, "facility=FAIL"));
    assert_non_null(strstr(text, "(after 0ms in state UP"));
    free(text);
}

static void say_many_causes(void)
{
    char name[32] = "";

    for (int i = 0; i < 3000; i++) {
        for (int k = 0, rest = i; k < 6; k++, rest /= 10)
            name[k] = (char)('a' + rest % 10);
        log_paced(4, "many", "cause %s", name);
    }
}

/* However many causes there are: the lines of a minute are bounded. */
static void test_bounded(void **state)
{
    (void)state;
    char *text = written_by(say_many_causes);

    assert_in_range(count_lines(text), 100, 512);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_causes),
        cmocka_unit_test(test_library),
        cmocka_unit_test(test_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
