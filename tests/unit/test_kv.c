/* test_kv.c - the ordered store: every test over both implementations, then those about
 * RocksDB's folder.
 *
 * KV_SEED=<number> repeats a run of the random test.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/base/kv.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "events/base/hash.h"

enum backend { MEMORY, ROCKSDB };

static const char filler[5000]; /* a value of which only the size counts */

static const enum backend memory_backend = MEMORY;
static const enum backend rocksdb_backend = ROCKSDB;

/* What a test works on; made by setup() from the backend. */
struct fixture {
    enum backend backend;
    struct kv *kv;
    struct kv_batch *batch;
    char folder[64];
    char path[128];
};

/* ---- helpers ----------------------------------------------------------------------- */

static void remove_tree(const char *path)
{
    DIR *folder = opendir(path);

    if (!folder) {
        (void)unlink(path);
        return;
    }
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        char child[1024];

        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            (void)snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
            remove_tree(child);
        }
    }
    (void)closedir(folder);
    (void)rmdir(path);
}

static void make_folder(struct fixture *fixture)
{
    (void)snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/test_kv-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    (void)snprintf(fixture->path, sizeof(fixture->path), "%s/store", fixture->folder);
}

static struct kv *open_store(const char *path, enum kv_mode mode)
{
    struct error err = {0};
    struct kv *kv = NULL;

