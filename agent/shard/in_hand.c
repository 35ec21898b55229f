/* in_hand.c - see in_hand.h. The file, in the byte order of the machine; another one's is
 * of another version:
 *
 *   u64 version | 32 log id | u64 shard
 *   note:       u64 first offset + 1, 0 = nothing in hand | u64 last offset + 1 | i64 timestamp of the first
 *   suspicion:  the same of whom the last death is charged to | u64 deaths in a row | u64 check
 *
 * The note is written by plain stores, in any order: a process killed between two of them
 * leaves a record that does not exist, or one that was in hand just before, and charges it
 * with one death. The suspicion is written at the opening only, and synced; its check
 * tells one that a power cut has torn.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/shard/in_hand.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_VERSION 0x4b4c48414e440001u /* "KLHAND", 1 */
/* Deaths in the commit of the same batch before its records are handled one by one: most
 * are the machine's doing, and one by one is slow. */
#define BATCH_DEATHS_MAX 2

struct span {
    uint64_t first; /* offset + 1; 0 = none */
    uint64_t last;  /* offset + 1 */
    int64_t timestamp_ms;
};

struct page {
    uint64_t version;
    char log[LOG_ID_SIZE - 1];
    uint64_t shard;
    volatile struct span note;
    struct span suspect;
    uint64_t deaths;
    uint64_t check;
};

struct in_hand {
    struct page *page;
    bool news;    /* a note was left behind at the opening */
    bool counted; /* in shards_with_suspects */
    bool locked;  /* turn, by this shard */
};

static atomic_uint shards_with_suspects;
/* Held by the shard that has something in hand while there are suspects. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

/* ---- the suspicion ----------------------------------------------------------------- */

static uint64_t check_of(const struct page *page)
{
    const uint64_t words[] = {page->suspect.first, page->suspect.last,
                              (uint64_t)page->suspect.timestamp_ms, page->deaths};
    uint64_t check = 14695981039346656037u; /* FNV-1a, by words */

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        check = (check ^ words[i]) * 1099511628211u;
    return check;
}

static void suspect(struct page *page, const struct span *span, uint64_t deaths)
{
    page->suspect = *span;
    page->deaths = deaths;
    page->check = check_of(page);
}

static bool is_single(const struct span *span)
{
    return span->first == span->last;
}

static void acquit(struct page *page)
{
    suspect(page, &(struct span){0}, 0);
}

/* A note was left behind: its records are charged with one more death, or the first. */
static void judge(struct page *page)
{
    struct span left = {page->note.first, page->note.last, page->note.timestamp_ms};
    bool again = page->suspect.first == left.first &&
                 page->suspect.timestamp_ms == left.timestamp_ms &&
                 is_single(&page->suspect) == is_single(&left);

    suspect(page, &left, again ? page->deaths + 1 : 1);
    page->note.first = 0;
}

/* Are the records between first and last, both offset + 1, handled one by one? */
static bool one_by_one(const struct page *page)
{
    return is_single(&page->suspect) || page->deaths >= BATCH_DEATHS_MAX;
}

/* ---- the file ---------------------------------------------------------------------- */

static int file_error(struct error *err, const char *path)
{
    return error_set(err, errno == ENOSPC ? ERROR_NO_SPACE : ERROR_IO,
                     "cannot note in %s which command is in hand: %s", path,
                     strerror(errno));
}

/* Its blocks are there before it is mapped: a store to a hole may find the disk full, and
 * kill. */
static int make_size(int fd)
{
    const struct page empty = {0};
    struct stat status;

    if (fstat(fd, &status) != 0)
        return -1;
    if (status.st_size == (off_t)sizeof empty)
        return 0;
    if (ftruncate(fd, 0) != 0)
        return -1;
    ssize_t written = pwrite(fd, &empty, sizeof empty, 0);
    if (written >= 0 && written != (ssize_t)sizeof empty)
        errno = ENOSPC;
    return written == (ssize_t)sizeof empty ? 0 : -1;
}

/* NULL: errno says why. */
static struct page *map_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    void *memory = MAP_FAILED;

    if (fd < 0)
        return NULL;
    if (make_size(fd) == 0)
        memory = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                      /* offset= */ 0);
    int fault = errno;
    close(fd);
    errno = fault;
    return memory == MAP_FAILED ? NULL : memory;
}

