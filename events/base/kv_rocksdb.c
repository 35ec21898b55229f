/* kv_rocksdb.c - the ordered store in a RocksDB folder; the only file that knows RocksDB.
 *
 * Column families: `default` holds KV_META, `log` KV_LOG, `receipts.<n>` and `views.<n>`
 * the generations of these two. Which generations count stands in `default` under the key
 * FAMILIES_KEY, 12 bytes: format (1), receipts' n, views' n, each u32 big-endian. Every
 * other generation is left over from a fill that did not end, and is dropped when the
 * store is opened for writing.
 *
 *   create   The store is made in `<path>.new` and renamed when it is whole, so that a store is there and
 *            usable, or not there. Nothing else ever creates: RocksDB with create_if_missing makes an empty
 *            store out of one that lost its CURRENT file.
 *   read     Between listing the families and opening them the writer may have gone on; such an open fails
 *            and is tried again. So is one during which the manifest changed: the writer may have moved the
 *            newest rows from a log file, read by name later, to a table that the manifest as read does
 *            not have, and the open would succeed without them.
 *   follow   A RocksDB secondary. It does not learn of new families, so when there are others than before it
 *            is opened anew. It must not catch up with the drop of a family: RocksDB 7.8 then releases the
 *            family twice when the secondary is closed. So the families are listed before catching up; and
 *            after it, and a secondary that met a drop in between is left as it is and never closed.
 *
 * The settings are measured ones. What is worth knowing: WAL recovery mode 0 accepts a
 * torn tail and refuses a flip in the middle, which the default would silently cut off;
 * with max_open_files other than -1 readers lose files under their feet; the info log is
 * kept empty because Debian's library aborts if it cannot write it on a full disk (it
 * stays empty only without max_log_file_size: a log that is rolled takes its header lines
 * at any level); it does not try for seconds to mend itself after an error, since every
 * error ends with closing and opening; one compression on all levels of the log lets
 * compaction move files instead of rewriting them; counting every comparison of keys for
 * statistics that nobody reads costs a tenth of all time in the library, so the thread
 * that opens a store switches it off.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/base/kv.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <rocksdb/c.h>

#include "events/base/kv_backend.h"

#define FORMAT 1
#define FAMILIES_KEY "\0families"
#define FAMILIES_KEY_SIZE (sizeof(FAMILIES_KEY) - 1)
#define FAMILIES_VALUE_SIZE 12
#define FAMILIES_MAX 32 /* four, and what crashes during fills left over */
#define FAMILY_NAME_SIZE 32
#define CACHE_BYTES ((size_t)32 << 20)
#define FILL_BATCH_BYTES ((size_t)1 << 20)
#define READAHEAD_BYTES ((size_t)2 << 20)
/* Opening reads rows that were not flushed again, at some 50 MB a second. */
#define CLOSE_UNFLUSHED_MAX ((uint64_t)16 << 20)
#define CLOSE_PAUSES 400 /* of 5 ms: whoever ends the process waits 10 s at most */
#define OPEN_ATTEMPTS 10
#define OPEN_PAUSE_MS 20

static const char database_settings[] =
    "paranoid_checks=true;wal_recovery_mode=kTolerateCorruptedTailRecords;"
    "track_and_verify_wals_in_manifest=true;write_dbid_to_manifest=true;"
    "max_total_wal_size=50331648;max_open_files=-1;max_background_jobs=2;"
    "bytes_per_sync=1048576;info_log_level=HEADER_LEVEL;keep_log_file_num=5;"
    "max_manifest_file_size=4194304;stats_dump_period_sec=0;stats_persist_period_sec=0;"
    "max_bgerror_resume_count=0";

struct space_settings {
    const char *name;
    bool generations; /* of which one is active */
    const char *settings;
    size_t block_size;
    int bloom_bits; /* 0 = no filter */
};

static const struct space_settings space_settings[KV_SPACES] = {
    [KV_META] = {"default", false, "write_buffer_size=1048576;compression=kNoCompression",
                 4096, 0},
    [KV_LOG] = {"log", false,
                "write_buffer_size=16777216;max_write_buffer_number=3;"
                "compression=kLZ4Compression",
                16384, 0},
    [KV_RECEIPTS] = {"receipts", true,
                     "write_buffer_size=16777216;max_write_buffer_number=3;"
                     "compression=kLZ4Compression;memtable_whole_key_filtering=true;"
                     "memtable_prefix_bloom_size_ratio=0.1",
                     4096, 10},
    [KV_VIEWS] = {"views", true,
                  "write_buffer_size=16777216;max_write_buffer_number=3;"
                  "compression=kLZ4Compression;memtable_whole_key_filtering=true;"
                  "memtable_prefix_bloom_size_ratio=0.1",
                  4096, 10},
};

/* Names of families, in RocksDB's order. */
struct family_names {
    size_t count;
    char names[FAMILIES_MAX][FAMILY_NAME_SIZE];
};

/* An open database. A follower replaces its own by a newer one. */
struct database {
    rocksdb_t *db;
    rocksdb_column_family_handle_t *families[KV_SPACES];
    uint32_t generations[KV_SPACES]; /* 0 where there are none */
    struct family_names names;       /* of all families there were */
    bool met_drop;                   /* a secondary that cannot be closed */
};