    if (kv_open_rocksdb(path, mode, &kv, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return kv;
}

static int setup(void **state)
{
    const enum backend *backend = *state;
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct error err = {0};

    assert_non_null(fixture);
    fixture->backend = *backend;
    if (fixture->backend == MEMORY) {
        assert_int_equal(kv_open_memory(&fixture->kv, &err), 0);
    } else {
        make_folder(fixture);
        fixture->kv = open_store(fixture->path, KV_CREATE);
    }
    fixture->batch = kv_batch_new(fixture->kv);
    assert_non_null(fixture->batch);
    *state = fixture;
    return 0;
}

static int setup_folder(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    fixture->backend = ROCKSDB;
    make_folder(fixture);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    kv_batch_free(fixture->batch);
    kv_close(fixture->kv);
    if (fixture->backend == ROCKSDB) {
        remove_tree(fixture->folder);
    }
    free(fixture);
    return 0;
}

/* Closes the store and opens it again. */
static void reopen(struct fixture *fixture)
{
    kv_batch_free(fixture->batch);
    kv_close(fixture->kv);
    fixture->kv = NULL;
    fixture->batch = NULL;
    fixture->kv = open_store(fixture->path, KV_READ_WRITE);
    fixture->batch = kv_batch_new(fixture->kv);
}

static void put(struct fixture *fixture, enum kv_space space, const char *key,
                const char *value)
{
    assert_int_equal(
        kv_batch_put(fixture->batch, space, bytes_str(key), bytes_str(value), NULL), 0);
}

static void erase(struct fixture *fixture, enum kv_space space, const char *key)
{
    assert_int_equal(kv_batch_delete(fixture->batch, space, bytes_str(key), NULL), 0);
}

static void commit(struct fixture *fixture)
{
    struct error err = {0};

    if (kv_batch_commit(fixture->batch, true, &err) != 0) {
        fail_msg("%s", err.text);
    }
}

/* The value of a key; NULL expects none. */
static void assert_value(struct kv *kv, enum kv_space space, const char *key,
                         const char *expected)
{
    struct buf value = BUF_INIT;
    struct error err = {0};
    int r = kv_get(kv, space, bytes_str(key), &value, &err);

    assert_int_equal(err.code, 0);
    assert_int_equal(r, expected ? 0 : 1);
    if (expected) {
        assert_string_equal(buf_cstr(&value), expected);
    }
    buf_release(&value);
}

static void assert_batch_value(struct fixture *fixture, enum kv_space space,
                               const char *key, const char *expected)
{
    struct buf value = BUF_INIT;
    struct error err = {0};
    int r = kv_batch_get(fixture->batch, space, bytes_str(key), &value, &err);

    assert_int_equal(err.code, 0);
    assert_int_equal(r, expected ? 0 : 1);
    if (expected) {
        assert_string_equal(buf_cstr(&value), expected);
    }
    buf_release(&value);
}

/* Another batch changes the store under the one that is read through. */
static void put_beside(struct fixture *f, enum kv_space space, struct bytes key,
                       const char *text)
{
    struct kv_batch *beside = kv_batch_new(f->kv);

    assert_non_null(beside);
    assert_int_equal(kv_batch_put(beside, space, key, bytes_str(text), NULL), 0);
    assert_int_equal(kv_batch_commit(beside, false, NULL), 0);
    kv_batch_free(beside);
}

static struct kv_cursor *open_cursor(struct kv *kv, struct kv_batch *batch,
                                     enum kv_space space, const char *from,
                                     const char *to)
{
    struct kv_cursor *cursor = NULL;
    struct error err = {0};

    assert_int_equal(
        kv_cursor_open(kv, batch, space, bytes_str(from), bytes_str(to), &cursor, &err),
        0);
    return cursor;
}

/* Appends what is left of a cursor as "key=value " to out and closes it. */
static void drain(struct kv_cursor *cursor, struct buf *out)
{
    struct bytes key;
    struct bytes value;
    struct error err = {0};
    int r = 0;

    while ((r = kv_cursor_next(cursor, &key, &value, &err)) == 0) {
        (void)buf_append_bytes(out, key);
        (void)buf_append_byte(out, '=');
        (void)buf_append_bytes(out, value);
        (void)buf_append_byte(out, ' ');
    }
    assert_int_equal(r, 1);
    assert_int_equal(kv_cursor_next(cursor, &key, &value, &err), 1);
    kv_cursor_close(cursor);
}

static void assert_rows(struct kv *kv, struct kv_batch *batch, enum kv_space space,
                        const char *from, const char *to, const char *expected)
{
    struct buf rows = BUF_INIT;

    drain(open_cursor(kv, batch, space, from, to), &rows);
    assert_string_equal(buf_cstr(&rows), expected);
    buf_release(&rows);
}

static void short_pause(void)
{
    const struct timespec pause = {0, 5000000};

    (void)nanosleep(&pause, NULL);
}

/* Another process is this program again, see main(): RocksDB's threads do not live
 * through a fork. */
static pid_t start_child(const char *role, const char *path)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* not to outlive a test that fails */
        (void)execl("/proc/self/exe", "test_kv", role, path, (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* ---- over both implementations ----------------------------------------------------- */

/* Rows are there after the commit and not before, each in its space; deleting takes them
 * away. */
static void test_put_get_delete(void **state)
{
    struct fixture *f = *state;

    put(f, KV_VIEWS, "key", "one");
    put(f, KV_RECEIPTS, "key", "two");
    put(f, KV_VIEWS, "empty", "");
    put(f, KV_VIEWS, "", "of the empty key");
    assert_int_equal(kv_batch_count(f->batch), 4);
    assert_value(f->kv, KV_VIEWS, "key", NULL);
    commit(f);
    assert_int_equal(kv_batch_count(f->batch), 0);
    assert_value(f->kv, KV_VIEWS, "key", "one");
    assert_value(f->kv, KV_RECEIPTS, "key", "two");
    assert_value(f->kv, KV_LOG, "key", NULL);
    assert_value(f->kv, KV_VIEWS, "empty", "");
    assert_value(f->kv, KV_VIEWS, "", "of the empty key");
    erase(f, KV_VIEWS, "key");
    erase(f, KV_VIEWS, "never was");
    commit(f);
    assert_value(f->kv, KV_VIEWS, "key", NULL);
    assert_value(f->kv, KV_RECEIPTS, "key", "two");
}

/* Keys and values may hold any bytes and be long. */
static void test_binary_rows(void **state)
{
    struct fixture *f = *state;
    struct buf value = BUF_INIT;
    uint8_t *large = malloc(3 << 20);

    assert_non_null(large);
    for (size_t i = 0; i < 3 << 20; i++) {
        large[i] = (uint8_t)(i * 7 + i / 256);
    }
    struct bytes large_value = bytes_of(large, 3 << 20);
    struct bytes large_key = bytes_of(large, 70000);

    assert_int_equal(
        kv_batch_put(f->batch, KV_LOG, bytes_of("\0\xff\0", 3), large_value, NULL), 0);
    assert_int_equal(kv_batch_put(f->batch, KV_LOG, large_key, bytes_of("\0", 1), NULL),
                     0);
    assert_int_equal(
        kv_batch_put(f->batch, KV_LOG, bytes_str("absent value"), BYTES_ABSENT, NULL), 0);
    commit(f);
    assert_int_equal(kv_get(f->kv, KV_LOG, bytes_of("\0\xff\0", 3), &value, NULL), 0);
    assert_true(bytes_equal(buf_bytes(&value), large_value));
    assert_int_equal(kv_get(f->kv, KV_LOG, large_key, &value, NULL), 0);
    assert_true(bytes_equal(buf_bytes(&value), bytes_of("\0", 1)));
    assert_value(f->kv, KV_LOG, "absent value", "");
    buf_release(&value);
    free(large);
}

/* Reading through a batch sees its rows first; clearing forgets them; the store never
 * noticed. */
static void test_batch_reads(void **state)
{
    struct fixture *f = *state;

    put(f, KV_VIEWS, "a", "stored");
    put(f, KV_VIEWS, "b", "stored");
    commit(f);
    put(f, KV_VIEWS, "a", "pending");
    erase(f, KV_VIEWS, "b");
    put(f, KV_VIEWS, "c", "pending");
    erase(f, KV_VIEWS, "c");
    put(f, KV_VIEWS, "d", "short");
    put(f, KV_VIEWS, "d", "a longer value than the one before it was, by far");
    put(f, KV_VIEWS, "d", "");
    assert_batch_value(f, KV_VIEWS, "a", "pending");
    assert_batch_value(f, KV_VIEWS, "b", NULL);
    assert_batch_value(f, KV_VIEWS, "c", NULL);
    assert_batch_value(f, KV_VIEWS, "d", "");
    assert_batch_value(f, KV_RECEIPTS, "a", NULL);
    assert_int_equal(kv_batch_count(f->batch), 4);
    assert_value(f->kv, KV_VIEWS, "a", "stored");
    kv_batch_clear(f->batch);
    assert_int_equal(kv_batch_count(f->batch), 0);
    assert_batch_value(f, KV_VIEWS, "a", "stored");
    assert_batch_value(f, KV_VIEWS, "b", "stored");
    assert_batch_value(f, KV_VIEWS, "d", NULL);
}

/* What was read through a batch is read anew after another one changed it, also when the
 * batch itself is committed in between. */
static void test_batch_reads_anew(void **state)
{
    struct fixture *f = *state;

    assert_batch_value(f, KV_VIEWS, "a", NULL);
    put_beside(f, KV_VIEWS, bytes_str("a"), "1");
    assert_batch_value(f, KV_VIEWS, "a", "1");
    put_beside(f, KV_VIEWS, bytes_str("a"), "2");
    put(f, KV_VIEWS, "b", "3");
    commit(f);
    assert_batch_value(f, KV_VIEWS, "a", "2");
    assert_batch_value(f, KV_VIEWS, "b", "3");
}

/* A cursor gives the rows of store and batch in one order, each key once, within its
 * bounds. */
static void test_cursor_merges(void **state)
{
    struct fixture *f = *state;

    put(f, KV_VIEWS, "b", "1");
    put(f, KV_VIEWS, "d", "2");
    put(f, KV_VIEWS, "f", "3");
    put(f, KV_VIEWS, "ff", "4");
    commit(f);
    assert_rows(f->kv, NULL, KV_VIEWS, NULL, NULL, "b=1 d=2 f=3 ff=4 ");
    put(f, KV_VIEWS, "a", "5");
    put(f, KV_VIEWS, "d", "6");
    erase(f, KV_VIEWS, "b");
    erase(f, KV_VIEWS, "bb");
    put(f, KV_VIEWS, "e", "7");
    erase(f, KV_VIEWS, "ff");
    put(f, KV_VIEWS, "g", "8");
    assert_rows(f->kv, f->batch, KV_VIEWS, NULL, NULL, "a=5 d=6 e=7 f=3 g=8 ");
    assert_rows(f->kv, f->batch, KV_VIEWS, "d", "f", "d=6 e=7 ");
    assert_rows(f->kv, f->batch, KV_VIEWS, "c", "e", "d=6 ");
    assert_rows(f->kv, f->batch, KV_VIEWS, "e\1", NULL, "f=3 g=8 ");
    assert_rows(f->kv, f->batch, KV_VIEWS, "", "b", "a=5 ");
    assert_rows(f->kv, f->batch, KV_VIEWS, "f", "f", "");
    assert_rows(f->kv, f->batch, KV_VIEWS, "g", "a", "");
    assert_rows(f->kv, f->batch, KV_VIEWS, NULL, "", "");
    assert_rows(f->kv, f->batch, KV_VIEWS, "h", NULL, "");
    assert_rows(f->kv, f->batch, KV_LOG, NULL, NULL, "");
    assert_rows(f->kv, NULL, KV_VIEWS, "d", "ff", "d=2 f=3 ");
    commit(f);
    assert_rows(f->kv, f->batch, KV_VIEWS, NULL, NULL, "a=5 d=6 e=7 f=3 g=8 ");
}

/* A cursor sees the store as it was when it was opened, and keeps the row that it gave.
 * */
static void test_cursor_is_a_snapshot(void **state)
{
    struct fixture *f = *state;
    struct buf rows = BUF_INIT;
    struct bytes key;
    struct bytes value;

    put(f, KV_VIEWS, "a", "1");
    put(f, KV_VIEWS, "b", "2");
    put(f, KV_VIEWS, "c", "3");
    put(f, KV_VIEWS, "d", "4");
    commit(f);
    struct kv_cursor *cursor = open_cursor(f->kv, NULL, KV_VIEWS, NULL, "d");

    assert_int_equal(kv_cursor_next(cursor, &key, &value, NULL), 0);
    erase(f, KV_VIEWS, "a");
    put(f, KV_VIEWS, "b", "changed");
    erase(f, KV_VIEWS, "c");
    put(f, KV_VIEWS, "ca", "new");
    commit(f);
    assert_true(bytes_equal_str(key, "a"));
    assert_true(bytes_equal_str(value, "1"));
    drain(cursor, &rows);
    assert_string_equal(buf_cstr(&rows), "b=2 c=3 ");
    assert_rows(f->kv, NULL, KV_VIEWS, NULL, NULL, "b=changed ca=new d=4 ");
    buf_release(&rows);
}

/* The last key of a space is that of the store, whatever a batch has pending. */
static void test_last_key(void **state)
{
    struct fixture *f = *state;
    struct buf key = BUF_INIT;

    assert_int_equal(kv_last_key(f->kv, KV_LOG, &key, NULL), 1);
    assert_int_equal(kv_last_key(f->kv, KV_META, &key, NULL), 1);
    assert_int_equal(key.size, 0);
    put(f, KV_LOG, "b", "");
    put(f, KV_LOG, "ab", "");
    commit(f);
    put(f, KV_LOG, "c", "");
    assert_int_equal(kv_last_key(f->kv, KV_LOG, &key, NULL), 0);
    assert_string_equal(buf_cstr(&key), "b");
    erase(f, KV_LOG, "b");
    erase(f, KV_LOG, "c");
    commit(f);
    assert_int_equal(kv_last_key(f->kv, KV_LOG, &key, NULL), 0);
    assert_string_equal(buf_cstr(&key), "ab");
    erase(f, KV_LOG, "ab");
    commit(f);
    assert_int_equal(kv_last_key(f->kv, KV_LOG, &key, NULL), 1);
    put(f, KV_LOG, "z", "");
    put(f, KV_META, "m", "");
    commit(f);
    assert_int_equal(kv_last_key(f->kv, KV_LOG, &key, NULL), 0);
    assert_string_equal(buf_cstr(&key), "z");
    assert_int_equal(kv_last_key(f->kv, KV_META, &key, NULL), 0);
    assert_string_equal(buf_cstr(&key), "m");
    buf_release(&key);
}

/* The store's own rows in KV_META cannot be written, read or listed. */
static void test_reserved_keys(void **state)
{
    struct fixture *f = *state;
    struct bytes reserved = bytes_of("\0families", 9);
    struct buf value = BUF_INIT;
    struct error err = {0};

    assert_int_equal(kv_batch_put(f->batch, KV_META, reserved, bytes_str("x"), &err),
                     ERROR_INVALID);
    assert_int_equal(kv_batch_delete(f->batch, KV_META, reserved, NULL), ERROR_INVALID);
    assert_int_equal(kv_batch_delete(f->batch, KV_META, bytes_str(""), NULL),
                     ERROR_INVALID);
    assert_int_equal(kv_get(f->kv, KV_META, reserved, &value, NULL), 1);
    assert_int_equal(kv_batch_get(f->batch, KV_META, reserved, &value, NULL), 1);
    put(f, KV_META, "format", "1");
    assert_rows(f->kv, f->batch, KV_META, NULL, NULL, "format=1 ");
    commit(f);
    assert_rows(f->kv, f->batch, KV_META, NULL, NULL, "format=1 ");
    assert_rows(f->kv, f->batch, KV_META, "", "a", "");
    assert_int_equal(kv_batch_put(f->batch, KV_VIEWS, reserved, bytes_str("x"), NULL), 0);
    commit(f);
    assert_int_equal(kv_get(f->kv, KV_VIEWS, reserved, &value, NULL), 0);
    buf_release(&value);
}

/* Filling replaces a space as a whole, in any order of rows, and only when it is
 * finished. */
static void test_fill(void **state)
{
    struct fixture *f = *state;
    struct kv_fill *fill = NULL;
    struct kv_fill *second = NULL;
    struct error err = {0};

    put(f, KV_VIEWS, "old", "1");
    put(f, KV_RECEIPTS, "kept", "2");
    commit(f);
    assert_int_equal(kv_fill_begin(f->kv, KV_VIEWS, &fill, &err), 0);
    assert_int_equal(kv_fill_begin(f->kv, KV_VIEWS, &second, NULL), ERROR_USAGE);
    assert_int_equal(kv_fill_begin(f->kv, KV_LOG, &second, NULL), ERROR_USAGE);
    assert_int_equal(kv_fill_put(fill, bytes_str("z"), bytes_str("26"), &err), 0);
    assert_int_equal(kv_fill_put(fill, bytes_str("a"), bytes_str("0"), &err), 0);
    assert_int_equal(kv_fill_put(fill, bytes_str("a"), bytes_str("1"), &err), 0);
    put(f, KV_VIEWS, "lost", "3");
    commit(f);
    assert_rows(f->kv, NULL, KV_VIEWS, NULL, NULL, "lost=3 old=1 ");
    struct kv_cursor *before = open_cursor(f->kv, NULL, KV_VIEWS, NULL, NULL);

    assert_int_equal(kv_fill_finish(fill, &err), 0);
    struct buf rows = BUF_INIT;

    drain(before, &rows);
    assert_string_equal(buf_cstr(&rows), "lost=3 old=1 ");
    buf_release(&rows);
    assert_rows(f->kv, NULL, KV_VIEWS, NULL, NULL, "a=1 z=26 ");
    assert_value(f->kv, KV_RECEIPTS, "kept", "2");
    put(f, KV_VIEWS, "new", "4");
    commit(f);
    assert_rows(f->kv, NULL, KV_VIEWS, NULL, NULL, "a=1 new=4 z=26 ");
    assert_int_equal(kv_fill_begin(f->kv, KV_VIEWS, &fill, &err), 0);
    assert_int_equal(kv_fill_finish(fill, &err), 0);
    assert_rows(f->kv, NULL, KV_VIEWS, NULL, NULL, "");
}

/* An abandoned fill leaves everything as it was, and another one may begin. */
static void test_fill_abandoned(void **state)
{
    struct fixture *f = *state;
    struct kv_fill *fill = NULL;

    put(f, KV_RECEIPTS, "old", "1");
    commit(f);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(kv_fill_begin(f->kv, KV_RECEIPTS, &fill, NULL), 0);
        assert_int_equal(kv_fill_put(fill, bytes_str("new"), bytes_str("2"), NULL), 0);
        kv_fill_abandon(fill);
        assert_rows(f->kv, NULL, KV_RECEIPTS, NULL, NULL, "old=1 ");
    }
    kv_fill_abandon(NULL);
}

/* A batch that grows and is cleared many times, with many rows, gives them back in order.
 * */
static void test_many_rows(void **state)
{
    struct fixture *f = *state;
    const uint32_t count = 20000;

    for (uint8_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < count; i++) {
            uint8_t key[4];

            write_u32be(key, i * 2654435761U); /* all different, in no order */
            assert_int_equal(kv_batch_put(f->batch, KV_VIEWS, bytes_of(key, 4),
                                          bytes_of(&round, 1), NULL),
                             0);
        }
        assert_int_equal(kv_batch_count(f->batch), count);
        if (round == 1) {
            kv_batch_clear(f->batch);
        } else {
            commit(f);
        }
    }
    struct kv_cursor *cursor = open_cursor(f->kv, f->batch, KV_VIEWS, NULL, NULL);
    struct bytes key;
    struct bytes value;
    uint32_t seen = 0;
    uint32_t last = 0;

    while (kv_cursor_next(cursor, &key, &value, NULL) == 0) {
        assert_true(seen == 0 || read_u32be(key.data) > last);
        last = read_u32be(key.data);
        seen++;
        assert_int_equal(value.data[0], 2);
    }
    assert_int_equal(seen, count);
    kv_cursor_close(cursor);
}

/* ---- both against each other ------------------------------------------------------- */

static uint64_t random_state;

static uint32_t random_below(uint32_t limit)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407U;
    return (uint32_t)(random_state >> 33) % limit;
}

/* Short keys over few bytes, so that they meet and contain each other. */
static struct bytes random_key(uint8_t room[12])
{
    static const uint8_t alphabet[] = {0x01, 'a', 'b', 0x7f, 0xff};
    size_t size = 1 + random_below(3) + (random_below(4) == 0 ? random_below(9) : 0);

