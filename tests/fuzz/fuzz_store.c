/* fuzz_store.c - any rows at all in a shard's store, and any text in the small files beside it.
 *
 * Beyond "no crash": whoever reads them gets what can be, or is told that it is damaged, and by a store that
 * says so everywhere the same; views made anew from a sound log are sound.
 *
 * The input is a list of pieces (pieces.h), marks with their texts: enum deed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/shard/repair.h"
#include "events/event_log.h"
#include "projections/association_view.h"
#include "projections/reference_view.h"
#include "projections/request_view.h"
#include "projections/timer_view.h"
#include "tests/fuzz/pieces.h"
#include "tests/fuzz/prepared.h"

enum deed {
    MARK_SOUND,  /* all rows of a store that is sound */
    MARK_PUT,    /* argument: space; key, row */
    MARK_DELETE, /* argument: which row so far */
    MARK_CHANGE, /* likewise; a text: the new row */
    MARK_FLIP,   /* likewise; a text: a position and the bits */
    MARK_FILE,   /* argument: which of files[]; a text */
    DEEDS
};

#define ROWS_MAX 512

static const char *const files[] = {"kinlog.json", "site.key", "shard-2.witness"};
#define FILE_COUNT (sizeof files / sizeof files[0])

struct row {
    enum kv_space space;
    struct bytes key, value;
};

struct store_input {
    struct row rows[ROWS_MAX];
    size_t count;
    struct arena arena;
    struct cutter cutter;
    struct bytes texts[FILE_COUNT];
};

/* ---- making the store --------------------------------------------------------------- */

static void add_row(struct store_input *input, enum kv_space space, struct bytes key,
                    struct bytes value)
{
    if (input->count < ROWS_MAX && key.data != NULL && value.data != NULL)
        input->rows[input->count++] = (struct row){space, key, value};
}

static void add_sound(struct store_input *input)
{
    struct kv *kv = prepared_get()->owner.kv;

    for (int space = 0; space < KV_SPACES; space++) {
        struct kv_cursor *cursor;
        struct bytes key, value;

        expect(kv_cursor_open(kv, NULL, (enum kv_space)space, bytes_of("", 0),
                              BYTES_ABSENT, &cursor, NULL) == 0);
        while (kv_cursor_next(cursor, &key, &value, NULL) == 0)
            add_row(input, (enum kv_space)space, arena_copy(&input->arena, key),
                    arena_copy(&input->arena, value));
        kv_cursor_close(cursor);
    }
}

static void flip(struct store_input *input, struct row *row, struct bytes text)
{
    struct bytes copy = arena_copy(&input->arena, row->value);

    if (text.size >= 2 && copy.size > 0)
        ((uint8_t *)copy.data)[text.data[0] % copy.size] ^= text.data[1];
    row->value = copy;
}

static void do_deed(struct store_input *input, enum deed deed, uint8_t argument)
{
    struct row *row = &input->rows[input->count == 0 ? 0 : argument % input->count];
    struct bytes key;

    switch (deed) {
    case MARK_SOUND:
        add_sound(input);
        break;
    case MARK_PUT:
        key = cut_text(&input->cutter);
        add_row(input, (enum kv_space)(argument % KV_SPACES), key,
                cut_text(&input->cutter));
        break;
    case MARK_DELETE:
        if (input->count > 0)
            *row = input->rows[--input->count];
        break;
    case MARK_CHANGE:
        if (input->count > 0)
            row->value = cut_text(&input->cutter);
        break;
    case MARK_FLIP:
        if (input->count > 0)
            flip(input, row, cut_text(&input->cutter));
        break;
    case MARK_FILE:
        input->texts[argument % FILE_COUNT] = cut_text(&input->cutter);
        break;
    default:
        break;
    }
}

static struct kv *make_store(const struct store_input *input)
{
    struct kv *kv;