struct rocks_kv {
    struct kv kv;
    char *path;
    enum kv_mode mode;
    rocksdb_cache_t *cache; /* shared by all families */
    rocksdb_readoptions_t *read;
    rocksdb_writeoptions_t *write;
    rocksdb_writeoptions_t *write_sync;
    rocksdb_writeoptions_t *write_fill; /* past the write-ahead log */
    rocksdb_writebatch_t *batch;
    struct database database;
};

struct kv_scan {
    const struct rocks_kv *rocks;
    rocksdb_readoptions_t *read;
    rocksdb_iterator_t *iterator;
    bool started;
};

struct kv_fill {
    struct kv_fill_base base;
    rocksdb_column_family_handle_t *family;
    uint32_t generation;
    rocksdb_writebatch_t *batch;
    size_t batch_bytes;
    int failed; /* the code of a put that failed, or 0 */
};

static struct rocks_kv *rocks_of(struct kv *kv)
{
    return (struct rocks_kv *)kv;
}

static int no_memory(struct error *err)
{
    return error_set(err, ERROR_NO_MEMORY, "out of memory for a store");
}

/* ---- errors ------------------------------------------------------------------------ */

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* A file that is missing is damage like any other. RocksDB asks for `.ldb` when it has not
 * found `.sst`, and names that. */
static int code_of_text(char *text)
{
    char *ldb = strstr(text, ".ldb");

    if (ldb) {
        ldb[1] = 's';
        ldb[2] = 's';
        ldb[3] = 't';
    }
    if (begins(text, "Corruption:") || strstr(text, "No such file or directory")) {
        return ERROR_CORRUPT;
    }
    if (strstr(text, "No space left on device") || strstr(text, "Disk quota exceeded")) {
        return ERROR_NO_SPACE;
    }
    if (strstr(text, "lock hold by current process") || strstr(text, "While lock file")) {
        return ERROR_LOCKED;
    }
    return ERROR_IO;
}

/* Turns RocksDB's text, if there is one, into our error and frees it. A text about damage
 * may quote keys, and keys may hold personal data: it is cut before the first quotation
 * mark. */
static int take_error(const struct rocks_kv *rocks, char **text, struct error *err)
{
    if (!*text) {
        return 0;
    }
    int code = code_of_text(*text);
    int length = (int)strcspn(*text, code == ERROR_CORRUPT ? "'\"\n" : "\n");

    if (code == ERROR_LOCKED) {
        (void)error_set(err, code, "%s: another process has the store open for writing",
                        rocks->path);
    } else {
        (void)error_set(err, code, "%s: %.*s", rocks->path, length, *text);
    }
    rocksdb_free(*text);
    *text = NULL;
    return code;
}

static int errno_error(const char *path, const char *what, struct error *err)
{
    int code = errno == ENOSPC || errno == EDQUOT ? ERROR_NO_SPACE : ERROR_IO;

    return error_set(err, code, "%s: %s: %s", path, what, strerror(errno));
}

/* ---- options ----------------------------------------------------------------------- */

/* What the settings' text says, on top of base, which it frees. */
static rocksdb_options_t *options_with(rocksdb_options_t *base, const char *settings)
{
    rocksdb_options_t *options = rocksdb_options_create();
    char *text = NULL;

    rocksdb_get_options_from_string(base, settings, options, &text);
    rocksdb_options_destroy(base);
    assert(!text); /* the settings are constants, known to suit the library */
    return options;
}

static rocksdb_options_t *database_options(void)
{
    return options_with(rocksdb_options_create(), database_settings);
}

static rocksdb_options_t *family_options(enum kv_space space, rocksdb_cache_t *cache)
{
    const struct space_settings *settings = &space_settings[space];
    rocksdb_options_t *options =
        options_with(rocksdb_options_create(), settings->settings);
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();

    rocksdb_block_based_options_set_block_size(table, settings->block_size);
    rocksdb_block_based_options_set_format_version(table, 5);
    rocksdb_block_based_options_set_block_cache(table, cache);
    if (settings->bloom_bits > 0) {
        rocksdb_block_based_options_set_filter_policy(
            table, rocksdb_filterpolicy_create_bloom(settings->bloom_bits)); /* taken */
    }
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
    return options;
}

/* ---- names of families ------------------------------------------------------------- */

static void family_name(enum kv_space space, uint32_t generation,
                        char ret_name[FAMILY_NAME_SIZE])
{
    if (space_settings[space].generations) {
        (void)snprintf(ret_name, FAMILY_NAME_SIZE, "%s.%u", space_settings[space].name,
                       (unsigned)generation);
    } else {
        (void)snprintf(ret_name, FAMILY_NAME_SIZE, "%s", space_settings[space].name);
    }
}

static bool parse_family_name(const char *name, enum kv_space *ret_space,
                              uint32_t *ret_generation)
{
    for (int i = 0; i < KV_SPACES; i++) {
        enum kv_space space = (enum kv_space)i;
        uint32_t generation = 0;
        char again[FAMILY_NAME_SIZE];

        if (space_settings[space].generations &&
            begins(name, space_settings[space].name)) {
            const char *dot = strchr(name, '.');

            generation = dot ? (uint32_t)strtoul(dot + 1, NULL, 10) : 0;
        }
        family_name(space, generation, again);
        if (strcmp(name, again) == 0) {
            *ret_space = space;
            *ret_generation = generation;
            return true;
        }
    }
    return false;
}