    for (size_t i = 0; i < size; i++) {
        room[i] = alphabet[random_below(i < 8 ? 3 : 5)];
    }
    return bytes_of(room, size);
}

static void append_rows(struct fixture *f, bool through_batch, enum kv_space space,
                        struct bytes from, struct bytes to, struct buf *out)
{
    struct kv_cursor *cursor = NULL;

    assert_int_equal(kv_cursor_open(f->kv, through_batch ? f->batch : NULL, space, from,
                                    to, &cursor, NULL),
                     0);
    drain(cursor, out);
}

/* A cursor looks at the batch and the store, and not at the rows that are kept. */
static void assert_get_as_cursor(struct fixture *f, enum kv_space space, struct bytes key,
                                 int r, struct bytes value)
{
    uint8_t next[13];
    struct buf by_cursor = BUF_INIT;
    struct buf by_get = BUF_INIT;

    memcpy(next, key.data, key.size);
    next[key.size] = '\0';
    append_rows(f, true, space, key, bytes_of(next, key.size + 1), &by_cursor);
    if (r == 0) {
        (void)buf_append_bytes(&by_get, key);
        (void)buf_append_byte(&by_get, '=');
        (void)buf_append_bytes(&by_get, value);
        (void)buf_append_byte(&by_get, ' ');
    }
    assert_string_equal(buf_cstr(&by_get), buf_cstr(&by_cursor));
    buf_release(&by_cursor);
    buf_release(&by_get);
}

static void compare(struct fixture *memory, struct fixture *rocks)
{
    struct buf of_memory = BUF_INIT;
    struct buf of_rocks = BUF_INIT;
    uint8_t from_room[12];
    uint8_t to_room[12];
    struct bytes from = random_below(3) ? random_key(from_room) : BYTES_ABSENT;
    struct bytes to = random_below(3) ? random_key(to_room) : BYTES_ABSENT;
    enum kv_space space = (enum kv_space)random_below(KV_SPACES);
    bool through_batch = random_below(2);

    append_rows(memory, through_batch, space, from, to, &of_memory);
    append_rows(rocks, through_batch, space, from, to, &of_rocks);
    assert_string_equal(buf_cstr(&of_memory), buf_cstr(&of_rocks));
    struct bytes key = random_key(from_room);
    int r = kv_batch_get(memory->batch, space, key, &of_memory, NULL);

    assert_int_equal(kv_batch_get(rocks->batch, space, key, &of_rocks, NULL), r);
    assert_true(bytes_equal(buf_bytes(&of_memory), buf_bytes(&of_rocks)));
    assert_get_as_cursor(memory, space, key, r, buf_bytes(&of_memory));
    r = kv_last_key(memory->kv, space, &of_memory, NULL);
    assert_int_equal(kv_last_key(rocks->kv, space, &of_rocks, NULL), r);
    assert_true(bytes_equal(buf_bytes(&of_memory), buf_bytes(&of_rocks)));
    buf_release(&of_memory);
    buf_release(&of_rocks);
}

static void fill_both(struct fixture *memory, struct fixture *rocks)
{
    enum kv_space space = random_below(2) ? KV_VIEWS : KV_RECEIPTS;
    struct kv_fill *fills[2];

    assert_int_equal(kv_fill_begin(memory->kv, space, &fills[0], NULL), 0);
    assert_int_equal(kv_fill_begin(rocks->kv, space, &fills[1], NULL), 0);
    for (uint32_t i = random_below(30); i > 0; i--) {
        uint8_t room[12];
        struct bytes key = random_key(room);

        for (int j = 0; j < 2; j++) {
            assert_int_equal(kv_fill_put(fills[j], key, bytes_of(&i, 1), NULL), 0);
        }
    }
    bool finish = random_below(3) > 0;

    for (int j = 0; j < 2; j++) {
        if (finish) {
            assert_int_equal(kv_fill_finish(fills[j], NULL), 0);
        } else {
            kv_fill_abandon(fills[j]);
        }
    }
}

static void random_step(struct fixture *memory, struct fixture *rocks)
{
    struct fixture *both[] = {memory, rocks};
    enum kv_space space = (enum kv_space)random_below(KV_SPACES);
    uint32_t choice = random_below(1000);
    uint8_t room[12];
    struct bytes key = random_key(room);
    char text[160];

    (void)snprintf(text, sizeof(text), "%.*u",
                   (int)random_below(random_below(4) ? 30 : 150), random_below(1000));
    for (int i = 0; i < 2; i++) {
        if (choice < 500) {
            assert_int_equal(
                kv_batch_put(both[i]->batch, space, key, bytes_str(text), NULL), 0);
        } else if (choice < 800) {
            assert_int_equal(kv_batch_delete(both[i]->batch, space, key, NULL), 0);
        } else if (choice < 850) {
            assert_int_equal(kv_batch_commit(both[i]->batch, false, NULL), 0);
        } else if (choice < 860) {
            kv_batch_clear(both[i]->batch);
        } else if (choice < 870) {
            put_beside(both[i], space, key, text);
        }
    }
    if (choice >= 870 && choice < 995) {
        compare(memory, rocks);
    } else if (choice >= 995 && choice < 997) {
        fill_both(memory, rocks);
    } else if (choice >= 997 && choice < 998) {
        kv_batch_clear(memory->batch);
        reopen(rocks);
    }
}

/* Thousands of random steps: RocksDB and memory cannot be told apart. */
static void test_random_steps(void **state)
{
    const char *seed = getenv("KV_SEED");
    const enum backend *backend = &memory_backend;
    void *memory = (void *)(uintptr_t)backend;

    random_state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    print_message("KV_SEED=%" PRIu64 "\n", random_state);
    assert_int_equal(setup(&memory), 0);
    for (int step = 0; step < 20000; step++) {
        random_step(memory, *state);
    }
    assert_int_equal(teardown(&memory), 0);
}

/* ---- RocksDB's folder -------------------------------------------------------------- */

/* Opening where there is no store says so and makes nothing. */
static void test_missing_store(void **state)
{
    struct fixture *f = *state;
    static const enum kv_mode modes[] = {KV_READ_WRITE, KV_READ_ONLY, KV_FOLLOW};

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        struct error err = {0};

        assert_int_equal(kv_open_rocksdb(f->path, modes[i], &f->kv, &err),
                         ERROR_NOT_FOUND);
        assert_non_null(strstr(err.text, f->path));
        assert_int_equal(access(f->path, F_OK), -1);
    }
}

