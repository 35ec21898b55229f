/* sweep.c - flips one bit at each of many places of a data folder and looks at what the
 * program makes of it: what is served must be exactly right, or refused with the place
 * named.
 *
 *     sweep CONFIG FOLDER WORK PLACES SEED JOBS [SOURCE ID ...]
 *
 * FOLDER is a sound data folder, CONFIG its configuration, WORK an empty folder for
 * copies; SOURCE and ID are commands whose receipts are asked for. Places are spread
 * evenly over the files for one half and evenly over the bytes for the other, so that
 * small files are hit as well.
 *
 * At each place, `verify`, `list`, `log` and `show` are run on the damaged folder; then
 * its stores are opened for writing, as the agent does, and all are run again. For each
 * place a line of JSON is printed: Place, File, Offset, Bit, Result ("right" or
 * "refused", or what is wrong), Damage (the words of `verify`).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/cli/cli.h"
#include "agent/shard/core.h"
#include "agent/shard/store.h"

#define FILES_MAX 400
#define COMMANDS_MAX 16
#define WORDS_MAX 16
#define SHARDS_MAX 16
#define NAME_SIZE 512
#define FIRST "as found"
#define LETTERS_MAX 400 /* of what a command said, in a report */

struct file {
    char name[NAME_SIZE]; /* below the data folder */
    size_t size;
};

struct command {
    const char *words[4];
    size_t count;
    bool again;       /* asked once more when the stores were opened for writing */
    struct buf right; /* what it prints of the sound folder */
};

struct place {
    const struct file *file;
    size_t offset;
    unsigned bit;
};

struct sweep {
    char *config;
    const char *folder, *work;
    uint64_t seed;
    struct file files[FILES_MAX];
    size_t file_count, bytes;
    struct command commands[COMMANDS_MAX];
    size_t command_count;
};

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "sweep: %s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

/* ---- files ------------------------------------------------------------------------- */

/* RocksDB's info logs are never read. */
static bool is_left_out(const char *name)
{
    return name[0] == '.' || strncmp(name, "LOG", 3) == 0;
}

static void list_files(struct sweep *sweep, const char *below)
{
    char path[PATH_MAX], name[NAME_SIZE];
    snprintf(path, sizeof path, "%s/%s", sweep->folder, below);
    DIR *folder = opendir(path);
    struct stat status;

    if (folder == NULL)
        fail("cannot read", path);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (is_left_out(entry->d_name))
            continue;
        snprintf(name, sizeof name, "%.200s%s%.200s", below, below[0] ? "/" : "",
                 entry->d_name);
        snprintf(path, sizeof path, "%s/%s", sweep->folder, name);
        if (stat(path, &status) != 0)
            fail("cannot read", path);
        if (S_ISDIR(status.st_mode)) {
            list_files(sweep, name);
        } else if (status.st_size > 0 && sweep->file_count < FILES_MAX) {
            struct file *file = &sweep->files[sweep->file_count++];
            snprintf(file->name, sizeof file->name, "%s", name);
            file->size = (size_t)status.st_size;
            sweep->bytes += file->size;
        }
    }
    closedir(folder);
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name);
}

static void copy_file(const char *from, const char *to)
{
    struct stat status;
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    if (in < 0 || out < 0 || fstat(in, &status) != 0)
        fail("cannot copy", from);
    for (off_t left = status.st_size; left > 0;) {
        ssize_t size = copy_file_range(in, NULL, out, NULL, (size_t)left, 0);
        if (size <= 0)
            fail("cannot copy", from);
        left -= size;
    }
    close(in);
    close(out);
}

/* Removes what is there before. */
static void copy_folder(const char *from, const char *to)
{
    char a[PATH_MAX], b[PATH_MAX];
    struct stat status;
    DIR *folder;

    if ((folder = opendir(to)) != NULL) {
        for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
            snprintf(b, sizeof b, "%.3000s/%s", to, entry->d_name);
            if (entry->d_name[0] != '.' && lstat(b, &status) == 0 &&
                !S_ISDIR(status.st_mode))
                unlink(b);
        }
        closedir(folder);
    }
    mkdir(to, 0700);
    if ((folder = opendir(from)) == NULL)
        fail("cannot read", from);
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        if (is_left_out(entry->d_name))
            continue;
        snprintf(a, sizeof a, "%.3000s/%s", from, entry->d_name);
        snprintf(b, sizeof b, "%.3000s/%s", to, entry->d_name);
        if (stat(a, &status) == 0 && S_ISDIR(status.st_mode))
            copy_folder(a, b);
        else
            copy_file(a, b);
    }
    closedir(folder);
}

