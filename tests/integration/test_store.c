/* test_store.c - the data folder and the rows that say how far a shard is.
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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/shard/store.h"

static const struct log_identity identity = {"00112233445566778899aabbccddeeff", "hq", 0,
                                             2};
static const uint8_t key[SITE_KEY_SIZE] = {1, 2, 3};

struct fixture {
    char base[64];
    char path[128];
    struct error err;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    snprintf(fixture->base, sizeof fixture->base, "/tmp/kinlog-store-XXXXXX");
    assert_non_null(mkdtemp(fixture->base));
    snprintf(fixture->path, sizeof fixture->path, "%s/a/data", fixture->base);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    char command[128];

    snprintf(command, sizeof command, "rm -rf '%s'", fixture->base);
    assert_int_equal(system(command), 0);
    free(fixture);
    return 0;
}

static void create(struct fixture *fixture)
{
    assert_int_equal(
        store_folder_create(fixture->path, &identity, key, NULL, NULL, &fixture->err), 0);
}

static void overwrite(struct fixture *fixture, const char *name, const char *text)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", fixture->path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* What was made is found again; the key is for its owner alone. */
static void test_create(void **state)
{
    struct fixture *fixture = *state;
    struct store_folder *folder;
    struct stat about;
    char path[256];

    create(fixture);
    assert_int_equal(store_folder_open(fixture->path, true, &folder, &fixture->err), 0);
    assert_string_equal(folder->identity.log, identity.log);
    assert_string_equal(folder->identity.site, "hq");
    assert_int_equal(folder->identity.shards, 2);
    assert_memory_equal(folder->site_key, key, SITE_KEY_SIZE);
    assert_true(store_folder_in_use(fixture->path));
    snprintf(path, sizeof path, "%s/site.key", fixture->path);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    store_folder_close(folder);
    assert_false(store_folder_in_use(fixture->path));
}

/* A folder that holds a log is never made again. */
static void test_create_twice(void **state)
{
    struct fixture *fixture = *state;

    create(fixture);
    assert_int_equal(
        store_folder_create(fixture->path, &identity, key, NULL, NULL, &fixture->err),
        ERROR_CONFLICT);
}

/* One writer at a time; readers do not mind. */
static void test_lock(void **state)
{
    struct fixture *fixture = *state;
    struct store_folder *writer, *second, *reader;

    create(fixture);
    assert_int_equal(store_folder_open(fixture->path, true, &writer, &fixture->err), 0);
    assert_int_equal(store_folder_open(fixture->path, true, &second, &fixture->err),
                     ERROR_LOCKED);
    assert_non_null(strstr(fixture->err.text, "in use"));
    assert_int_equal(store_folder_open(fixture->path, false, &reader, &fixture->err), 0);
    store_folder_close(reader);
    store_folder_close(writer);
}

/* Missing, from a newer version, damaged: each is named with its cure. */
static void test_faults(void **state)
{
    static const struct {
        const char *text;
        int code;
        const char *said;
    } wrong[] = {
        {"{\"Format\": 3}", ERROR_VERSION, "newer version"},
        {"{\"Format\": 1}", ERROR_VERSION, "older version"},
        {"{\"Format\": 2}", ERROR_CORRUPT, "damaged"},
        {"{\"Format\": 2, \"Log\": \"x\", \"Site\": \"hq\", \"Shards\": 2}",
         ERROR_CORRUPT, "damaged"},
        {"", ERROR_CORRUPT, "damaged"},
    };
    struct fixture *fixture = *state;
    struct store_folder *folder;

    assert_int_equal(store_folder_open(fixture->path, false, &folder, &fixture->err),
                     ERROR_NOT_FOUND);
    assert_non_null(strstr(fixture->err.text, "kinlog init"));
    error_clear(&fixture->err);
    create(fixture);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        error_clear(&fixture->err);
        overwrite(fixture, "kinlog.json", wrong[i].text);
        assert_int_equal(store_folder_open(fixture->path, false, &folder, &fixture->err),
                         wrong[i].code);
        assert_non_null(strstr(fixture->err.text, wrong[i].said));
    }
}

static void assert_refused(struct fixture *fixture, bool writing, int code,
                           const char *said)
{
    struct store_folder *folder;

    error_clear(&fixture->err);
    assert_int_equal(store_folder_open(fixture->path, writing, &folder, &fixture->err),
                     code);
    assert_non_null(strstr(fixture->err.text, "site.key"));
    assert_non_null(strstr(fixture->err.text, said));
}