/* Creating refuses a store that is there and a folder that is not empty, and takes an
 * empty one. */
static void test_create(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    char inside[200];

    assert_int_equal(mkdir(f->path, 0700), 0);
    f->kv = open_store(f->path, KV_CREATE);
    kv_close(f->kv);
    f->kv = NULL;
    assert_int_equal(kv_open_rocksdb(f->path, KV_CREATE, &f->kv, &err), ERROR_CONFLICT);
    assert_non_null(strstr(err.text, f->path));
    remove_tree(f->path);
    assert_int_equal(mkdir(f->path, 0700), 0);
    (void)snprintf(inside, sizeof(inside), "%s/letter.txt", f->path);
    assert_int_equal(close(open(inside, O_CREAT | O_WRONLY, 0600)), 0);
    error_clear(&err);
    assert_int_equal(kv_open_rocksdb(f->path, KV_CREATE, &f->kv, &err), ERROR_CONFLICT);
    assert_int_equal(access(inside, F_OK), 0);
    assert_int_equal(unlink(inside), 0);
    f->kv = open_store(f->path, KV_CREATE);
    (void)snprintf(inside, sizeof(inside), "%s.new", f->path);
    assert_int_equal(access(inside, F_OK), -1);
}

/* What an interrupted creation left behind is no store, and does not stop the next
 * creation. */