/* ---- places ------------------------------------------------------------------------ */

static uint64_t mix(uint64_t x) /* splitmix64 */
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static struct place place_of(const struct sweep *sweep, unsigned number)
{
    uint64_t a = mix(sweep->seed * 1000003 + number), b = mix(a), c = mix(b);
    struct place place = {.bit = (unsigned)(c % 8)};

    if (a % 2 == 0) {
        place.file = &sweep->files[b % sweep->file_count];
        place.offset = (c >> 8) % place.file->size;
        return place;
    }
    size_t at = b % sweep->bytes;
    for (place.file = sweep->files; at >= place.file->size; place.file++)
        at -= place.file->size;
    place.offset = at;
    return place;
}

static void flip(int fd, const struct place *place)
{
    uint8_t byte;

    if (pread(fd, &byte, 1, (off_t)place->offset) != 1)
        fail("cannot read", place->file->name);
    byte ^= (uint8_t)(1u << place->bit);
    if (pwrite(fd, &byte, 1, (off_t)place->offset) != 1)
        fail("cannot write", place->file->name);
}

/* ---- commands ---------------------------------------------------------------------- */

struct outcome {
    bool crashed;
    int code;
    struct buf out, err;
};

static void outcome_release(struct outcome *outcome)
{
    buf_release(&outcome->out);
    buf_release(&outcome->err);
}

static void take_text(int fd, struct buf *ret_text)
{
    struct stat status;

    buf_clear(ret_text);
    if (fstat(fd, &status) == 0 && status.st_size > 0) {
        void *text = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (text == MAP_FAILED || buf_append(ret_text, text, (size_t)status.st_size) != 0)
            fail("cannot read", "what a command printed");
        munmap(text, (size_t)status.st_size);
    }
    close(fd);
}

/* Runs call(context) in a process of its own. */
static struct outcome run(int (*call)(void *context), void *context)
{
    struct outcome outcome = {.out = BUF_INIT, .err = BUF_INIT};
    int out = memfd_create("out", 0), err = memfd_create("err", 0), status = 0;

    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        int code = call(context);
        fflush(NULL);
        _exit(code);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        fail("cannot run", "a command");
    outcome.crashed = !WIFEXITED(status);
    outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
    take_text(out, &outcome.out);
    take_text(err, &outcome.err);
    return outcome;
}

struct call {
    const struct sweep *sweep;
    const struct command *command;
    const char *folder;
};

static int call_program(void *context)
{
    const struct call *call = context;
    char program[] = "kinlog", config[] = "--config", set[] = "-X", data[PATH_MAX];
    char *words[WORDS_MAX] = {program};
    int count = 1;

    snprintf(data, sizeof data, "agent.data_dir=%.3000s", call->folder);
    for (size_t i = 0; i < call->command->count; i++)
        words[count++] = (char *)call->command->words[i];
    words[count++] = config;
    words[count++] = call->sweep->config;
    words[count++] = set;
    words[count++] = data;
    return cli_main(count, words);
}

/* What the agent does with its folder before it asks a broker. */
static int call_opening(void *context)
{
    const struct call *call = context;
    struct store_folder *folder = NULL;
    struct error err = {0};
    int code = store_folder_open(call->folder, /* writing= */ true, &folder, &err);

    for (uint32_t shard = 0; code == 0 && shard < folder->identity.shards; shard++) {
        struct core_settings settings = {.identity = store_identity(folder, shard),
                                         .site_key = folder->site_key,
                                         .commands_topic = "c",
                                         .replies_topic = "r"};
        struct error own = {0};
        struct core *core = NULL;
        struct kv *kv = NULL;
        if (store_open_shard(folder, shard, KV_READ_WRITE, &kv, &own) == 0)
            (void)core_open(kv, &settings, &core, &own);
        if (own.code != 0)
            fprintf(stderr, "%s\n", own.text);
        core_close(core);
        kv_close(kv);
    }
    if (code != 0)
        fprintf(stderr, "%s\n", err.text);
    store_folder_close(folder);
    return code != 0;
}