/* ---- folders ----------------------------------------------------------------------- */

/* Makes the folder's own entries last. */
static int sync_folder(const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return errno_error(path, "cannot open the folder", err);
    }
    int r = fsync(fd) == 0 ? 0 : errno_error(path, "cannot sync the folder", err);

    (void)close(fd); /* nothing was written through it */
    return r;
}

/* Removes a folder without subfolders. What cannot be removed stays: it is a temporary
 * folder. */
static void remove_temporary_folder(const char *path)
{
    DIR *folder = opendir(path);

    if (folder) {
        for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
                (void)unlinkat(dirfd(folder), entry->d_name, 0);
            }
        }
        (void)closedir(folder);
    }
    (void)rmdir(path);
}

/* 0, 1 = there is no store, or negative. */
static int find_store(const char *path, struct error *err)
{
    struct buf current = BUF_INIT;
    int r = 0;

    if (buf_printf(&current, "%s/CURRENT", path) < 0) {
        r = no_memory(err);
    } else if (access(buf_cstr(&current), F_OK) != 0) {
        r = errno == ENOENT ? 1 : errno_error(path, "cannot look for a store", err);
    }
    buf_release(&current);
    return r;
}

/* ---- opening ----------------------------------------------------------------------- */

/* The families of a database while it is opened; as many as it has names. */
struct families {
    enum kv_space spaces[FAMILIES_MAX];
    uint32_t generations[FAMILIES_MAX];
    rocksdb_options_t *options[FAMILIES_MAX];
    rocksdb_column_family_handle_t *handles[FAMILIES_MAX];
};

static void families_release(struct families *families)
{
    for (int i = 0; i < FAMILIES_MAX; i++) {
        if (families->options[i]) {
            rocksdb_options_destroy(families->options[i]);
        }
        if (families->handles[i]) {
            rocksdb_column_family_handle_destroy(families->handles[i]);
        }
    }
}

static int unknown_part(const struct rocks_kv *rocks, struct error *err)
{
    return error_set(err, ERROR_VERSION,
                     "%s: the store has parts that this version does not know",
                     rocks->path);
}

static int list_names(const struct rocks_kv *rocks, struct family_names *ret_names,
                      struct error *err)
{
    rocksdb_options_t *options = database_options();
    char *text = NULL;
    size_t count = 0;
    char **names = rocksdb_list_column_families(options, rocks->path, &count, &text);

    rocksdb_options_destroy(options);
    int r = take_error(rocks, &text, err);

    if (r < 0) {
        return r;
    }
    memset(ret_names, 0, sizeof(*ret_names));
    for (size_t i = 0; i < count && r == 0; i++) {
        if (i == FAMILIES_MAX || strlen(names[i]) >= FAMILY_NAME_SIZE) {
            r = unknown_part(rocks, err);
        } else {
            memcpy(ret_names->names[i], names[i], strlen(names[i]));
            ret_names->count++;
        }
    }
    rocksdb_list_column_families_destroy(names, count);
    return r;
}

/* Finds out what the names stand for. */
static int families_init(const struct rocks_kv *rocks, struct families *families,
                         const struct family_names *names, struct error *err)
{
    for (size_t i = 0; i < names->count; i++) {
        if (!parse_family_name(names->names[i], &families->spaces[i],
                               &families->generations[i])) {
            return unknown_part(rocks, err);
        }
        families->options[i] = family_options(families->spaces[i], rocks->cache);
    }
    return 0;
}

/* Makes the folder that RocksDB wants for a secondary's info log. Given: free() it. */
static int make_secondary_folder(char **ret_path, struct error *err)
{
    const char *parent = getenv("TMPDIR");
    struct buf path = BUF_INIT;

    if (!parent || parent[0] == '\0') {
        parent = "/tmp";
    }
    if (buf_printf(&path, "%s/kinlog-follow-XXXXXX", parent) < 0) {
        buf_release(&path);
        return no_memory(err);
    }
    (void)buf_cstr(&path); /* has room for the NUL, so it cannot fail */
    if (!mkdtemp((char *)path.data)) {
        int r = errno_error(parent, "cannot make a temporary folder", err);

        buf_release(&path);
        return r;
    }
    *ret_path = (char *)path.data;
    return 0;
}

/* A secondary's folder is removed at once: the log in it stays open, nobody reads it, and
 * a reader that is killed leaves nothing behind. */
static int open_families(const struct rocks_kv *rocks, bool create,
                         struct families *families, struct database *database,
                         struct error *err)
{
    rocksdb_options_t *options = database_options();
    const char *names[FAMILIES_MAX];
    const rocksdb_options_t *const *each =
        (const rocksdb_options_t *const *)families->options;
    int count = (int)database->names.count;
    char *folder = NULL;
    char *text = NULL;
    int r = rocks->mode == KV_FOLLOW ? make_secondary_folder(&folder, err) : 0;