    expect(kv_open_memory(&kv, NULL) == 0);
    struct kv_batch *batch = kv_batch_new(kv);
    expect(batch != NULL);
    for (size_t i = 0; i < input->count; i++) {
        const struct row *row = &input->rows[i];
        /* The others are the store's own. */
        if (row->value.data != NULL && row->key.size > 0 && row->key.data[0] != '\0')
            expect(kv_batch_put(batch, row->space, row->key, row->value, NULL) == 0);
        else if (row->value.data != NULL && row->space != KV_META)
            expect(kv_batch_put(batch, row->space, row->key, row->value, NULL) == 0);
    }
    expect(kv_batch_commit(batch, /* sync= */ false, NULL) == 0);
    kv_batch_free(batch);
    return kv;
}

/* ---- reading it --------------------------------------------------------------------- */

/* 0, 1 = none, or damaged, with a text. */
static int checked(int code, struct error *err)
{
    expect(code == 0 || code == 1 || code == ERROR_CORRUPT || code == ERROR_VERSION);
    expect((code >= 0) == (err->text[0] == '\0'));
    error_clear(err);
    return code;
}

/* What was loaded and is stored again is loaded as the same. */
static void read_meta(struct kv *kv, const struct log_identity *identity)
{
    struct kv_batch *batch = kv_batch_new(kv);
    struct head head[2] = {0};
    struct anchor anchor[2] = {0};
    struct mark mark[2] = {0};
    struct shard_status status[2] = {0};
    struct error err = {0};

    expect(batch != NULL);
    bool sound = checked(head_load(kv, identity, &head[0], &err), &err) == 0;
    sound = checked(anchor_load(kv, &anchor[0], &err), &err) == 0 && sound;
    sound = checked(mark_load(kv, &mark[0], &err), &err) == 0 && sound;
    sound = checked(shard_status_load(kv, &status[0], &err), &err) == 0 && sound;
    if (sound) {
        expect(head_store(batch, &head[0], NULL) == 0);
        expect(anchor_store(batch, &anchor[0], NULL) == 0);
        expect(mark_store(batch, &mark[0], NULL) == 0);
        expect(shard_status_store(batch, &status[0], NULL) == 0);
        expect(kv_batch_commit(batch, /* sync= */ false, NULL) == 0);
        expect(head_load(kv, identity, &head[1], NULL) == 0 &&
               anchor_load(kv, &anchor[1], NULL) == 0 &&
               mark_load(kv, &mark[1], NULL) == 0 &&
               shard_status_load(kv, &status[1], NULL) == 0);
        expect(head[0].sequence == head[1].sequence &&
               head[0].event_offset == head[1].event_offset &&
               head[0].next_offset == head[1].next_offset &&
               head[0].rules == head[1].rules);
        expect(anchor[0].set == anchor[1].set && anchor[0].offset == anchor[1].offset);
        expect(mark[0].sequence == mark[1].sequence &&
               strcmp(mark[0].epoch.id, mark[1].epoch.id) == 0);
        expect(status[0].role == status[1].role &&
               strcmp(status[0].reason, status[1].reason) == 0 &&
               strcmp(status[0].cluster_id, status[1].cluster_id) == 0);
    }
    kv_batch_free(batch);
}

static void read_devices(struct views *views)
{
    struct device_scan *scan = NULL;
    struct device device;
    struct error err = {0};
    int code = device_scan_open(views, &scan, &err);

    while (code == 0)
        code = device_scan_next(scan, &device, &err);
    (void)checked(code, &err);
    device_scan_close(scan);
}

static void read_relationships(struct views *views, uint32_t resource_id)
{
    struct relationship_scan *scan = NULL;
    struct relationship relationship;
    struct error err = {0};
    int code = relationship_scan_open(views, resource_id, &scan, &err);

    while (code == 0) {
        code = relationship_scan_next(scan, &relationship, &err);
        expect(code != 0 || (relationship.source_count <= RELATIONSHIP_LIST_MAX &&
                             relationship.type_count <= RELATIONSHIP_LIST_MAX));
    }
    (void)checked(code, &err);
    relationship_scan_close(scan);
}

