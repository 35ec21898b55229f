/* mutate.c - the mutations of pieces.h: the library's own, and some that know what texts here are made of.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "agent/shard/answer.h"
#include "events/event.h"
#include "tests/fuzz/pieces.h"

#define WORDS_MAX 1024

static char *words[WORDS_MAX];
static size_t word_count;

/* ---- words -------------------------------------------------------------------------- */

void word_add(const char *word)
{
    expect(word_count < WORDS_MAX);
    words[word_count] = strdup(word);
    expect(words[word_count++] != NULL);
}

static void add_entries(const struct schema_entry *entry)
{
    for (; entry->type != NULL; entry++) {
        const struct codec_member *member;

        word_add(entry->type);
        word_add(entry->name);
        for (size_t i = 0; (member = codec_schema_member(entry->schema, i)) != NULL; i++)
            word_add(member->name);
    }
}

void words_add_schemas(void)
{
    add_entries(schema_commands);
    add_entries(schema_events);
    add_entries(schema_answers);
    for (size_t i = 0; i < EVENT_HEADERS; i++)
        word_add(event_header_names[i]);
    for (size_t i = 0; i < ANSWER_HEADERS; i++)
        word_add(answer_header_names[i]);
}

/* ---- a text ------------------------------------------------------------------------- */

/* A small generator of its own, for the library's seed is one number. */
static unsigned draw(unsigned *seed, size_t below)
{
    *seed = *seed * 1664525 + 1013904223;
    return below == 0 ? 0 : (unsigned)((*seed >> 8) % below);
}

static bool is_border(uint8_t byte)
{
    return byte <= ' ' || strchr("\"{}[],:;=/-._", byte) != NULL;
}

/* A run between two borders, at or after a random place. */
static struct bytes find_token(struct bytes text, unsigned *seed)
{
    size_t from = draw(seed, text.size + 1);

    while (from > 0 && !is_border(text.data[from - 1]))
        from--;
    size_t end = from;
    while (end < text.size && !is_border(text.data[end]))
        end++;
    return bytes_of(text.data + from, end - from);
}

/* Puts text in the place of `old`, which lies in data. */
static size_t replace(uint8_t *data, size_t size, size_t size_max, struct bytes old,
                      struct bytes text)
{
    size_t from = (size_t)(old.data - data), behind = size - from - old.size;

    if (size - old.size + text.size > size_max)
        return size;
    memmove(data + from + text.size, data + from + old.size, behind);
    memcpy(data + from, text.data, text.size);
    return size - old.size + text.size;
}

size_t mutate_text(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    static const char *const values[] = {
        "0",       "1",        "-1",   "4294967295", "9223372036854775807",
        "1e3",     "1.0",      "null", "true",       "[]",
        "{}",      "[1,2,3]",  "\"\"", "\"a\\\\b\"", "\\u0000",
        "\\ud800", "\xc3\xa9", "{\"",  "\":",        "\","};
    unsigned kind = draw(&seed, 10);

    if (kind < 6 || word_count == 0)
        return LLVMFuzzerMutate(data, size, size_max);
    struct bytes token = find_token(bytes_of(data, size), &seed);
    const char *word = kind == 6 ? values[draw(&seed, sizeof values / sizeof values[0])]
                                 : words[draw(&seed, word_count)];
    struct bytes text = bytes_str(word);
    if (kind == 7)
        token.size = 0; /* insert, do not replace */
    if (kind == 8) {    /* once more */
        uint8_t copy[256];
        text = bytes_of(copy, token.size < sizeof copy ? token.size : sizeof copy);
        memcpy(copy, token.data, text.size);
        token.size = 0;
        return replace(data, size, size_max, token, text);
    }
    return replace(data, size, size_max, token, text);
}

/* ---- a list of pieces --------------------------------------------------------------- */

struct list {
    struct piece pieces[PIECES_MAX];
    size_t count;
};

static void insert(struct list *list, size_t at, struct piece piece)
{
    if (list->count == PIECES_MAX)
        return;
    memmove(&list->pieces[at + 1], &list->pieces[at],
            (list->count - at) * sizeof list->pieces[0]);
    list->pieces[at] = piece;
    list->count++;
}

static void discard(struct list *list, size_t at)
{
    if (at >= list->count)
        return;
    list->count--;
    memmove(&list->pieces[at], &list->pieces[at + 1],
            (list->count - at) * sizeof list->pieces[0]);
}

static struct piece new_piece(unsigned *seed)
{
    struct piece piece = {.text = bytes_str("")};

    if (draw(seed, 4) == 0) {
        piece.is_mark = true;
        piece.mark = (uint8_t)draw(seed, PIECE_MARKS);
        piece.argument = (uint8_t)draw(seed, 256);
    } else if (word_count > 0) {
        piece.text = bytes_str(words[draw(seed, word_count)]);
    }
    return piece;
}

/* room: where a changed text may lie. */
static void mutate_piece(struct piece *piece, uint8_t *room, size_t room_size,
                         unsigned *seed)
{
    size_t size = piece->text.size < room_size ? piece->text.size : room_size;

    if (piece->is_mark) {
        if (draw(seed, 3) == 0)
            piece->mark = (uint8_t)draw(seed, PIECE_MARKS);
        else
            piece->argument = (uint8_t)draw(seed, draw(seed, 2) == 0 ? 8 : 256);
        return;
    }
    if (draw(seed, 20) == 0) {
        piece->text = piece->text.data != NULL ? BYTES_ABSENT : bytes_str("");
        return;
    }
    if (draw(seed, 8) == 0 && word_count > 0) {
        piece->text = bytes_str(words[draw(seed, word_count)]);
        return;
    }
    if (size > 0)
        memcpy(room, piece->text.data, size);
    piece->text = bytes_of(room, mutate_text(room, size, room_size, *seed));
}

static size_t join(const struct list *list, uint8_t *out, size_t room)
{
    size_t size = 0;

    for (size_t i = 0; i < list->count; i++)
        size += piece_write(&list->pieces[i], out + size, room - size);
    return size;
}

size_t mutate_pieces(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    static struct list list;
    static uint8_t room[UINT16_MAX];
    struct bytes input = bytes_of(data, size);
    uint8_t *out = malloc(size_max + 1);

    expect(out != NULL);
    list.count = 0;
    while (list.count < PIECES_MAX && piece_next(&input, &list.pieces[list.count]))
        list.count++;
    size_t at = draw(&seed, list.count + 1), other = draw(&seed, list.count);
    unsigned kind = draw(&seed, 16);
    if (list.count == 0 || kind == 0)
        insert(&list, at, new_piece(&seed));
    else if (kind == 1)
        discard(&list, other);
    else if (kind == 2)
        insert(&list, at, list.pieces[other]);
    else if (kind == 3) { /* a whole run once more */
        size_t count = draw(&seed, list.count - other) + 1;
        for (size_t i = 0; i < count && list.count < PIECES_MAX; i++)
            insert(&list, list.count, list.pieces[other + i]);
    } else if (kind == 4) {
        struct piece moved = list.pieces[other];
        discard(&list, other);
        insert(&list, draw(&seed, list.count + 1), moved);
    } else
        mutate_piece(&list.pieces[other], room,
                     size_max < sizeof room ? size_max : sizeof room, &seed);
    size = join(&list, out, size_max);
    memcpy(data, out, size);
    free(out);
    return size;
}