    if (r < 0) {
        rocksdb_options_destroy(options);
        return r;
    }
    for (int i = 0; i < count; i++) {
        names[i] = database->names.names[i];
    }
    rocksdb_options_set_create_if_missing(options, create);
    rocksdb_options_set_create_missing_column_families(options, create);
    rocksdb_options_set_error_if_exists(options, create);
    if (rocks->mode == KV_READ_ONLY) {
        database->db = rocksdb_open_for_read_only_column_families(
            options, rocks->path, count, names, each, families->handles,
            /* error_if_wal_file_exists= */ 0, &text);
    } else if (folder) {
        database->db = rocksdb_open_as_secondary_column_families(
            options, rocks->path, folder, count, names, each, families->handles, &text);
        remove_temporary_folder(folder);
        free(folder);
    } else {
        database->db = rocksdb_open_column_families(options, rocks->path, count, names,
                                                    each, families->handles, &text);
    }
    rocksdb_options_destroy(options);
    r = take_error(rocks, &text, err);
    if (r < 0) {
        memset(families->handles, 0, sizeof(families->handles));
        database->db = NULL;
    }
    return r;
}

/* Reads which generations count. */
static int read_generations(const struct rocks_kv *rocks, rocksdb_t *db,
                            rocksdb_column_family_handle_t *meta,
                            uint32_t ret_generations[KV_SPACES], struct error *err)
{
    char *text = NULL;
    size_t size = 0;
    char *value = rocksdb_get_cf(db, rocks->read, meta, FAMILIES_KEY, FAMILIES_KEY_SIZE,
                                 &size, &text);
    int r = take_error(rocks, &text, err);

    if (r < 0) {
        return r;
    }
    uint32_t format = value && size >= 4 ? read_u32be((uint8_t *)value) : 0;

    if (format == 0 || (format == FORMAT && size != FAMILIES_VALUE_SIZE)) {
        r = error_set(err, ERROR_CORRUPT,
                      "%s: the store does not say which of its parts count", rocks->path);
    } else if (format != FORMAT) {
        r = error_set(err, ERROR_VERSION,
                      "%s: the store has format %u, this version knows only %d",
                      rocks->path, (unsigned)format, FORMAT);
    } else {
        memset(ret_generations, 0, sizeof(uint32_t) * KV_SPACES);
        ret_generations[KV_RECEIPTS] = read_u32be((uint8_t *)value + 4);
        ret_generations[KV_VIEWS] = read_u32be((uint8_t *)value + 8);
    }
    rocksdb_free(value);
    return r;
}

static int write_generations(const struct rocks_kv *rocks, rocksdb_t *db,
                             rocksdb_column_family_handle_t *meta,
                             const uint32_t generations[KV_SPACES], struct error *err)
{
    uint8_t value[FAMILIES_VALUE_SIZE];
    char *text = NULL;

    write_u32be(value, FORMAT);
    write_u32be(value + 4, generations[KV_RECEIPTS]);
    write_u32be(value + 8, generations[KV_VIEWS]);
    rocksdb_put_cf(db, rocks->write_sync, meta, FAMILIES_KEY, FAMILIES_KEY_SIZE,
                   (const char *)value, sizeof(value), &text);
    return take_error(rocks, &text, err);
}

/* Takes the handles of the families that count; drops the others if the store may be
 * written. */
static int choose_families(const struct rocks_kv *rocks, struct families *families,
                           struct database *database, struct error *err)
{
    rocksdb_column_family_handle_t *meta = NULL;

    for (size_t i = 0; i < database->names.count; i++) {
        if (families->spaces[i] == KV_META) {
            meta = families->handles[i]; /* RocksDB opens nothing without `default` */
        }
    }
    int r = read_generations(rocks, database->db, meta, database->generations, err);

    for (size_t i = 0; i < database->names.count && r == 0; i++) {
        enum kv_space space = families->spaces[i];

        if (families->generations[i] == database->generations[space]) {
            database->families[space] = families->handles[i];
            families->handles[i] = NULL;
        } else if (rocks->mode == KV_READ_WRITE) {
            char *text = NULL;

            rocksdb_drop_column_family(database->db, families->handles[i], &text);
            r = take_error(rocks, &text, err);
        }
    }
    for (int space = 0; space < KV_SPACES && r == 0; space++) {
        if (!database->families[space]) {
            r = error_set(err, ERROR_CORRUPT, "%s: the store lacks its part `%s`",
                          rocks->path, space_settings[space].name);
        }
    }
    return r;
}

static void database_close(struct database *database)
{
    for (int space = 0; space < KV_SPACES && !database->met_drop; space++) {
        if (database->families[space]) {
            rocksdb_column_family_handle_destroy(database->families[space]);
        }
    }
    if (database->db && !database->met_drop) {
        rocksdb_close(database->db);
    }
    memset(database, 0, sizeof(*database));
}

static int database_open_once(const struct rocks_kv *rocks, struct database *ret_database,
                              struct error *err)
{
    struct families families = {.handles = {NULL}};
    struct database database = {.db = NULL};
    int r = list_names(rocks, &database.names, err);

    if (r == 0) {
        r = families_init(rocks, &families, &database.names, err);
    }
    if (r == 0) {
        r = open_families(rocks, /* create= */ false, &families, &database, err);
    }
    if (r == 0) {
        r = choose_families(rocks, &families, &database, err);
    }
    families_release(&families);
    if (r < 0) {
        database_close(&database);
        return r;
    }
    *ret_database = database;
    return 0;
}

/* Which manifest counts, and how long it is; all zero if that cannot be said, which the
 * opening reports better. */
struct manifest {
    char name[64];
    off_t size;
};