static void read_receipts(struct views *views, struct kv *kv)
{
    static const char *const ids[] = {"p0", "p2", "p5", "p6", "p9", "p10"};
    struct answer_maker *maker = prepared_get()->owner.maker;
    struct error err = {0};

    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct receipt receipt;
        struct answer answer;
        int code = checked(receipt_find(views, bytes_str("/s"), bytes_str(ids[i]),
                                        BYTES_ABSENT, &receipt, &err),
                           &err);
        if (code == 0 && receipt.match == RECEIPT_SAME)
            (void)checked(answer_from_log(maker, kv, NULL, receipt.first_sequence,
                                          receipt.count, &answer, &err),
                          &err);
    }
}

static void read_associations(struct views *views, uint32_t source)
{
    struct association_scan *scan = NULL;
    struct association association;
    struct error err = {0};
    int code = association_scan_open(views, source, &scan, &err);

    while (code == 0) {
        code = association_scan_next(scan, &association, &err);
        expect(code != 0 || association.user_count <= ASSOCIATION_USERS_MAX);
    }
    (void)checked(code, &err);
    association_scan_close(scan);
}

/* What is asked of other shards, and what they ask for. */
static void read_requests(struct views *views, struct arena *arena)
{
    struct association association;
    struct reference_scan *scan = NULL;
    struct reference reference;
    struct request request;
    struct error err = {0};
    uint64_t number = 0;

    while (checked(request_next_pending(views, number, &number, &err), &err) == 0) {
        (void)checked(request_get(views, number, arena, &request, &err), &err);
        (void)checked(association_get_by_number(views, number, arena, &association, &err),
                      &err);
        if (number++ == UINT64_MAX)
            break;
    }
    int code = reference_scan_open(views, BYTES_ABSENT, &scan, &err);
    while (code == 0)
        code = reference_scan_next(scan, &reference, &err);
    (void)checked(code, &err);
    reference_scan_close(scan);
}

static void read_timers(struct views *views)
{
    struct timer_scan *scan = NULL;
    struct bytes name;
    struct error err = {0};
    int64_t due_ms;
    int code = timer_scan_open(views, INT64_MAX, &scan, &err);

    while (code == 0)
        code = timer_scan_next(scan, &due_ms, &name, &err);
    (void)checked(code, &err);
    timer_scan_close(scan);
}

static void read_views(struct kv *kv)
{
    struct views *views = NULL;
    struct arena arena = ARENA_INIT;
    struct relationship relationship;
    struct device device;
    struct policy policy;
    struct error err = {0};
    uint64_t revision;
    uint32_t count, slot = slot_of_key(bytes_str("device:4"));

    if (checked(views_open(kv, NULL, &views, &err), &err) != 0)
        return;
    read_devices(views);
    read_relationships(views, 0);
    read_relationships(views, 4);
    read_receipts(views, kv);
    (void)checked(device_get(views, 4, &arena, &device, &err), &err);
    (void)checked(
        relationship_get(views, 4, bytes_str("A\\B"), &arena, &relationship, &err), &err);
    (void)checked(relationship_get_by_id(views, slot + 1, &arena, &relationship, &err),
                  &err);
    (void)checked(relationship_slot_count(views, slot, &count, &err), &err);
    (void)checked(policy_get(views, "devices.unknown", &policy, &err), &err);
    (void)checked(policy_revision(views, &revision, &err), &err);
    read_associations(views, 0);
    read_associations(views, 4);
    read_requests(views, &arena);
    read_timers(views);
    views_close(views);
    arena_release(&arena);
}