/* A site key of the wrong form is refused without being shown. */
static void test_bad_key(void **state)
{
    static const char digits[] =
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0";
    struct fixture *fixture = *state;
    char text[sizeof digits + 1];

    create(fixture);
    overwrite(fixture, "site.key", "5ecre7\n");
    assert_refused(fixture, true, ERROR_INVALID, "64 hex digits");
    assert_null(strstr(fixture->err.text, "5ecre7"));
    for (int count = 62; count <= 65; count++) {
        snprintf(text, sizeof text, "%.*s\n", count, digits);
        overwrite(fixture, "site.key", text);
        assert_refused(fixture, true, count == 64 ? ERROR_CONFLICT : ERROR_INVALID,
                       count == 64 ? "is not the key of log" : "64 hex digits");
    }
}

/* Nor one that others may read or change, whatever it holds, and whoever reads. */
static void test_open_key(void **state)
{
    static const mode_t modes[] = {0644, 0640, 0604, 0620, 0602, 0610, 0601, 0777};
    struct fixture *fixture = *state;
    struct store_folder *folder;
    char path[256];

    create(fixture);
    snprintf(path, sizeof path, "%s/site.key", fixture->path);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        char mode[16];
        snprintf(mode, sizeof mode, "mode %04o", modes[i]);
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_refused(fixture, true, ERROR_INVALID, mode);
        assert_refused(fixture, false, ERROR_INVALID, "chmod 600");
    }
    error_clear(&fixture->err);
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(store_folder_open(fixture->path, true, &folder, &fixture->err), 0);
    store_folder_close(folder);
    assert_int_equal(unlink(path), 0);
    assert_refused(fixture, true, ERROR_NOT_FOUND, "put back the one");
}

/* Rows come back as they were stored; before that they are empty, the head at chain(0).
 * */
static void test_rows(void **state)
{
    struct fixture *fixture = *state;
    struct error *err = &fixture->err;
    struct head head = {.sequence = 9,
                        .chain = {7},
                        .time_ms = 5,
                        .event_offset = -1,
                        .next_offset = 3,
                        .rules = 1,
                        .refused = 2,
                        .dead_lettered = 4},
                head_back;
    struct anchor anchor, anchor_back;
    struct mark mark = {.sequence = 8,
                        .chain = {9},
                        .offset = 77,
                        .epoch = {12, "0123456789abcdef0123456789abcdef"}},
                mark_back;
    struct shard_status status = {.role = SHARD_OWNER,
                                  .epoch = mark.epoch,
                                  .answered = 6,
                                  .forwarded = 1,
                                  .reason = "why",
                                  .cluster_id = "cluster"},
                        status_back;
    struct kv *kv;

    assert_int_equal(kv_open_memory(&kv, err), 0);
    assert_int_equal(head_load(kv, &identity, &head_back, err), 0);
    assert_int_equal(head_back.sequence, 0);
    assert_int_equal(anchor_load(kv, &anchor_back, err), 0);
    assert_false(anchor_back.set);
    struct sha256 *hasher = sha256_new();
    anchor_of(hasher, 4, 99, bytes_str("k"), BYTES_ABSENT, &anchor);
    sha256_free(hasher);
    struct kv_batch *batch = kv_batch_new(kv);
    assert_int_equal(head_store(batch, &head, err), 0);
    assert_int_equal(anchor_store(batch, &anchor, err), 0);
    assert_int_equal(mark_store(batch, &mark, err), 0);
    assert_int_equal(shard_status_store(batch, &status, err), 0);
    assert_int_equal(kv_batch_commit(batch, true, err), 0);
    kv_batch_free(batch);
    assert_int_equal(head_load(kv, &identity, &head_back, err), 0);
    assert_int_equal(head_back.sequence, 9);
    assert_int_equal(head_back.event_offset, -1);
    assert_int_equal(head_back.next_offset, 3);
    assert_int_equal(head_back.refused, 2);
    assert_int_equal(head_back.dead_lettered, 4);
    assert_int_equal(anchor_load(kv, &anchor_back, err), 0);
    assert_true(anchor_back.set);
    assert_int_equal(anchor_back.offset, 4);
    assert_memory_equal(anchor_back.sha256, anchor.sha256, SHA256_SIZE);
    assert_int_equal(mark_load(kv, &mark_back, err), 0);
    assert_int_equal(mark_back.offset, 77);
    assert_string_equal(mark_back.epoch.id, mark.epoch.id);
    assert_int_equal(shard_status_load(kv, &status_back, err), 0);
    assert_string_equal(status_back.reason, "why");
    assert_string_equal(status_back.cluster_id, "cluster");
    assert_int_equal(status_back.answered, 6);
    kv_close(kv);
}

