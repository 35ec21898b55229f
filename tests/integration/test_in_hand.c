/* test_in_hand.c - the note that outlives the process: who is charged with its death.
 *
 * A process of its own dies, as the agent would, with records in hand.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/shard/in_hand.h"

static const struct log_identity identity = {"00112233445566778899aabbccddeeff", "hq", 1,
                                             4};

struct fixture {
    char folder[64];
    char file[128];
    struct error err;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    snprintf(fixture->folder, sizeof fixture->folder, "/tmp/kinlog-in-hand-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    snprintf(fixture->file, sizeof fixture->file, "%s/shard-1.in-hand", fixture->folder);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    unlink(fixture->file);
    assert_int_equal(rmdir(fixture->folder), 0);
    free(fixture);
    return 0;
}

static struct in_hand *open_hand_of(struct fixture *fixture,
                                    const struct log_identity *whose, int64_t next_offset)
{
    struct in_hand *hand = NULL;

    assert_int_equal(
        in_hand_open(fixture->folder, whose, next_offset, &hand, &fixture->err), 0);
    return hand;
}

static struct in_hand *open_hand(struct fixture *fixture)
{
    return open_hand_of(fixture, &identity, /* next_offset= */ 0);
}

static struct record record_at(int64_t offset)
{
    return (struct record){.offset = offset, .timestamp_ms = 1000 + offset};
}

enum ending { KILLED, RELEASED, COMMITTED };

/* A process takes the records into its hand, and ends. */
static void take_and_end(struct fixture *fixture, int64_t first, int64_t last,
                         enum ending ending)
{
    pid_t child = fork();

    if (child == 0) {
        struct in_hand *hand = open_hand(fixture);
        struct record from = record_at(first), to = record_at(last);
        in_hand_take(hand, &from, &to);
        if (ending == RELEASED)
            in_hand_release(hand);
        if (ending == COMMITTED)
            in_hand_committed(hand);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static bool is_deadly(struct fixture *fixture, int64_t offset)
{
    struct in_hand *hand = open_hand(fixture);
    struct record record = record_at(offset);
    bool deadly = in_hand_is_deadly(hand, &record);

    in_hand_close(hand);
    return deadly;
}

static unsigned deaths(struct fixture *fixture)
{
    struct in_hand *hand = open_hand(fixture);
    int64_t first, last;
    unsigned count = 0;

    (void)in_hand_news(hand, &first, &last, &count);
    in_hand_close(hand);
    return count;
}

static int64_t batch_end(struct fixture *fixture, int64_t offset)
{
    struct in_hand *hand = open_hand(fixture);
    int64_t end = in_hand_batch_end(hand, offset);

    in_hand_close(hand);
    return end;
}

/* Without a death there are no suspects; nor after deaths with nothing in hand. */
static void test_nothing_in_hand(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < 2 * IN_HAND_DEATHS_MAX; i++) {
        take_and_end(fixture, 7, 7, i % 2 == 0 ? RELEASED : COMMITTED);
        assert_int_equal(deaths(fixture), 0);
    }
    assert_false(is_deadly(fixture, 7));
    assert_int_equal(batch_end(fixture, 0), INT64_MAX);
}

/* One that kills three times in a row is deadly, before that alone in its batch; its
 * neighbours are neither. */
static void test_three_deaths(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < IN_HAND_DEATHS_MAX; i++) {
        assert_false(is_deadly(fixture, 7));
        take_and_end(fixture, 7, 7, KILLED);
        assert_int_equal(batch_end(fixture, 3), 6);
        assert_int_equal(batch_end(fixture, 6), 6);
        assert_int_equal(batch_end(fixture, 7), 7);
        assert_int_equal(batch_end(fixture, 8), INT64_MAX);
    }
    assert_true(is_deadly(fixture, 7));
    assert_false(is_deadly(fixture, 6));
    assert_false(is_deadly(fixture, 8));
}