static struct manifest look_at_manifest(const char *path)
{
    struct manifest manifest = {.size = 0};
    struct stat file;
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int current = folder < 0 ? -1 : openat(folder, "CURRENT", O_RDONLY | O_CLOEXEC);
    ssize_t size =
        current < 0 ? -1 : read(current, manifest.name, sizeof(manifest.name) - 1);

    if (size > 0) {
        manifest.name[strcspn(manifest.name, "\n")] = '\0';
        if (fstatat(folder, manifest.name, &file, 0) == 0) {
            manifest.size = file.st_size;
        }
    }
    if (current >= 0) {
        (void)close(current);
    }
    if (folder >= 0) {
        (void)close(folder);
    }
    return manifest;
}

static int open_undisturbed(const struct rocks_kv *rocks, struct database *ret_database,
                            struct error *err)
{
    struct manifest before = look_at_manifest(rocks->path);
    int r = database_open_once(rocks, ret_database, err);

    if (r < 0 || rocks->mode == KV_READ_WRITE) {
        return r;
    }
    struct manifest after = look_at_manifest(rocks->path);

    if (before.size == after.size && strcmp(before.name, after.name) == 0) {
        return 0;
    }
    database_close(ret_database);
    return error_set(err, ERROR_IO, "%s: the writer replaces files too often to be read",
                     rocks->path);
}

/* A reader may meet files that the writer replaces at this moment: it looks again. */
static int database_open(const struct rocks_kv *rocks, struct database *ret_database,
                         struct error *err)
{
    const struct timespec pause = {0, OPEN_PAUSE_MS * 1000000L};
    int attempts = rocks->mode == KV_READ_WRITE ? 1 : OPEN_ATTEMPTS;

    for (int attempt = 1;; attempt++) {
        struct error own = {.code = 0};
        int r = open_undisturbed(rocks, ret_database, &own);

        if (r == 0) {
            return 0;
        }
        /* ERROR_INVALID: a family that was listed has been dropped since. */
        bool transient = r == ERROR_IO || r == ERROR_CORRUPT || r == ERROR_INVALID;
        if (attempt == attempts || !transient) {
            return error_set(err, r, "%s", own.text);
        }
        (void)nanosleep(&pause, NULL); /* a shorter pause does no harm */
    }
}

/* ---- creating ---------------------------------------------------------------------- */

/* Makes a whole store in rocks->path, which is an empty folder. */
static int create_database(const struct rocks_kv *rocks, struct error *err)
{
    static const uint32_t generations[KV_SPACES] = {[KV_RECEIPTS] = 1, [KV_VIEWS] = 1};
    struct families families = {.handles = {NULL}};
    struct database database = {.names = {.count = KV_SPACES}};

    for (int space = 0; space < KV_SPACES; space++) {
        family_name((enum kv_space)space, generations[space],
                    database.names.names[space]);
    }
    int r = families_init(rocks, &families, &database.names, err);

    if (r == 0) {
        r = open_families(rocks, /* create= */ true, &families, &database, err);
    }
    if (r == 0) {
        r = write_generations(rocks, database.db, families.handles[KV_META], generations,
                              err);
    }
    families_release(&families);
    database_close(&database);
    return r;
}

/* Makes the folder for create_database(), without what an interrupted creation left
 * there. */
static int make_staging_folder(const char *staging, struct error *err)
{
    if (mkdir(staging, 0750) == 0) {
        return 0;
    }
    if (errno != EEXIST) {
        return errno_error(staging, "cannot make the folder", err);
    }
    rocksdb_options_t *options = rocksdb_options_create();
    char *text = NULL;

    rocksdb_destroy_db(options, staging,
                       &text); /* removes RocksDB's files and no others */
    rocksdb_options_destroy(options);
    rocksdb_free(text); /* whether it went well is seen below */
    if (rmdir(staging) != 0 && errno != ENOENT) {
        return errno_error(
            staging, "the rest of an earlier attempt is in the way; remove it", err);
    }
    return mkdir(staging, 0750) == 0
               ? 0
               : errno_error(staging, "cannot make the folder", err);
}

static int rename_store(const char *staging, const char *path, struct error *err)
{
    if (rename(staging, path) != 0) {
        if (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR) {
            return error_set(err, ERROR_CONFLICT, "%s: is there already and not empty",
                             path);
        }
        return errno_error(path, "cannot rename the new store to this", err);
    }
    struct buf parent = BUF_INIT;

    if (buf_printf(&parent, "%s/..", path) < 0) {
        return no_memory(err);
    }
    int r = sync_folder(buf_cstr(&parent), err);

    buf_release(&parent);
    return r;
}

static int create_store(struct rocks_kv *rocks, struct error *err)
{
    int r = find_store(rocks->path, err);
    struct buf staging = BUF_INIT;
    char *path = rocks->path;

    if (r <= 0) {
        return r < 0 ? r
                     : error_set(err, ERROR_CONFLICT, "%s: a store is there already",
                                 rocks->path);
    }
    if (buf_printf(&staging, "%s.new", path) < 0) {
        buf_release(&staging);
        return no_memory(err);
    }
    const char *staging_path = buf_cstr(&staging);

    r = make_staging_folder(staging_path, err);
    if (r == 0) {
        rocks->path = (char *)staging.data;
        r = create_database(rocks, err);
        rocks->path = path;
    }
    if (r == 0) {
        r = rename_store(staging_path, path, err);
    }
    buf_release(&staging);
    return r;
}