/* The witness is outside the store, and what is cut short is damage. */
static void test_witness(void **state)
{
    struct fixture *fixture = *state;
    struct store_folder *folder;
    struct head head = {.sequence = 5, .chain = {1, 2}, .event_offset = 3}, back;

    create(fixture);
    assert_int_equal(store_folder_open(fixture->path, true, &folder, &fixture->err), 0);
    assert_int_equal(witness_read(folder, 1, &back, &fixture->err), 1);
    assert_int_equal(witness_write(folder, 1, &head, &fixture->err), 0);
    assert_int_equal(witness_read(folder, 1, &back, &fixture->err), 0);
    assert_int_equal(back.sequence, 5);
    assert_int_equal(back.event_offset, 3);
    assert_memory_equal(back.chain, head.chain, SHA256_SIZE);
    overwrite(fixture, "shard-1.witness", "5 0102");
    assert_int_equal(witness_read(folder, 1, &back, &fixture->err), ERROR_CORRUPT);
    store_folder_close(folder);
}

/* Flips each bit of a small file: what is read from it is what was written, or it is
 * refused by its name. same() returns whether what is read is what was written, and the
 * error in fixture->err. */
static void flip_each_bit(struct fixture *fixture, const char *name,
                          bool (*same)(struct fixture *fixture))
{
    char path[256], text[1024];
    unsigned harmless = 0;

    snprintf(path, sizeof path, "%s/%s", fixture->path, name);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text, file);
    assert_in_range(size, 60, sizeof text - 1);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        text[bit / 8] ^= (char)(1 << bit % 8);
        rewind(file);
        fwrite(text, 1, size, file);
        fflush(file);
        error_clear(&fixture->err);
        bool right = same(fixture);
        harmless += right;
        if (!right && strstr(fixture->err.text, name) == NULL)
            fail_msg("bit %zu: %s", bit, fixture->err.text);
        text[bit / 8] ^= (char)(1 << bit % 8);
    }
    rewind(file);
    fwrite(text, 1, size, file);
    fclose(file);
    assert_in_range(harmless, 0, 8 * size / 4);
}

static bool same_description(struct fixture *fixture)
{
    struct store_folder *folder;

    if (store_folder_open(fixture->path, true, &folder, &fixture->err) != 0)
        return false;
    assert_memory_equal(&folder->identity, &identity, sizeof identity);
    assert_memory_equal(folder->site_key, key, SITE_KEY_SIZE);
    store_folder_close(folder);
    return true;
}

static bool same_witness(struct fixture *fixture)
{
    struct store_folder *folder;
    struct head back;

    assert_int_equal(store_folder_open(fixture->path, true, &folder, &fixture->err), 0);
    int code = witness_read(folder, 1, &back, &fixture->err);
    store_folder_close(folder);
    if (code == 0) {
        assert_int_equal(back.sequence, 5);
        assert_int_equal(back.event_offset, 3);
        assert_int_equal(back.chain[0], 1);
    }
    return code == 0;
}

/* One flipped bit makes no other log, key or witness of them. */
static void test_flipped_bits(void **state)
{
    struct fixture *fixture = *state;
    struct store_folder *folder;
    struct head head = {.sequence = 5, .chain = {1, 2}, .event_offset = 3};

    create(fixture);
    assert_int_equal(store_folder_open(fixture->path, true, &folder, &fixture->err), 0);
    assert_int_equal(witness_write(folder, 1, &head, &fixture->err), 0);
    store_folder_close(folder);
    flip_each_bit(fixture, "kinlog.json", same_description);
    flip_each_bit(fixture, "site.key", same_description);
    flip_each_bit(fixture, "shard-1.witness", same_witness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_create, setup, teardown),
        cmocka_unit_test_setup_teardown(test_create_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_faults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_witness, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flipped_bits, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