static void test_create_after_interruption(void **state)
{
    struct fixture *f = *state;
    char staging[200];

    (void)snprintf(staging, sizeof(staging), "%s.new", f->path);
    f->kv = open_store(f->path, KV_CREATE);
    kv_close(f->kv);
    f->kv = NULL;
    assert_int_equal(rename(f->path, staging), 0);
    assert_int_equal(kv_open_rocksdb(f->path, KV_READ_WRITE, &f->kv, NULL),
                     ERROR_NOT_FOUND);
    f->kv = open_store(f->path, KV_CREATE);
    assert_int_equal(access(staging, F_OK), -1);
}

/* Creating in a folder that is not there fails with a text that names it. */
static void test_create_without_parent(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    char path[200];

    (void)snprintf(path, sizeof(path), "%s/no/where", f->folder);
    assert_int_equal(kv_open_rocksdb(path, KV_CREATE, &f->kv, &err), ERROR_IO);
    assert_non_null(strstr(err.text, path));
}

/* Rows, generations and deletes are there after closing and opening, also in another
 * mode. */
static void test_reopen(void **state)
{
    struct fixture *f = *state;
    struct kv_fill *fill = NULL;

    put(f, KV_META, "m", "1");
    put(f, KV_LOG, "l", "2");
    put(f, KV_LOG, "gone", "");
    put(f, KV_RECEIPTS, "r", "3");
    put(f, KV_VIEWS, "v", "4");
    commit(f);
    erase(f, KV_LOG, "gone");
    commit(f);
    reopen(f);
    assert_rows(f->kv, NULL, KV_META, NULL, NULL, "m=1 ");
    assert_rows(f->kv, NULL, KV_LOG, NULL, NULL, "l=2 ");
    assert_rows(f->kv, NULL, KV_RECEIPTS, NULL, NULL, "r=3 ");
    assert_rows(f->kv, NULL, KV_VIEWS, NULL, NULL, "v=4 ");
    for (int round = 0; round < 3; round++) {
        assert_int_equal(kv_fill_begin(f->kv, KV_VIEWS, &fill, NULL), 0);
        for (uint32_t i = 0; i < 1000; i++) {
            uint8_t key[4];

            write_u32be(key, i);
            assert_int_equal(
                kv_fill_put(fill, bytes_of(key, 4), bytes_of(filler, 3000), NULL), 0);
        }
        assert_int_equal(kv_fill_finish(fill, NULL), 0);
        reopen(f);
        struct buf last = BUF_INIT;

        assert_int_equal(kv_last_key(f->kv, KV_VIEWS, &last, NULL), 0);
        assert_int_equal(read_u32be(last.data), 999);
        buf_release(&last);
        assert_value(f->kv, KV_VIEWS, "v", NULL);
        assert_value(f->kv, KV_RECEIPTS, "r", "3");
    }
}

static int child_interrupted_fill(struct kv *kv, const char *path)
{
    (void)path;
    struct kv_batch *batch = kv_batch_new(kv);
    struct kv_fill *fill = NULL;

    if (kv_batch_put(batch, KV_VIEWS, bytes_str("old"), bytes_str("1"), NULL) != 0 ||
        kv_batch_commit(batch, true, NULL) != 0 ||
        kv_fill_begin(kv, KV_VIEWS, &fill, NULL) != 0) {
        return 1;
    }
    for (uint32_t i = 0; i < 10000; i++) {
        if (kv_fill_put(fill, bytes_of(&i, 4), bytes_of(filler, sizeof(filler)), NULL) !=
            0) {
            return 1;
        }
    }
    return 0;
}