/* ---- reading ----------------------------------------------------------------------- */

static int rocks_get(struct kv *kv, enum kv_space space, struct bytes key,
                     struct buf *value, struct error *err)
{
    struct rocks_kv *rocks = rocks_of(kv);
    char *text = NULL;
    rocksdb_pinnableslice_t *slice = rocksdb_get_pinned_cf(
        rocks->database.db, rocks->read, rocks->database.families[space],
        (const char *)key.data, key.size, &text);
    int r = take_error(rocks, &text, err);

    if (r < 0) {
        return r;
    }
    if (!slice) {
        return 1;
    }
    size_t size = 0;
    const char *data = rocksdb_pinnableslice_value(slice, &size);

    if (buf_append(value, data, size) < 0) {
        r = no_memory(err);
    }
    rocksdb_pinnableslice_destroy(slice);
    return r;
}

/* An iterator that has become invalid is at the end, or has met damage; only this tells.
 * */
static int iterator_error(const struct rocks_kv *rocks,
                          const rocksdb_iterator_t *iterator, struct error *err)
{
    char *text = NULL;

    rocksdb_iter_get_error(iterator, &text);
    return take_error(rocks, &text, err);
}

static int rocks_last_key(struct kv *kv, enum kv_space space, struct buf *ret_key,
                          struct error *err)
{
    struct rocks_kv *rocks = rocks_of(kv);
    rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(
        rocks->database.db, rocks->read, rocks->database.families[space]);
    int r = 1;

    rocksdb_iter_seek_to_last(iterator);
    if (rocksdb_iter_valid(iterator)) {
        size_t size = 0;
        const char *key = rocksdb_iter_key(iterator, &size);

        r = buf_append(ret_key, key, size) < 0 ? no_memory(err) : 0;
    } else {
        int failed = iterator_error(rocks, iterator, err);

        r = failed < 0 ? failed : 1;
    }
    rocksdb_iter_destroy(iterator);
    return r;
}

/* 0, 1 = there are other families than when the database was opened, or negative. */
static int names_changed(const struct rocks_kv *rocks, struct error *err)
{
    struct family_names names;
    int r = list_names(rocks, &names, err);

    if (r < 0) {
        return r;
    }
    return memcmp(&names, &rocks->database.names, sizeof(names)) != 0;
}

/* 0, 1 = it cannot be done with this database, or negative. */
static int catch_up(struct rocks_kv *rocks, struct error *err)
{
    struct database *database = &rocks->database;
    uint32_t generations[KV_SPACES];
    char *text = NULL;
    int r = names_changed(rocks, err);

    if (r != 0) {
        return r;
    }
    rocksdb_try_catch_up_with_primary(database->db, &text);
    r = take_error(rocks, &text, err);
    if (names_changed(rocks, err) != 0) {
        database->met_drop = true; /* or may have */
        return 1;
    }
    if (r == 0) {
        r = read_generations(rocks, database->db, database->families[KV_META],
                             generations, err);
    }
    if (r == 0) {
        r = memcmp(generations, database->generations, sizeof(generations)) != 0;
    }
    return r;
}

static int rocks_refresh(struct kv *kv, struct error *err)
{
    struct rocks_kv *rocks = rocks_of(kv);
    struct error passing = {.code = 0};
    struct database newer;

    if (rocks->mode != KV_FOLLOW) {
        return 0;
    }
    if (kv->cursors > 0) {
        return error_set(err, ERROR_USAGE,
                         "a store with open cursors cannot be refreshed");
    }
    if (catch_up(rocks, &passing) == 0) {
        return 0;
    }
    /* Other families, or files that the writer removed before they were read: opening
     * helps. */
    int r = database_open(rocks, &newer, err);

    if (r == 0) {
        database_close(&rocks->database);
        rocks->database = newer;
    }
    return r;
}

/* The iterator keeps what it sees alive; a family dropped meanwhile can still be read. */
static int rocks_scan_open(struct kv *kv, enum kv_space space, struct bytes from,
                           struct bytes to, struct kv_scan **ret_scan, struct error *err)
{
    struct rocks_kv *rocks = rocks_of(kv);
    struct kv_scan *scan = malloc(sizeof(*scan));

    if (!scan) {
        return no_memory(err);
    }
    scan->rocks = rocks;
    scan->started = false;
    scan->read = rocksdb_readoptions_create();
    if (to.data) {
        rocksdb_readoptions_set_iterate_upper_bound(scan->read, (const char *)to.data,
                                                    to.size);
    } else {
        /* A scan to the end is a long one: it must not push the views out of the cache.
         * */
        rocksdb_readoptions_set_fill_cache(scan->read, 0);
        rocksdb_readoptions_set_readahead_size(scan->read, READAHEAD_BYTES);
    }
    scan->iterator = rocksdb_create_iterator_cf(rocks->database.db, scan->read,
                                                rocks->database.families[space]);
    rocksdb_iter_seek(scan->iterator, (const char *)from.data, from.size);
    *ret_scan = scan;
    return 0;
}