static void add_command(struct sweep *sweep, bool again, const char *a, const char *b,
                        const char *c, const char *d)
{
    struct command *command = &sweep->commands[sweep->command_count++];
    const char *words[] = {a, b, c, d};

    command->again = again;
    for (size_t i = 0; i < 4 && words[i] != NULL; i++)
        command->words[command->count++] = words[i];
}

static void learn_right(struct sweep *sweep)
{
    for (size_t i = 0; i < sweep->command_count; i++) {
        struct call call = {sweep, &sweep->commands[i], sweep->folder};
        struct outcome outcome = run(call_program, &call);
        if (outcome.crashed || outcome.code != 0) {
            fprintf(stderr, "sweep: %s of the sound folder ends with %d: %s%s\n",
                    call.command->words[0], outcome.code, buf_cstr(&outcome.out),
                    buf_cstr(&outcome.err));
            exit(1);
        }
        sweep->commands[i].right = outcome.out;
        buf_release(&outcome.err);
    }
}

/* ---- judging ----------------------------------------------------------------------- */

/* Do the words name the damaged file, or the shard that it belongs to? */
static bool names_place(const struct place *place, const char *text)
{
    char shard[32];
    unsigned number;

    if (sscanf(place->file->name, "shard-%u", &number) != 1)
        return strstr(text, place->file->name) != NULL;
    snprintf(shard, sizeof shard, "shard %u", number);
    if (strstr(text, shard) != NULL)
        return true;
    snprintf(shard, sizeof shard, "shard-%u", number);
    return strstr(text, shard) != NULL;
}

/* Appends what is wrong; nothing if all is right or refused. The first command is verify.
 */
static void judge(const struct sweep *sweep, const struct place *place,
                  const char *folder, const char *when, struct buf *wrong,
                  struct buf *ret_damage)
{
    bool sound = true, again = strcmp(when, FIRST) != 0;

    for (size_t i = 0; i < sweep->command_count; i++) {
        const struct command *command = &sweep->commands[i];
        const char *what = command->count > 1 ? command->words[1] : "";
        struct call call = {sweep, command, folder};
        struct buf said = BUF_INIT;
        if (again && !command->again)
            continue;
        struct outcome outcome = run(call_program, &call);

        buf_append_bytes(&said, buf_bytes(&outcome.err));
        if (i == 0)
            buf_append_bytes(&said, buf_bytes(&outcome.out));
        if (outcome.crashed)
            buf_printf(wrong, "%s: %s %s is killed by signal %d; ", when,
                       command->words[0], what, outcome.code);
        else if (outcome.code == 0 &&
                 !bytes_equal(buf_bytes(&outcome.out), buf_bytes(&command->right)))
            buf_printf(wrong, "%s: %s %s serves something else; ", when,
                       command->words[0], what);
        else if (outcome.code != 0 && !names_place(place, buf_cstr(&said)))
            buf_printf(wrong, "%s: %s %s does not name the place: %.200s; ", when,
                       command->words[0], what, buf_cstr(&said));
        else if (outcome.code != 0 && i > 0 && sound)
            buf_printf(wrong, "%s: verify finds nothing, but %s %s fails: %.200s; ", when,
                       command->words[0], what, buf_cstr(&said));
        if (i == 0) {
            sound = !outcome.crashed && outcome.code == 0;
            if (!sound && ret_damage->size == 0)
                buf_append_bytes(ret_damage, buf_bytes(&said));
        }
        buf_release(&said);
        outcome_release(&outcome);
    }
}

static void append_json(struct buf *line, const char *text)
{
    for (size_t i = 0; i < LETTERS_MAX && text[i] != '\0'; i++) {
        unsigned char letter = (unsigned char)text[i];
        if (letter == '"' || letter == '\\')
            buf_append_byte(line, '\\');
        buf_append_byte(line, letter < ' ' || letter > '~' ? ' ' : letter);
    }
}