/* A process that ends in the middle of a fill leaves the old rows, and its leftovers are
 * dropped. */
static void test_fill_interrupted(void **state)
{
    struct fixture *f = *state;

    kv_close(open_store(f->path, KV_CREATE));
    for (int round = 0; round < 3; round++) {
        pid_t pid = start_child("interrupted-fill", f->path);
        int status = 0;

        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    struct kv *reader = open_store(f->path, KV_READ_ONLY);

    assert_rows(reader, NULL, KV_VIEWS, NULL, NULL, "old=1 ");
    kv_close(reader);
    for (int round = 0; round < 2; round++) {
        struct kv_fill *fill = NULL;

        f->kv = open_store(f->path, KV_READ_WRITE);
        assert_rows(f->kv, NULL, KV_VIEWS, NULL, NULL, "old=1 ");
        assert_int_equal(kv_fill_begin(f->kv, KV_VIEWS, &fill, NULL), 0);
        kv_fill_abandon(fill);
        kv_close(f->kv);
        f->kv = NULL;
    }
}

static int child_hold(struct kv *kv, const char *path)
{
    (void)path;
    (void)kv;
    (void)pause();
    return 0;
}

/* A second writer is refused, in this process and in another; readers are not. */
static void test_lock(void **state)
{
    struct fixture *f = *state;
    struct kv *second = NULL;
    struct error err = {0};

    kv_close(open_store(f->path, KV_CREATE));
    pid_t pid = start_child("hold", f->path);
    int r = 0;

    while ((r = kv_open_rocksdb(f->path, KV_READ_WRITE, &second, &err)) == 0) {
        kv_close(second); /* the other is not there yet */
        short_pause();
        error_clear(&err);
    }
    assert_int_equal(r, ERROR_LOCKED);
    assert_non_null(strstr(err.text, f->path));
    kv_close(open_store(f->path, KV_READ_ONLY));
    kv_close(open_store(f->path, KV_FOLLOW));
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    f->kv = open_store(f->path, KV_READ_WRITE);
    error_clear(&err);
    assert_int_equal(kv_open_rocksdb(f->path, KV_READ_WRITE, &second, &err),
                     ERROR_LOCKED);
}

/* A reader beside the writer sees what was committed when it opened, and can write
 * nothing. */
static void test_read_only(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};

    put(f, KV_VIEWS, "a", "1");
    commit(f);
    struct kv *reader = open_store(f->path, KV_READ_ONLY);

    put(f, KV_VIEWS, "b", "2");
    commit(f);
    assert_rows(reader, NULL, KV_VIEWS, NULL, NULL, "a=1 ");
    assert_int_equal(kv_refresh(reader, &err), 0);
    assert_rows(reader, NULL, KV_VIEWS, NULL, NULL, "a=1 ");
    struct kv_batch *batch = kv_batch_new(reader);
    struct kv_fill *fill = NULL;

    assert_int_equal(kv_batch_put(batch, KV_VIEWS, bytes_str("c"), bytes_str("3"), &err),
                     0);
    assert_rows(reader, batch, KV_VIEWS, NULL, NULL, "a=1 c=3 ");
    assert_int_equal(kv_batch_commit(batch, true, &err), ERROR_USAGE);
    assert_int_equal(kv_fill_begin(reader, KV_VIEWS, &fill, NULL), ERROR_USAGE);
    kv_batch_free(batch);
    kv_close(reader);
    reader = open_store(f->path, KV_READ_ONLY);
    assert_rows(reader, NULL, KV_VIEWS, NULL, NULL, "a=1 b=2 ");
    assert_int_equal(kv_fill_begin(f->kv, KV_VIEWS, &fill, NULL), 0);
    assert_int_equal(kv_fill_finish(fill, NULL), 0);
    assert_rows(reader, NULL, KV_VIEWS, NULL, NULL, "a=1 b=2 ");
    kv_close(reader);
}

/* A follower catches up when told to, also over a fill, and leaves no folder behind. */
static void test_follow(void **state)
{
    struct fixture *f = *state;
    struct kv_fill *fill = NULL;
    struct error err = {0};
    char temporary[100];

    (void)snprintf(temporary, sizeof(temporary), "%s/tmp", f->folder);
    assert_int_equal(mkdir(temporary, 0700), 0);
    assert_int_equal(setenv("TMPDIR", temporary, 1), 0);
    put(f, KV_VIEWS, "a", "1");
    commit(f);
    struct kv *follower = open_store(f->path, KV_FOLLOW);

    assert_rows(follower, NULL, KV_VIEWS, NULL, NULL, "a=1 ");
    put(f, KV_VIEWS, "b", "2");
    put(f, KV_LOG, "l", "5");
    commit(f);
    assert_rows(follower, NULL, KV_VIEWS, NULL, NULL, "a=1 ");
    assert_int_equal(kv_refresh(follower, &err), 0);
    assert_rows(follower, NULL, KV_VIEWS, NULL, NULL, "a=1 b=2 ");
    for (int round = 0; round < 3; round++) {
        assert_int_equal(kv_fill_begin(f->kv, KV_VIEWS, &fill, NULL), 0);
        assert_int_equal(
            kv_fill_put(fill, bytes_str("c"), bytes_of(&"012"[round], 1), NULL), 0);
        assert_int_equal(kv_refresh(follower, &err), 0);
        assert_int_equal(kv_fill_finish(fill, NULL), 0);
        struct kv_cursor *cursor = open_cursor(follower, NULL, KV_VIEWS, NULL, NULL);

        assert_int_equal(kv_refresh(follower, NULL), ERROR_USAGE);
        kv_cursor_close(cursor);
        assert_int_equal(kv_refresh(follower, &err), 0);
        char expected[] = "c=? ";

        expected[2] = (char)('0' + round);
        assert_rows(follower, NULL, KV_VIEWS, NULL, NULL, expected);
        assert_rows(follower, NULL, KV_LOG, NULL, NULL, "l=5 ");
    }
    assert_int_equal(rmdir(temporary), 0); /* nothing is left, even now */
    assert_int_equal(unsetenv("TMPDIR"), 0);
    kv_close(follower);
}