static int rocks_scan_next(struct kv_scan *scan, struct bytes *ret_key,
                           struct bytes *ret_value, struct error *err)
{
    if (scan->started && rocksdb_iter_valid(scan->iterator)) {
        rocksdb_iter_next(scan->iterator);
    }
    scan->started = true;
    if (!rocksdb_iter_valid(scan->iterator)) {
        int r = iterator_error(scan->rocks, scan->iterator, err);

        return r < 0 ? r : 1;
    }
    size_t key_size = 0;
    size_t value_size = 0;
    const char *key = rocksdb_iter_key(scan->iterator, &key_size);
    const char *value = rocksdb_iter_value(scan->iterator, &value_size);

    *ret_key = bytes_of(key, key_size);
    *ret_value = bytes_of(value, value_size);
    return 0;
}

static void rocks_scan_close(struct kv_scan *scan)
{
    rocksdb_iter_destroy(scan->iterator);
    rocksdb_readoptions_destroy(scan->read);
    free(scan);
}

/* ---- writing ----------------------------------------------------------------------- */

static int rocks_apply(struct kv *kv, struct ordered_map changes[KV_SPACES], bool sync,
                       struct error *err)
{
    struct rocks_kv *rocks = rocks_of(kv);
    char *text = NULL;

    rocksdb_writebatch_clear(rocks->batch);
    for (int space = 0; space < KV_SPACES; space++) {
        rocksdb_column_family_handle_t *family = rocks->database.families[space];

        for (const struct ordered_entry *change = changes[space].head[0]; change;
             change = change->next[0]) {
            const char *key = (const char *)change->key.data;

            if (change->value) {
                rocksdb_writebatch_put_cf(rocks->batch, family, key, change->key.size,
                                          (const char *)change->value,
                                          change->value_size);
            } else {
                rocksdb_writebatch_delete_cf(rocks->batch, family, key, change->key.size);
            }
        }
    }
    rocksdb_write(rocks->database.db, sync ? rocks->write_sync : rocks->write,
                  rocks->batch, &text);
    return take_error(rocks, &text, err);
}

static int rocks_fill_begin(struct kv *kv, enum kv_space space, struct kv_fill **ret_fill,
                            struct error *err)
{
    struct rocks_kv *rocks = rocks_of(kv);
    struct kv_fill *fill = calloc(1, sizeof(*fill));

    if (!fill) {
        return no_memory(err);
    }
    rocksdb_options_t *options = family_options(space, rocks->cache);
    char name[FAMILY_NAME_SIZE];
    char *text = NULL;

    fill->generation = rocks->database.generations[space] + 1;
    family_name(space, fill->generation, name);
    fill->family = rocksdb_create_column_family(rocks->database.db, options, name, &text);
    rocksdb_options_destroy(options);
    int r = take_error(rocks, &text, err);

    if (r < 0) {
        free(fill);
        return r;
    }
    fill->batch = rocksdb_writebatch_create();
    *ret_fill = fill;
    return 0;
}

static int fill_write(struct kv_fill *fill, struct error *err)
{
    struct rocks_kv *rocks = rocks_of(fill->base.kv);
    char *text = NULL;

    rocksdb_write(rocks->database.db, rocks->write_fill, fill->batch, &text);
    rocksdb_writebatch_clear(fill->batch);
    fill->batch_bytes = 0;
    return take_error(rocks, &text, err);
}

static int rocks_fill_put(struct kv_fill *fill, struct bytes key, struct bytes value,
                          struct error *err)
{
    if (fill->failed) {
        return error_set(err, fill->failed, "an earlier row could not be written");
    }
    rocksdb_writebatch_put_cf(fill->batch, fill->family, (const char *)key.data, key.size,
                              (const char *)value.data, value.size);
    fill->batch_bytes += key.size + value.size;
    if (fill->batch_bytes >= FILL_BATCH_BYTES) {
        fill->failed = fill_write(fill, err);
    }
    return fill->failed;
}

static void drop_family(struct rocks_kv *rocks, rocksdb_column_family_handle_t *family)
{
    char *text = NULL;

    rocksdb_drop_column_family(rocks->database.db, family, &text);
    rocksdb_free(text); /* what stays is dropped when the store is opened next */
    rocksdb_column_family_handle_destroy(family);
}

static void fill_free(struct kv_fill *fill)
{
    rocksdb_writebatch_destroy(fill->batch);
    free(fill);
}

static void rocks_fill_abandon(struct kv_fill *fill)
{
    drop_family(rocks_of(fill->base.kv), fill->family);
    fill_free(fill);
}

static int flush_family(const struct rocks_kv *rocks,
                        rocksdb_column_family_handle_t *family, bool wait,
                        struct error *err)
{
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    char *text = NULL;

    rocksdb_flushoptions_set_wait(options, wait);
    rocksdb_flush_cf(rocks->database.db, options, family, &text);
    rocksdb_flushoptions_destroy(options);
    return take_error(rocks, &text, err);
}

/* Writes and flushes what is left; afterwards the generation is whole on disk. */
static int fill_complete(struct kv_fill *fill, struct error *err)
{
    struct rocks_kv *rocks = rocks_of(fill->base.kv);

    if (fill->failed) {
        return error_set(err, fill->failed, "a row could not be written");
    }
    int r = fill_write(fill, err);

    if (r < 0) {
        return r;
    }
    return flush_family(rocks, fill->family, /* wait= */ true, err);
}