/* A suspect that is committed, alone or with others, is none any more. */
static void test_commit_acquits(void **state)
{
    struct fixture *fixture = *state;

    take_and_end(fixture, 7, 7, KILLED);
    take_and_end(fixture, 7, 7, KILLED);
    take_and_end(fixture, 5, 6, COMMITTED); /* those before it say nothing */
    assert_int_equal(batch_end(fixture, 7), 7);
    take_and_end(fixture, 7, 7, COMMITTED);
    assert_int_equal(batch_end(fixture, 7), INT64_MAX);
    take_and_end(fixture, 7, 7, KILLED);
    assert_int_equal(deaths(fixture), 1);
}

/* Deaths with others in hand, in between, begin the count anew. */
static void test_in_a_row(void **state)
{
    struct fixture *fixture = *state;

    take_and_end(fixture, 7, 7, KILLED);
    take_and_end(fixture, 7, 7, KILLED);
    take_and_end(fixture, 6, 6, KILLED);
    take_and_end(fixture, 7, 7, KILLED);
    assert_int_equal(deaths(fixture), 1);
    assert_false(is_deadly(fixture, 7));
}

/* A batch that dies in its commit once is tried again as it was; then record by record,
 * so that the guilty one is found; a batch as such is never put aside. */
static void test_batch(void **state)
{
    struct fixture *fixture = *state;

    take_and_end(fixture, 10, 19, KILLED);
    assert_int_equal(batch_end(fixture, 10), INT64_MAX);
    take_and_end(fixture, 10, 25, KILLED);
    assert_int_equal(batch_end(fixture, 9), 9);
    assert_int_equal(batch_end(fixture, 10), 10);
    assert_int_equal(batch_end(fixture, 25), 25);
    assert_int_equal(batch_end(fixture, 26), INT64_MAX);
    assert_false(is_deadly(fixture, 10));
    take_and_end(fixture, 10, 10, COMMITTED);
    assert_int_equal(batch_end(fixture, 11), 11);
    take_and_end(fixture, 11, 11, KILLED);
    assert_int_equal(deaths(fixture), 1);
    take_and_end(fixture, 11, 11, KILLED);
    take_and_end(fixture, 11, 11, KILLED);
    assert_true(is_deadly(fixture, 11));
    take_and_end(fixture, 11, 11, COMMITTED); /* aside */
    assert_int_equal(batch_end(fixture, 12), INT64_MAX);
}

/* Another record at the same offset (a topic made anew) is not charged with it. */
static void test_other_record(void **state)
{
    struct fixture *fixture = *state;
    struct record other = record_at(7);

    for (int i = 0; i < IN_HAND_DEATHS_MAX; i++)
        take_and_end(fixture, 7, 7, KILLED);
    struct in_hand *hand = open_hand(fixture);
    other.timestamp_ms++;
    assert_false(in_hand_is_deadly(hand, &other));
    in_hand_close(hand);
}

/* An orderly end clears the note, and keeps the count. */
static void test_orderly_end(void **state)
{
    struct fixture *fixture = *state;
    struct record record = record_at(7);

    take_and_end(fixture, 7, 7, KILLED);
    struct in_hand *hand = open_hand(fixture);
    in_hand_take(hand, &record, &record);
    in_hand_close(hand);
    assert_int_equal(deaths(fixture), 0); /* no news */
    assert_int_equal(batch_end(fixture, 7), 7);
    take_and_end(fixture, 7, 7, KILLED);
    assert_int_equal(deaths(fixture), 2);
}

static void patch_file(struct fixture *fixture, long from, const void *data, size_t size)
{
    FILE *file = fopen(fixture->file, "r+");

    assert_non_null(file);
    assert_int_equal(fseek(file, from, SEEK_SET), 0);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

/* A file that is cut, too long, of another version, log or shard, or whose count is torn,
 * begins anew, and works. */
static void test_damaged(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        long size; /* -1: as it is */
        long from; /* of a changed byte; -1: none */
    } damages[] = {{0, -1}, {1, -1},  {100, -1}, {4096, -1}, {-1, 0},
                   {-1, 8}, {-1, 40}, {-1, 72},  {-1, 96},   {-1, 104}};

    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        for (int times = 0; times < IN_HAND_DEATHS_MAX; times++)
            take_and_end(fixture, 7, 7, KILLED);
        assert_true(is_deadly(fixture, 7));
        if (damages[i].size >= 0)
            assert_int_equal(truncate(fixture->file, damages[i].size), 0);
        if (damages[i].from >= 0)
            patch_file(fixture, damages[i].from, "\x7e", 1);
        assert_false(is_deadly(fixture, 7));
        assert_int_equal(batch_end(fixture, 7), INT64_MAX);
        assert_int_equal(deaths(fixture), 0);
    }
}