/* Writes rows that belong together until it is killed. */
static int child_write(struct kv *kv, const char *path)
{
    (void)path;
    struct kv_batch *batch = kv_batch_new(kv);
    struct buf value = BUF_INIT;
    uint64_t number = 0;

    if (kv_get(kv, KV_META, bytes_str("number"), &value, NULL) == 0) {
        number = read_u64be(value.data);
    }
    for (;;) {
        uint8_t row[8];

        write_u64be(row, ++number);
        struct bytes bytes = bytes_of(row, sizeof(row));

        (void)kv_batch_put(batch, KV_META, bytes_str("number"), bytes, NULL);
        (void)kv_batch_put(batch, KV_LOG, bytes, bytes, NULL);
        (void)kv_batch_put(batch, KV_VIEWS, bytes_str("number"), bytes, NULL);
        if (kv_batch_commit(batch, number % 8 == 0, NULL) != 0) {
            return 1;
        }
    }
}

/* Up to which number the rows go that belong together; 0 = there are none. */
static uint64_t read_whole(const char *path, enum kv_mode mode)
{
    struct kv *kv = open_store(path, mode);
    struct buf number = BUF_INIT;
    struct buf other = BUF_INIT;
    uint64_t last = 0;

    if (kv_get(kv, KV_META, bytes_str("number"), &number, NULL) == 0) {
        assert_int_equal(kv_last_key(kv, KV_LOG, &other, NULL), 0);
        assert_true(bytes_equal(buf_bytes(&number), buf_bytes(&other)));
        assert_int_equal(kv_get(kv, KV_VIEWS, bytes_str("number"), &other, NULL), 0);
        assert_true(bytes_equal(buf_bytes(&number), buf_bytes(&other)));
        last = read_u64be(number.data);
    }
    kv_close(kv);
    buf_release(&number);
    buf_release(&other);
    return last;
}

/* Killed at any moment, a writer leaves each batch whole or not at all. Readers beside it
 * see the same. */