static int rocks_fill_finish(struct kv_fill *fill, struct error *err)
{
    struct rocks_kv *rocks = rocks_of(fill->base.kv);
    struct database *database = &rocks->database;
    enum kv_space space = fill->base.space;
    uint32_t generations[KV_SPACES];
    int r = fill_complete(fill, err);

    if (r < 0) {
        rocks_fill_abandon(fill);
        return r;
    }
    memcpy(generations, database->generations, sizeof(generations));
    generations[space] = fill->generation;
    r = write_generations(rocks, database->db, database->families[KV_META], generations,
                          err);
    if (r < 0) {
        /* Which generation counts is open: both stay until the store is opened anew. */
        rocksdb_column_family_handle_destroy(fill->family);
        fill_free(fill);
        return r;
    }
    rocksdb_column_family_handle_t *old = database->families[space];

    database->families[space] = fill->family;
    database->generations[space] = fill->generation;
    drop_family(rocks, old);
    fill_free(fill);
    return 0;
}

/* ---- life -------------------------------------------------------------------------- */

static uint64_t sum_of(const struct database *database, const char *property)
{
    uint64_t sum = 0, value;

    for (int space = 0; space < KV_SPACES; space++) {
        if (rocksdb_property_int_cf(database->db, database->families[space], property,
                                    &value) == 0) {
            sum += value;
        }
    }
    return sum;
}

/* Saves the next opening the time. A store where this fails, or takes too long, has its
 * log of writes, as after a crash. */
static void flush_much(const struct rocks_kv *rocks)
{
    const struct timespec pause = {.tv_nsec = 5000000};
    const struct database *database = &rocks->database;

    if (!rocks->kv.writable || rocks->kv.failed || !database->db ||
        sum_of(database, "rocksdb.cur-size-all-mem-tables") <= CLOSE_UNFLUSHED_MAX) {
        return;
    }
    for (int space = 0; space < KV_SPACES; space++) {
        if (flush_family(rocks, database->families[space], /* wait= */ false, NULL) < 0) {
            return;
        }
    }
    for (int i = 0;
         i < CLOSE_PAUSES && sum_of(database, "rocksdb.num-immutable-mem-table") > 0 &&
         sum_of(database, "rocksdb.background-errors") == 0;
         i++) {
        (void)nanosleep(&pause, NULL);
    }
}

static void rocks_close(struct kv *kv)
{
    struct rocks_kv *rocks = rocks_of(kv);

    flush_much(rocks);
    rocksdb_writebatch_destroy(rocks->batch);
    database_close(&rocks->database);
    rocksdb_readoptions_destroy(rocks->read);
    rocksdb_writeoptions_destroy(rocks->write);
    rocksdb_writeoptions_destroy(rocks->write_sync);
    rocksdb_writeoptions_destroy(rocks->write_fill);
    rocksdb_cache_destroy(rocks->cache);
    free(rocks->path);
    free(rocks);
}

static const struct kv_ops rocks_ops = {
    .get = rocks_get,
    .last_key = rocks_last_key,
    .refresh = rocks_refresh,
    .close = rocks_close,
    .scan_open = rocks_scan_open,
    .scan_next = rocks_scan_next,
    .scan_close = rocks_scan_close,
    .apply = rocks_apply,
    .fill_begin = rocks_fill_begin,
    .fill_put = rocks_fill_put,
    .fill_finish = rocks_fill_finish,
    .fill_abandon = rocks_fill_abandon,
};

static struct rocks_kv *rocks_new(const char *path, enum kv_mode mode)
{
    struct rocks_kv *rocks = calloc(1, sizeof(*rocks));
    char *copy = strdup(path);

    if (!rocks || !copy) {
        free(rocks);
        free(copy);
        return NULL;
    }
    for (size_t size = strlen(copy); size > 1 && copy[size - 1] == '/'; size--) {
        copy[size - 1] = '\0'; /* `<path>.new` must be beside it, not inside */
    }
    rocks->kv.ops = &rocks_ops;
    rocks->kv.writable = mode == KV_CREATE || mode == KV_READ_WRITE;
    rocks->path = copy;
    rocks->mode = mode;
    rocks->cache = rocksdb_cache_create_lru(CACHE_BYTES);
    rocks->read = rocksdb_readoptions_create();
    rocks->write = rocksdb_writeoptions_create();
    rocks->write_sync = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(rocks->write_sync, 1);
    rocks->write_fill = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(rocks->write_fill, 1);
    rocks->batch = rocksdb_writebatch_create();
    return rocks;
}

static int rocks_open(struct rocks_kv *rocks, struct error *err)
{
    if (rocks->mode == KV_CREATE) {
        int r = create_store(rocks, err);

        if (r < 0) {
            return r;
        }
        rocks->mode = KV_READ_WRITE;
    }
    int r = find_store(rocks->path, err);

    if (r > 0) {
        return error_set(err, ERROR_NOT_FOUND, "%s: no store is there", rocks->path);
    }
    return r < 0 ? r : database_open(rocks, &rocks->database, err);
}

int kv_open_rocksdb(const char *path, enum kv_mode mode, struct kv **ret_kv,
                    struct error *err)
{
    struct rocks_kv *rocks = rocks_new(path, mode);

    if (!rocks) {
        return no_memory(err);
    }
    rocksdb_set_perf_level(rocksdb_disable);
    int r = rocks_open(rocks, err);

    if (r < 0) {
        rocks_close(&rocks->kv);
        return r;
    }
    *ret_kv = &rocks->kv;
    return 0;
}