/* Returns whether a note was left behind. */
static bool read_page(struct page *page, const struct log_identity *identity)
{
    struct page fresh = {.version = FILE_VERSION, .shard = identity->shard};

    memcpy(fresh.log, identity->log, sizeof fresh.log);
    if (page->version != fresh.version || page->shard != fresh.shard ||
        memcmp(page->log, fresh.log, sizeof fresh.log) != 0)
        *page = fresh;
    if (page->check != check_of(page))
        acquit(page);
    if (page->note.first == 0)
        return false;
    judge(page);
    return true;
}

static void count_suspects(struct in_hand *hand, bool are_there)
{
    if (are_there && !hand->counted)
        (void)atomic_fetch_add(&shards_with_suspects, 1);
    if (!are_there && hand->counted)
        (void)atomic_fetch_sub(&shards_with_suspects, 1);
    hand->counted = are_there;
}

int in_hand_open(const char *folder, const struct log_identity *identity,
                 int64_t next_offset, struct in_hand **ret_hand, struct error *err)
{
    struct in_hand *hand = calloc(1, sizeof *hand);
    char path[PATH_MAX];

    if (hand == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    if (snprintf(path, sizeof path, "%s/shard-%u.in-hand", folder, identity->shard) >=
        (int)sizeof path) {
        free(hand);
        return error_set(err, ERROR_INVALID, "the path of the data folder is too long");
    }
    hand->page = map_file(path);
    if (hand->page == NULL) {
        int code = file_error(err, path);
        free(hand);
        return code;
    }
    hand->news = read_page(hand->page, identity);
    if (hand->news && msync(hand->page, sizeof *hand->page, MS_SYNC) != 0) {
        int code = file_error(err, path);
        in_hand_close(hand);
        return code;
    }
    if (next_offset >= 0 && hand->page->suspect.last <= (uint64_t)next_offset)
        acquit(hand->page);
    hand->news = hand->news && hand->page->deaths > 0;
    count_suspects(hand, hand->page->deaths > 0);
    *ret_hand = hand;
    return 0;
}

void in_hand_close(struct in_hand *hand)
{
    if (hand == NULL)
        return;
    in_hand_release(hand);
    count_suspects(hand, false);
    (void)munmap(hand->page, sizeof *hand->page); /* fails for wrong addresses only */
    free(hand);
}

/* ---- questions --------------------------------------------------------------------- */

int64_t in_hand_batch_end(const struct in_hand *hand, int64_t offset)
{
    uint64_t position = (uint64_t)offset + 1;

    if (hand == NULL || hand->page->deaths == 0 || !one_by_one(hand->page) ||
        position > hand->page->suspect.last)
        return INT64_MAX;
    if (position >= hand->page->suspect.first)
        return offset;
    return (int64_t)hand->page->suspect.first - 2; /* up to the one before */
}

bool in_hand_is_deadly(const struct in_hand *hand, const struct record *record)
{
    return hand != NULL && hand->page->deaths >= IN_HAND_DEATHS_MAX &&
           is_single(&hand->page->suspect) &&
           hand->page->suspect.first == (uint64_t)record->offset + 1 &&
           hand->page->suspect.timestamp_ms == record->timestamp_ms;
}

bool in_hand_news(const struct in_hand *hand, int64_t *ret_first, int64_t *ret_last,
                  unsigned *ret_deaths)
{
    if (hand == NULL || !hand->news)
        return false;
    *ret_first = (int64_t)hand->page->suspect.first - 1;
    *ret_last = (int64_t)hand->page->suspect.last - 1;
    *ret_deaths = (unsigned)hand->page->deaths;
    return true;
}

/* ---- the note ---------------------------------------------------------------------- */

void in_hand_take(struct in_hand *hand, const struct record *first,
                  const struct record *last)
{
    if (hand == NULL)
        return;
    struct page *page = hand->page;
    if (!hand->locked && atomic_load(&shards_with_suspects) > 0) {
        (void)pthread_mutex_lock(&turn);
        hand->locked = true;
    }
    page->note.timestamp_ms = first->timestamp_ms;
    page->note.last = (uint64_t)last->offset + 1;
    page->note.first = (uint64_t)first->offset + 1;
}

void in_hand_release(struct in_hand *hand)
{
    if (hand == NULL)
        return;
    hand->page->note.first = 0;
    if (hand->locked) {
        hand->locked = false;
        (void)pthread_mutex_unlock(&turn);
    }
}

void in_hand_committed(struct in_hand *hand)
{
    if (hand == NULL)
        return;
    if (hand->page->deaths > 0 && hand->page->note.last >= hand->page->suspect.last) {
        acquit(hand->page);
        count_suspects(hand, false);
    }
    in_hand_release(hand);
}