static void test_kill(void **state)
{
    struct fixture *f = *state;
    uint64_t last = 0;

    kv_close(open_store(f->path, KV_CREATE));
    for (int round = 0; round < 5; round++) {
        pid_t pid = start_child("write", f->path);
        const struct timespec pause = {0, round * 7000000};
        uint64_t seen;

        while ((seen = read_whole(f->path, KV_READ_ONLY)) == last) {
            short_pause();
        }
        assert_true(seen > last);
        (void)nanosleep(&pause, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        last = read_whole(f->path, KV_READ_WRITE);
        assert_true(last >= seen);
    }
}

static int child_fill(struct kv *kv, const char *path)
{
    (void)path;
    for (uint32_t round = 0;; round++) {
        struct kv_fill *fill = NULL;

        for (int i = 0; i < 10; i++) {
            short_pause(); /* readers try again, but not for ever */
        }
        if (kv_fill_begin(kv, KV_VIEWS, &fill, NULL) != 0 ||
            kv_fill_put(fill, bytes_str("k"), bytes_of(&round, 4), NULL) != 0 ||
            kv_fill_finish(fill, NULL) != 0) {
            return 1;
        }
    }
}

/* Readers that open again and again while the writer replaces a space never fail. (A
 * follower that refreshes at this pace would now and then leave a database unclosed,
 * which leak checkers report.) */
static void test_readers_meet_fills(void **state)
{
    struct fixture *f = *state;

    kv_close(open_store(f->path, KV_CREATE));
    pid_t pid = start_child("fill", f->path);

    for (int i = 0; i < 30; i++) {
        kv_close(open_store(f->path, i % 2 == 0 ? KV_READ_ONLY : KV_FOLLOW));
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Opens the store again and again, and counts in it each time. */
static int child_reopen(struct kv *kv, const char *path)
{
    for (uint64_t number = 1;; number++) {
        struct kv_batch *batch = kv_batch_new(kv);
        uint8_t row[8];

        write_u64be(row, number);
        if (kv_batch_put(batch, KV_META, bytes_str("number"), bytes_of(row, 8), NULL) !=
                0 ||
            kv_batch_commit(batch, true, NULL) != 0) {
            return 1;
        }
        kv_batch_free(batch);
        for (int i = 0; number % 3 == 0 && i < 10; i++) {
            short_pause(); /* readers try again, but not for ever */
        }
        kv_close(kv);
        kv = open_store(path, KV_READ_WRITE);
    }
}

/* Opening for writing moves the newest rows from one file to another: a reader that opens
 * meanwhile sees no older state than the reader before it. */
static void test_readers_meet_openings(void **state)
{
    struct fixture *f = *state;
    uint64_t last = 0;

    kv_close(open_store(f->path, KV_CREATE));
    pid_t pid = start_child("reopen", f->path);

    for (int i = 0; i < 200; i++) {
        struct kv *reader = open_store(f->path, i % 2 == 0 ? KV_READ_ONLY : KV_FOLLOW);
        struct buf number = BUF_INIT;

        if (kv_get(reader, KV_META, bytes_str("number"), &number, NULL) == 0) {
            assert_true(read_u64be(number.data) >= last);
            last = read_u64be(number.data);
        } else {
            assert_int_equal(last, 0);
        }
        buf_release(&number);
        kv_close(reader);
    }
    assert_true(last > 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Calls visit for the names of a store's files that end in a suffix; returns how many
 * there are. */
static int visit_files(const char *path, const char *suffix, void (*visit)(const char *))
{
    DIR *folder = opendir(path);
    int count = 0;

    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        size_t size = strlen(entry->d_name);

        if (size > strlen(suffix) &&
            strcmp(entry->d_name + size - strlen(suffix), suffix) == 0) {
            char file[1024];

            (void)snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
            visit(file);
            count++;
        }
    }
    (void)closedir(folder);
    return count;
}

static void flip_middle(const char *file)
{
    int fd = open(file, O_RDWR);
    off_t size = lseek(fd, 0, SEEK_END);
    off_t middle = size / 2;
    uint8_t byte = 0;

    if (size < 10000) {
        assert_int_equal(close(fd), 0);
        return; /* one of KV_META's */
    }
    assert_int_equal(pread(fd, &byte, 1, middle), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, middle), 1);
    assert_int_equal(close(fd), 0);
}

/* A flipped bit in the middle of the write-ahead log is refused, not cut off silently. */
static void test_damaged_wal(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};

    for (uint32_t i = 0; i < 100; i++) {
        uint8_t key[4];

        write_u32be(key, i);
        assert_int_equal(kv_batch_put(f->batch, KV_LOG, bytes_of(key, 4),
                                      bytes_of(filler, 1000), NULL),
                         0);
        commit(f);
    }
    kv_batch_free(f->batch);
    kv_close(f->kv);
    f->batch = NULL;
    f->kv = NULL;
    assert_true(visit_files(f->path, ".log", flip_middle) > 0);
    assert_int_equal(kv_open_rocksdb(f->path, KV_READ_WRITE, &f->kv, &err),
                     ERROR_CORRUPT);
    assert_non_null(strstr(err.text, f->path));
}

static off_t wal_bytes;

static void add_size(const char *file)
{
    struct stat info;

    assert_int_equal(stat(file, &info), 0);
    wal_bytes += info.st_size;
}

/* A store with much in memory is flushed at its end: the next opening reads none of it
 * again. */
static void test_closed_large(void **state)
{
    struct fixture *f = *state;
    uint8_t key[4];

    for (uint32_t i = 0; i < 20000; i++) {
        write_u32be(key, i);
        assert_int_equal(kv_batch_put(f->batch, i % 2 ? KV_LOG : KV_VIEWS,
                                      bytes_of(key, 4), bytes_of(filler, 1000), NULL),
                         0);
        if (i % 1000 == 999)
            commit(f);
    }
    kv_batch_free(f->batch);
    kv_close(f->kv);
    f->batch = NULL;
    f->kv = NULL;
    wal_bytes = 0;
    (void)visit_files(f->path, ".log", add_size);
    assert_true(wal_bytes < 10000);
    reopen(f);
    for (uint32_t i = 0; i < 20000; i++) {
        struct buf value = BUF_INIT;

        write_u32be(key, i);
        assert_int_equal(
            kv_get(f->kv, i % 2 ? KV_LOG : KV_VIEWS, bytes_of(key, 4), &value, NULL), 0);
        buf_release(&value);
    }
}

/* Damage in a data file is reported when a row of it is read, by gets and by cursors. */
static void test_damaged_rows(void **state)
{
    struct fixture *f = *state;
    struct kv_fill *fill = NULL;
    struct buf value = BUF_INIT;
    int failures = 0;

    assert_int_equal(kv_fill_begin(f->kv, KV_VIEWS, &fill, NULL), 0);
    for (uint32_t i = 0; i < 1000; i++) {
        uint8_t row[SHA256_SIZE];

        sha256_once(&i, sizeof(i), row); /* so that it cannot be compressed */
        assert_int_equal(
            kv_fill_put(fill, bytes_of(&i, 4), bytes_of(row, sizeof(row)), NULL), 0);
    }
    assert_int_equal(kv_fill_finish(fill, NULL), 0);
    assert_true(visit_files(f->path, ".sst", flip_middle) > 0);
    reopen(f);
    struct kv_cursor *cursor = open_cursor(f->kv, NULL, KV_VIEWS, NULL, NULL);
    struct bytes key;
    struct bytes row;
    struct error err = {0};
    int r = 0;

    while ((r = kv_cursor_next(cursor, &key, &row, &err)) == 0) {
    }
    assert_int_equal(r, ERROR_CORRUPT);
    kv_cursor_close(cursor);
    for (uint32_t i = 0; i < 1000; i++) {
        r = kv_get(f->kv, KV_VIEWS, bytes_of(&i, 4), &value, NULL);
        assert_true(r == 0 || r == ERROR_CORRUPT);
        failures += r != 0;
    }
    assert_true(failures > 0);
    buf_release(&value);
}

static void remove_file(const char *file)
{
    assert_int_equal(unlink(file), 0);
}

/* A store that lost its CURRENT file is not taken for a new one. */
static void test_lost_current(void **state)
{
    struct fixture *f = *state;
    char current[200];

    put(f, KV_VIEWS, "a", "1");
    commit(f);
    kv_batch_free(f->batch);
    kv_close(f->kv);
    f->batch = NULL;
    f->kv = NULL;
    (void)snprintf(current, sizeof(current), "%s/CURRENT", f->path);
    remove_file(current);
    assert_int_equal(kv_open_rocksdb(f->path, KV_READ_WRITE, &f->kv, NULL),
                     ERROR_NOT_FOUND);
    assert_int_equal(kv_open_rocksdb(f->path, KV_CREATE, &f->kv, NULL), ERROR_CONFLICT);
    assert_true(visit_files(f->path, ".log", remove_file) > 0);
}

#define BOTH(test)                                                                       \
    {"memory: " #test, test, setup, teardown, (void *)(uintptr_t)&memory_backend},       \
    {                                                                                    \
        "rocksdb: " #test, test, setup, teardown, (void *)(uintptr_t)&rocksdb_backend    \
    }
#define ONLY_ROCKSDB(test)                                                               \
    {                                                                                    \
#test, test, setup, teardown, (void *)(uintptr_t)&rocksdb_backend                \
    }
#define ONLY_FOLDER(test)                                                                \
    {                                                                                    \
#test, test, setup_folder, teardown, NULL                                        \
    }

static int run_child(const char *role, const char *path)
{
    static const struct {
        const char *role;
        int (*run)(struct kv *kv, const char *path);
    } children[] = {
        {"interrupted-fill", child_interrupted_fill},
        {"hold", child_hold},
        {"write", child_write},
        {"fill", child_fill},
        {"reopen", child_reopen},
    };

    struct kv *kv = NULL;
    int r = 0;

    /* The test has it open for a moment, and may just replace its files. */
    while ((r = kv_open_rocksdb(path, KV_READ_WRITE, &kv, NULL)) == ERROR_LOCKED ||
           r == ERROR_IO) {
        short_pause();
    }
    for (size_t i = 0; r == 0 && i < sizeof(children) / sizeof(children[0]); i++) {
        if (strcmp(role, children[i].role) == 0) {
            _exit(children[i].run(kv, path)); /* nothing is closed */
        }
    }
    return 2;
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        return run_child(argv[1], argv[2]);
    }
    const struct CMUnitTest tests[] = {
        BOTH(test_put_get_delete),
        BOTH(test_binary_rows),
        BOTH(test_batch_reads),
        BOTH(test_batch_reads_anew),
        BOTH(test_cursor_merges),
        BOTH(test_cursor_is_a_snapshot),
        BOTH(test_last_key),
        BOTH(test_reserved_keys),
        BOTH(test_fill),
        BOTH(test_fill_abandoned),
        BOTH(test_many_rows),
        ONLY_ROCKSDB(test_random_steps),
        ONLY_FOLDER(test_missing_store),
        ONLY_FOLDER(test_create),
        ONLY_FOLDER(test_create_after_interruption),
        ONLY_FOLDER(test_create_without_parent),
        ONLY_ROCKSDB(test_reopen),
        ONLY_FOLDER(test_fill_interrupted),
        ONLY_FOLDER(test_lock),
        ONLY_ROCKSDB(test_read_only),
        ONLY_ROCKSDB(test_follow),
        ONLY_FOLDER(test_kill),
        ONLY_FOLDER(test_readers_meet_fills),
        ONLY_FOLDER(test_readers_meet_openings),
        ONLY_ROCKSDB(test_damaged_wal),
        ONLY_ROCKSDB(test_closed_large),
        ONLY_ROCKSDB(test_damaged_rows),
        ONLY_ROCKSDB(test_lost_current),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