static void report(unsigned number, const struct place *place, struct buf *wrong,
                   struct buf *damage)
{
    struct buf line = BUF_INIT;

    buf_printf(&line,
               "{\"Place\": %u, \"File\": \"%s\", \"Offset\": %zu, \"Bit\": %u, "
               "\"Result\": \"",
               number, place->file->name, place->offset, place->bit);
    append_json(&line, wrong->size > 0    ? buf_cstr(wrong)
                       : damage->size > 0 ? "refused"
                                          : "right");
    buf_append_str(&line, "\", \"Damage\": \"");
    append_json(&line, buf_cstr(damage));
    buf_append_str(&line, "\"}\n");
    if (write(STDOUT_FILENO, line.data, line.size) != (ssize_t)line.size)
        fail("cannot write", "the report");
    buf_release(&line);
}

/* ---- the sweep --------------------------------------------------------------------- */

static void try_place(const struct sweep *sweep, unsigned number, const char *damaged,
                      const char *opened)
{
    struct place place = place_of(sweep, number);
    struct buf wrong = BUF_INIT, damage = BUF_INIT;
    struct call opening = {.sweep = sweep, .folder = opened};
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%.3000s/%s", damaged, place.file->name);
    int fd = open(path, O_RDWR);
    if (fd < 0)
        fail("cannot open", path);
    flip(fd, &place);
    copy_folder(damaged, opened);
    judge(sweep, &place, damaged, FIRST, &wrong, &damage);
    struct outcome outcome = run(call_opening, &opening);
    if (outcome.crashed)
        buf_printf(&wrong, "opening for writing is killed by signal %d; ", outcome.code);
    outcome_release(&outcome);
    judge(sweep, &place, opened, "once opened for writing", &wrong, &damage);
    flip(fd, &place);
    close(fd);
    report(number, &place, &wrong, &damage);
    buf_release(&wrong);
    buf_release(&damage);
}

/* Reading makes new info logs; they must not pile up. */
static void work(const struct sweep *sweep, unsigned job, unsigned jobs, unsigned places)
{
    char damaged[PATH_MAX], opened[PATH_MAX];

    snprintf(damaged, sizeof damaged, "%.3000s/damaged-%u", sweep->work, job);
    snprintf(opened, sizeof opened, "%.3000s/opened-%u", sweep->work, job);
    for (unsigned number = job; number < places; number += jobs) {
        copy_folder(sweep->folder, damaged);
        try_place(sweep, number, damaged, opened);
    }
}

int main(int argc, char **argv)
{
    static struct sweep sweep;
    unsigned jobs, places;
    int status, bad = 0;

    if (argc < 7 || argc > 7 + 2 * 6)
        return 2;
    sweep.config = argv[1];
    sweep.folder = argv[2];
    sweep.work = argv[3];
    places = (unsigned)strtoul(argv[4], NULL, 10);
    sweep.seed = strtoull(argv[5], NULL, 10);
    jobs = (unsigned)strtoul(argv[6], NULL, 10);
    list_files(&sweep, "");
    qsort(sweep.files, sweep.file_count, sizeof sweep.files[0], compare_files);
    add_command(&sweep, true, "verify", NULL, NULL, NULL);
    add_command(&sweep, true, "list", "relationships", "--ndjson", NULL);
    add_command(&sweep, false, "list", "devices", "--ndjson", NULL);
    add_command(&sweep, false, "list", "policy", "--ndjson", NULL);
    add_command(&sweep, true, "log", "--ndjson", NULL, NULL);
    for (int i = 7; i + 1 < argc; i += 2)
        add_command(&sweep, false, "show", argv[i], argv[i + 1], "--json");
    learn_right(&sweep);
    fprintf(stderr, "sweep: %zu files, %zu bytes, %u places\n", sweep.file_count,
            sweep.bytes, places);
    for (unsigned job = 0; job < jobs; job++) {
        fflush(NULL);
        if (fork() == 0) {
            work(&sweep, job, jobs, places);
            _exit(0);
        }
    }
    for (unsigned job = 0; job < jobs; job++)
        bad |= wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    return bad;
}