/* Those that are committed are no suspects, whatever the note says: the process died
 * after the commit. */
static void test_already_committed(void **state)
{
    struct fixture *fixture = *state;
    int64_t first, last;
    unsigned count;

    for (int times = 0; times < IN_HAND_DEATHS_MAX; times++)
        take_and_end(fixture, 7, 7, KILLED);
    in_hand_close(open_hand_of(fixture, &identity, /* next_offset= */ 7));
    assert_true(is_deadly(fixture, 7));
    take_and_end(fixture, 7, 7, KILLED);
    struct in_hand *hand = open_hand_of(fixture, &identity, /* next_offset= */ 8);
    assert_false(in_hand_news(hand, &first, &last, &count));
    in_hand_close(hand);
    assert_false(is_deadly(fixture, 7));
    assert_int_equal(batch_end(fixture, 7), INT64_MAX);
}

static void *take_in_thread(void *hand)
{
    struct record record = record_at(3);

    in_hand_take(hand, &record, &record);
    return NULL;
}

/* Is this hand kept waiting? One that is not gets its turn at once. */
static bool waits(struct in_hand *hand, pthread_t *ret_thread)
{
    struct timespec until;

    assert_int_equal(pthread_create(ret_thread, NULL, take_in_thread, hand), 0);
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &until), 0);
    until.tv_nsec += 200 * 1000 * 1000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return pthread_timedjoin_np(*ret_thread, NULL, &until) == ETIMEDOUT;
}

/* While there is a suspect the shards take turns; without one they do not. */
static void test_turns(void **state)
{
    struct fixture *fixture = *state;
    struct log_identity neighbour = identity;
    struct record record = record_at(7);
    char path[sizeof fixture->file];
    pthread_t thread;

    neighbour.shard = 2;
    for (int suspects = 0; suspects < 2; suspects++) {
        struct in_hand *hand = open_hand(fixture);
        struct in_hand *other = open_hand_of(fixture, &neighbour, 0);
        in_hand_take(hand, &record, &record);
        assert_int_equal(waits(other, &thread), suspects);
        in_hand_committed(hand);
        if (suspects > 0)
            assert_int_equal(pthread_join(thread, NULL), 0);
        in_hand_close(other);
        in_hand_close(hand);
        take_and_end(fixture, 7, 7, KILLED);
    }
    snprintf(path, sizeof path, "%s/shard-2.in-hand", fixture->folder);
    unlink(path);
}

/* A file that cannot be made is an error that names it; without one nothing is noted. */
static void test_no_file(void **state)
{
    struct fixture *fixture = *state;
    struct record record = record_at(7);
    struct in_hand *hand = NULL;
    int64_t first, last;
    unsigned count;

    assert_int_equal(in_hand_open("/nowhere/at/all", &identity, 0, &hand, &fixture->err),
                     ERROR_IO);
    assert_non_null(strstr(fixture->err.text, "/nowhere/at/all/shard-1.in-hand"));
    assert_null(hand);
    in_hand_take(hand, &record, &record);
    in_hand_release(hand);
    in_hand_committed(hand);
    assert_false(in_hand_is_deadly(hand, &record));
    assert_false(in_hand_news(hand, &first, &last, &count));
    assert_int_equal(in_hand_batch_end(hand, 3), INT64_MAX);
    in_hand_close(hand);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_in_hand, setup, teardown),
        cmocka_unit_test_setup_teardown(test_three_deaths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_commit_acquits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_a_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_orderly_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_already_committed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_file, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