/* The log, the views against it, and both made anew. */
static void read_log(struct kv *kv, const struct log_identity *identity)
{
    struct buf difference = BUF_INIT;
    struct kv *shadow = NULL;
    struct error err = {0};
    struct head head;
    uint64_t last = 0;

    (void)checked(repair_fold_head(kv, identity, NULL, NULL, &head, &err), &err);
    if (checked(views_replay(kv, NULL, NULL, &shadow, &err), &err) == 0) {
        int code = checked(views_compare(kv, shadow, &difference, &err), &err);
        if (code != 0) {
            expect(views_rebuild(kv, NULL, NULL, &err) == 0);
            expect(views_compare(kv, shadow, &difference, &err) == 0);
        }
        kv_close(shadow);
    }
    if (checked(event_log_last(kv, &last, &err), &err) == 0 && last > 1)
        (void)checked(repair_truncate(kv, identity, last, &err), &err);
    buf_release(&difference);
}

/* ---- the files ---------------------------------------------------------------------- */

static const char *folder_path(void)
{
    static char path[64];

    if (path[0] == '\0') {
        snprintf(path, sizeof path, "%s/kinlog-fuzz-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        expect(mkdtemp(path) != NULL);
    }
    return path;
}

static void write_file(const char *name, struct bytes text)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", folder_path(), name);
    (void)remove(path);
    if (text.data == NULL)
        return;
    FILE *file = fopen(path, "wb");
    expect(file != NULL && fwrite(text.data, 1, text.size, file) == text.size);
    expect(fclose(file) == 0);
}

static void read_files(const struct store_input *input)
{
    struct store_folder beside = {.path = (char *)folder_path(), .lock_fd = -1};
    struct store_folder *folder = NULL;
    struct error err = {0};
    struct head head;

    for (size_t i = 0; i < FILE_COUNT; i++)
        write_file(files[i], input->texts[i]);
    int code = store_folder_open(folder_path(), /* writing= */ false, &folder, &err);
    expect(code == 0 || code == ERROR_NOT_FOUND || code == ERROR_CORRUPT ||
           code == ERROR_VERSION || code == ERROR_INVALID);
    expect((code == 0) == (err.text[0] == '\0'));
    if (code == 0)
        expect(folder->identity.shards >= 1 && folder->identity.shards <= SLOTS);
    store_folder_close(folder);
    error_clear(&err);
    (void)checked(witness_read(&beside, 2, &head, &err), &err);
    for (size_t i = 0; i < FILE_COUNT; i++)
        write_file(files[i], BYTES_ABSENT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct store_input input;
    const struct log_identity *identity = &prepared_get()->settings.identity;
    struct piece mark;
    bool any_file = false;

    memset(&input, 0, sizeof input);
    input.cutter = cutter_of(data, size);
    while (!cutter_done(&input.cutter)) {
        if (cut_mark(&input.cutter, &mark))
            do_deed(&input, (enum deed)(mark.mark % DEEDS), mark.argument);
        else
            (void)cut_text(&input.cutter);
    }
    for (size_t i = 0; i < FILE_COUNT; i++)
        any_file |= input.texts[i].data != NULL;
    if (any_file)
        read_files(&input);
    struct kv *kv = make_store(&input);
    read_views(kv);
    read_meta(kv, identity);
    read_log(kv, identity);
    kv_close(kv);
    arena_release(&input.arena);
    cutter_release(&input.cutter);
    return 0;
}

static void remove_folder(void)
{
    (void)rmdir(folder_path());
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const more[] = {
        "head",
        "anchor",
        "mark",
        "status",
        "digest/devices/0",
        "digest/receipts/f",
        "{\"Format\": 1, \"Log\": \"00112233445566778899aabbccddeeff\", ",
        "\"Site\": \"hq\", ",
        "\"Shards\": 4, \"SiteKeyFingerprint\": \"AAAAAAAAAAAAAAAAAAAAAA\"}",
        "0011223344556677889900112233445500112233445566778899001122334455",
    };

    (void)argc;
    (void)argv;
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        word_add(more[i]);
    return atexit(remove_folder);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    return mutate_pieces(data, size, size_max, seed);
}
